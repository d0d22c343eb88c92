"""The figures that the job reports are those that the documentation tells, and they are right."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.events import REASONS
from local.paths import checkout
from streaming.ages import Ages
from streaming.measures import GROUP, METRICS, SERVING, Measures, count_records, table


class Counter:
    def __init__(self) -> None:
        self.value = 0

    def inc(self, by: int = 1) -> None:
        self.value += by


class Group:
    """A metric group that remembers."""

    def __init__(self) -> None:
        self.name = ""
        self.counters: dict[str, Counter] = {}
        self.gauges: dict[str, Any] = {}

    def add_group(self, name: str) -> "Group":
        self.name = name
        return self

    def counter(self, name: str) -> Counter:
        return self.counters.setdefault(name, Counter())

    def gauge(self, name: str, read: Any) -> None:
        self.gauges[name] = read


class Clock:
    def __init__(self) -> None:
        self.s = 1000.0

    def __call__(self) -> float:
        return self.s


def test_the_documentation_has_the_table_of_all_names() -> None:
    assert table() in Path(checkout(), "docs", "metrics.md").read_text()


def test_names_are_unique_and_all_are_registered_in_the_group_that_the_service_exports() -> None:
    group = Group()
    count_records(group)
    Measures(group)
    names = [metric.name for metrics in METRICS.values() for metric in metrics]
    assert len(names) == len(set(names))
    assert set(names) == group.counters.keys() | group.gauges.keys()
    assert group.name == GROUP == "kinesisanalytics"


def test_records_are_counted_by_reason() -> None:
    group = Group()
    count = count_records(group)
    count({"": 5, "not_json": 2})
    count({"": 1})
    counted = {name: counter.value for name, counter in group.counters.items() if counter.value}
    assert counted == {"events_in": 8, "accepted": 6, "rejected_not_json": 2}
    assert {f"rejected_{reason}" for reason in REASONS} <= group.counters.keys()


def test_gauges_are_whole_numbers_and_the_model_ages() -> None:
    group, clock = Group(), Clock()
    measures = Measures(group, clock, now=clock)
    assert {group.gauges[m.name]() for m in SERVING if m.kind == "gauge"} == {0}
    measures.set("redis_ms", 1.9)
    measures.set("model_trained_at_s", 400.5)
    measures.fresh([20, 40])
    clock.s += 1
    read = {name: gauge() for name, gauge in group.gauges.items()}
    assert all(type(value) is int for value in read.values())
    assert (read["redis_ms"], read["model_trained_at_s"], read["model_age_s"]) == (1, 400, 601)
    assert (read["freshness_p50_ms"], read["freshness_max_ms"]) == (20, 40)


@pytest.mark.parametrize("spread", [50, 700, 900_000])
def test_quantiles_are_at_most_two_percent_above_the_true_ones(spread: int) -> None:
    clock = Clock()
    ages, rng = Ages(clock), np.random.default_rng(3)
    values = rng.integers(0, spread, 5000)
    for part in np.array_split(values, 7):
        ages.add(part)
        clock.s += 1
    figures, ordered = ages.figures(), np.sort(values)
    assert figures["max"] == ordered[-1]
    for name, q in {"p50": 0.5, "p95": 0.95, "p99": 0.99}.items():
        true = ordered[int(np.ceil(q * len(ordered))) - 1]
        assert true <= figures[name] <= 1.02 * true + 1


def test_what_is_older_than_a_minute_is_forgotten() -> None:
    clock = Clock()
    ages = Ages(clock)
    ages.add([9000])
    clock.s += 30
    ages.add([10])
    assert ages.figures()["max"] == 9000
    clock.s += 31
    assert ages.figures() == {"p50": 10, "p95": 10, "p99": 10, "max": 10}
    clock.s += 60
    assert ages.figures() == dict.fromkeys(("p50", "p95", "p99", "max"), 0)


def test_clocks_that_differ_and_ages_beyond_an_hour_are_kept_in_bounds() -> None:
    clock = Clock()
    ages = Ages(clock)
    ages.add([-5, 10**12])
    assert (ages.figures()["p50"], ages.figures()["max"]) == (0, 3_600_000)
