"""Objects of the emulated S3: in parts, while others list, and their versions, whose contents a list must not copy."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from local.emulator_process import client, running_emulator

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    with running_emulator() as address:
        yield client("s3", address)


def bucket(s3: Any, name: str) -> str:
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return name


def test_a_multipart_upload_and_a_range_of_it_come_back(s3: Any) -> None:
    bucket(s3, "parts")
    parts = [os.urandom(5 << 20), os.urandom(1 << 20)]
    upload = s3.create_multipart_upload(Bucket="parts", Key="big")["UploadId"]
    where = {"Bucket": "parts", "Key": "big", "UploadId": upload}
    tags = [s3.upload_part(PartNumber=n, Body=part, **where)["ETag"] for n, part in enumerate(parts, 1)]
    listed = [{"PartNumber": n, "ETag": tag} for n, tag in enumerate(tags, 1)]
    s3.complete_multipart_upload(MultipartUpload={"Parts": listed}, **where)
    assert s3.get_object(Bucket="parts", Key="big")["Body"].read() == b"".join(parts)
    edge = len(parts[0])
    piece = s3.get_object(Bucket="parts", Key="big", Range=f"bytes={edge - 2}-{edge + 1}")["Body"].read()
    assert piece == b"".join(parts)[edge - 2 : edge + 2]


def test_objects_written_while_others_list_are_listed(s3: Any) -> None:
    bucket(s3, "busy")
    stop = threading.Event()

    def watch() -> int:
        rounds = 0
        while not stop.is_set():
            s3.list_objects_v2(Bucket="busy")
            rounds += 1
        return rounds

    with ThreadPoolExecutor(6) as pool:
        watchers = [pool.submit(watch) for _ in range(2)]
        try:
            list(pool.map(lambda n: s3.put_object(Bucket="busy", Key=f"{n:04}", Body=b"x"), range(200)))
        finally:
            stop.set()
        assert all(watcher.result() for watcher in watchers)
    assert s3.list_objects_v2(Bucket="busy")["KeyCount"] == 200


def test_versions_have_all_but_their_contents_and_the_objects_keep_theirs(s3: Any) -> None:
    at = {"Bucket": bucket(s3, "versions")}
    s3.put_bucket_versioning(**at, VersioningConfiguration={"Status": "Enabled"})
    tags = [s3.put_object(**at, Key="a", Body=body)["ETag"] for body in (b"one", b"three")]
    for _ in range(2):
        found = s3.list_object_versions(**at, Prefix="a")["Versions"]
        told = [(row["ETag"], row["Size"], row["IsLatest"]) for row in found]
        assert told == [(tags[1], 5, True), (tags[0], 3, False)]
        bodies = [s3.get_object(**at, Key="a", VersionId=row["VersionId"])["Body"].read() for row in found]
        assert bodies == [b"three", b"one"]


def test_a_list_of_versions_does_not_hold_the_bucket_a_second_time(s3: Any) -> None:
    at = {"Bucket": bucket(s3, "large")}
    for number in range(20):
        s3.put_object(**at, Key=f"{number}", Body=b"x" * 4_000_000)
    (emulator,) = (child for child in psutil.Process().children() if "local.emulator" in child.cmdline())
    before = emulator.memory_info().rss
    for number in range(5):
        s3.list_object_versions(**at, Prefix=f"{number}")
    assert emulator.memory_info().rss - before < 40_000_000
