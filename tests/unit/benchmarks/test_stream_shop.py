"""The synthetic hour of traffic is what it says: every type, the stated faults, in order, and equal for equal seeds."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.stream_shop import Sent, StreamShop, write_files
from contracts.events import EVENT_TYPES, LATE_MS
from contracts.records import parse_records

END_MS = 1_767_225_600_000
SHOP = StreamShop(events=20_000, people=500, items=1000, groups=20)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sent, list[list[bytes]]]:
    folder = tmp_path_factory.mktemp("records")
    sent = write_files(SHOP, folder, 2, END_MS)
    return sent, [(folder / f"shard-{shard}.jsonl").read_bytes().splitlines() for shard in range(2)]


def test_the_contract_s_parser_finds_what_the_generator_says_it_wrote(written: tuple[Sent, list[list[bytes]]]) -> None:
    sent, shards = written
    lines = [line for shard in shards for line in shard]
    columns = parse_records(lines)
    valid = [at for at, reason in enumerate(columns.reason) if not reason]
    first = {columns.event_id[at]: at for at in reversed(valid)}
    assert len(lines) == sent.lines == SHOP.events
    assert len(first) == sent.distinct
    assert sum(columns.late[at] for at in first.values()) == sent.late > 0
    assert sum(columns.action[at] and not columns.late[at] for at in first.values()) == sent.actions
    assert len(lines) - len(valid) >= sent.malformed > 0
    assert Counter(columns.event_type[at] for at in valid).keys() == set(EVENT_TYPES)


def test_a_person_s_records_share_a_shard_and_every_shard_is_in_the_order_of_arrival(
    written: tuple[Sent, list[list[bytes]]],
) -> None:
    _, shards = written
    people = []
    for lines in shards:
        columns = parse_records(lines)
        rows = [at for at, reason in enumerate(columns.reason) if not reason and columns.event_type[at] != "identify"]
        people.append({columns.subject[at] for at in rows})
        received = np.array([columns.received_ms[at] for at in rows])
        late = np.array([columns.received_ms[at] - columns.occurred_ms[at] > LATE_MS for at in rows])
        assert np.diff(received).min() > -LATE_MS  # a repetition carries the time of the first
        assert END_MS - 3_600_000 <= received.min() <= received.max() <= END_MS
        assert late.mean() < 0.01
    assert not people[0] & people[1]


def test_equal_shops_write_equal_records(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_files(SHOP, tmp_path / name, 1, END_MS)
    one, two = ((tmp_path / name / "shard-0.jsonl").read_bytes() for name in ("one", "two"))
    assert one == two


def test_items_fall_off_by_zipf_and_the_model_keeps_to_groups(written: tuple[Sent, list[list[bytes]]]) -> None:
    _, shards = written
    columns = parse_records([line for shard in shards for line in shard])
    counts = Counter(item for item in columns.item_id if item)
    assert counts[SHOP.item(0)] / counts[SHOP.item(9)] == pytest.approx(10, rel=0.35)
    indptr, indices, data = SHOP.matrix(50)
    rows = np.repeat(np.arange(SHOP.items), np.diff(indptr))
    same = indices % SHOP.groups == rows % SHOP.groups
    assert np.diff(indptr).max() <= 50
    assert 0.6 < same.mean() < 0.9
    assert np.all(indices != rows)
    assert data[same].mean() > 2 * data[~same].mean()
    for row in range(0, SHOP.items, 97):
        assert np.all(np.diff(indices[indptr[row] : indptr[row + 1]]) > 0)
