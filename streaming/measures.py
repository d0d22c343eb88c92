"""Every figure the job reports: what the person on call sees in the Flink dashboard and in CloudWatch."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from contracts.events import REASONS
from contracts.forgetting import FORGOTTEN
from streaming.ages import Ages

__all__ = ["GROUP", "METRICS", "PARSING", "SERVING", "Measures", "Metric", "count_records", "table"]

GROUP: Final = "kinesisanalytics"
"""The managed service exports custom metrics of this group alone (AWS: Using custom metrics)."""


class Metric(NamedTuple):
    """One figure. Counters begin at 0 with every start of the job; gauges are whole numbers, because CloudWatch carries
    no other kind, and are read at the end of every batch: a stream that rests keeps the last one.
    """

    name: str
    kind: Literal["counter", "gauge"]
    unit: str
    meaning: str


PARSING: Final = (
    Metric("events_in", "counter", "records", "records read from the stream"),
    Metric("accepted", "counter", "records", "records without a fault, repeated ones included"),
    Metric("forgotten", "counter", "records", "of the past of people who were deleted: left out, nowhere kept"),
    *(Metric(f"rejected_{reason}", "counter", "records", f"dead-letter: {text}") for reason, text in REASONS.items()),
)
"""Of the step that parses; for each reason of the contract one counter."""

SERVING: Final = (
    Metric(
        "counted", "counter", "events", "accepted events that were not repetitions; duplicates = accepted − counted"
    ),
    Metric("late", "counter", "events", "received more than 10 min after they occurred: in no live feature"),
    Metric("lists_written", "counter", "lists", "live lists computed and written"),
    Metric(
        "conflicts", "counter", "values", "people whose value had changed or gone before it was written; done again"
    ),
    Metric("unreadable", "counter", "values", "stored values that could not be decoded, and were replaced"),
    Metric("batch_rows", "gauge", "events", "size of the newest batch"),
    Metric("redis_ms", "gauge", "ms", "how long the newest batch waited for Redis to write"),
    Metric("scoring_us_per_list", "gauge", "µs", "time of scoring and ranking in the newest batch, a list"),
    Metric(
        "model_trained_at_s", "gauge", "epoch s", "version of the model in use, as a number that grows: its training"
    ),
    Metric("model_age_s", "gauge", "s", "since the model in use was trained"),
    Metric("freshness_p50_ms", "gauge", "ms", "collector's stamp to list written, last minute: median"),
    Metric("freshness_p95_ms", "gauge", "ms", "… 95th percentile"),
    Metric("freshness_p99_ms", "gauge", "ms", "… 99th percentile"),
    Metric("freshness_max_ms", "gauge", "ms", "… longest"),
)
"""Of the step that recommends."""

METRICS: Final[Mapping[str, Sequence[Metric]]] = {"parse": PARSING, "recommend": SERVING}
"""All of them by the step that reports them."""


_COUNTER: Final = {"": "accepted", FORGOTTEN: FORGOTTEN}


def count_records(group: Any) -> Callable[[Mapping[str, int]], None]:
    """Register the counters of the parsing step; the function that is returned adds records by reason ('' is none)."""
    group = group.add_group(GROUP)
    counters = {metric.name: group.counter(metric.name) for metric in PARSING}

    def count(reasons: Mapping[str, int]) -> None:
        counters["events_in"].inc(sum(reasons.values()))
        for reason, records in reasons.items():
            counters[_COUNTER.get(reason, f"rejected_{reason}")].inc(records)

    return count


class Measures:
    """Counters and gauges of the serving step, by the names in :data:`SERVING`."""

    def __init__(
        self, group: Any, clock: Callable[[], float] = time.monotonic, now: Callable[[], float] = time.time
    ) -> None:
        group = group.add_group(GROUP)
        self._now = now
        self._ages = Ages(clock)
        self._counters = {m.name: group.counter(m.name) for m in SERVING if m.kind == "counter"}
        self._values = {m.name: 0 for m in SERVING if m.kind == "gauge"}
        computed = {"model_age_s": self._model_age} | {
            f"freshness_{figure}_ms": lambda figure=figure: self._ages.figures()[figure]
            for figure in self._ages.figures()
        }
        for name in self._values:
            group.gauge(name, computed.get(name, lambda name=name: self._values[name]))

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter."""
        self._counters[name].inc(by)

    def set(self, name: str, value: float) -> None:
        """Set a gauge."""
        self._values[name] = int(value)

    def fresh(self, ages_ms: Sequence[int]) -> None:
        """Note how old events were when the lists that reflect them were written."""
        self._ages.add(ages_ms)

    def _model_age(self) -> int:
        trained = self._values["model_trained_at_s"]
        return int(self._now()) - trained if trained else 0


def table() -> str:
    """The table of ``docs/metrics.md``: ``python -c "from streaming.measures import table; print(table())"``."""
    rows = [
        f"| `{metric.name}` | {step} | {metric.kind} | {metric.unit} | {metric.meaning} |"
        for step, metrics in METRICS.items()
        for metric in metrics
    ]
    return "\n".join(["| name | step | kind | unit | what it tells |", "|---|---|---|---|---|", *rows])
