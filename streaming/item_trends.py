"""Item trends for the ranker: read from Redis for the candidates of a batch, kept for a few seconds in each worker."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from contracts.keys import item_key
from contracts.trends import trend_sums
from stores.cluster import Cluster

__all__ = ["ItemTrends"]

_TTL_MS: Final = 5_000
_MOST_READS: Final = 100
_PAUSE_MS: Final = 200
_KEPT: Final = 50_000


class ItemTrends:
    """Weighted actions of items in the last hour and day; a small cache before Redis, for one thread.

    Bounded in time (a value is read again after ``ttl_ms``), in reads (one pipelined round trip of at most ``most``
    items, no sooner than ``pause_ms`` after the one before: those never read first, then the oldest) and in size
    (``kept`` items, the longest unread go first). An item wanted all day has 288 buckets to read and add, which takes
    longer than to score ten people: hence the pause. Trap: an item that the bounds on reads leave out has no
    trend (0) or an old one until a later call.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        ttl_ms: int = _TTL_MS,
        most: int = _MOST_READS,
        pause_ms: int = _PAUSE_MS,
        kept: int = _KEPT,
    ) -> None:
        self._cluster, self._ttl_ms, self._most, self._pause_ms = cluster, ttl_ms, most, pause_ms
        self._slots: dict[str, dict[str, int]] = {}
        self._keys: list[tuple[str, str]] = []
        self._read_ms = np.zeros(kept, np.int64)
        self._sums = np.zeros((kept + 1, 2))  # the last row stays 0: that of slot −1
        self._newest_ms: int | None = None

    def sums(self, shop: str, items: Sequence[str], now_ms: int) -> npt.NDArray[np.float64]:
        """``(len(items), 2)`` sums at ``now_ms``, the most important items first (they are read first).

        Raises:
            StoreError: Redis did not answer.
        """
        slots = self._slots.setdefault(shop, {})
        at = np.fromiter(map(slots.get, items, repeat(-1)), np.int64, count=len(items))
        found: npt.NDArray[np.float64] = self._sums[at]
        if self._newest_ms is None or abs(now_ms - self._newest_ms) >= self._pause_ms:
            due = self._due(at, now_ms)
            found[due] = self._read([(shop, items[place]) for place in due], now_ms)
        return found

    def _due(self, at: npt.NDArray[np.int64], now_ms: int) -> list[int]:
        """Places of the items to read now."""
        due = np.flatnonzero(at < 0)[: self._most]
        if len(due) < self._most:
            ages = now_ms - self._read_ms[at]
            old = np.flatnonzero((at >= 0) & (ages >= self._ttl_ms))
            old = old[np.argsort(-ages[old], kind="stable")]
            due = np.concatenate([due, old[: self._most - len(due)]])
        places: list[int] = due.tolist()
        return places

    def _read(self, keys: Sequence[tuple[str, str]], now_ms: int) -> npt.NDArray[np.float64]:
        if not keys:
            return np.zeros((0, 2))
        answers = self._cluster.execute([("HGETALL", item_key(*key)) for key in keys])
        sums = np.array([trend_sums(_fields(answer), now_ms) for answer in answers])
        for key, values in zip(keys, sums, strict=True):
            slot = self._slot(key)
            self._read_ms[slot], self._sums[slot] = now_ms, values
        self._newest_ms = now_ms
        return sums

    def _slot(self, key: tuple[str, str]) -> int:
        """The item's slot; where all are taken, that of the item which was read longest ago."""
        shop, item = key
        slot = self._slots[shop].get(item, -1)
        if slot < 0:
            slot = len(self._keys)
            if slot < len(self._read_ms):
                self._keys.append(key)
            else:
                slot = int(np.argmin(self._read_ms))
                other, gone = self._keys[slot]
                del self._slots[other][gone]
                self._keys[slot] = key
            self._slots[shop][item] = slot
        return slot


def _fields(answer: Any) -> Mapping[bytes, bytes]:
    if isinstance(answer, dict):
        return answer
    flat: Iterable[bytes] = iter(answer or ())
    return dict(zip(flat, flat, strict=True))
