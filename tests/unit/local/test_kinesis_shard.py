"""One shard keeps what Kinesis promises, on a clock moved by hand."""

import pytest

from local.kinesis_shard import MAX_READ_RECORDS, ForeignSequenceNumber, ShardLog, TokenBucket, first_sequence_number

START = 1_700_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def filled(clock: Clock, count: int, **options: int) -> ShardLog:
    log = ShardLog(first_sequence_number(START, 0), clock, **options)
    for number in range(count):
        log.append("key", f"record {number}", 10)
        clock.now += 1
    return log


def data(log: ShardLog, position: int, limit: int = MAX_READ_RECORDS) -> list[str]:
    return [entry.data for entry in log.read(position, limit)[1]]


def test_sequence_numbers_rise_and_are_unique_over_shards_and_restarts(clock: Clock) -> None:
    numbers = []
    for created_at, shard in ((START, 0), (START, 1), (START + 1, 0)):
        log = ShardLog(first_sequence_number(created_at, shard), clock)
        numbers += [log.append("key", "", 0) for _ in range(3)]
    assert numbers == sorted(set(numbers))


def test_a_reader_that_pages_sees_every_record_once_in_order(clock: Clock) -> None:
    log = filled(clock, 10)
    seen, position = [], log.horizon
    while position < log.end:
        start, entries = log.read(position, 3)
        seen += [entry.data for entry in entries]
        position = start + len(entries)
    assert seen == [f"record {number}" for number in range(10)]


def test_at_and_after_a_sequence_number_differ_by_one_record(clock: Clock) -> None:
    log = filled(clock, 5)
    third = log.sequence_number(2)
    assert data(log, log.position_at(third))[0] == "record 2"
    assert data(log, log.position_after(third))[0] == "record 3"


def test_the_starting_number_of_an_empty_shard_is_a_valid_place_to_start(clock: Clock) -> None:
    log = ShardLog(first_sequence_number(START, 0), clock)
    position = log.position_at(log.first_sequence)
    log.append("key", "first", 5)
    assert data(log, position) == ["first"]
    assert position == log.position_after(log.first_sequence)


def test_a_number_of_another_emulator_is_refused(clock: Clock) -> None:
    log = filled(clock, 5)
    for foreign in (first_sequence_number(START - 1, 0) + 1, log.last_sequence + 1):
        with pytest.raises(ForeignSequenceNumber, match="TRIM_HORIZON"):
            log.position_at(foreign)


def test_a_search_by_time_finds_the_first_record_at_or_after_it(clock: Clock) -> None:
    log = filled(clock, 5)
    assert data(log, log.position_at_time(START + 3))[0] == "record 3"
    assert log.position_at_time(START - 1) == log.horizon
    assert log.position_at_time(START + 99) == log.end


def test_a_clock_set_back_does_not_break_the_search_by_time(clock: Clock) -> None:
    log = filled(clock, 3)
    clock.now = START - 1000
    log.append("key", "after the jump", 1)
    assert log.position_at_time(START + 3) == log.end
    assert log.position_at_time(START + 2) == 2


def test_records_older_than_the_retention_go_and_positions_stay(clock: Clock) -> None:
    log = filled(clock, 10, retention_ms=5)
    third = log.sequence_number(2)
    assert log.trim() == 5
    assert data(log, log.position_at(third))[0] == "record 5", "a reader before the horizon goes on at the horizon"
    assert log.last_sequence == log.sequence_number(9)
    assert log.dropped_unexpired == 0


def test_memory_is_bounded_and_what_was_dropped_early_is_counted(clock: Clock) -> None:
    log = filled(clock, 1000, max_bytes=1000)
    held = log.end - log.horizon
    assert 80 <= held <= 100
    assert log.dropped_unexpired == 1000 - held
    assert data(log, 0)[-1] == "record 999"


def test_one_read_returns_at_most_ten_thousand_records_and_ten_megabytes(clock: Clock) -> None:
    assert len(filled(clock, 10_001).read(0, 20_000)[1]) == 10_000
    log = ShardLog(first_sequence_number(START, 0), clock)
    for _ in range(12):
        log.append("key", "", 1 << 20)
    assert len(log.read(0)[1]) == 10


def test_behind_is_the_age_of_the_last_record_read_and_zero_at_the_tip(clock: Clock) -> None:
    log = filled(clock, 10)
    _, entries = log.read(0, 4)
    assert log.millis_behind(4, entries[-1]) == clock.now - (START + 3)
    assert log.millis_behind(10, None) == 0


def test_a_bucket_of_five_serves_a_steady_reader_and_refuses_the_sixth_at_once(clock: Clock) -> None:
    bucket = TokenBucket(5, clock)
    assert [bucket.take() for _ in range(6)] == [True] * 5 + [False]
    clock.now += 200
    assert [bucket.take(), bucket.take()] == [True, False]
    for _ in range(50):
        clock.now += 200
        assert bucket.take()
