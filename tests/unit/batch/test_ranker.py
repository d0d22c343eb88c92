"""Moments give what a least squares with one dummy a request gives, day by day, and θ is above 0 only where it pays."""

import numpy as np
import pytest
import statsmodels.api as sm

from batch.ranker import Block, RequestMoments, block_moments, solve_ranker, sum_moments
from batch.theta import Scored, choose_theta, cross_fit
from contracts.errors import TrainingError
from contracts.ranker import NAMES

SOME = ["a", "b", "c"]


def block(seed: int, requests: int = 60, wide: int = 7, features: int = 3) -> Block:
    """Requests of different lengths whose label follows the first feature; every request has a level of its own."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 1, (requests, wide, features)) + rng.normal(0, 5, (requests, 1, features))
    present = np.arange(wide) < rng.integers(2, wide + 1, requests)[:, None]
    wanted = (x[..., 0] - x[:, :1, 0] + rng.normal(0, 1, (requests, wide)) > 0.5) & present
    return Block(x, wanted, present, np.arange(requests) * 86_400_000 // 4)


def decided(given: Block) -> Block:
    hits = given.wanted.sum(axis=1)
    return given.take(np.flatnonzero((hits > 0) & (hits < given.present.sum(axis=1))))


def test_coefficients_errors_and_t_are_those_of_statsmodels_with_a_dummy_a_request() -> None:
    given = block(1)
    used = decided(given)
    row = np.nonzero(used.present)[0]
    x = np.column_stack([used.features[used.present], np.eye(len(used))[row]])
    expected = sm.OLS(used.wanted[used.present].astype(float), x).fit()
    found = solve_ranker(block_moments(given), SOME)
    np.testing.assert_allclose(found.coefficients, expected.params[:3], rtol=1e-9)
    np.testing.assert_allclose(found.standard_errors, expected.bse[:3], rtol=1e-9)
    np.testing.assert_allclose(found.t, expected.tvalues[:3], rtol=1e-9)
    assert found.residual_deviation == pytest.approx(expected.mse_resid**0.5, rel=1e-9)
    assert (found.requests, found.pairs) == (len(used), used.present.sum())


def test_r_squared_is_that_of_statsmodels_on_demeaned_data() -> None:
    given = block(2)
    used = decided(given)

    def demeaned(values: np.ndarray) -> np.ndarray:
        number = used.present.sum(axis=1)
        mean = np.where(used.present, values, 0).sum(axis=1) / number
        return np.asarray((values - mean[:, None])[used.present])

    x = np.column_stack([demeaned(used.features[..., f]) for f in range(3)])
    expected = sm.OLS(demeaned(used.wanted.astype(float)), x).fit()
    found = solve_ranker(block_moments(given), SOME)
    assert found.r_squared == pytest.approx(expected.rsquared, rel=1e-9)
    scaled = x / np.sqrt((x**2).sum(axis=0))
    assert found.condition == pytest.approx(np.linalg.cond(scaled.T @ scaled), rel=1e-9)


def test_moments_of_parts_add_up_to_the_moments_of_the_whole() -> None:
    whole = block(3, requests=100)
    parts = [whole.take(np.arange(at, 100, 3)) for at in range(3)]
    total, summed = block_moments(whole), sum_moments((block_moments(part) for part in parts), 3)
    assert (summed.requests, summed.pairs) == (total.requests, total.pairs)
    np.testing.assert_allclose(summed.xx, total.xx, rtol=1e-12)
    np.testing.assert_allclose(summed.xy, total.xy, rtol=1e-9)
    assert summed.yy == pytest.approx(total.yy, rel=1e-12)


def test_a_day_counted_half_twice_counts_once() -> None:
    day = block_moments(block(4))
    twice = solve_ranker(day.scaled(0.5) + day.scaled(0.5), SOME)
    once = solve_ranker(day, SOME)
    np.testing.assert_allclose(twice.t, once.t, rtol=1e-12)


def test_a_weight_changes_no_coefficient_of_one_day_alone() -> None:
    day = block_moments(block(5))
    light, heavy = solve_ranker(day.scaled(0.5), SOME), solve_ranker(day, SOME)
    np.testing.assert_allclose(light.coefficients, heavy.coefficients, rtol=1e-12)
    assert all(a > b for a, b in zip(light.standard_errors, heavy.standard_errors, strict=True))


@pytest.mark.parametrize("spoil", ["constant", "of the request", "twice another"])
def test_a_feature_that_says_nothing_of_its_own_is_dropped_and_named(spoil: str) -> None:
    given = block(6)
    if spoil == "constant":
        given.features[..., 1] = 3.7
    elif spoil == "of the request":
        given.features[..., 1] = np.arange(len(given))[:, None] * 0.1
    else:
        given.features[..., 1] = 2 * given.features[..., 0] - 1
    found = solve_ranker(block_moments(given), SOME)
    without = solve_ranker(block_moments(Block(given.features[..., [0, 2]], *_rest(given))), ["a", "c"])
    assert found.dropped == ["b"]
    assert (found.coefficients[1], found.standard_errors[1], found.t[1]) == (0, 0, 0)
    assert [found.coefficients[0], found.coefficients[2]] == pytest.approx(without.coefficients)
    assert [found.t[0], found.t[2]] == pytest.approx(without.t)


def _rest(given: Block) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return given.wanted, given.present, given.now_ms


def test_requests_that_found_nothing_wanted_count_for_nothing() -> None:
    given = block(7)
    given.wanted[::2] = False
    assert block_moments(given).requests == len(decided(given))


def test_without_requests_there_is_no_regression_but_a_reason() -> None:
    with pytest.raises(TrainingError, match="degrees of freedom"):
        solve_ranker(RequestMoments.none(3), SOME)
    regression, choice, _ = cross_fit([])
    assert regression is None
    assert (choice.theta, choice.curve) == (0.0, [])
    assert "degrees of freedom" in choice.reason or "at least 2" in choice.reason


def shop(seed: int, *, trend_matters: bool, requests: int = 800, wide: int = 60) -> Block:
    """Candidates in the order of stage one, which is right on the whole; the wanted one may also be what trends."""
    rng = np.random.default_rng(seed)
    x = np.zeros((requests, wide, len(NAMES)))
    x[..., 0] = np.sort(rng.random((requests, wide)), axis=1)[:, ::-1]
    x[..., 0] /= x[:, :1, 0]
    for name in ("trend_1h", "popularity", "price"):
        x[..., NAMES.index(name)] = rng.normal(0, 1, (requests, wide))
    taste = 3 * x[..., 0] + (1.5 * x[..., NAMES.index("trend_1h")] if trend_matters else 0)
    wanted = np.zeros((requests, wide), bool)
    best = np.argmax(taste + rng.gumbel(0, 1, (requests, wide)), axis=1)
    wanted[np.arange(requests), best] = True
    return Block(x, wanted, np.ones((requests, wide), bool), np.arange(requests))


def test_where_the_trend_matters_the_ranker_is_used_and_says_so() -> None:
    regression, choice, total = cross_fit([shop(seed, trend_matters=True) for seed in range(3)])
    assert regression is not None
    assert choice.theta > 0
    assert total.requests == 2400
    t = dict(zip(regression.names, regression.t, strict=True))
    assert t["trend_1h"] > 10
    assert abs(t["price"]) < 4
    assert "repeats" in regression.dropped
    at = next(point for point in choice.curve if point.theta == choice.theta)
    zero = choice.curve[0]
    assert zero.theta == 0
    for window in range(3):
        assert at.hr20[window] >= zero.hr20[window]
        assert at.mrr20[window] >= zero.mrr20[window]
    assert np.mean(at.mrr20) > 1.2 * np.mean(zero.mrr20)


@pytest.mark.parametrize("seed", range(5))
def test_where_the_features_are_noise_theta_is_0(seed: int) -> None:
    windows = [shop(100 * seed + at, trend_matters=False) for at in range(3)]
    _, choice, _ = cross_fit(windows)
    assert choice.theta == 0
    assert choice.curve


def _scored(better: np.ndarray) -> Scored:
    """Requests whose wanted candidate is second in stage one; the ranker puts it first where ``better``, else last."""
    rows = len(better)
    stage = np.tile([1.0, 0.9, 0.8, 0.7], (rows, 1))
    wanted = np.tile([False, True, False, False], (rows, 1))
    ranker = np.where(wanted, np.where(better, 1.0, -1.0)[:, None], 0.0)
    return Scored(stage, ranker, wanted, np.ones_like(wanted))


def test_a_gain_that_one_window_pays_for_is_no_gain() -> None:
    good, bad = _scored(np.arange(400) % 10 > 0), _scored(np.arange(400) % 10 == 0)
    assert choose_theta([good, good]).theta > 0
    assert choose_theta([good, good, good, bad]).theta == 0


def test_one_window_is_not_enough_to_judge() -> None:
    assert choose_theta([_scored(np.ones(400, bool))]).theta == 0
    assert "at least 2" in choose_theta([_scored(np.ones(400, bool))]).reason


def test_a_gain_within_noise_is_no_gain() -> None:
    few = _scored(np.arange(3) < 2)
    assert choose_theta([few, few]).theta == 0


def test_a_request_whose_wanted_item_is_no_candidate_is_a_miss_at_any_theta() -> None:
    window = _scored(np.ones(100, bool))
    window.wanted[::2] = False
    choice = choose_theta([window, window])
    assert all(point.hr20 == [0.5, 0.5] for point in choice.curve)
    assert choice.curve[0].mrr20 == [0.25, 0.25]
