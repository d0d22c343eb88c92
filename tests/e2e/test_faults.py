"""The fault proxy before the emulator, seen through the AWS client: it fails as told, and changes nothing otherwise."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.emulator_process import client, running_emulator
from local.faults import Fault, FaultControl
from local.health import tcp_open, wait_until
from local.ports import LOOPBACK, free_port

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def proxy() -> Iterator[FaultControl]:
    port = free_port()
    with running_emulator() as upstream:
        command = [sys.executable, "-m", "local.faults", "--upstream", upstream, "--port", str(port)]
        with subprocess.Popen(command) as process:
            try:
                wait_until(tcp_open(port), "the proxy", seconds=20)
                yield FaultControl(f"http://{LOOPBACK}:{port}")
            finally:
                process.terminate()
                process.wait(timeout=10)


@pytest.fixture
def kinesis(proxy: FaultControl, request: pytest.FixtureRequest) -> Any:
    made = client("kinesis", proxy.url)
    made.create_stream(StreamName=request.node.name[:100], ShardCount=1)
    return made


@pytest.fixture
def s3(proxy: FaultControl) -> Any:
    made = client("s3", proxy.url)
    if not made.list_buckets()["Buckets"]:
        made.create_bucket(Bucket="lake", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return made


def refused(error: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
    answer = error.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]


def read(kinesis: Any, stream: str) -> list[bytes]:
    shard = kinesis.list_shards(StreamName=stream)["Shards"][0]["ShardId"]
    at = kinesis.get_shard_iterator(StreamName=stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON")
    return [record["Data"] for record in kinesis.get_records(ShardIterator=at["ShardIterator"])["Records"]]


def test_without_faults_objects_pass_as_they_are(s3: Any) -> None:
    key, data = "shop=a/year=2026/ä b+c%20d.gz", os.urandom(1 << 20)
    s3.put_object(Bucket="lake", Key=key, Body=data)
    assert s3.get_object(Bucket="lake", Key=key)["Body"].read() == data
    assert s3.head_object(Bucket="lake", Key=key)["ContentLength"] == len(data)
    assert s3.get_object(Bucket="lake", Key=key, Range="bytes=5-9")["Body"].read() == data[5:10]
    assert [row["Key"] for row in s3.list_objects_v2(Bucket="lake", Prefix="shop=a/")["Contents"]] == [key]
    s3.delete_object(Bucket="lake", Key=key)


@pytest.mark.parametrize(("kind", "expected"), [("error", (500, "InternalError")), ("throttle", (503, "SlowDown"))])
def test_s3_fails_as_s3_does_and_kinesis_goes_on(
    proxy: FaultControl, s3: Any, kinesis: Any, kind: Any, expected: tuple[int, str]
) -> None:
    with proxy.failing(Fault(service="s3", kind=kind)):
        with pytest.raises(ClientError) as error:
            s3.put_object(Bucket="lake", Key="x", Body=b"x")
        assert refused(error) == expected
        assert kinesis.list_streams()["StreamNames"]
    s3.put_object(Bucket="lake", Key="x", Body=b"x")


def test_kinesis_throttles_by_the_code_that_clients_wait_for(
    proxy: FaultControl, kinesis: Any, request: pytest.FixtureRequest
) -> None:
    name = request.node.name[:100]
    with proxy.failing(Fault(service="kinesis", kind="throttle")):
        with pytest.raises(kinesis.exceptions.ProvisionedThroughputExceededException):
            kinesis.put_record(StreamName=name, Data=b"x", PartitionKey="k")
        with pytest.raises(kinesis.exceptions.LimitExceededException):
            kinesis.list_shards(StreamName=name)
    assert read(kinesis, name) == []


def test_a_lost_answer_is_an_error_after_the_work_was_done(
    proxy: FaultControl, kinesis: Any, request: pytest.FixtureRequest
) -> None:
    name = request.node.name[:100]
    with proxy.failing(Fault(service="kinesis", kind="lost")), pytest.raises(ClientError) as error:
        kinesis.put_record(StreamName=name, Data=b"x", PartitionKey="k")
    assert refused(error) == (500, "InternalFailure")
    assert read(kinesis, name) == [b"x"]
    assert proxy.injected()["kinesis lost"] == 1


def test_slow_answers_come_late_and_right(proxy: FaultControl, s3: Any) -> None:
    s3.put_object(Bucket="lake", Key="late", Body=b"x")
    with proxy.failing(Fault(service="s3", kind="slow", seconds=0.3)):
        began = time.monotonic()
        assert s3.get_object(Bucket="lake", Key="late")["Body"].read() == b"x"
        assert time.monotonic() - began >= 0.3


def test_a_share_of_the_requests_fails(proxy: FaultControl, s3: Any) -> None:
    outcomes = []
    with proxy.failing(Fault(service="s3", kind="error", share=0.5)):
        for _ in range(40):
            try:
                s3.list_buckets()
                outcomes.append(True)
            except ClientError:
                outcomes.append(False)
    assert 8 < sum(outcomes) < 32
