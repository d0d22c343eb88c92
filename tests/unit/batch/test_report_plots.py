"""Exposure by popularity and calibration: shares that add up, and a true model on the diagonal."""

import numpy as np
import pytest

from batch.report_plots import calibration, popularity_bias


def test_popularity_alone_shows_ten_in_ten_places_of_the_top() -> None:
    bias = popularity_bias(np.arange(100), {"popularity": np.arange(99, 79, -1), "even": np.arange(100)})
    assert bias["exposure"]["popularity"][-2:] == [0.5, 0.5]
    assert bias["exposure"]["even"] == [0.1] * 10
    assert sum(bias["events"]) == pytest.approx(1, abs=1e-5)
    assert bias["items"] == [10] * 10


def test_a_true_model_is_calibrated_and_one_twice_as_bold_is_not() -> None:
    rng = np.random.default_rng(1)
    chance = rng.uniform(0.05, 0.4, (2000, 20))
    present = rng.random(chance.shape) < 0.8
    wanted = rng.random(chance.shape) < chance
    rows = calibration(chance, wanted, present)
    assert sum(row["count"] for row in rows) == present.sum()
    assert all(abs(row["predicted"] - row["observed"]) < 4 * row["error"] for row in rows)
    bold = calibration(2 * chance, wanted, present)
    assert abs(bold[-1]["predicted"] - bold[-1]["observed"]) > 10 * bold[-1]["error"]


def test_without_candidates_there_is_nothing_to_calibrate() -> None:
    nothing = np.zeros((0, 5))
    assert calibration(nothing, nothing, nothing.astype(bool)) == []
    assert calibration(np.ones((2, 3)), np.ones((2, 3)), np.zeros((2, 3), bool)) == []
