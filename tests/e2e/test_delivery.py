"""What is put on the stream is found in the lake: byte for byte, after crashes, reshards, throttling and outages."""

import base64
import gzip
import itertools
import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from contracts.settings import ENVIRONMENT_VARIABLE, Settings, to_properties
from local.delivery import Options, Worker
from local.emulator_process import client, running_emulator

pytestmark = pytest.mark.e2e


class Cloud:
    """A stream and a bucket of their own on the emulator, and what a test asks of them."""

    def __init__(self, address: str, number: int) -> None:
        self.address = address
        self.stream, self.bucket = f"behaviour-{number}", f"lake-{number}"
        self.kinesis = client("kinesis", address)
        self.s3 = client("s3", address)
        self.kinesis.create_stream(StreamName=self.stream, ShardCount=2)
        self.s3.create_bucket(Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})

    def put(self, lines: list[bytes]) -> None:
        for start in range(0, len(lines), 500):
            piece = lines[start : start + 500]
            records = [{"Data": line, "PartitionKey": str(number)} for number, line in enumerate(piece)]
            assert self.kinesis.put_records(StreamName=self.stream, Records=records)["FailedRecordCount"] == 0

    def keys(self, prefix: str = "events/") -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def content(self, prefix: str = "events/") -> bytes:
        bodies = [self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read() for key in self.keys(prefix)]
        return b"".join(gzip.decompress(body) for body in bodies)

    def lines(self) -> Counter[bytes]:
        return Counter(self.content().split(b"\n")[:-1])


@pytest.fixture(scope="module")
def clouds() -> Iterator[Iterator[Cloud]]:
    with running_emulator() as address:
        yield (Cloud(address, number) for number in itertools.count())


@pytest.fixture
def cloud(clouds: Iterator[Cloud]) -> Cloud:
    return next(clouds)


def until(check: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.05)


