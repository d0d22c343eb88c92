"""Gives moto's Kinesis streams shards that behave as on AWS: locked, indexed, trimmed, throttled, and reshardable.

What stock moto 5.2 does and why it is replaced:

- GetRecords walks a dict that PutRecords writes: HTTP 500 under load, and both cost as much as the shard holds;
- sequence numbers begin at 1 in every shard and every new process: a reader cannot tell a new stream from its own;
- a split or merge puts the records again into the children, with the arguments mixed up, and they are read twice;
  a second one is taken at once (AWS is UPDATING for a while), and shards stay listed when all their records expired;
- the topmost hash key of every shard belongs to nobody; reads are never throttled; nothing ever expires.

moto keeps the control plane (streams, tags, consumers, shard counts); :mod:`local.kinesis_api` serves records.
"""

import hashlib
import threading
import time
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from moto.kinesis import models
from moto.kinesis.exceptions import InvalidArgumentError, ResourceInUseError

from local.kinesis_shard import ShardLog, TokenBucket, first_sequence_number

__all__ = ["READS_PER_SECOND", "Limits", "LiveShard", "LiveStream", "install"]

#: How long a split or merge keeps a stream from the next one; AWS takes half a minute, records flow meanwhile.
UPDATING_MS: Final = 1000
#: GetRecords calls a second and shard, over all consumers that poll (enhanced fan-out is another matter).
READS_PER_SECOND: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a shard refuses. Reads a second are always limited; throughput only on request, to load a small machine.

    More ``reads_per_second`` than AWS allows stand in for a consumer with enhanced fan-out, to whom records are pushed.
    """

    reads_per_second: float = READS_PER_SECOND
    throughput: bool = False
    writes_per_second: float = 1000.0
    write_bytes_per_second: float = 1024.0 * 1024.0
    memory_bytes: int = 256 << 20


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


_limits = Limits()


class LiveShard(models.Shard):
    """A moto shard whose records live in a :class:`~local.kinesis_shard.ShardLog`."""

    def __init__(
        self,
        shard_id: int,
        starting_hash: int,
        ending_hash: int,
        parent: str | None = None,
        adjacent_parent: str | None = None,
    ) -> None:
        super().__init__(shard_id, starting_hash, ending_hash, parent, adjacent_parent)
        self.log = ShardLog(first_sequence_number(_now_ms(), shard_id), _now_ms, max_bytes=_limits.memory_bytes)
        self.closed_at: int | None = None
        self.reads = TokenBucket(_limits.reads_per_second, _now_ms)
        self._writes = TokenBucket(_limits.writes_per_second, _now_ms)
        self._written_bytes = TokenBucket(_limits.write_bytes_per_second, _now_ms)

    def may_write(self, size: int) -> bool:
        """Whether the shard's write throughput allows one more record of ``size`` bytes."""
        return not _limits.throughput or (self._writes.take() and self._written_bytes.take(size))

    def open_at(self, time_ms: int) -> bool:
        """Whether the shard took records at a time."""
        return self.log.created_at <= time_ms and (self.closed_at is None or time_ms < self.closed_at)

    @property
    def expired(self) -> bool:
        """Whether it was closed so long ago that none of its records is kept: it is not listed any more."""
        return self.closed_at is not None and _now_ms() - self.closed_at > self.log.retention_ms

    def to_json(self) -> dict[str, Any]:
        """The shard as DescribeStream and ListShards give it."""
        described = super().to_json()
        numbers = {"StartingSequenceNumber": str(self.log.first_sequence)}
        if not self.is_open:
            numbers["EndingSequenceNumber"] = str(self.log.last_sequence + 1)
        described["SequenceNumberRange"] = numbers
        return described


