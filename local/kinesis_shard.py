"""One Kinesis shard in memory as AWS describes it: a log with direct index, retention and rate limits.

Nothing here locks: the stream that owns a shard holds its lock around every call (see :mod:`local.kinesis_patch`).
"""

from bisect import bisect_left
from collections.abc import Callable
from typing import Final, NamedTuple

from contracts.errors import LiveshelfError

__all__ = [
    "MAX_READ_BYTES",
    "MAX_READ_RECORDS",
    "Entry",
    "ForeignSequenceNumber",
    "ShardLog",
    "TokenBucket",
    "first_sequence_number",
]

#: One GetRecords call returns at most this much; service limits of Kinesis Data Streams.
MAX_READ_RECORDS: Final = 10_000
MAX_READ_BYTES: Final = 10 * 1024 * 1024

# Room below a shard's first sequence number for its records: 10^16 would take centuries to fill.
_ROOM: Final = 10**16
# Dropping from the front of a list moves all that stays, so it is done in large pieces only.
_TRIM_STEP: Final = 4096


class ForeignSequenceNumber(LiveshelfError, ValueError):
    """A sequence number that this shard never gave out, such as one of an emulator that ran before this one."""


class Entry(NamedTuple):
    """A stored record; ``data`` stays the base64 text it came as, since every reader is sent that text again."""

    arrived_at: int
    partition_key: str
    data: str
    size: int


def first_sequence_number(created_at: int, shard_number: int) -> int:
    """Where the sequence numbers of a shard begin: unique over shards, reshards and restarts of the emulator.

    >>> first_sequence_number(1_700_000_000_000, 1) < first_sequence_number(1_700_000_000_001, 0)
    True
    """
    return (created_at * 10**6 + shard_number) * _ROOM


class TokenBucket:
    """Allows ``rate`` units a second with a burst of the same size.

    AWS counts per second; a bucket does the same for a steady caller and does not refuse one whose timer jitters.
    """

    def __init__(self, rate: float, clock: Callable[[], int]) -> None:
        self._rate = rate
        self._clock = clock
        self._level = rate
        self._at = clock()

    def take(self, amount: float = 1.0) -> bool:
        """Take ``amount`` if it is there, else take nothing and return False."""
        now = self._clock()
        self._level = min(self._rate, self._level + max(0, now - self._at) * self._rate / 1000)
        self._at = now
        if self._level < amount:
            return False
        self._level -= amount
        return True


class ShardLog:
    """Append-only records of one shard; positions count from 0 at the shard's birth and are never reused.

    Appending and reading cost what they touch, whatever is held. Trimmed records are simply gone: a reader that was
    before them goes on at the oldest record held, as on AWS.
    """

    def __init__(
        self,
        first_sequence: int,
        clock: Callable[[], int],
        *,
        retention_ms: int = 86_400_000,
        max_bytes: int = 256 << 20,
    ) -> None:
        self.first_sequence = first_sequence
        self.created_at = clock()
        self.retention_ms = retention_ms
        self.dropped_unexpired = 0
        self._clock = clock
        self._max_bytes = max_bytes
        self._entries: list[Entry] = []
        self._base = 0
        self._bytes = 0

    @property
    def horizon(self) -> int:
        """Position of the oldest record held."""
        return self._base

    @property
    def end(self) -> int:
        """Position the next record will get."""
        return self._base + len(self._entries)

    @property
    def last_sequence(self) -> int:
        """The newest sequence number given out; the shard's first one while it is empty."""
        return self.first_sequence + self.end

    def sequence_number(self, position: int) -> int:
        """Sequence number of the record at ``position``."""
        return self.first_sequence + 1 + position

    def append(self, partition_key: str, data: str, size: int) -> int:
        """Store one record and return its sequence number."""
        now = self._clock()
        if self._entries:
            now = max(now, self._entries[-1].arrived_at)  # a clock set back must not break the search by time
        self._entries.append(Entry(now, partition_key, data, size))
        self._bytes += size
        if self._bytes > self._max_bytes or len(self._entries) % _TRIM_STEP == 0:
            self.trim()
        return self.last_sequence

    def trim(self) -> int:
        """Drop what is older than the retention or over the memory bound; return how many records went."""
        oldest_kept = self._clock() - self.retention_ms
        expired = bisect_left(self._entries, oldest_kept, key=_arrived_at)
        cut = expired
        held = self._bytes - sum(entry.size for entry in self._entries[:expired])
        if held > self._max_bytes:
            # An eighth below the bound, so that the next records do not trim again one by one.
            while held > self._max_bytes * 7 // 8:
                held -= self._entries[cut].size
                cut += 1
        del self._entries[:cut]
        self._base += cut
        self._bytes = held
        self.dropped_unexpired += cut - expired
        return cut

    def read(self, position: int, limit: int = MAX_READ_RECORDS) -> tuple[int, list[Entry]]:
        """Up to ``limit`` records and 10 MB from ``position`` on, with the position of the first one returned."""
        start = max(position, self._base)
        found = self._entries[start - self._base : start - self._base + min(limit, MAX_READ_RECORDS)]
        total = 0
        for count, entry in enumerate(found):
            total += entry.size
            if total > MAX_READ_BYTES and count:
                return start, found[:count]
        return start, found

    def millis_behind(self, position: int, last_read: Entry | None) -> int:
        """How far a reader that stands at ``position`` is behind now; 0 when it has everything.

        ``last_read`` is the newest record it was given in this call, if any.
        """
        if position >= self.end:
            return 0
        reference = last_read or self._entries[max(position, self._base) - self._base]
        return max(0, self._clock() - reference.arrived_at)

    def position_at(self, sequence: int) -> int:
        """Position of the record with this number, for AT_SEQUENCE_NUMBER.

        Raises:
            ForeignSequenceNumber: this shard never gave the number out.
        """
        if not self.first_sequence <= sequence <= self.last_sequence:
            held = f"{self.first_sequence} to {self.last_sequence}"
            msg = f"sequence number {sequence} did not come from this shard, which gave out {held}; use TRIM_HORIZON"
            raise ForeignSequenceNumber(msg)
        return max(0, sequence - self.first_sequence - 1)

    def position_after(self, sequence: int) -> int:
        """Position behind the record with this number, for AFTER_SEQUENCE_NUMBER; raises as :meth:`position_at`."""
        self.position_at(sequence)
        return sequence - self.first_sequence

    def position_at_time(self, timestamp_ms: int) -> int:
        """Position of the first record that arrived at ``timestamp_ms`` or later."""
        return self._base + bisect_left(self._entries, timestamp_ms, key=_arrived_at)


def _arrived_at(entry: Entry) -> int:
    return entry.arrived_at
