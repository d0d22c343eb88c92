"""The cost model finds the constants that made the seconds, and does not hide where it is wrong."""

from typing import Any

import numpy as np
import pytest

from benchmarks.synthetic import Shop
from benchmarks.train_cost import STAGES, Cluster, Size, estimate, fit, left_out_errors, seconds, size_of

TRUE = {
    "index": {"events": 1e-8},
    "rows": {"run": 0.2, "visits": 3e-8},
    "join": {"entries": 2e-8},
    "solve": {"run": 0.6, "systems": 5e-8, "weights": 1e-7},
}


def run_of(events: float, items: float, cores: int) -> dict[str, Any]:
    """A run whose seconds are exactly what :data:`TRUE` says."""
    visits, entries = 11 * events, min(items**2, 3 * events)
    size = Size(events, visits, entries, items * min(150, entries / items) ** 2, items * min(100, entries / items))
    stages = seconds(size, TRUE, cores)
    figures = {name: getattr(size, name) for name in ("events", "visits", "entries", "systems", "weights")}
    return {**figures, "items": items, "seconds": sum(stages.values()), "stages": stages}


RUNS = [run_of(*size, 2) for size in ((1e5, 1e4), (1e6, 1e3), (1e6, 1e4), (1e6, 1e5), (1e7, 1e4), (1e7, 1e5))]


def test_the_constants_of_exact_runs_are_found() -> None:
    found = fit(RUNS, 2)
    for stage, names in STAGES.items():
        for what in names:
            assert found[stage][what] == pytest.approx(TRUE[stage][what], rel=0.01)


def test_exact_runs_leave_no_error_and_a_slower_one_shows() -> None:
    assert np.abs(left_out_errors(RUNS, 2)).max() < 0.02
    slower = RUNS[-1] | {"stages": {stage: 2 * value for stage, value in RUNS[-1]["stages"].items()}}
    assert left_out_errors([*RUNS[:-1], slower], 2)[-1] == pytest.approx(-0.5, abs=0.02)


def test_tasks_are_shared_by_the_cores_and_the_driver_is_not() -> None:
    size = size_of(RUNS[-1])
    two, four = seconds(size, TRUE, 2), seconds(size, TRUE, 4)
    assert four["index"] == two["index"]
    assert four["join"] == two["join"]
    assert four["solve"] - 0.6 == pytest.approx((two["solve"] - 0.6) / 2)


def test_an_estimate_grows_with_events_and_shrinks_with_what_is_kept() -> None:
    result = {
        "machine": {"cores": 2},
        "full": RUNS,
        "incremental": {
            "events_a_day": 1000,
            "days": 10,
            "lake_bytes": 5e5,
            "full_stages": {"look": 0.1, "update": 5.0, "ready": 7.0},
        },
    }
    shop, cluster = Shop(items=10_000), Cluster(workers=4)
    one, ten = (estimate(result, cluster, shop, n, candidates=150, keep=100, matrices=3) for n in (1e8, 1e9))
    small = estimate(result, cluster, shop, 1e9, candidates=64, keep=50, matrices=1)
    assert ten["read_hours"] == pytest.approx(10 * one["read_hours"], rel=0.05)
    assert small["hours"] <= ten["hours"]
    assert small["solve_hours"] < ten["solve_hours"]
    assert small["totals_gb"] < ten["totals_gb"] / 2
    assert ten["lake_gb"] == pytest.approx(50, rel=0.01)
