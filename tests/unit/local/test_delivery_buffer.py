"""What the delivery worker decides: when to write, under which key, and where to go on; on a clock moved by hand."""

import base64
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

from local.delivery_buffer import Batch, Buffer, Positions, Record, Shard, error_lines, readable

NOON = int(datetime(2026, 3, 5, 12, 0, 30, tzinfo=UTC).timestamp() * 1000)


def record(number: int, data: bytes = b"{}", arrived_at: int = NOON) -> Record:
    return Record(str(number), arrived_at, data)


def batch(*records: Record) -> Batch:
    return Batch(stream="behaviour", shard="shardId-000000000000", records=records)


def buffer(max_bytes: int = 100, interval_ms: int = 1000) -> Buffer:
    return Buffer("behaviour", "shardId-000000000000", max_bytes=max_bytes, interval_ms=interval_ms)


def test_nothing_is_written_before_size_or_interval() -> None:
    waiting = buffer()
    waiting.add([record(1)], NOON)
    assert waiting.due(NOON + 999) is None
    assert buffer().due(NOON + 10_000, force=True) is None


def test_the_interval_runs_from_the_first_record_in_the_buffer() -> None:
    waiting = buffer()
    waiting.add([record(1)], NOON)
    waiting.add([record(2)], NOON + 900)
    due = waiting.due(NOON + 1000)
    assert due is not None
    assert [one.sequence_number for one in due.records] == ["1", "2"]


def test_a_full_buffer_is_written_at_once_in_pieces_of_its_size() -> None:
    waiting = buffer(max_bytes=30)
    waiting.add([record(number, b"x" * 9) for number in range(7)], NOON)
    first = waiting.due(NOON)
    assert first is not None
    assert first.size == 30
    waiting.drop(first, NOON)
    second = waiting.due(NOON)
    assert second is not None
    assert [one.sequence_number for one in second.records] == ["3", "4", "5"]
    waiting.drop(second, NOON)
    assert waiting.due(NOON + 999) is None, "the rest waits for its own interval"
    assert len(waiting) == 1


def test_a_batch_that_could_not_be_stored_stays() -> None:
    waiting = buffer()
    waiting.add([record(1)], NOON)
    assert waiting.due(NOON, force=True) == waiting.due(NOON, force=True)


def test_one_record_larger_than_the_buffer_is_written() -> None:
    waiting = buffer(max_bytes=10)
    waiting.add([record(1, b"x" * 1000)], NOON)
    due = waiting.due(NOON)
    assert due is not None
    assert due.size == 1001


def test_records_keep_every_byte_and_get_a_newline() -> None:
    raw = [b'{"a": 1}', b"\xff\x00 not json", b"", b"ends with one\n"]
    body = gzip.decompress(batch(*(record(number, data) for number, data in enumerate(raw))).body())
    assert body == b'{"a": 1}\n\xff\x00 not json\n\nends with one\n\n'


def test_the_key_is_named_by_the_arrival_of_the_oldest_record_in_utc() -> None:
    before, after = record(1, arrived_at=NOON - 43_200_000), record(2, arrived_at=NOON)
    late = record(1, arrived_at=int(datetime(2026, 3, 4, 23, 59, 59, 999_000, tzinfo=UTC).timestamp() * 1000))
    assert batch(before, after).key().startswith("events/year=2026/month=03/day=05/behaviour-1-2026-03-05-00-00-30-")
    assert batch(late, after).key().startswith("events/year=2026/month=03/day=04/behaviour-1-2026-03-04-23-59-59-")
    assert batch(late).key().endswith(".gz")


def test_a_batch_that_begins_alike_replaces_its_object_and_no_other() -> None:
    assert batch(record(1), record(2)).key() == batch(record(1)).key()
    other_shard = Batch(stream="behaviour", shard="shardId-000000000001", records=[record(1)])
    assert len({batch(record(1)).key(), batch(record(2)).key(), other_shard.key()}) == 3


def test_equal_batches_are_equal_bytes() -> None:
    assert batch(record(1, b"x")).body() == batch(record(1, b"x")).body()


def test_what_cannot_be_delivered_keeps_its_bytes_below_the_error_prefix() -> None:
    failed = batch(record(1, b"\xff\x00"), record(2))
    assert failed.error_key() == "events-errors/processing-failed/" + failed.key().removeprefix("events/")
    lines = [json.loads(line) for line in gzip.decompress(error_lines(failed, 3, "denied", NOON)).splitlines()]
    assert [base64.b64decode(line["rawData"]) for line in lines] == [b"\xff\x00", b"{}"]
    assert lines[0]["attemptsMade"] == 3
    assert lines[0]["errorMessage"] == "denied"


def test_a_merged_shard_waits_for_both_parents() -> None:
    shards = [Shard("a"), Shard("b"), Shard("c", parents=("a", "b"))]
    assert [shard.shard_id for shard in readable(shards, {"a"}.__contains__)] == ["b"]
    assert [shard.shard_id for shard in readable(shards, {"a", "b"}.__contains__)] == ["c"]


def test_a_parent_that_expired_is_not_waited_for() -> None:
    assert [shard.shard_id for shard in readable([Shard("b", parents=("gone",))], lambda shard: False)] == ["b"]


def test_positions_survive_a_restart(tmp_path: Path) -> None:
    Positions(tmp_path, "stream of today").advance("shard", "42")
    again = Positions(tmp_path, "stream of today")
    assert again.after("shard") == "42"
    assert not again.drained("shard")
    again.advance("shard", "42", drained=True)
    assert Positions(tmp_path, "stream of today").drained("shard")


def test_positions_of_an_earlier_stream_count_for_nothing(tmp_path: Path) -> None:
    Positions(tmp_path, "stream of yesterday").advance("shard", "42", drained=True)
    today = Positions(tmp_path, "stream of today")
    assert today.after("shard") is None
    assert not today.drained("shard")


def test_a_crash_while_a_position_is_written_leaves_the_old_one(tmp_path: Path) -> None:
    positions = Positions(tmp_path, "life")
    positions.advance("shard", "42")
    (tmp_path / "shard.json.new").write_text('{"life": "life", "aft')
    assert positions.after("shard") == "42"
    positions.advance("shard", "43")
    assert positions.after("shard") == "43"
