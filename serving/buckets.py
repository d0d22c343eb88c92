"""Token buckets: how often each of many names may do something. Pure: the clock is an argument."""

from collections import OrderedDict
from collections.abc import Callable

__all__ = ["TokenBuckets"]


class TokenBuckets:
    """A bucket a name, that holds ``burst`` tokens at most and gets ``rate`` a second.

    Memory is bounded: beyond ``keep`` names the one that was not seen for longest is forgotten. It comes back with a
    full bucket, so a name can gain at most what ``keep`` other names pay for.

    >>> now = [0.0]
    >>> limit = TokenBuckets(rate=2.0, burst=2, clock=lambda: now[0])
    >>> limit.take("a"), limit.take("a"), limit.take("a"), limit.take("b")
    (0.0, 0.0, 0.5, 0.0)
    >>> now[0] = 0.5
    >>> limit.take("a"), limit.take("a")
    (0.0, 0.5)
    """

    def __init__(self, rate: float, burst: float, clock: Callable[[], float], keep: int = 10_000) -> None:
        self._rate, self._burst, self._clock, self._keep = rate, float(burst), clock, keep
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, name: str) -> float:
        """Take a token; returns 0, or the seconds until there is one (then none was taken)."""
        now = self._clock()
        known = self._buckets.pop(name, None)
        tokens = self._burst if known is None else min(self._burst, known[0] + max(0.0, now - known[1]) * self._rate)
        wait = 0.0 if tokens >= 1.0 else (1.0 - tokens) / self._rate
        self._buckets[name] = (tokens if wait else tokens - 1.0, now)
        if len(self._buckets) > self._keep:
            self._buckets.popitem(last=False)
        return wait
