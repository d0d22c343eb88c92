"""What an experiment claims holds: false positives within bounds, also when peeking; power as computed."""

from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from batch import experiment_statistics
from batch.experiment_statistics import (
    LEAST_UNITS,
    SCALES,
    Sums,
    always_valid,
    compare,
    fixed_interval,
    needed_units,
    power,
    sample_ratio,
)

RUNS, ALPHA = 2000, 0.05


def most_allowed(rate: float, runs: int = RUNS) -> int:
    """So many false positives are exceeded by chance once in a thousand such tests."""
    return int(stats.binom.ppf(0.999, runs, rate))


def visits(rng: Any, runs: int, units: int, lift: float = 0.0) -> tuple[Any, Any]:
    """Impressions and clicks by unit: few people see much, and each has a click rate of their own."""
    impressions = 1 + rng.negative_binomial(1, 0.15, (runs, units))
    rate = rng.beta(2, 18, (runs, units)) * (1 + lift)
    return impressions.astype(float), rng.binomial(impressions, np.minimum(rate, 1)).astype(float)


def cumulative(y: Any, x: Any, looks: list[int]) -> tuple[Any, Any]:
    """Estimates and variances (runs, looks) of Σy/Σx over the first units of each run, as :class:`Sums` has them."""
    sums = [np.cumsum(part, axis=1)[:, np.array(looks) - 1] for part in (y, x, y * y, x * x, x * y)]
    n, (sy, sx, yy, xx, xy) = np.array(looks), sums
    ratio = sy / sx
    return ratio, (yy - 2 * ratio * xy + ratio**2 * xx) / (n - 1) / (sx / n) ** 2 / n


def log_ratio(value: Any, variance: Any, tau: float) -> Any:
    """ln Λ of many runs and looks at once."""
    squares = (np.array(SCALES) * tau)[:, None, None] ** 2
    value, variance = np.atleast_2d(value), np.atleast_2d(variance)
    logs = 0.5 * np.log(variance / (variance + squares)) + squares * value**2 / (2 * variance * (variance + squares))
    return np.logaddexp.reduce(logs, axis=0) - np.log(len(SCALES))


def test_sums_of_a_mean_are_the_textbooks() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.gamma(2, 3, 400), rng.gamma(2, 3.3, 500)
    found = compare(Sums.of(a), Sums.of(b), tau=1.0)
    oracle = CompareMeans(DescrStatsW(b), DescrStatsW(a)).zconfint_diff(alpha=ALPHA, usevar="unequal")
    assert found.fixed == pytest.approx(oracle, rel=1e-9)
    assert found.value == pytest.approx(b.mean() - a.mean())


def test_the_delta_method_agrees_with_the_bootstrap_over_people() -> None:
    rng = np.random.default_rng(2)
    x, y = (part[0] for part in visits(rng, 1, 3000))
    drawn = rng.integers(3000, size=(4000, 3000))
    bootstrap = (y[drawn].sum(1) / x[drawn].sum(1)).var()
    assert Sums.of(y, x).variance == pytest.approx(bootstrap, rel=0.08)
    naive = (p := y.sum() / x.sum()) * (1 - p) / x.sum()  # each impression for itself
    assert Sums.of(y, x).variance > 1.3 * naive


def test_the_vectorised_form_used_below_is_the_products() -> None:
    rng = np.random.default_rng(3)
    x, y = visits(rng, 1, 700)
    value, variance = cumulative(y, x, [500, 700])
    for at, n in enumerate((500, 700)):
        sums = Sums.of(y[0, :n], x[0, :n])
        assert (value[0, at], variance[0, at]) == pytest.approx((sums.value, sums.variance))


def test_an_aa_experiment_that_is_looked_at_once_is_wrong_in_five_of_a_hundred() -> None:
    rng = np.random.default_rng(4)
    (ax, ay), (bx, by) = visits(rng, RUNS, 600), visits(rng, RUNS, 600)
    (a, va), (b, vb) = cumulative(ay, ax, [600]), cumulative(by, bx, [600])
    wrong = 0
    for value, variance in zip((b - a)[:, 0], (va + vb)[:, 0], strict=True):
        low, high = fixed_interval(value, variance, ALPHA)
        wrong += not low <= 0 <= high
    assert stats.binom.ppf(0.001, RUNS, ALPHA) <= wrong <= most_allowed(ALPHA)


def test_an_aa_experiment_that_is_watched_all_the_time_is_wrong_in_at_most_five_of_a_hundred() -> None:
    rng = np.random.default_rng(5)
    looks = list(range(LEAST_UNITS, 3001, 25))
    (ax, ay), (bx, by) = visits(rng, RUNS, 3000), visits(rng, RUNS, 3000)
    (a, va), (b, vb) = cumulative(ay, ax, looks), cumulative(by, bx, looks)
    value, variance, tau = b - a, va + vb, 0.01
    ratios = log_ratio(value, variance, tau)
    sequential = int((ratios >= np.log(1 / ALPHA)).any(1).sum())
    peeking = int((np.abs(value) > 1.96 * np.sqrt(variance)).any(1).sum())
    assert sequential <= most_allowed(ALPHA)
    assert peeking > 4 * ALPHA * RUNS  # what the fixed interval would have claimed: why the test exists
    p, _, _ = always_valid(float(value[0, 0]), float(variance[0, 0]), tau, ALPHA)
    assert p == pytest.approx(min(1.0, float(np.exp(-ratios[0, 0]))))
    worst = np.unravel_index(ratios.argmax(), ratios.shape)
    p, _, _ = always_valid(float(value[worst]), float(variance[worst]), tau, ALPHA)
    assert p == pytest.approx(float(np.exp(-ratios[worst])), rel=1e-9) and p < 1


