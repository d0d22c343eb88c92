"""Reading the stores within a budget of time: Redis first, DynamoDB behind it, short caches for what visitors share."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import msgspec

from contracts.errors import ContractError, StoreError
from contracts.features import BUCKET_MS, bucket_start
from contracts.keys import (
    pointer_key,
    popular_key,
    popular_row,
    similar_key,
    trending_key,
)
from contracts.lists import RecommendationList, decode_list
from contracts.pointer import Pointer
from contracts.settings import Settings
from serving.answers import StoreName
from serving.breaker import Breaker
from serving.budget import Budget
from serving.cached import Cached
from serving.shelf import sum_trend
from stores.loop_cluster import LoopCluster
from stores.scripts import Command
from stores.tables import Tables

__all__ = ["Found", "Reader"]

T = TypeVar("T")
Found = tuple[RecommendationList, StoreName]
"""A list and the store that held it."""

_log = logging.getLogger(__name__)
_CHECK_S: Final = 1.0
_BACKGROUND_S: Final = 1.0
_LEAST_S: Final = 0.002
"""With less time than this a store is not asked: that it did not answer would say nothing about it."""
_TRENDING_KEPT: Final = 200
_TRENDING_OLD_MS: Final = 10 * 60 * 1000
_ABSENT_S: Final = 30.0
_ABSENT_KEPT: Final = 10_000


class Reader:
    """Reads for many requests at once, on one event loop; every read ends within its time.

    A store that fails several times in a row is left alone for a while (:class:`serving.breaker.Breaker`): each server
    of Redis by itself, and DynamoDB.
    """

    def __init__(self, settings: Settings, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._settings = settings
        self._now_ms = now_ms
        serving = settings.serving
        self._redis_s = serving.redis_timeout_ms / 1000
        self._dynamodb_s = serving.dynamodb_timeout_ms / 1000
        self._deadline_s = serving.deadline_ms / 1000
        self._cluster = LoopCluster.from_settings(settings, lambda: Breaker(_loop_time))
        self._table_pool = ThreadPoolExecutor(16, "dynamodb")
        self._tables = Tables.from_settings(settings, timeout_s=max(1.0, self._dynamodb_s))
        self._table_breaker = Breaker(_loop_time)
        self._was_well = False
        self._pointers: dict[str, Pointer] = {}
        self._absent: dict[str, float] = {}
        self._popular = Cached(self._read_popular, ttl_s=10.0)
        self._trending = Cached(self._read_trending, ttl_s=1.0, stale_s=5.0)

    @property
    def redis_ok(self) -> bool:
        """Whether all of Redis answered lately."""
        return self._cluster.well

    def budget(self) -> Budget:
        """The time of a request that begins now."""
        return Budget(self._deadline_s, _loop_time)

    def now_ms(self) -> int:
        """The clock: epoch milliseconds."""
        return self._now_ms()

    def pointer(self, shop: str) -> Pointer | None:
        """The live model version as last seen, at most about a second old; ``None`` before the first publish."""
        return self._pointers.get(shop)

    async def keep(self) -> None:
        """Follow the model pointers and keep what all visitors share fresh, until cancelled."""
        while True:
            await self.check()
            for shop in self._settings.shops:
                await self.popular(shop)
                await self.trending(shop)
            await asyncio.sleep(_CHECK_S)

    async def check(self) -> None:
        """One look at the pointers, and at the health of Redis."""
        shops = self._settings.shops
        found = await self._cluster.execute([("GET", pointer_key(shop)) for shop in shops], _BACKGROUND_S)
        for shop, data in zip(shops, found, strict=True):
            pointer = _pointer(data) or await self._authority(shop)
            if pointer is not None:
                self._pointers[shop] = pointer
        well = self.redis_ok
        if well != self._was_well:
            self._was_well = well
            _log.warning("Redis is %s", "back" if well else "away: serving from DynamoDB and memory")

    async def _authority(self, shop: str) -> Pointer | None:
        try:
            return await self._table(lambda: self._tables.current(shop), _BACKGROUND_S)
        except StoreError:
            return None

    async def ask(self, commands: Sequence[Command], budget: Budget | None = None) -> list[Any]:
        """Run single-key commands; where one was not answered in time, a :class:`StoreError` in place of its answer."""
        timeout_s = budget.share(self._redis_s) if budget else _BACKGROUND_S
        if timeout_s < _LEAST_S:
            return [StoreError("no time is left to ask Redis")] * len(commands)
        return await self._cluster.execute(commands, timeout_s)

    async def redis(self, commands: Sequence[Command], budget: Budget | None = None) -> list[Any]:
        """The same, all or nothing.

        Raises:
            StoreError: Redis is away or did not answer in time.
        """
        answers = await self.ask(commands, budget or self.budget())
        for answer in answers:
            if isinstance(answer, StoreError):
                raise answer
        return answers

    async def listed(self, key: str, row: str, budget: Budget | None = None, *, cached: bool = True) -> Found | None:
        """A stored list from Redis (if ``cached``), else from DynamoDB; ``None`` where no store brings it in time."""
        budget = budget or self.budget()
        if cached and (found := _decoded((await self.ask([("GET", key)], budget))[0])):
            return found, "redis"
        if self._absent.get(row, 0.0) > time.monotonic():
            return None
        try:
            data = await self._table(lambda: self._tables.get(row), budget.share(self._dynamodb_s))
        except StoreError:
            return None
        if found := _decoded(data):
            return found, self._tables.kind
        self._remember_absent(row)
        return None

    async def lists(self, keys: Sequence[str], budget: Budget) -> list[RecommendationList | None]:
        """Stored lists from Redis alone, in one round; ``None`` for each that is not there."""
        return [_decoded(data) for data in await self.ask([("GET", key) for key in keys], budget)] if keys else []

    def _remember_absent(self, row: str) -> None:
        """A new visitor has no list of any training: do not ask (and pay) DynamoDB for it on every request."""
        if len(self._absent) >= _ABSENT_KEPT:
            self._absent.clear()
        self._absent[row] = time.monotonic() + _ABSENT_S

    async def popular(self, shop: str, version: str | None = None, budget: Budget | None = None) -> Found | None:
        """The most popular items of a version (default: the live one)."""
        pointer = self.pointer(shop)
        version = version or (pointer.version if pointer else None)
        return await self._popular.get((shop, version), _wait(budget)) if version else None

    async def similar(
        self, shop: str, version: str, items: Sequence[str], budget: Budget | None = None
    ) -> dict[str, RecommendationList]:
        """The similar items that a version published of some items, from Redis alone; those that are there."""
        found = await self.lists([similar_key(shop, version, item) for item in items], budget or self.budget())
        return {item: listed for item, listed in zip(items, found, strict=True) if listed}

    async def _read_popular(self, key: tuple[str, str], last: Found | None) -> Found | None:
        budget = Budget(2 * _BACKGROUND_S, _loop_time)
        return await self.listed(popular_key(*key), popular_row(*key), budget) or last

    async def trending(self, shop: str, category: str = "", budget: Budget | None = None) -> RecommendationList | None:
        """What was done most in the last hour, weighted as the stream weighs it; ``None`` in a silent or blind hour.

        While Redis is away it is what was read last, for ten minutes.
        """
        return await self._trending.get((shop, category), _wait(budget))

    async def _read_trending(self, key: tuple[str, str], last: RecommendationList | None) -> RecommendationList | None:
        now_ms = self._now_ms()
        newest = bucket_start(now_ms)
        starts = [newest - i * BUCKET_MS for i in range(self._settings.serving.trending_buckets)]
        keys = [trending_key(key[0], start // 1000, key[1]) for start in starts]
        answers = await self.ask([("ZREVRANGE", name, 0, _TRENDING_KEPT - 1, "WITHSCORES") for name in keys])
        buckets = [answer for answer in answers if not isinstance(answer, StoreError)]
        if len(buckets) < len(answers) and last and now_ms - last.written_at < _TRENDING_OLD_MS:
            return last
        total = sum_trend([_pairs(bucket) for bucket in buckets], _TRENDING_KEPT)
        if not total:
            return None
        items, scores = [item for item, _ in total], [score for _, score in total]
        if last and last.items == items and last.scores == scores:
            return last
        return RecommendationList(
            source="trending", model_version="", based_on=None, written_at=now_ms, items=items, scores=scores
        )

    async def _table(self, call: Callable[[], T], timeout_s: float) -> T:
        """Ask DynamoDB, in a thread."""
        if timeout_s < _LEAST_S or not self._table_breaker.allows():
            message = "DynamoDB is left alone: it failed several times in a row, or no time is left to ask it"
            raise StoreError(message)
        try:
            future = asyncio.get_running_loop().run_in_executor(self._table_pool, call)
            answer = await asyncio.wait_for(future, timeout_s)
        except TimeoutError as exc:
            self._table_breaker.failed()
            message = f"DynamoDB did not answer within {timeout_s * 1000:.0f} ms; check its health and the time-out"
            raise StoreError(message) from exc
        except BaseException:
            self._table_breaker.failed()
            raise
        self._table_breaker.succeeded()
        return answer

    def close(self) -> None:
        """Give threads and connections back."""
        self._table_pool.shutdown(wait=False, cancel_futures=True)
        self._cluster.close()
        self._tables.close()


def _loop_time() -> float:
    """The clock by which the event loop waits."""
    return asyncio.get_running_loop().time()


def _wait(budget: Budget | None) -> float:
    return budget.left() if budget else _BACKGROUND_S


def _decoded(data: Any) -> RecommendationList | None:
    try:
        return decode_list(data) if data and not isinstance(data, StoreError) else None
    except ContractError as exc:
        _log.warning("%s", exc)
        return None


def _pointer(data: Any) -> Pointer | None:
    try:
        return msgspec.json.decode(data, type=Pointer) if data and not isinstance(data, StoreError) else None
    except msgspec.MsgspecError as exc:
        _log.warning("the pointer in Redis cannot be read: %s", exc)
        return None


def _pairs(answer: Sequence[Any]) -> list[tuple[str, float]]:
    """Members and scores, from either protocol's form: flat, or one pair each."""
    if answer and not isinstance(answer[0], list | tuple):
        answer = list(zip(answer[::2], answer[1::2], strict=True))
    return [(member.decode(), float(score)) for member, score in answer]
