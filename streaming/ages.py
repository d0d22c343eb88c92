"""How old events were when their lists were written: the distribution of the last minute, in bounded memory."""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["Ages", "quantile"]

_SECONDS: Final = 60
_GROWTH: Final = 1.02
_LONGEST_MS: Final = 3_600_000
_BINS: Final = int(np.log(_LONGEST_MS + 1) / np.log(_GROWTH)) + 1
_FIGURES: Final = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class Ages:
    """Quantiles of the last 60 seconds, at most 2 % above the true ones, and the exact maximum; all in milliseconds.

    A histogram a second, so that neither memory nor time grows with the rate. The figures are made at most once a
    second: whoever reads gauges does so after every batch.

    >>> ages = Ages(clock=lambda: 0.0)
    >>> ages.add(range(1, 101))
    >>> ages.figures()
    {'p50': 50, 'p95': 95, 'p99': 99, 'max': 100}
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seconds: deque[tuple[int, npt.NDArray[np.int64], list[int]]] = deque()
        self._figures = dict.fromkeys((*_FIGURES, "max"), 0)
        self._made = -1

    def add(self, ages_ms: Sequence[int] | npt.NDArray[np.int64]) -> None:
        """Note a batch; an age below 0 (clocks differ) counts as 0, one above an hour as an hour."""
        if len(ages_ms) == 0:
            return
        now = int(self._clock())
        if not self._seconds or self._seconds[-1][0] != now:
            self._seconds.append((now, np.zeros(_BINS, np.int64), [0]))
            self._forget(now)
        _, counts, longest = self._seconds[-1]
        ages = np.clip(np.asarray(ages_ms, np.int64), 0, _LONGEST_MS)
        counts += np.bincount(_bin(ages), minlength=_BINS)
        longest[0] = max(longest[0], int(ages.max()))

    def figures(self) -> dict[str, int]:
        """``p50``, ``p95``, ``p99`` and ``max``; 0 where nothing came for a minute."""
        now = int(self._clock())
        if now != self._made:
            self._forget(now)
            self._made = now
            counts: Any = sum((counts for _, counts, _ in self._seconds), np.zeros(_BINS, np.int64))
            longest = max((most[0] for *_, most in self._seconds), default=0)
            self._figures = {name: min(quantile(counts, q), longest) for name, q in _FIGURES.items()}
            self._figures["max"] = longest
        return self._figures

    def _forget(self, now: int) -> None:
        while self._seconds and self._seconds[0][0] <= now - _SECONDS:
            self._seconds.popleft()


def quantile(counts: npt.NDArray[np.int64], q: float) -> int:
    """The upper end, in ms, of the bin that holds the nearest-rank quantile; 0 of nothing.

    >>> quantile(np.bincount([0, 0, 1]), 0.5), quantile(np.zeros(3, np.int64), 0.5)
    (0, 0)
    """
    total = int(counts.sum())
    if total == 0:
        return 0
    place = int(np.searchsorted(np.cumsum(counts), int(np.ceil(q * total))))
    return int(np.floor(_GROWTH ** (place + 1) - 1 + 1e-9))


def _bin(ages: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    bins: npt.NDArray[np.int64] = (np.log1p(ages) / np.log(_GROWTH)).astype(np.int64)
    return bins