def test_people_who_come_back_day_after_day_do_not_break_the_sequential_test() -> None:
    rng = np.random.default_rng(6)
    runs, units, days, tau = 1000, 450, 30, 0.01
    rate = rng.beta(2, 18, (2, runs, units))
    seen = np.zeros((2, runs, units))
    clicked = np.zeros((2, runs, units))
    wrong = np.zeros(runs, bool)
    for day in range(1, days + 1):
        here = rng.random((2, runs, units)) < 0.3
        here &= np.arange(units) < units * min(day, 15) // 15  # new people until the fifteenth day
        shown = np.where(here, 1 + rng.poisson(3, here.shape), 0)
        seen += shown
        clicked += rng.binomial(shown, rate)
        known = seen > 0
        n = known.sum(2)
        if n.min() < LEAST_UNITS:
            continue
        ratio = clicked.sum(2) / np.maximum(seen.sum(2), 1)
        residual = np.where(known, clicked - ratio[:, :, None] * seen, 0)
        variance = (residual**2).sum(2) / (n - 1) / (seen.sum(2) / n) ** 2 / n
        value, total = ratio[1] - ratio[0], variance.sum(0)
        wrong |= log_ratio(value, total, tau)[0] >= np.log(1 / ALPHA)
    assert wrong.sum() <= most_allowed(ALPHA, runs)


def test_the_always_valid_interval_and_the_p_value_say_the_same() -> None:
    for value in (0.0, 0.02, 0.035, 0.05, -0.05):
        p, low, high = always_valid(value, 1e-4, 0.03, ALPHA)
        assert (p < ALPHA) == (low > 0 or high < 0)
        fixed_low, fixed_high = fixed_interval(value, 1e-4, ALPHA)
        assert low < fixed_low < fixed_high < high


def test_the_planned_effect_is_found_with_the_computed_power() -> None:
    rng = np.random.default_rng(7)
    base, effect = 0.2, 0.04
    units = needed_units(base * (1 - base), effect)
    a, b = rng.binomial(units, base, RUNS) / units, rng.binomial(units, base + effect, RUNS) / units
    spread = np.sqrt((a * (1 - a) + b * (1 - b)) / units)
    found = int((np.abs(b - a) > 1.959964 * spread).sum())
    per_unit = (base * (1 - base) + (base + effect) * (1 - base - effect)) / 2
    expected = power(units, per_unit, effect)
    assert abs(found / RUNS - expected) < 3.5 * np.sqrt(expected * (1 - expected) / RUNS)


def test_sample_size_and_power_are_those_of_statsmodels() -> None:
    oracle = NormalIndPower()
    for effect in (0.05, 0.2):
        assert needed_units(1.0, effect) == np.ceil(oracle.solve_power(effect, power=0.8, alpha=ALPHA))
        assert power(500, 1.0, effect) == pytest.approx(oracle.power(effect, 500, ALPHA), abs=1e-9)
    with pytest.raises(ValueError, match="not 0"):
        needed_units(1.0, 0.0)


def test_one_scale_alone_is_the_closed_form_of_the_literature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment_statistics, "SCALES", (1.0,))
    value, variance, tau = 0.04, 1e-4, 0.03
    both = variance + tau**2
    half = np.sqrt(variance * both / tau**2 * (2 * np.log(1 / ALPHA) + np.log(both / variance)))
    assert always_valid(value, variance, tau, ALPHA)[1:] == pytest.approx((value - half, value + half), rel=1e-9)


def test_a_difference_far_above_the_planned_one_is_found_with_few_people() -> None:
    control, other = Sums.of(np.r_[np.ones(50), np.zeros(150)]), Sums.of(np.r_[np.ones(100), np.zeros(100)])
    found = compare(control, other, tau=0.05 * control.value)
    assert found.enough and found.p < 0.001 and found.valid[0] > 0


def test_a_large_difference_is_found_early_by_the_sequential_test() -> None:
    rng = np.random.default_rng(8)
    looks = list(range(LEAST_UNITS, 2001, 50))
    (ax, ay), (bx, by) = visits(rng, 300, 2000), visits(rng, 300, 2000, lift=0.4)
    (a, va), (b, vb) = cumulative(ay, ax, looks), cumulative(by, bx, looks)
    value, variance, tau = b - a, va + vb, 0.02
    decided = log_ratio(value, variance, tau) >= np.log(1 / ALPHA)
    assert decided.any(1).mean() > 0.95
    assert np.median(decided.argmax(1)) < len(looks) / 2


def test_a_broken_split_is_noticed_and_a_good_one_is_left_alone() -> None:
    rng = np.random.default_rng(9)
    weights = {"a": 1.0, "b": 3.0}
    fine = [sample_ratio({"a": n, "b": 20_000 - n}, weights) for n in rng.binomial(20_000, 0.25, 1000)]
    assert stats.kstest(fine, "uniform").pvalue > 0.001
    assert sample_ratio({"a": 5_300, "b": 14_700}, weights) < 0.001
    assert sample_ratio({"b": 500}, weights) < 0.001 and sample_ratio({}, weights) == 1.0


def test_nothing_is_decided_on_a_handful_of_people() -> None:
    few, many = Sums.of(np.r_[np.ones(60), np.zeros(30)]), Sums.of(np.r_[np.ones(100), np.zeros(900)])
    found = compare(many, few, tau=0.01)
    assert not found.enough and found.p == 1.0
    silent = Sums.of(np.zeros(500))
    assert not compare(many, silent, tau=0.01).enough  # no variance yet
