"""What the delivery worker decides without any service: what to write when, under which key, and where to go on."""

import base64
import gzip
import json
import os
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from contracts.lake import ERRORS_PREFIX, EVENTS_PREFIX, day_prefix

__all__ = ["Batch", "Buffer", "Positions", "Record", "Shard", "error_lines", "readable"]

#: Firehose appends this with AppendDelimiterToRecord, also when the record already ends with one.
DELIMITER: Final = b"\n"
# Any constant will do; it only keeps these names apart from other uses of uuid5.
_NAMESPACE: Final = uuid.UUID("6f0c3a52-7d0e-4d53-9b1c-3a1f5d1f8a10")


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it came from the stream; ``arrived_at`` is epoch milliseconds, ``data`` is never looked into."""

    sequence_number: str
    arrived_at: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard and the shards it was split or merged from."""

    shard_id: str
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Consecutive records of one shard that become one object.

    The key depends on the first record alone, so a batch that is written again after a crash replaces its object. It
    may end elsewhere the second time; the position then follows what was written last, so nothing is skipped.
    """

    stream: str
    shard: str
    records: Sequence[Record]

    @property
    def last(self) -> str:
        """Sequence number to go on after, once the object is stored."""
        return self.records[-1].sequence_number

    @property
    def size(self) -> int:
        """Uncompressed bytes of the object."""
        return sum(len(record.data) + len(DELIMITER) for record in self.records)

    def body(self) -> bytes:
        """The object: every record's bytes and a newline, gzipped without a time stamp (equal batches, equal bytes)."""
        return gzip.compress(b"".join(record.data + DELIMITER for record in self.records), mtime=0)

    def key(self) -> str:
        """``events/year=/month=/day=/<stream>-1-<time>-<uuid>.gz`` by the arrival of the oldest record, in UTC.

        As Firehose names its objects: the prefix and the time are those of the oldest record in the object, however
        much later it is written; the 1 is the version of the delivery stream's configuration.

        >>> Batch(stream="behaviour", shard="shardId-000000000000", records=[Record("7", 1_700_000_000_000, b"")]).key()
        'events/year=2023/month=11/day=14/behaviour-1-2023-11-14-22-13-20-31c9f0b7-73ff-59aa-83b0-a96e881bfbad.gz'
        """
        oldest = datetime.fromtimestamp(self.records[0].arrived_at / 1000, UTC)
        name = uuid.uuid5(_NAMESPACE, f"{self.stream}/{self.shard}/{self.records[0].sequence_number}")
        return f"{day_prefix(oldest.date())}{self.stream}-1-{oldest:%Y-%m-%d-%H-%M-%S}-{name}.gz"

    def error_key(self) -> str:
        """Where the batch goes when its own key is refused for longer than the retry duration."""
        return f"{ERRORS_PREFIX}processing-failed/{self.key().removeprefix(EVENTS_PREFIX)}"


def error_lines(batch: Batch, attempts: int, error: str, now_ms: int) -> bytes:
    """The object below the error prefix: one JSON object a record, its bytes in base64, as Firehose writes failures."""
    failure: dict[str, Any] = {
        "attemptsMade": attempts,
        "attemptEndingTimestamp": now_ms,
        "errorCode": "S3.DeliveryFailed",
        "errorMessage": error,
    }
    lines = (
        failure
        | {
            "arrivalTimestamp": record.arrived_at,
            "sequenceNumber": record.sequence_number,
            "rawData": base64.b64encode(record.data).decode(),
        }
        for record in batch.records
    )
    return gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode(), mtime=0)


class Buffer:
    """Records of one shard that wait to be written: until there are ``max_bytes``, or for ``interval_ms``.

    A batch stays here until :meth:`drop`, so that a failed write loses nothing.
    """

    def __init__(self, stream: str, shard: str, *, max_bytes: int, interval_ms: int) -> None:
        self._stream = stream
        self._shard = shard
        self._max_bytes = max_bytes
        self._interval_ms = interval_ms
        self._records: list[Record] = []
        self._bytes = 0
        self._since = 0

    def __len__(self) -> int:
        return len(self._records)

    def add(self, records: Iterable[Record], now_ms: int) -> None:
        """Append records in the order of the shard; the interval runs from the first one."""
        before = len(self._records)
        self._records += records
        self._bytes += sum(len(record.data) + len(DELIMITER) for record in self._records[before:])
        if not before:
            self._since = now_ms

    def due(self, now_ms: int, *, force: bool = False) -> Batch | None:
        """The batch to write now, if any: full, waiting for the interval, or anything at all when forced."""
        if not self._records:
            return None
        if not (force or self._bytes >= self._max_bytes or now_ms - self._since >= self._interval_ms):
            return None
        size = count = 0
        while count < len(self._records) and size < self._max_bytes:
            size += len(self._records[count].data) + len(DELIMITER)
            count += 1
        return Batch(stream=self._stream, shard=self._shard, records=self._records[:count])

    def drop(self, batch: Batch, now_ms: int) -> None:
        """Forget a batch that is stored; the interval of what remains starts again."""
        del self._records[: len(batch.records)]
        self._bytes -= batch.size
        self._since = now_ms


def readable(shards: Iterable[Shard], drained: Callable[[str], bool]) -> list[Shard]:
    """The shards to read now: not finished, and every parent that still exists is.

    >>> split = [Shard("a"), Shard("b", parents=("a",)), Shard("c", parents=("a",))]
    >>> [shard.shard_id for shard in readable(split, lambda shard: False)]
    ['a']
    >>> [shard.shard_id for shard in readable(split, lambda shard: shard == "a")]
    ['b', 'c']
    """
    known = {shard.shard_id: shard for shard in shards}
    return [
        shard
        for shard in known.values()
        if not drained(shard.shard_id) and all(drained(parent) for parent in shard.parents if parent in known)
    ]


class Positions:
    """How far each shard is stored in the lake, one file a shard; survives ``kill -9`` and loss of power at any point.

    A file is valid for one life of a stream only: shard ids begin anew with a stream that is created again, so
    ``life`` (name and creation time) is kept with the position, and a file of another life counts for nothing.
    """

    def __init__(self, folder: Path, life: str) -> None:
        self._folder = folder
        self._life = life
        folder.mkdir(parents=True, exist_ok=True)

    def after(self, shard: str) -> str | None:
        """Sequence number of the last record stored, None for a shard not begun."""
        number = self._read(shard).get("after")
        return None if number is None else str(number)

    def drained(self, shard: str) -> bool:
        """Whether the shard was closed and all of it is stored."""
        return bool(self._read(shard).get("drained", False))

    def advance(self, shard: str, after: str | None, *, drained: bool = False) -> None:
        """Record what is stored; call it after the object is stored, never before."""
        content = json.dumps({"life": self._life, "after": after, "drained": drained})
        final, fresh = self._folder / f"{shard}.json", self._folder / f"{shard}.json.new"
        with fresh.open("w") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(final)

    def _read(self, shard: str) -> dict[str, Any]:
        try:
            content = json.loads((self._folder / f"{shard}.json").read_text())
        except FileNotFoundError:
            return {}
        return content if content.get("life") == self._life else {}
