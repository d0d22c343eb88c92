"""Putting records on the Kinesis stream: bounded batches, retries of the failed records alone, one outcome a record."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from contracts.settings import Settings
from stores.aws import client
from stores.retry import delays

__all__ = ["MAX_REQUEST_BYTES", "MAX_REQUEST_RECORDS", "THROTTLED", "Stream", "batches"]

MAX_REQUEST_RECORDS: Final = 500
MAX_REQUEST_BYTES: Final = 4 * 1024 * 1024
"""Below PutRecords' 5 MiB with its partition keys (Kinesis API reference, PutRecords)."""

THROTTLED: Final = "ProvisionedThroughputExceededException"
"""The code of a record that a shard has no room for now (Kinesis API reference, PutRecords)."""

Record = tuple[bytes, str]


class Stream:
    """One Kinesis stream to write to."""

    def __init__(self, kinesis: Any, name: str, attempts: int = 4) -> None:
        self._kinesis = kinesis
        self._name = name
        self._attempts = attempts

    @classmethod
    def from_settings(cls, settings: Settings, *, patient: bool = True) -> "Stream":
        """The behaviour stream of the settings; not ``patient`` where a caller keeps elsewhere what is not taken."""
        if patient:
            return cls(client("kinesis", settings, read_timeout_s=5.0, attempts=2), settings.stream_name)
        return cls(client("kinesis", settings, read_timeout_s=2.0, attempts=1), settings.stream_name, attempts=2)

    def put(self, records: Sequence[Record]) -> list[str | None]:
        """Put ``(data, partition_key)`` records; never raises for the stream's sake.

        Returns:
            One entry a record, in order: ``None`` where Kinesis took it, else the code of the last failure.
            PutRecords may take some and refuse others; only the refused are sent again.
        """
        outcome: list[str | None] = ["NotSent"] * len(records)
        for chunk in batches(records):
            self._put_chunk(records, list(chunk), outcome)
        return outcome

    def _put_chunk(self, records: Sequence[Record], pending: list[int], outcome: list[str | None]) -> None:
        for _ in delays(self._attempts):
            entries = [{"Data": records[i][0], "PartitionKey": records[i][1]} for i in pending]
            try:
                results = self._kinesis.put_records(StreamName=self._name, Records=entries)["Records"]
            except (ClientError, BotoCoreError) as exc:
                code = exc.response["Error"]["Code"] if isinstance(exc, ClientError) else type(exc).__name__
                results = [{"ErrorCode": code}] * len(pending)
            for i, result in zip(pending, results, strict=True):
                outcome[i] = result.get("ErrorCode")
            pending = [i for i in pending if outcome[i] is not None]
            if not pending:
                return


def batches(records: Sequence[Record]) -> Iterator[range]:
    """Ranges of positions that fit one PutRecords request.

    >>> list(batches([(b"x" * (3 * 1024 * 1024), "k"), (b"x" * (2 * 1024 * 1024), "k"), (b"x", "k")]))
    [range(0, 1), range(1, 3)]
    """
    start, size = 0, 0
    for i, (data, key) in enumerate(records):
        length = len(data) + len(key.encode())
        if i > start and (i - start >= MAX_REQUEST_RECORDS or size + length > MAX_REQUEST_BYTES):
            yield range(start, i)
            start, size = i, 0
        size += length
    if start < len(records):
        yield range(start, len(records))
