"""``python -m local.delivery``: stands in for Firehose, from the Kinesis stream to gzipped JSON lines in the lake.

It behaves as a delivery stream with ``KinesisStreamAsSource``: one GetRecords a second and shard, buffered by size or
time, a newline after each record, gzip, folders by arrival day, bytes never looked into (malformed records arrive too).
Delivery is at least once. Its place is written after the object, and an object's key follows from its first record, so
after a crash the same object is written again rather than a second one. Not imitated: de-aggregation of KPL records.
"""

import argparse
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from contracts.errors import SettingsError
from contracts.settings import Settings, load
from local.delivery_buffer import Batch, Buffer, Positions, Record, Shard, error_lines, readable

__all__ = ["Options", "Worker", "main"]

DISCOVERY_MS: Final = 10_000
TURN_SECONDS: Final = 1.0
_BACKOFF_SECONDS: Final = (0.2, 10.0)

_THROTTLED: Final = frozenset({"ProvisionedThroughputExceededException", "LimitExceededException"})
_EXPIRED: Final = frozenset({"ExpiredIteratorException"})
# What reads answer when the stream was deleted, or created again, under the worker (the emulator restarted).
_REPLACED: Final = frozenset({"ResourceNotFoundException", "InvalidArgumentException"})


@dataclass(frozen=True, kw_only=True)
class Options:
    """Buffering hints as in Firehose's S3 destination; its defaults for size and interval."""

    buffer_bytes: int = 5 << 20
    interval_ms: int = 60_000
    retry_ms: int = 300_000


@dataclass(kw_only=True)
class _Reader:
    """Where one shard is being read; ``last_read`` may be ahead of the stored position by what is buffered."""

    shard: str
    buffer: Buffer
    last_read: str | None
    iterator: str | None = None
    ended: bool = False
    behind_ms: int = 0


class _Stopping(Exception):
    """SIGTERM came while a write was failing; the position stands still and the stream keeps the records."""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(kw_only=True)
class Worker:
    """The loop between the two services; everything it decides is in :mod:`local.delivery_buffer`."""

    kinesis: Any
    s3: Any
    stream: str
    bucket: str
    folder: Path
    options: Options = field(default_factory=Options)
    clock: Callable[[], int] = _now_ms
    stop: threading.Event = field(default_factory=threading.Event)
    _readers: dict[str, _Reader] = field(default_factory=dict)
    _positions: Positions | None = None
    _discovered_at: int | None = None
    _trouble: str = ""

    def run(self) -> None:
        """Deliver until ``stop`` is set, then write what is buffered."""
        while not self.stop.is_set():
            began = time.monotonic()
            try:
                self.turn()
                self._report("")
            except _Stopping:
                break
            except (ClientError, BotoCoreError) as exc:
                # Firehose retries its reads for ever; so does this, one turn later.
                self._report(f"{type(exc).__name__}: {exc}")
            self.stop.wait(max(0.0, TURN_SECONDS - (time.monotonic() - began)))
        try:
            self._flush(force=True)
        except _Stopping:
            print("delivery: stopped before the last write; the next start reads those records again", flush=True)

    def turn(self) -> None:
        """One read of every shard, and the writes that are due."""
        if self._discovered_at is None or self.clock() - self._discovered_at >= DISCOVERY_MS:
            self._discover()
        for reader in list(self._readers.values()):
            try:
                self._read(reader)
            except ClientError as exc:
                if _code(exc) not in _REPLACED:
                    raise
                self._start_over(exc)
                return
        self._flush()

    def _report(self, trouble: str) -> None:
        if trouble != self._trouble:
            print(f"delivery: {trouble or 'all well again'}", flush=True)
        self._trouble = trouble

    def _discover(self) -> None:
        """Find shards to read; children come up once their parents are stored to the end."""
        summary = self.kinesis.describe_stream_summary(StreamName=self.stream)["StreamDescriptionSummary"]
        life = f"{summary['StreamARN']} {summary['StreamCreationTimestamp'].timestamp()}"
        positions = self._positions = Positions(self.folder / self.stream, life)
        pages: list[dict[str, Any]] = []
        where = {"StreamName": self.stream}
        while where:
            pages.append(self.kinesis.list_shards(**where))
            where = {"NextToken": pages[-1]["NextToken"]} if pages[-1].get("NextToken") else {}
        shards = [_shard(described) for page in pages for described in page["Shards"]]
        for shard in readable(shards, positions.drained):
            if shard.shard_id not in self._readers:
                self._readers[shard.shard_id] = self._reader(shard.shard_id, positions.after(shard.shard_id))
        self._discovered_at = self.clock()

    def _reader(self, shard: str, after: str | None) -> _Reader:
        options = self.options
        buffer = Buffer(self.stream, shard, max_bytes=options.buffer_bytes, interval_ms=options.interval_ms)
        return _Reader(shard=shard, buffer=buffer, last_read=after)

    def _read(self, reader: _Reader) -> None:
        if reader.ended:
            return
        if reader.iterator is None:
            reader.iterator = self._iterator(reader)
        answer = self._get_records(reader)
        if answer is None:
            return
        records = [_record(raw) for raw in answer["Records"]]
        reader.buffer.add(records, self.clock())
        if records:
            reader.last_read = records[-1].sequence_number
        reader.behind_ms = answer["MillisBehindLatest"]
        reader.iterator = answer.get("NextShardIterator")
        reader.ended = reader.iterator is None

    def _iterator(self, reader: _Reader) -> str:
        # Firehose begins at LATEST, the moment the delivery stream is created. Here the stream is as new as the worker,
        # and what was sent in the seconds between must not be missed, so a shard not begun is read from its start.
        where = {"StreamName": self.stream, "ShardId": reader.shard}
        start = {"ShardIteratorType": "TRIM_HORIZON"}
        if reader.last_read is not None:
            start = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": reader.last_read}
        return str(self.kinesis.get_shard_iterator(**where, **start)["ShardIterator"])

    def _get_records(self, reader: _Reader) -> dict[str, Any] | None:
        """One page, or None when this turn has to go without: consumers of a shard share five reads a second."""
        for _ in range(3):
            try:
                return dict(self.kinesis.get_records(ShardIterator=reader.iterator))
            except ClientError as exc:
                if _code(exc) in _EXPIRED:
                    reader.iterator = None
                    return None
                if _code(exc) not in _THROTTLED:
                    raise
            self.stop.wait(random.uniform(0.05, 0.25))
        return None

    def _start_over(self, cause: ClientError) -> None:
        """The stream is another one now: store what was read of the old one and begin with the new one's shards."""
        print(f"delivery: stream {self.stream} was replaced ({_code(cause)}); starting over", flush=True)
        self._flush(force=True)
        self._readers.clear()
        self._discovered_at = None

    def _flush(self, *, force: bool = False) -> None:
        for reader in list(self._readers.values()):
            while (batch := reader.buffer.due(self.clock(), force=force or reader.ended)) is not None:
                self._deliver(reader, batch)
            if reader.ended and self._positions is not None:
                self._positions.advance(reader.shard, reader.last_read, drained=True)
                del self._readers[reader.shard]
                self._discovered_at = None

    def _deliver(self, reader: _Reader, batch: Batch) -> None:
        assert self._positions is not None, "records are read after shards were discovered"
        key, size = self._store(batch)
        self._positions.advance(reader.shard, batch.last)
        reader.buffer.drop(batch, self.clock())
        count, plain, behind = len(batch.records), batch.size / 1024, reader.behind_ms / 1000
        print(
            f"delivery: {count:,} records of {reader.shard}, {plain:,.0f} KB ({size / 1024:,.0f} KB gzip), "
            f"{behind:.1f} s behind -> s3://{self.bucket}/{key}",
            flush=True,
        )

    def _store(self, batch: Batch) -> tuple[str, int]:
        """Write the object; after the retry duration below the error prefix instead; return its key and size.

        Raises:
            _Stopping: the worker is to end and the write does not succeed at once.
        """
        body, attempts, began = batch.body(), 0, self.clock()
        while True:
            attempts += 1
            try:
                self._put(batch.key(), body)
                return batch.key(), len(body)
            except (ClientError, BotoCoreError) as exc:
                self._report(f"cannot write s3://{self.bucket}/{batch.key()} (attempt {attempts}): {exc}")
                if self.clock() - began >= self.options.retry_ms and self._store_failure(batch, attempts, exc):
                    return batch.error_key(), len(body)
            first, most = _BACKOFF_SECONDS
            if self.stop.wait(random.uniform(0, min(most, first * 2 ** min(attempts, 10)))):
                raise _Stopping

    def _store_failure(self, batch: Batch, attempts: int, cause: Exception) -> bool:
        """Whether the batch is safe below the error prefix; if not, its own key is tried again."""
        try:
            self._put(batch.error_key(), error_lines(batch, attempts, str(cause), self.clock()))
        except (ClientError, BotoCoreError):
            return False
        return True

    def _put(self, key: str, body: bytes) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body)


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


