"""Intervals cover what they should, people stay whole, and tests tell a difference from noise."""

import numpy as np
import numpy.typing as npt
import pytest

from batch import compare
from batch.compare import bootstrap, intervals, paired

TRIES = 200
Floats = npt.NDArray[np.float64]


def sample(seed: int, people: int = 60, of_each: int = 5, spread: float = 0.25) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Hits of people who differ in how easily they are served: rate .5 on average, ``of_each`` cases a person."""
    rng = np.random.default_rng(seed)
    rate = np.repeat(rng.uniform(0.5 - spread, 0.5 + spread, people), of_each)
    return (rng.random(people * of_each) < rate).astype(float), np.repeat(np.arange(people), of_each)


def covered(tries: int, *, whole_people: bool) -> float:
    """How often the interval of a sample holds the true rate."""
    inside = 0
    for seed in range(tries):
        hits, person = sample(seed, spread=0.5)
        who = person if whole_people else np.arange(len(hits))
        low, high = intervals(bootstrap(hits[:, None], who, seed=seed, resamples=200))[:, 0]
        inside += low <= 0.5 <= high
    return inside / tries


def test_a_95_percent_interval_covers_the_truth_95_times_in_a_hundred() -> None:
    assert 0.90 <= covered(TRIES, whole_people=True) <= 0.99


def test_drawing_cases_instead_of_people_would_promise_too_much() -> None:
    assert covered(TRIES, whole_people=False) < 0.88


def test_a_difference_is_found_and_its_interval_leaves_zero_out() -> None:
    better, person = sample(1, people=400)
    worse = better * (np.random.default_rng(2).random(len(better)) < 0.9)
    found = paired(better, worse, person, seed=3)
    assert 0 < found.low < found.difference < found.high
    assert found.p < 0.01
    assert paired(worse, better, person, seed=3).difference == -found.difference


def test_models_that_are_alike_are_rarely_called_different() -> None:
    """Two models with the same rates: at p < .05, about one comparison in twenty."""
    called = 0
    for seed in range(TRIES):
        rng = np.random.default_rng(seed)
        person = np.repeat(np.arange(40), 5)
        rate = np.repeat(rng.uniform(0.1, 0.9, 40), 5)
        first, second = (rng.random(200) < rate, rng.random(200) < rate)
        called += paired(first, second, person, seed=seed, resamples=200).p < 0.05
    assert called / TRIES < 0.10


def test_a_model_against_itself_is_a_tie() -> None:
    hits, person = sample(1)
    found = paired(hits, hits, person, seed=1)
    assert (found.difference, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_a_mean_is_over_cases_however_people_share_them() -> None:
    values, person = np.array([1.0, 1, 1, 0]), np.array([5, 5, 5, 9])
    means = bootstrap(values[:, None], person, seed=1, resamples=2000)[:, 0]
    assert set(means.round(6)) == {0.0, 0.75, 1.0}
    assert np.isclose((means == 0.75).mean(), 0.5, atol=0.05)


def test_the_seed_decides_and_memory_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    hits, person = sample(1)
    whole = bootstrap(hits[:, None], person, seed=4)
    pair = paired(hits, 1 - hits, person, seed=4)
    monkeypatch.setattr(compare, "_CELLS", 300)
    np.testing.assert_array_equal(bootstrap(hits[:, None], person, seed=4), whole)
    assert paired(hits, 1 - hits, person, seed=4) == pair
    assert not np.array_equal(bootstrap(hits[:, None], person, seed=5), whole)
