"""The demo's status line, from the same Flink metrics that the person on call sees."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from contracts.errors import LocalStackError
from local.flink_rest import FlinkRest

__all__ = ["Status", "reduce_metrics"]

_SUMS: Final = ("counted", "lists_written", "late")
_RATE_S: Final = 30.0
_LARGEST: Final = ("freshness_p50_ms", "freshness_p99_ms", "millisBehindLatest")


class Status:
    """Reads the job's metrics; names are looked up again now and then, because they come with the first records."""

    def __init__(self, rest: FlinkRest, job: Callable[[], str], clock: Callable[[], float] = time.monotonic) -> None:
        self._rest, self._job, self._clock = rest, job, clock
        self._seen: deque[tuple[float, float]] = deque()

    def line(self, version: str) -> str:
        """One line: events a second, lag, freshness, model, lists written."""
        try:
            figures = self._figures()
        except LocalStackError:
            return "Flink does not answer yet"
        if not figures.get("lists_written"):
            return f"no figures yet (Flink reports them after the first lists) | model {version}"
        rate = self._rate(figures["counted"])
        p50, p99 = figures.get("freshness_p50_ms", 0), figures.get("freshness_p99_ms", 0)
        return (
            f"{rate:6.0f} events/s | lag {figures.get('millisBehindLatest', 0) / 1000:5.1f} s | "
            f"freshness p50 {p50:.0f} ms, p99 {p99:.0f} ms | "
            f"model {version} | {figures.get('lists_written', 0):,.0f} lists written"
        )

    def _rate(self, counted: float) -> float:
        """Events a second over the last half minute: Flink refreshes its figures in steps of its own."""
        now = self._clock()
        if self._seen and counted < self._seen[-1][1]:
            self._seen.clear()  # the job was restarted
        self._seen.append((now, counted))
        while len(self._seen) > 2 and self._seen[0][0] < now - _RATE_S:
            self._seen.popleft()
        then, before = self._seen[0]
        return (counted - before) / (now - then) if now > then else 0.0

    def _figures(self) -> dict[str, float]:
        job, figures = self._job(), dict[str, float]()
        for vertex in self._rest.vertices(job):
            names = [name for name in self._rest.metrics(job, vertex) if name.rpartition(".")[2] in _SUMS + _LARGEST]
            if names:
                figures |= reduce_metrics(self._rest.metrics(job, vertex, names))
        return figures


def reduce_metrics(values: Mapping[str, float]) -> dict[str, Any]:
    """Subtasks' values to one: counters are added, gauges take the worst.

    >>> reduce_metrics({"0.f.counted": 2, "1.f.counted": 3, "0.f.freshness_p50_ms": 40, "1.f.freshness_p50_ms": 60})
    {'counted': 5, 'freshness_p50_ms': 60}
    """
    figures: dict[str, Any] = {}
    for name, value in values.items():
        short = name.rpartition(".")[2]
        known = figures.get(short)
        if known is None:
            figures[short] = value
        else:
            figures[short] = known + value if short in _SUMS else max(known, value)
    return figures