def _record(raw: dict[str, Any]) -> Record:
    return Record(raw["SequenceNumber"], round(raw["ApproximateArrivalTimestamp"].timestamp() * 1000), raw["Data"])


def _shard(described: dict[str, Any]) -> Shard:
    parents = (described.get("ParentShardId"), described.get("AdjacentParentShardId"))
    return Shard(described["ShardId"], tuple(parent for parent in parents if parent))


def _client(service: str, settings: Settings) -> Any:
    # No retries inside: the worker's own waits end at SIGTERM.
    config = Config(connect_timeout=3, read_timeout=10, retries={"total_max_attempts": 1})
    return boto3.client(service, region_name=settings.aws_region, endpoint_url=settings.aws_endpoint, config=config)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.delivery", description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder that keeps the positions")
    parser.add_argument("--interval-seconds", type=float, default=60.0, help="write at least this often (default 60)")
    parser.add_argument("--buffer-mb", type=float, default=5.0, help="write when a shard has this much (default 5)")
    parser.add_argument(
        "--retry-seconds", type=float, default=300.0, help="then write below the error prefix (default 300)"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the worker until SIGTERM or Ctrl-C; settings come from :func:`contracts.settings.load`."""
    arguments = _arguments(argv)
    try:
        settings = load()
    except SettingsError as exc:
        print(f"delivery: {exc}", file=sys.stderr)
        return 2
    options = Options(
        buffer_bytes=int(arguments.buffer_mb * (1 << 20)),
        interval_ms=int(arguments.interval_seconds * 1000),
        retry_ms=int(arguments.retry_seconds * 1000),
    )
    worker = Worker(
        kinesis=_client("kinesis", settings),
        s3=_client("s3", settings),
        stream=settings.stream_name,
        bucket=settings.lake_bucket,
        folder=arguments.data,
        options=options,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stop.set())
    print(f"delivery: {settings.stream_name} -> s3://{settings.lake_bucket}/, every {arguments.interval_seconds:g} s")
    sys.stdout.flush()
    worker.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