class LiveStream(models.Stream):
    """A moto stream with a lock, routing by hash range, and resharding that leaves records where they were written."""

    def init_shards(self, shard_count: int) -> None:
        """Create the first shards over equal hash ranges (moto builds them through the class patched in)."""
        self.lock = threading.RLock()
        self._inside = 0
        self._updating_until = 0
        super().init_shards(shard_count)
        self._route()

    @property
    def retention_period_hours(self) -> int:
        """How long records are kept; setting it (as moto's calls do) reaches every shard."""
        return self._retention_hours

    @retention_period_hours.setter
    def retention_period_hours(self, hours: int) -> None:
        self._retention_hours = hours
        for shard in self.shards.values():
            shard.log.retention_ms = hours * 3_600_000  # type: ignore[attr-defined]

    @property
    def status(self) -> str:
        """``UPDATING`` for a moment after shards were split or merged; reads and writes go on."""
        return "UPDATING" if _now_ms() < self._updating_until else self._status

    @status.setter
    def status(self, status: str) -> None:
        self._status = status
        self._updating_until = 0

    @contextmanager
    def _resharding(self) -> Iterator[None]:
        """Refuse while an earlier change goes on; afterwards this one does. A change inside a change is part of it."""
        with self.lock:
            if self._inside == 0 and self.status != "ACTIVE":
                msg = f"Stream {self.stream_name} under account {self.account_id} is {self.status}, not ACTIVE"
                raise ResourceInUseError(msg)
            self._inside += 1
            try:
                yield
                self._updating_until = _now_ms() + UPDATING_MS
            finally:
                self._inside -= 1

    def listed(self) -> list[LiveShard]:
        """The shards that ListShards and DescribeStream know, by id: open ones, and closed ones that hold records."""
        return [s for _, s in sorted(self.shards.items()) if isinstance(s, LiveShard) and not s.expired]

    def update_shard_count(self, target_shard_count: int) -> None:
        """Splits and merges until there are as many open shards as asked for."""
        with self._resharding():
            super().update_shard_count(target_shard_count)

    def _route(self) -> None:
        self._open = sorted((s for s in self.shards.values() if s.is_open), key=lambda shard: shard.starting_hash)
        self._starts = [shard.starting_hash for shard in self._open]
        self.shard_count = len(self._open)

    def shard_for(self, partition_key: str, explicit_hash_key: str | None) -> LiveShard:
        """The open shard whose range holds the explicit hash key, or else the MD5 of the partition key."""
        if explicit_hash_key:
            hashed = int(explicit_hash_key)
        else:
            digest = hashlib.md5(partition_key.encode(), usedforsecurity=False).digest()
            hashed = int.from_bytes(digest, "big")
        shard = self._open[bisect_right(self._starts, hashed) - 1]
        assert isinstance(shard, LiveShard)
        return shard

    def put_record(self, partition_key: str, explicit_hash_key: str, data: str) -> tuple[str, str]:
        """Used by moto's own producers (such as CloudWatch Logs subscriptions)."""
        with self.lock:
            shard = self.shard_for(partition_key, explicit_hash_key)
            return str(shard.log.append(partition_key, data, len(data) * 3 // 4)), shard.shard_id

    def split_shard(self, shard_to_split: str, new_starting_hash_key: str) -> None:
        """Close the shard and open its two children; records stay in the parent until they expire."""
        with self._resharding():
            parent, start = self._open_shard(shard_to_split), int(new_starting_hash_key)
            if not parent.starting_hash < start <= parent.ending_hash:
                held = f"{parent.starting_hash} to {parent.ending_hash}"
                msg = f"NewStartingHashKey {start} is not inside {shard_to_split}: {held}"
                raise InvalidArgumentError(msg)
            self._add_child(parent.starting_hash, start - 1, parent)
            self._add_child(start, parent.ending_hash, parent)
            self._route()

    def merge_shards(self, shard_to_merge: str, adjacent_shard_to_merge: str) -> None:
        """Close both shards and open one child over their ranges; records stay in the parents until they expire."""
        with self._resharding():
            first, second = self._open_shard(shard_to_merge), self._open_shard(adjacent_shard_to_merge)
            low, high = sorted((first, second), key=lambda shard: shard.starting_hash)
            if low.ending_hash + 1 != high.starting_hash:
                msg = f"{shard_to_merge} and {adjacent_shard_to_merge} are not adjacent"
                raise InvalidArgumentError(msg)
            self._add_child(low.starting_hash, high.ending_hash, first, second)
            self._route()

    def _open_shard(self, shard_id: str) -> models.Shard:
        shard = self.get_shard(shard_id)
        if not shard.is_open:
            msg = f"Shard {shard_id} has already been merged or split"
            raise InvalidArgumentError(msg)
        return shard

    def _add_child(self, low: int, high: int, parent: models.Shard, adjacent: models.Shard | None = None) -> None:
        for closed in filter(None, (parent, adjacent)):
            closed.is_open = False
            closed.closed_at = _now_ms()  # type: ignore[attr-defined]
        child = LiveShard(len(self.shards), low, high, parent.shard_id, adjacent.shard_id if adjacent else None)
        child.log.retention_ms = self._retention_hours * 3_600_000
        self.shards[child.shard_id] = child


def install(limits: Limits | None = None) -> None:
    """Make every stream that moto creates from now on a :class:`LiveStream` (module-wide, for the whole process)."""
    global _limits
    _limits = limits or Limits()
    models.Shard = LiveShard  # type: ignore[misc]
    models.Stream = LiveStream  # type: ignore[misc]
