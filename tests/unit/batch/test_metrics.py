"""The vectorised metrics are those that a loop over cases and places gives."""

import math

import numpy as np
import pytest

from batch.metrics import CUT, METRICS, case_metrics, cold_items, exposure_metrics


def plainly(row: list[int], wanted: list[int]) -> list[float]:
    """The definitions, one place after the other."""
    hits = [place for place, item in enumerate(row[:CUT], 1) if item >= 0 and item in wanted]
    gain = sum(1 / math.log2(place + 1) for place in hits)
    ideal = sum(1 / math.log2(place + 1) for place in range(1, min(CUT, len(wanted)) + 1))
    return [float(bool(hits)), len(hits) / len(wanted), 1 / hits[0] if hits else 0.0, gain / ideal]


@pytest.mark.parametrize("width", [1, 7, 20, 35])
def test_every_case_agrees_with_plain_python(width: int) -> None:
    rng = np.random.default_rng(width)
    rows = np.stack([rng.permutation(60)[:width] for _ in range(300)])
    rows[np.arange(width)[None, :] >= rng.integers(0, width + 1, (300, 1))] = -1
    wanted = [rng.permutation(np.arange(-5, 60))[: rng.integers(1, 30)] for _ in range(300)]
    found = case_metrics(rows, wanted)
    expected = [plainly(row, items) for row, items in zip(rows.tolist(), (w.tolist() for w in wanted), strict=True)]
    assert found.shape == (300, len(METRICS))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_an_empty_place_is_never_a_hit() -> None:
    assert case_metrics(np.full((1, 20), -1), [np.array([-1, -2])]).tolist() == [[0, 0, 0, 0]]


def test_no_cases_have_no_metrics() -> None:
    assert case_metrics(np.zeros((0, 20), np.int32), []).shape == (0, 4)


def test_what_is_shown_agrees_with_plain_python() -> None:
    rng = np.random.default_rng(1)
    rows = np.stack([rng.permutation(50)[:20] for _ in range(30)])
    popularity = rng.integers(1, 99, 80).astype(float)
    cold = cold_items(popularity, 20)
    shown = [int(item) for row in rows for item in row]
    times = [shown.count(item) for item in range(80)]
    found = exposure_metrics(rows, popularity, cold)
    assert found["coverage@20"] == pytest.approx(len(set(shown)) / 80, abs=1e-6)
    bits = [-math.log2(popularity[item] / popularity.sum()) for item in shown]
    assert found["novelty@20"] == pytest.approx(sum(bits) / len(bits), abs=1e-6)
    apart = sum(abs(a - b) for a in times for b in times) / (2 * 80 * sum(times))
    assert found["gini@20"] == pytest.approx(apart, abs=1e-6)
    assert found["cold@20"] == pytest.approx(sum(bool(cold[item]) for item in shown) / len(shown), abs=1e-6)


def test_popularity_is_the_narrowest_model_and_chance_the_widest() -> None:
    rng = np.random.default_rng(1)
    popularity = np.arange(200, 0, -1.0)
    same = exposure_metrics(np.tile(np.arange(20), (500, 1)), popularity, popularity < 20)
    any_ = exposure_metrics(np.stack([rng.permutation(200)[:20] for _ in range(500)]), popularity, popularity < 20)
    for name, wider in (("coverage@20", 1), ("novelty@20", 1), ("gini@20", -1), ("cold@20", 1)):
        assert wider * any_[name] > wider * same[name]


def test_items_nobody_touched_are_as_new_as_the_rarest_one() -> None:
    rare = exposure_metrics(np.array([[1]]), np.array([7, 1, 0]), np.zeros(3, bool))
    never = exposure_metrics(np.array([[2]]), np.array([7, 1, 0]), np.zeros(3, bool))
    assert never["novelty@20"] == rare["novelty@20"] == 3.0


def test_a_model_that_shows_nothing_has_zeros() -> None:
    assert set(exposure_metrics(np.full((3, 20), -1), np.ones(5), np.zeros(5, bool)).values()) == {0.0}
