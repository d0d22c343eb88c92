"""Reading the stores within a deadline: Redis first, DynamoDB behind it, short caches for what all visitors share."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

from contracts.errors import ContractError, StoreError
from contracts.features import BUCKET_MS, bucket_start
from contracts.keys import popular_key, popular_row, similar_key, trending_key
from contracts.lists import RecommendationList, decode_list
from contracts.pointer import Pointer
from contracts.settings import Settings
from serving.answers import StoreName
from serving.cached import Cached
from serving.shelf import sum_trend
from stores.cluster import Cluster, Command
from stores.tables import Tables

__all__ = ["Found", "Reader"]

T = TypeVar("T")
Found = tuple[RecommendationList, StoreName]
"""A list and the store that held it."""

_log = logging.getLogger(__name__)
_AWAY_AFTER: Final = 3
_CHECK_S: Final = 1.0
_TRENDING_KEPT: Final = 200
_ABSENT_S: Final = 30.0
_ABSENT_KEPT: Final = 10_000


class Reader:
    """Reads for many requests at once; every read ends within its deadline or raises :class:`StoreError`.

    Redis is left alone while it is away (after three failures in a row), and :meth:`keep` finds out when it is back.
    """

    def __init__(self, settings: Settings, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._settings = settings
        self._now_ms = now_ms
        serving = settings.serving
        # Two attempts, because a moved slot is found by the second; the pause between them is below 50 ms.
        self._redis_deadline_s = (2 * serving.redis_timeout_ms + 50) / 1000
        self._dynamodb_deadline_s = serving.dynamodb_timeout_ms / 1000
        self._redis_pool = ThreadPoolExecutor(8, "redis")
        self._table_pool = ThreadPoolExecutor(16, "dynamodb")
        self._cluster: Cluster | None = None
        self._tables = Tables.from_settings(settings, timeout_s=max(1.0, self._dynamodb_deadline_s))
        self._failures = _AWAY_AFTER  # away until the first check
        self._pointers: dict[str, Pointer] = {}
        self._absent: dict[str, float] = {}
        self._popular = Cached(self._read_popular, ttl_s=10.0)
        self._trending = Cached(self._read_trending, ttl_s=1.0)

    @property
    def redis_ok(self) -> bool:
        """Whether Redis answered lately."""
        return self._failures < _AWAY_AFTER

    def pointer(self, shop: str) -> Pointer | None:
        """The live model version as last seen, at most about a second old; ``None`` before the first publish."""
        return self._pointers.get(shop)

    async def keep(self) -> None:
        """Connect, watch Redis' health and follow the model pointers, until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(_CHECK_S)

    async def check(self) -> None:
        """One round of :meth:`keep`."""
        was = self.redis_ok
        try:
            if self._cluster is None:
                self._cluster = await self._call(self._redis_pool, self._connect, 2.0)
            cluster = self._cluster
            for shop in self._settings.shops:
                pointer = await self._call(self._redis_pool, partial(cluster.pointer, shop), 1.0)
                self._point(shop, pointer or await self._authority(shop))
            self._failures = 0
        except StoreError:
            self._failures += 1
            for shop in self._settings.shops:
                self._point(shop, await self._authority(shop))
        if was != self.redis_ok:
            _log.warning("Redis is %s", "back" if self.redis_ok else "away: serving from DynamoDB and memory")

    def _connect(self) -> Cluster:
        return Cluster.from_settings(self._settings, timeout_ms=self._settings.serving.redis_timeout_ms, attempts=2)

    async def _authority(self, shop: str) -> Pointer | None:
        try:
            return await self._call(self._table_pool, lambda: self._tables.current(shop), 1.0)
        except StoreError:
            return None

    def _point(self, shop: str, pointer: Pointer | None) -> None:
        if pointer is not None:
            self._pointers[shop] = pointer

    async def redis(self, commands: Sequence[Command]) -> list[Any]:
        """Run single-key commands.

        Raises:
            StoreError: Redis is away or did not answer in time.
        """
        cluster = self._cluster
        if cluster is None or not self.redis_ok:
            message = "Redis is away"
            raise StoreError(message)
        try:
            answers = await self._call(self._redis_pool, lambda: cluster.execute(commands), self._redis_deadline_s)
        except StoreError:
            self._failures += 1
            if not self.redis_ok:
                _log.warning("Redis is away: serving from DynamoDB and memory")
            raise
        self._failures = 0
        return answers

    async def listed(self, key: str, row: str) -> Found | None:
        """A stored list from Redis, else from DynamoDB; ``None`` where neither holds it or neither answers."""
        try:
            if data := (await self.redis([("GET", key)]))[0]:
                return decode_list(data), "redis"
        except (StoreError, ContractError):
            pass
        if self._absent.get(row, 0.0) > time.monotonic():
            return None
        try:
            data = await self._call(self._table_pool, lambda: self._tables.get(row), self._dynamodb_deadline_s)
            if data:
                return decode_list(data), self._tables.kind
        except (StoreError, ContractError):
            return None
        self._remember_absent(row)
        return None

    def _remember_absent(self, row: str) -> None:
        """A new visitor has no list of any training: do not ask (and pay) DynamoDB for it on every request."""
        if len(self._absent) >= _ABSENT_KEPT:
            self._absent.clear()
        self._absent[row] = time.monotonic() + _ABSENT_S

    async def popular(self, shop: str, version: str | None = None) -> Found | None:
        """The most popular items of a version (default: the live one)."""
        pointer = self.pointer(shop)
        version = version or (pointer.version if pointer else None)
        return await self._popular.get((shop, version)) if version else None

    async def similar(self, shop: str, version: str, items: Sequence[str]) -> dict[str, RecommendationList]:
        """The similar items that a version published of some items, from Redis alone; those that are there."""
        try:
            found = await self.redis([("GET", similar_key(shop, version, item)) for item in items]) if items else []
            return {item: decode_list(data) for item, data in zip(items, found, strict=True) if data}
        except (StoreError, ContractError):
            return {}

    async def _read_popular(self, key: tuple[str, str], last: Found | None) -> Found | None:
        return await self.listed(popular_key(*key), popular_row(*key)) or last

    def now_ms(self) -> int:
        """The clock: epoch milliseconds."""
        return self._now_ms()

    async def trending(self, shop: str, category: str = "") -> RecommendationList | None:
        """What was done most in the last hour, weighted as the stream weighs it; ``None`` in a silent or blind hour."""
        return await self._trending.get((shop, category))

    async def _read_trending(self, key: tuple[str, str], last: RecommendationList | None) -> RecommendationList | None:
        newest = bucket_start(self._now_ms())
        starts = [newest - i * BUCKET_MS for i in range(self._settings.serving.trending_buckets)]
        keys = [trending_key(key[0], start // 1000, key[1]) for start in starts]
        commands = [("ZREVRANGE", name, 0, _TRENDING_KEPT - 1, "WITHSCORES") for name in keys]
        try:
            buckets = await self.redis(commands)
        except StoreError:
            return None
        total = sum_trend([_pairs(bucket) for bucket in buckets], _TRENDING_KEPT)
        if not total:
            return None
        items, scores = [item for item, _ in total], [score for _, score in total]
        if last and last.items == items and last.scores == scores:
            return last
        return RecommendationList(
            source="trending", model_version="", based_on=None, written_at=self._now_ms(), items=items, scores=scores
        )

    async def _call(self, pool: ThreadPoolExecutor, call: Callable[[], T], deadline_s: float) -> T:
        future = asyncio.get_running_loop().run_in_executor(pool, call)
        try:
            return await asyncio.wait_for(future, deadline_s)
        except TimeoutError as exc:
            message = f"no answer within {deadline_s * 1000:.0f} ms; check the store's health and its time-out setting"
            raise StoreError(message) from exc

    def close(self) -> None:
        """Give threads and connections back."""
        self._redis_pool.shutdown(wait=False, cancel_futures=True)
        self._table_pool.shutdown(wait=False, cancel_futures=True)
        if self._cluster is not None:
            self._cluster.close()
        self._tables.close()


def _pairs(answer: Sequence[Any]) -> list[tuple[str, float]]:
    """Members and scores, from either protocol's form: flat, or one pair each."""
    if answer and not isinstance(answer[0], list | tuple):
        answer = list(zip(answer[::2], answer[1::2], strict=True))
    return [(member.decode(), float(score)) for member, score in answer]
