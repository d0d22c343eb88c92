"""Item trends for the ranker: read from Redis for the candidates of a batch, kept for a few seconds in each worker."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from contracts.keys import item_key
from contracts.ranker import trend_sums
from stores.cluster import Cluster

__all__ = ["ItemTrends"]

_TTL_MS: Final = 5_000
_MOST_READS: Final = 1_000
_KEPT: Final = 50_000


class ItemTrends:
    """Weighted actions of items in the last hour and day; a small cache before Redis, for one thread.

    Bounded in time (a value is read again after ``ttl_ms``), in reads (one pipelined round trip of at most ``most``
    items a call: those never read first, then the oldest) and in size (``kept`` items, the longest unread go first).
    Trap: an item that the bound on reads leaves out has no trend (0) or an old one until a later call.
    """

    def __init__(self, cluster: Cluster, *, ttl_ms: int = _TTL_MS, most: int = _MOST_READS, kept: int = _KEPT) -> None:
        self._cluster, self._ttl_ms, self._most, self._kept = cluster, ttl_ms, most, kept
        self._known: dict[tuple[str, str], tuple[int, float, float]] = {}

    def sums(self, shop: str, items: Sequence[str], now_ms: int) -> npt.NDArray[np.float64]:
        """``(len(items), 2)`` sums at ``now_ms``, the most important items first (they are read first).

        Raises:
            StoreError: Redis did not answer.
        """
        keys = [(shop, item) for item in items]
        stale = [key for key in keys if key not in self._known]
        if len(stale) < self._most:
            old = (key for key in keys if key in self._known and now_ms - self._known[key][0] >= self._ttl_ms)
            stale += sorted(old, key=lambda key: self._known[key][0])
        self._read(stale[: self._most], now_ms)
        nothing = (0, 0.0, 0.0)
        found = np.array([self._known.get(key, nothing)[1:] for key in keys], np.float64).reshape(len(keys), 2)
        self._forget()
        return found

    def _read(self, keys: Sequence[tuple[str, str]], now_ms: int) -> None:
        if not keys:
            return
        answers = self._cluster.execute([("HGETALL", item_key(*key)) for key in keys])
        for key, answer in zip(keys, answers, strict=True):
            self._known.pop(key, None)  # a dict keeps the order of insertion: the longest unread stay in front
            self._known[key] = (now_ms, *trend_sums(_fields(answer), now_ms))

    def _forget(self) -> None:
        excess = len(self._known) - self._kept
        for key in list(self._known)[: max(excess, 0)]:
            del self._known[key]


def _fields(answer: Any) -> Mapping[bytes, bytes]:
    if isinstance(answer, dict):
        return answer
    flat: Iterable[bytes] = iter(answer or ())
    return dict(zip(flat, flat, strict=True))
