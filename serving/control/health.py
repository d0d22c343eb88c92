"""Each part of the system asked how it is, all at once, each within its own limit."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from contracts.errors import LiveshelfError
from serving.answers import CollectorStatus
from serving.catalogue import Catalogue
from serving.control.answers import ControlHealth, Part
from serving.control.figures import Figures
from serving.control.room import Room

__all__ = ["health", "job_part", "model_part"]

_OLD_MODEL_S: Final = 2 * 24 * 3600
_BEHIND_MS: Final = 60_000
_STALE_CATALOGUE_MS: Final = 7 * 24 * 3600 * 1000


class Asked(NamedTuple):
    """What is needed beside the room."""

    shop: str
    catalogue: Catalogue
    collector: CollectorStatus
    streams: int


async def health(room: Room, asked: Asked) -> ControlHealth:
    """All parts; never raises for a part's sake."""
    shop = asked.shop

    async def redis() -> str:
        await room.reader.redis([("GET", f"{shop}:control:none")])
        return "answers"

    async def dynamodb() -> str:
        pointer = await room.within(lambda: room.tables.current(shop))
        return f"live version {pointer.version}" if pointer else "answers; no version is live yet"

    async def kinesis() -> str:
        found = await room.within(room.shard_count)
        return f"{found['StreamStatus'].lower()}, {found['OpenShardCount']} shards"

    timed = [("Redis", redis), ("DynamoDB", dynamodb), ("Kinesis stream", kinesis)]
    parts = list(await asyncio.gather(*(_timed(name, ask) for name, ask in timed)))
    figures, problem = room.newest
    pointer = room.reader.pointer(shop)
    parts += [
        job_part(figures, problem),
        model_part(pointer.version if pointer else None, room.reader.now_ms()),
        _collector(asked.collector),
        _catalogue(asked.catalogue),
        Part("Pages that listen", "ok", f"{asked.streams} open"),
    ]
    return ControlHealth(room.reader.now_ms(), parts)


async def _timed(name: str, ask: Callable[[], Awaitable[str]]) -> Part:
    began = time.perf_counter()
    try:
        words = await ask()
    except TimeoutError:
        return Part(name, "bad", "no answer in time")
    except (LiveshelfError, ClientError, BotoCoreError) as exc:
        return Part(name, "bad", str(exc)[:300])
    return Part(name, "ok", words, round((time.perf_counter() - began) * 1000, 1))


def job_part(figures: Figures | None, problem: str) -> Part:
    """The streaming job."""
    name = "Flink job"
    if figures is None:
        return Part(name, "away", problem or "not asked yet")
    behind = figures.values.get("millisBehindLatest", 0.0)
    if figures.job.state != "RUNNING":
        return Part(name, "bad", figures.job.state.lower())
    if behind > _BEHIND_MS:
        return Part(name, "warn", f"running, {behind / 1000:.0f} s behind the stream")
    if figures.job.restarts:
        return Part(name, "warn", f"running; restarted {figures.job.restarts} times since it was submitted")
    return Part(name, "ok", "running")


def model_part(version: str | None, now_ms: int) -> Part:
    """The live model and its age, which its version tells.

    >>> model_part("20260101T000000Z-abc123", 1767225600_000 + 3 * 86_400_000)
    Part(name='Model', state='warn', words='trained 3.0 days ago; is the scheduler running?', took_ms=None)
    """
    if version is None:
        return Part("Model", "warn", "no version is published yet")
    try:
        trained = datetime.strptime(version[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return Part("Model", "ok", version)
    age_s = now_ms / 1000 - trained.timestamp()
    words = f"trained {_age(age_s)} ago"
    if age_s > _OLD_MODEL_S:
        return Part("Model", "warn", f"{words}; is the scheduler running?")
    return Part("Model", "ok", words)


def _age(seconds: float) -> str:
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def _collector(counts: CollectorStatus) -> Part:
    if counts.away:
        return Part("Collector", "bad", "the stream does not take events; they are kept on disk where that is set up")
    words = f"{counts.accepted:,} taken, {counts.rejected:,} refused, {counts.failed:,} failed since the start"
    return Part("Collector", "warn" if counts.failed else "ok", words)


def _catalogue(catalogue: Catalogue) -> Part:
    if catalogue.loaded_at is None:
        return Part("Catalogue", "bad", "not loaded yet")
    return Part("Catalogue", "ok", f"{len(catalogue.items):,} items")
