"""What is wanted right now, in the shop and in a category: read from Redis, kept for a few seconds in each worker."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from contracts.features import BUCKET_MS, WINDOWS_MS, bucket_start
from contracts.keys import trending_key
from stores.cluster import Cluster

__all__ = ["SHOP", "Ranking", "Trending", "ranking_of"]

SHOP: Final = ""
"""Stands for all categories."""

Ranking = tuple[tuple[str, float], ...]
"""Item ids with what they are of the first: shares above 0, at most 1, best first."""

_TTL_MS: Final = 5_000
_MOST_READS: Final = 20
_KEPT: Final = 2_000
_ITEMS: Final = 100
_BUCKETS: Final = WINDOWS_MS["1h"] // BUCKET_MS

Key = tuple[str, str]


class Trending:
    """The rankings of the last hour; a small cache before Redis, for one thread.

    Bounded in time (read again after ``ttl_ms``), in reads (one pipelined round trip for at most ``most`` rankings a
    call: the shop's, then those never read, then the oldest) and in size (``kept`` rankings of at most 100 items, the
    longest unread go first). Trap: a ranking that the bound on reads leaves out is empty, or an old one, until a later
    call.
    """

    def __init__(self, cluster: Cluster, *, ttl_ms: int = _TTL_MS, most: int = _MOST_READS, kept: int = _KEPT) -> None:
        self._cluster, self._ttl_ms, self._most, self._kept = cluster, ttl_ms, most, kept
        self._known: dict[Key, tuple[int, Ranking]] = {}

    def rankings(self, shop: str, categories: Iterable[str], now_ms: int) -> dict[str, Ranking]:
        """Category (or :data:`SHOP`) → its ranking at ``now_ms``; of those never read, the first given are read first.

        Raises:
            StoreError: Redis did not answer.
        """
        wanted = list(dict.fromkeys(categories))
        stale = [(shop, name) for name in wanted if self._due_ms((shop, name)) <= now_ms]
        self._read(sorted(stale, key=lambda key: (key[1] != SHOP, self._due_ms(key)))[: self._most], now_ms)
        found = {name: self._known[shop, name][1] if (shop, name) in self._known else () for name in wanted}
        for key in list(self._known)[: max(len(self._known) - self._kept, 0)]:
            del self._known[key]
        return found

    def _due_ms(self, key: Key) -> int:
        return self._known[key][0] + self._ttl_ms if key in self._known else 0

    def _read(self, keys: Sequence[Key], now_ms: int) -> None:
        if not keys:
            return
        starts = [(bucket_start(now_ms) - at * BUCKET_MS) // 1000 for at in range(_BUCKETS)]
        names = [trending_key(shop, start, category) for shop, category in keys for start in starts]
        answers = self._cluster.execute([("ZREVRANGE", name, 0, _ITEMS - 1, "WITHSCORES") for name in names])
        for at, key in enumerate(keys):
            self._known.pop(key, None)  # a dict keeps the order of insertion: the longest unread stay in front
            self._known[key] = (now_ms, ranking_of(answers[at * _BUCKETS : (at + 1) * _BUCKETS]))


def ranking_of(buckets: Iterable[Sequence[Any]]) -> Ranking:
    """The ranking of several buckets' answers, whose weights are added; equal weights in the order of ids.

    Args:
        buckets: id and weight by turns, or pairs of them, as Redis answers ``ZREVRANGE … WITHSCORES``.

    >>> ranking_of([[b"A", b"1", b"B", b"2"], [(b"A", 3.0), (b"C", 2.0)]])
    (('A', 1.0), ('B', 0.5), ('C', 0.5))
    """
    totals: dict[str, float] = {}
    for answer in buckets:
        flat = iter(answer)
        pairs = answer if answer and isinstance(answer[0], (tuple, list)) else zip(flat, flat, strict=True)
        for item_id, weight in pairs:
            name = item_id.decode()
            totals[name] = totals.get(name, 0.0) + float(weight)
    best = sorted(totals.items(), key=lambda pair: (-pair[1], pair[0]))[:_ITEMS]
    return tuple((item_id, weight / best[0][1]) for item_id, weight in best if weight > 0)