def start(cloud: Cloud, folder: Path, *flags: str) -> "subprocess.Popen[str]":
    """The worker as a process, as ``local`` starts it."""
    settings = folder / "application_properties.json"
    settings.write_text(
        json.dumps(
            to_properties(Settings(aws_endpoint=cloud.address, stream_name=cloud.stream, lake_bucket=cloud.bucket))
        )
    )
    environment = {
        ENVIRONMENT_VARIABLE: str(settings),
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    command = [sys.executable, "-m", "local.delivery", "--data", str(folder / "positions"), *flags]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@contextmanager
def delivering(cloud: Cloud, folder: Path, *flags: str) -> Iterator["subprocess.Popen[str]"]:
    with start(cloud, folder, *flags) as process:
        try:
            yield process
        finally:
            process.kill()


def worker(cloud: Cloud, folder: Path, **changes: Any) -> Worker:
    """The worker in this process, so that a test can stand between it and a service."""
    parts: dict[str, Any] = {"kinesis": cloud.kinesis, "s3": cloud.s3, "options": Options(interval_ms=200)}
    return Worker(stream=cloud.stream, bucket=cloud.bucket, folder=folder, **parts | changes)


@contextmanager
def running(one: Worker) -> Iterator[Worker]:
    thread = threading.Thread(target=one.run)
    thread.start()
    try:
        yield one
    finally:
        one.stop.set()
        thread.join(30)
        assert not thread.is_alive()


class Refusing:
    """Stands before a client; ``refuse`` may name an error code for a call, else the call goes through."""

    def __init__(self, behind: Any, refuse: Callable[[str, dict[str, Any]], str | None]) -> None:
        self._behind = behind
        self._refuse = refuse

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            if code := self._refuse(operation, arguments):
                raise ClientError({"Error": {"Code": code, "Message": "refused by the test"}}, operation)
            return getattr(self._behind, operation)(**arguments)

        return call


class Crash(BaseException):
    """Ends the worker as ``kill -9`` does: nothing of it runs after."""


class Crashing:
    """Stands before clients that share ``calls``; the call that uses up the last one is made, then all ends."""

    def __init__(self, behind: Any, calls: list[None]) -> None:
        self._behind = behind
        self._calls = calls

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            answer = getattr(self._behind, operation)(**arguments)
            if not self._calls:
                raise Crash
            self._calls.pop()
            return answer

        return call


def test_a_raw_record_on_the_stream_is_found_in_the_lake_byte_for_byte(cloud: Cloud, tmp_path: Path) -> None:
    raw = b'{"event_id": "e-1",  "unknown": "\xc3\xa4", "n": 1.50}'
    with delivering(cloud, tmp_path, "--interval-seconds", "0.5"):
        cloud.put([raw])
        until(lambda: bool(cloud.keys()), "an object in the lake")
        assert cloud.content() == raw + b"\n"
    today = datetime.now(UTC)
    assert cloud.keys()[0].startswith(f"events/year={today:%Y}/month={today:%m}/day=")


def test_malformed_bytes_are_delivered_too(cloud: Cloud, tmp_path: Path) -> None:
    raw = [b"\xff\xfe\x00\x01", b"{not json", b"\x1f\x8b gzip it is not"]
    with delivering(cloud, tmp_path, "--interval-seconds", "0.5"):
        cloud.put(raw)
        until(lambda: cloud.lines() == Counter(raw), "the malformed records")


def test_every_record_is_there_after_kill_minus_nine(cloud: Cloud, tmp_path: Path) -> None:
    lines = [f"record {number}".encode() for number in range(6000)]
    flags = ("--interval-seconds", "1", "--buffer-mb", "0.005")
    with delivering(cloud, tmp_path, *flags) as process:
        cloud.put(lines[:4000])
        until(lambda: len(cloud.keys()) >= 3, "some objects before the kill")
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    cloud.put(lines[4000:])
    assert cloud.lines() != Counter(lines)
    with delivering(cloud, tmp_path, *flags):
        until(lambda: set(cloud.lines()) == set(lines), "every record after the restart")


@pytest.mark.parametrize("calls", range(8))
def test_a_crash_after_any_call_loses_nothing_and_repeats_nothing(cloud: Cloud, tmp_path: Path, calls: int) -> None:
    lines = [f"record {number}".encode() for number in range(100)]
    cloud.put(lines)
    left: list[None] = [None] * calls
    at_once = Options(interval_ms=0)
    clients = {"kinesis": Crashing(cloud.kinesis, left), "s3": Crashing(cloud.s3, left)}
    with pytest.raises(Crash):
        worker(cloud, tmp_path, **clients, options=at_once).turn()
    restarted = worker(cloud, tmp_path, options=at_once)

    def complete() -> bool:
        restarted.turn()
        return set(cloud.lines()) == set(lines)

    until(complete, "every record after the restart")
    # Not even twice: an object whose position was not written yet is written again under its own key.
    assert cloud.lines() == Counter(lines)


def test_what_is_buffered_is_written_at_the_end(cloud: Cloud, tmp_path: Path) -> None:
    reads = threading.Semaphore(0)

    def count(operation: str, arguments: dict[str, Any]) -> None:
        if operation == "get_records":
            reads.release()

    cloud.put([b"buffered"])
    patient = Options(interval_ms=3_600_000)
    with running(worker(cloud, tmp_path, kinesis=Refusing(cloud.kinesis, count), options=patient)):
        for _ in range(3):  # the third read begins when both shards were read once
            assert reads.acquire(timeout=30)
        assert cloud.keys() == []
    assert cloud.content() == b"buffered\n"


def test_sigterm_ends_the_process_cleanly(cloud: Cloud, tmp_path: Path) -> None:
    with delivering(cloud, tmp_path, "--interval-seconds", "0.2") as process:
        cloud.put([b"first"])
        until(lambda: bool(cloud.keys()), "an object in the lake")
        process.terminate()
        assert process.wait(30) == 0


def test_a_restart_goes_on_behind_the_last_object(cloud: Cloud, tmp_path: Path) -> None:
    for line in (b"first", b"second"):
        cloud.put([line])
        with running(worker(cloud, tmp_path)):
            until(lambda line=line: line in cloud.lines(), line.decode())  # type: ignore[misc]
    assert cloud.lines() == Counter([b"first", b"second"])


def summary(cloud: Cloud) -> Any:
    return cloud.kinesis.describe_stream_summary(StreamName=cloud.stream)["StreamDescriptionSummary"]


def test_a_split_and_a_merge_lose_nothing_and_repeat_nothing(cloud: Cloud, tmp_path: Path) -> None:
    lines = [f"record {number}".encode() for number in range(900)]
    first, second = (shard["ShardId"] for shard in cloud.kinesis.list_shards(StreamName=cloud.stream)["Shards"])
    with running(worker(cloud, tmp_path)):
        cloud.put(lines[:300])
        cloud.kinesis.split_shard(StreamName=cloud.stream, ShardToSplit=first, NewStartingHashKey=str(2**126))
        cloud.put(lines[300:600])
        child = cloud.kinesis.list_shards(StreamName=cloud.stream)["Shards"][-1]["ShardId"]
        until(lambda: summary(cloud)["StreamStatus"] == "ACTIVE", "the end of the split")
        cloud.kinesis.merge_shards(StreamName=cloud.stream, ShardToMerge=child, AdjacentShardToMerge=second)
        cloud.put(lines[600:])
        until(lambda: set(cloud.lines()) == set(lines), "records of every generation of shards")
    assert cloud.lines() == Counter(lines)
    # A worker that starts now must not begin the drained shards again.
    with running(worker(cloud, tmp_path)):
        cloud.put([b"after"])
        until(lambda: b"after" in cloud.lines(), "the record after the restart")
    assert cloud.lines() == Counter([*lines, b"after"])


def test_throttling_and_expired_iterators_are_got_over(cloud: Cloud, tmp_path: Path) -> None:
    troubles = ["ExpiredIteratorException", *["ProvisionedThroughputExceededException"] * 7, "ExpiredIteratorException"]

    def refuse(operation: str, arguments: dict[str, Any]) -> str | None:
        return troubles.pop() if operation == "get_records" and troubles else None

    lines = [f"record {number}".encode() for number in range(50)]
    cloud.put(lines)
    with running(worker(cloud, tmp_path, kinesis=Refusing(cloud.kinesis, refuse))):
        until(lambda: cloud.lines() == Counter(lines), "the records")
    assert not troubles


def test_an_outage_of_s3_shorter_than_the_retry_duration_is_waited_out(cloud: Cloud, tmp_path: Path) -> None:
    failures = ["ServiceUnavailable"] * 3

    def refuse(operation: str, arguments: dict[str, Any]) -> str | None:
        return failures.pop() if failures else None

    cloud.put([b"patient"])
    with running(worker(cloud, tmp_path, s3=Refusing(cloud.s3, refuse))):
        until(lambda: cloud.content() == b"patient\n", "the record")
    assert cloud.keys("events-errors/") == []


def test_what_s3_keeps_refusing_goes_below_the_error_prefix(cloud: Cloud, tmp_path: Path) -> None:
    def refuse(operation: str, arguments: dict[str, Any]) -> str | None:
        return "AccessDenied" if arguments["Key"].startswith("events/") else None

    cloud.put([b"\xffrefused"])
    options = Options(interval_ms=200, retry_ms=300)
    with running(worker(cloud, tmp_path, s3=Refusing(cloud.s3, refuse), options=options)):
        until(lambda: bool(cloud.keys("events-errors/")), "the failed batch")
    (line,) = [json.loads(line) for line in cloud.content("events-errors/").splitlines()]
    assert base64.b64decode(line["rawData"]) == b"\xffrefused"
    assert "AccessDenied" in line["errorMessage"]
    assert cloud.keys() == []


def test_records_stay_on_the_stream_when_the_worker_ends_during_an_outage(cloud: Cloud, tmp_path: Path) -> None:
    refused = threading.Event()

    def refuse(operation: str, arguments: dict[str, Any]) -> str | None:
        refused.set()
        return "ServiceUnavailable"

    cloud.put([b"not yet"])
    with running(worker(cloud, tmp_path, s3=Refusing(cloud.s3, refuse))):
        assert refused.wait(30)
    assert cloud.keys() == []
    with running(worker(cloud, tmp_path)):
        until(lambda: cloud.content() == b"not yet\n", "the record")


def test_a_stream_created_again_is_read_from_its_start(cloud: Cloud, tmp_path: Path) -> None:
    with running(worker(cloud, tmp_path)):
        cloud.put([b"of the first stream"])
        until(lambda: b"of the first stream" in cloud.lines(), "the first record")
        cloud.kinesis.delete_stream(StreamName=cloud.stream)
        cloud.kinesis.create_stream(StreamName=cloud.stream, ShardCount=2)
        cloud.put([b"of the second stream"])
        until(lambda: b"of the second stream" in cloud.lines(), "the record of the new stream")
    assert sum(cloud.lines().values()) == 2
