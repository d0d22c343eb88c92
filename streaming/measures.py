"""Figures of the serving step: what the person on call sees in the Flink dashboard and in CloudWatch."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

__all__ = ["GROUP", "Measures", "quantile"]

GROUP: Final = "kinesisanalytics"
"""The managed service exports custom metrics of this group alone (AWS: Using custom metrics)."""
_WINDOW_S: Final = 60.0
_LIMIT: Final = 20_000


class Measures:
    """Counters and integer gauges (CloudWatch carries no Flink histogram).

    Gauges ``freshness_p50_ms``/``freshness_p99_ms``: from the collector's stamp to the list written, last minute.
    """

    def __init__(self, group: Any, clock: Callable[[], float] = time.monotonic) -> None:
        group = group.add_group(GROUP)
        self._clock = clock
        self._fresh: deque[tuple[float, int]] = deque(maxlen=_LIMIT)
        self._values = {"batch_rows": 0, "redis_ms": 0, "scoring_us_per_list": 0, "model_trained_at_s": 0}
        self._counters = {
            name: group.counter(name) for name in ("counted", "late", "lists_written", "conflicts", "unreadable")
        }
        for name in self._values:
            group.gauge(name, lambda name=name: self._values[name])
        group.gauge("freshness_p50_ms", lambda: self._freshness(0.5))
        group.gauge("freshness_p99_ms", lambda: self._freshness(0.99))

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter."""
        self._counters[name].inc(by)

    def set(self, name: str, value: float) -> None:
        """Set a gauge."""
        self._values[name] = int(value)

    def fresh(self, ages_ms: Sequence[int]) -> None:
        """Note how old events were when the lists that reflect them were written."""
        now = self._clock()
        self._fresh.extend((now, age) for age in ages_ms)

    def _freshness(self, q: float) -> int:
        now = self._clock()
        while self._fresh and self._fresh[0][0] < now - _WINDOW_S:
            self._fresh.popleft()
        return quantile([age for _, age in list(self._fresh)], q)


def quantile(values: Sequence[int], q: float) -> int:
    """The nearest-rank quantile; 0 of nothing.

    >>> quantile([10, 20, 30, 40], 0.5), quantile([10, 20, 30, 40], 0.99), quantile([], 0.5)
    (20, 40, 0)
    """
    ordered = sorted(values)
    return ordered[max(0, -int(-q * len(ordered) // 1) - 1)] if ordered else 0
