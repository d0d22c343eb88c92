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


def test_a_true_model_is_calibrated() -> None:
    rng = np.random.default_rng(1)
    predicted = rng.uniform(0.1, 0.9, 40_000)
    rows = calibration(predicted, (rng.random(40_000) < predicted).astype(float))
    assert sum(row["count"] for row in rows) == 40_000
    assert all(abs(row["predicted"] - row["observed"]) < 4 * row["error"] for row in rows)
