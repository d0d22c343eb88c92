"""Versions of objects, as the emulated S3 lists them: all but their contents, which it must not copy for that."""

from collections.abc import Iterator
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
