"""The emulator, as a process of its own and through the AWS client, behaves as the services do."""

import base64
import hashlib
import http.client
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from local.emulator import serve
from local.emulator_process import client, running_emulator

pytestmark = pytest.mark.e2e

TOP = 2**128 - 1


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with running_emulator() as address:
        yield address


@pytest.fixture
def kinesis(endpoint: str) -> Any:
    return client("kinesis", endpoint)


@pytest.fixture
def stream(kinesis: Any, request: pytest.FixtureRequest) -> str:
    name = request.node.name.split("[")[0][:100]
    kinesis.create_stream(StreamName=name, ShardCount=2)
    return str(name)


def until(check: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not reached within {seconds} s"
        time.sleep(0.02)


def shards(kinesis: Any, stream: str) -> list[str]:
    return [shard["ShardId"] for shard in kinesis.list_shards(StreamName=stream)["Shards"]]


def iterator(kinesis: Any, stream: str, shard: str, kind: str = "TRIM_HORIZON", **where: Any) -> str:
    answer = kinesis.get_shard_iterator(StreamName=stream, ShardId=shard, ShardIteratorType=kind, **where)
    return str(answer["ShardIterator"])


def read(kinesis: Any, at: str, **options: Any) -> dict[str, Any]:
    """One GetRecords, again while the shard's five reads a second are used up."""
    answers: list[dict[str, Any]] = []

    def attempt() -> bool:
        try:
            answers.append(kinesis.get_records(ShardIterator=at, **options))
        except kinesis.exceptions.ProvisionedThroughputExceededException:
            return False
        return True

    until(attempt)
    return answers[0]


def payloads(answer: dict[str, Any]) -> list[bytes]:
    return [record["Data"] for record in answer["Records"]]


def put(kinesis: Any, stream: str, data: bytes, key: str = "key", **more: str) -> dict[str, Any]:
    return dict(kinesis.put_record(StreamName=stream, Data=data, PartitionKey=key, **more))


def error_of(call: Callable[..., Any], **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def test_records_written_while_others_read_arrive_once_and_in_order(kinesis: Any, stream: str) -> None:
    expected = 4 * 10 * 200
    answers: list[dict[str, Any]] = []

    def write(writer: int) -> None:
        for batch in range(10):
            keys = [f"{writer}-{batch}-{number}" for number in range(200)]
            records = [{"Data": key.encode(), "PartitionKey": key} for key in keys]
            answers.append(kinesis.put_records(StreamName=stream, Records=records))

    def consume(_: int) -> list[tuple[str, int, bytes]]:
        seen: list[tuple[str, int, bytes]] = []
        places = {shard: iterator(kinesis, stream, shard) for shard in shards(kinesis, stream)}
        deadline = time.monotonic() + 30
        while len(seen) < expected and time.monotonic() < deadline:
            for shard, place in places.items():
                answer = read(kinesis, place)
                places[shard] = answer["NextShardIterator"]
                seen += [(shard, int(record["SequenceNumber"]), record["Data"]) for record in answer["Records"]]
        return seen

    with ThreadPoolExecutor(6) as pool:
        readers = [pool.submit(consume, number) for number in range(2)]
        list(pool.map(write, range(4)))
        results = [reader.result() for reader in readers]
    written = sorted((a["ShardId"], int(a["SequenceNumber"])) for answer in answers for a in answer["Records"])
    assert all(answer["FailedRecordCount"] == 0 for answer in answers)
    for seen in results:
        assert len({data for _, _, data in seen}) == len(seen) == expected
        assert sorted((shard, number) for shard, number, _ in seen) == written
        for shard in shards(kinesis, stream):
            order = [number for where, number, _ in seen if where == shard]
            assert order == sorted(set(order))


def test_records_go_to_the_shard_that_owns_the_md5_of_their_key(kinesis: Any, stream: str) -> None:
    ranges = {s["ShardId"]: s["HashKeyRange"] for s in kinesis.list_shards(StreamName=stream)["Shards"]}
    for number in range(20):
        hashed = int(hashlib.md5(f"default#{number}".encode()).hexdigest(), 16)
        owner = ranges[put(kinesis, stream, b"x", f"default#{number}")["ShardId"]]
        assert int(owner["StartingHashKey"]) <= hashed <= int(owner["EndingHashKey"])


@pytest.mark.parametrize(("hash_key", "position"), [(0, 0), (2**127 - 1, 0), (2**127, 1), (TOP, 1)])
def test_an_explicit_hash_key_wins_at_every_edge(
    endpoint: str, kinesis: Any, request: pytest.FixtureRequest, hash_key: int, position: int
) -> None:
    name = f"explicit-{hash_key}"
    kinesis.create_stream(StreamName=name, ShardCount=2)
    where = put(kinesis, name, b"x", ExplicitHashKey=str(hash_key))["ShardId"]
    assert where == shards(kinesis, name)[position]


def test_the_sixth_read_of_a_second_is_refused_whoever_reads(endpoint: str, kinesis: Any, stream: str) -> None:
    other, (shard, untouched) = client("kinesis", endpoint), shards(kinesis, stream)
    at = iterator(kinesis, stream, shard)
    refused = 0
    began = time.monotonic()
    while not refused and time.monotonic() < began + 10:
        try:
            kinesis.get_records(ShardIterator=at)
            other.get_records(ShardIterator=at)
        except ClientError as error:
            refused += error.response["Error"]["Code"] == "ProvisionedThroughputExceededException"
    assert refused
    assert kinesis.get_records(ShardIterator=iterator(kinesis, stream, untouched))["Records"] == []


def test_every_iterator_type_starts_where_it_says(kinesis: Any, stream: str) -> None:
    answers = [put(kinesis, stream, f"{number}".encode(), ExplicitHashKey="0") for number in range(4)]
    shard = answers[0]["ShardId"]
    second = {"StartingSequenceNumber": answers[1]["SequenceNumber"]}
    assert payloads(read(kinesis, iterator(kinesis, stream, shard))) == [b"0", b"1", b"2", b"3"]
    assert payloads(read(kinesis, iterator(kinesis, stream, shard, "AT_SEQUENCE_NUMBER", **second)))[0] == b"1"
    assert payloads(read(kinesis, iterator(kinesis, stream, shard, "AFTER_SEQUENCE_NUMBER", **second)))[0] == b"2"
    arrived = read(kinesis, iterator(kinesis, stream, shard))["Records"][-1]["ApproximateArrivalTimestamp"]
    assert payloads(read(kinesis, iterator(kinesis, stream, shard, "AT_TIMESTAMP", Timestamp=arrived)))[-1] == b"3"
    latest = iterator(kinesis, stream, shard, "LATEST")
    put(kinesis, stream, b"new", ExplicitHashKey="0")
    assert payloads(read(kinesis, latest)) == [b"new"]


def test_a_reader_learns_how_far_behind_it_is(kinesis: Any, stream: str) -> None:
    first, _ = put(kinesis, stream, b"x", ExplicitHashKey="0"), put(kinesis, stream, b"x", ExplicitHashKey="0")
    at = iterator(kinesis, stream, first["ShardId"])
    until(lambda: read(kinesis, at, Limit=1)["MillisBehindLatest"] >= 50)
    assert read(kinesis, at)["MillisBehindLatest"] == 0


def test_a_place_in_an_earlier_stream_of_the_same_name_is_refused(kinesis: Any, stream: str) -> None:
    answer = put(kinesis, stream, b"x")
    shard, number = answer["ShardId"], answer["SequenceNumber"]
    old = iterator(kinesis, stream, shard)
    kinesis.delete_stream(StreamName=stream)
    kinesis.create_stream(StreamName=stream, ShardCount=2)
    where = {"StreamName": stream, "ShardId": shard, "ShardIteratorType": "AFTER_SEQUENCE_NUMBER"}
    refusal = error_of(kinesis.get_shard_iterator, StartingSequenceNumber=number, **where)
    assert refusal == error_of(kinesis.get_records, ShardIterator=old) == "InvalidArgumentException"


def test_a_split_closes_the_parent_which_keeps_its_records(kinesis: Any, stream: str) -> None:
    before = put(kinesis, stream, b"before", ExplicitHashKey="5")
    parent = before["ShardId"]
    kinesis.split_shard(StreamName=stream, ShardToSplit=parent, NewStartingHashKey="1000")
    low, high = (put(kinesis, stream, b"after", ExplicitHashKey=str(key))["ShardId"] for key in (999, 1000))
    answer = read(kinesis, iterator(kinesis, stream, parent))
    assert payloads(answer) == [b"before"]
    assert "NextShardIterator" not in answer
    assert [child["ShardId"] for child in answer["ChildShards"]] == [low, high]
    listed = {shard["ShardId"]: shard for shard in kinesis.list_shards(StreamName=stream)["Shards"]}
    assert listed[low]["ParentShardId"] == listed[high]["ParentShardId"] == parent
    assert int(listed[parent]["SequenceNumberRange"]["EndingSequenceNumber"]) > int(before["SequenceNumber"])
    assert "EndingSequenceNumber" not in listed[low]["SequenceNumberRange"]
    summary = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]
    assert summary["OpenShardCount"] == 3


def test_a_merge_closes_both_parents_and_routes_to_the_child(kinesis: Any, stream: str) -> None:
    first, second = shards(kinesis, stream)
    put(kinesis, stream, b"before", ExplicitHashKey="0")
    kinesis.merge_shards(StreamName=stream, ShardToMerge=second, AdjacentShardToMerge=first)
    child = {put(kinesis, stream, b"after", ExplicitHashKey=str(key))["ShardId"] for key in (0, TOP)}
    assert child == {shards(kinesis, stream)[-1]}
    assert payloads(read(kinesis, iterator(kinesis, stream, first))) == [b"before"]
    assert payloads(read(kinesis, iterator(kinesis, stream, child.pop()))) == [b"after", b"after"]


def test_while_a_split_goes_on_the_stream_takes_records_but_no_second_split(kinesis: Any, stream: str) -> None:
    first, second = shards(kinesis, stream)
    kinesis.split_shard(StreamName=stream, ShardToSplit=first, NewStartingHashKey="1000")
    assert status(kinesis, stream) == "UPDATING"
    where = {"ShardToMerge": shards(kinesis, stream)[-1], "AdjacentShardToMerge": second}
    assert error_of(kinesis.merge_shards, StreamName=stream, **where) == "ResourceInUseException"
    child = put(kinesis, stream, b"x", ExplicitHashKey="0")["ShardId"]
    assert payloads(read(kinesis, iterator(kinesis, stream, child))) == [b"x"]
    until(lambda: status(kinesis, stream) == "ACTIVE")
    kinesis.merge_shards(StreamName=stream, **where)


def test_a_closed_shard_is_not_split_again(kinesis: Any, stream: str) -> None:
    parent = shards(kinesis, stream)[0]
    kinesis.split_shard(StreamName=stream, ShardToSplit=parent, NewStartingHashKey="1000")
    until(lambda: status(kinesis, stream) == "ACTIVE")
    again = error_of(kinesis.split_shard, StreamName=stream, ShardToSplit=parent, NewStartingHashKey="500")
    assert again == "InvalidArgumentException"


def test_a_new_shard_count_is_one_change_of_many_splits_and_merges(kinesis: Any, stream: str) -> None:
    kinesis.update_shard_count(StreamName=stream, TargetShardCount=3, ScalingType="UNIFORM_SCALING")
    assert status(kinesis, stream) == "UPDATING"
    assert len(listed(kinesis, stream, Type="AT_LATEST")) == 3


def test_shards_are_listed_as_of_a_time_and_since(kinesis: Any, stream: str) -> None:
    old = shards(kinesis, stream)
    before = another_millisecond()
    another_millisecond()
    kinesis.split_shard(StreamName=stream, ShardToSplit=old[0], NewStartingHashKey="1000")
    everyone = shards(kinesis, stream)
    assert len(everyone) == 4
    assert listed(kinesis, stream, Type="AT_TIMESTAMP", Timestamp=before) == old
    assert listed(kinesis, stream, Type="AT_TRIM_HORIZON") == old
    assert listed(kinesis, stream, Type="FROM_TIMESTAMP", Timestamp=before) == everyone
    assert listed(kinesis, stream, Type="FROM_TRIM_HORIZON") == everyone
    assert listed(kinesis, stream, Type="FROM_TIMESTAMP", Timestamp=another_millisecond()) == everyone[1:]
    assert listed(kinesis, stream, Type="AT_LATEST") == everyone[1:]


def another_millisecond() -> float:
    """Epoch seconds, once the clock that stamps shards has moved on."""
    now = time.time()
    until(lambda: time.time() > now + 0.002)
    return time.time()


def status(kinesis: Any, stream: str) -> str:
    return str(kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamStatus"])


def listed(kinesis: Any, stream: str, **chosen: Any) -> list[str]:
    return [shard["ShardId"] for shard in kinesis.list_shards(StreamName=stream, ShardFilter=chosen)["Shards"]]


def test_shards_after_a_known_one_are_listed_for_discovery(kinesis: Any, stream: str) -> None:
    first, second = shards(kinesis, stream)
    after = kinesis.list_shards(StreamName=stream, ExclusiveStartShardId=first)["Shards"]
    assert [shard["ShardId"] for shard in after] == [second]
    page = kinesis.list_shards(StreamName=stream, MaxResults=1)
    assert [s["ShardId"] for s in kinesis.list_shards(NextToken=page["NextToken"])["Shards"]] == [second]


def test_what_aws_refuses_is_refused_whole(kinesis: Any, stream: str) -> None:
    record = {"Data": b"x", "PartitionKey": "key"}
    assert error_of(kinesis.put_records, StreamName=stream, Records=[record] * 501) == "ValidationException"
    assert (
        error_of(kinesis.put_record, StreamName=stream, **record | {"Data": b"x" * (2**20 + 1)})
        == "ValidationException"
    )
    big = record | {"Data": b"x" * 2**20}
    assert error_of(kinesis.put_records, StreamName=stream, Records=[big] * 6) == "InvalidArgumentException"
    assert error_of(kinesis.put_record, StreamName="no-such-stream", **record) == "ResourceNotFoundException"
    for shard in shards(kinesis, stream):
        assert read(kinesis, iterator(kinesis, stream, shard))["Records"] == []


def test_with_throughput_limits_single_records_of_a_batch_fail() -> None:
    with running_emulator("--throughput-limits") as address:
        kinesis = client("kinesis", address)
        kinesis.create_stream(StreamName="limited", ShardCount=1)
        records = [{"Data": b"x" * 3000, "PartitionKey": "key"} for _ in range(500)]
        answer = kinesis.put_records(StreamName="limited", Records=records)
        failed = [one for one in answer["Records"] if "ErrorCode" in one]
        assert 0 < len(failed) == answer["FailedRecordCount"] < 500
        assert {one["ErrorCode"] for one in failed} == {"ProvisionedThroughputExceededException"}
        stored = read(kinesis, iterator(kinesis, "limited", shards(kinesis, "limited")[0]))["Records"]
        assert len(stored) == 500 - len(failed)


@pytest.fixture
def restless() -> Iterator[str]:
    """An emulator in this process whose threads change places all the time, so that a race does show."""
    interval = sys.getswitchinterval()
    server = serve(0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    sys.setswitchinterval(1e-5)
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        sys.setswitchinterval(interval)
        server.shutdown()
        server.server_close()
        thread.join(10)


def test_a_conditional_update_has_one_winner(restless: str) -> None:
    table = client("dynamodb", restless)
    key = {"pk": {"S": "default#CURRENT"}}
    schema = {"KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}], "BillingMode": "PAY_PER_REQUEST"}
    attributes = [{"AttributeName": "pk", "AttributeType": "S"}]
    table.create_table(TableName="race", AttributeDefinitions=attributes, **schema)
    table.put_item(TableName="race", Item=key | {"version": {"N": "0"}})

    def switch(round_: int) -> bool:
        old, new = {"N": str(round_)}, {"N": str(round_ + 1)}
        values = {":old": old, ":new": new}
        condition = {"ConditionExpression": "version = :old", "UpdateExpression": "SET version = :new"}
        try:
            table.update_item(TableName="race", Key=key, ExpressionAttributeValues=values, **condition)
        except table.exceptions.ConditionalCheckFailedException:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        for round_ in range(12):
            assert sum(pool.map(switch, [round_] * 8)) == 1


def test_one_connection_serves_many_requests(endpoint: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=10)
    connection.connect()
    used = connection.sock
    for _ in range(3):
        connection.request("GET", "/moto-api/")
        answer = connection.getresponse()
        assert answer.status == 200
        answer.read()
        assert connection.sock is used, "the server closed the connection"
    connection.close()


def test_a_client_that_sends_cbor_is_told_what_to_set(endpoint: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=10)
    headers = {"X-Amz-Target": "Kinesis_20131202.GetRecords", "Content-Type": "application/x-amz-cbor-1.1"}
    connection.request("POST", "/", base64.b64decode("oA=="), headers)
    answer = connection.getresponse()
    assert answer.status == 400
    assert b"AWS_CBOR_DISABLE" in answer.read()
    connection.close()


def test_sigterm_ends_it_while_a_connection_is_open() -> None:
    command = [sys.executable, "-m", "local.emulator"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[1]
            connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=10)
            connection.request("GET", "/moto-api/")
            connection.getresponse().read()
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=10) == 0
            connection.close()
        finally:
            process.kill()
