"""What the control room wants to know of the streaming job, and the shape in which every source tells it. Pure."""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, Protocol

from serving.control.answers import Checkpoints, Job, Operator, Point

__all__ = ["LARGEST", "SUMS", "Figures", "Source", "SourceAway", "points", "reduced", "wanted"]

SUMS: Final = frozenset({"events_in", "accepted", "counted", "late", "lists_written", "conflicts", "unreadable"})
"""Counters: every instance of a step has its own, and they add up; so do all that begin with ``rejected_``."""

LARGEST: Final = frozenset(
    {
        "batch_rows",
        "redis_ms",
        "scoring_us_per_list",
        "model_age_s",
        "model_trained_at_s",
        "freshness_p50_ms",
        "freshness_p95_ms",
        "freshness_p99_ms",
        "freshness_max_ms",
        "millisBehindLatest",
    }
)
"""Gauges: of several instances the worst one counts."""


RATE_MS: Final = 16_000


class SourceAway(Exception):
    """The source of the stream's figures did not tell them; the message says why, for people."""


class Figures(NamedTuple):
    """One look at the job."""

    job: Job
    checkpoints: Checkpoints
    values: dict[str, float]
    operators: list[Operator]
    history: list[Point]
    """What the source itself remembers; empty where it only knows the present."""


class Source(Protocol):
    """Where the figures come from; ``look`` blocks, so call it in a thread."""

    name: str

    def look(self) -> Figures:
        """The figures now. Raises :class:`SourceAway`."""
        ...


def wanted(name: str) -> bool:
    """Whether a metric of that (short) name is shown."""
    return name in SUMS or name in LARGEST or name.startswith("rejected_")


def reduced(values: Iterable[tuple[str, float]]) -> dict[str, float]:
    """Values of all instances to one a name: counters are added, of gauges the worst counts.

    >>> reduced([("counted", 2), ("counted", 3), ("freshness_p50_ms", 40), ("freshness_p50_ms", 60), ("rejected_x", 1)])
    {'counted': 5, 'freshness_p50_ms': 60, 'rejected_x': 1}
    """
    found: dict[str, float] = {}
    for name, value in values:
        if name in found:
            adds = name in SUMS or name.startswith("rejected_")
            value = found[name] + value if adds else max(found[name], value)
        found[name] = value
    return found


def points(looks: Iterable[tuple[int, Mapping[str, float]]]) -> list[Point]:
    """A line from looks at (epoch ms, values), oldest first. A counter that fell means a restart: no rate there.

    A rate is over some seconds back, since Flink refreshes its figures in steps of its own.

    >>> [p.events_per_s for p in points([(0, {"counted": 10}), (2000, {"counted": 30}), (4000, {"counted": 5})])]
    [None, 10.0, None]
    """
    line: list[Point] = []
    before: list[tuple[int, float]] = []
    for at, values in looks:
        counted = values.get("counted")
        rate = None
        if counted is None or (before and counted < before[-1][1]):
            before.clear()
        elif before and at > before[-1][0]:
            while len(before) > 1 and before[1][0] <= at - RATE_MS:
                before.pop(0)
            rate = (counted - before[0][1]) * 1000 / (at - before[0][0])
        if counted is not None:
            before.append((at, counted))
        quantiles = (values.get(f"freshness_{name}_ms") for name in ("p50", "p95", "p99"))
        line.append(Point(at, rate, values.get("millisBehindLatest"), *quantiles))
    return line
