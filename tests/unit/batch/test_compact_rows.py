"""Merging files of bucket values: nothing lost, nothing twice, whatever the files and the memory."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batch.compact_rows import merge_files, sources_of
from contracts.errors import ContractError

HOUR = datetime(2026, 1, 5, 7, tzinfo=UTC)
Row = tuple[str, int, float, float]
"""Entity, number of the window within the hour, two values."""


def write(file: Path, rows: Sequence[Row], **values: Any) -> Path:
    """A file as the stream's sink writes it: INT96 times without a zone."""
    starts = [HOUR.replace(tzinfo=None) + timedelta(minutes=5 * at) for _, at, *_ in rows]
    columns = {
        "entity_id": [entity for entity, *_ in rows],
        "window_start": pa.array(starts, pa.timestamp("ns")),
        "window_end": pa.array([start + timedelta(minutes=5) for start in starts], pa.timestamp("ns")),
        "views": [row[2] for row in rows],
        "revenue": [row[3] for row in rows],
    }
    pq.write_table(pa.table(columns | values), file, use_deprecated_int96_timestamps=True)
    return file


def read(file: Path) -> list[Row]:
    found = pq.read_table(file).to_pylist()
    assert all(row["window_end"] - row["window_start"] == timedelta(minutes=5) for row in found)
    minutes = [int((row["window_start"] - HOUR).total_seconds()) // 300 for row in found]
    return [(row["entity_id"], at, row["views"], row["revenue"]) for at, row in zip(minutes, found, strict=True)]


@pytest.mark.parametrize("most_rows", [10_000, 100, 7])
def test_rows_of_all_files_stand_once_by_window_and_entity_in_any_amount_of_memory(
    tmp_path: Path, most_rows: int
) -> None:
    draw = random.Random(1)
    rows = [(f"i{n:03}", at, float(draw.randrange(9)), draw.random()) for n in range(40) for at in range(12)]
    shuffled = draw.sample(rows, len(rows))
    files = [write(tmp_path / f"part-{at}", shuffled[at::7]) for at in range(7)]
    merged = merge_files(files, HOUR, ["a", "b"], out := tmp_path / "out.parquet", most_rows)
    assert read(out) == sorted(rows, key=lambda row: (row[1], row[0]))
    assert (merged.rows, merged.doubled) == (len(rows), 0)
    with out.open("rb") as file:
        assert sources_of(file) == {"a", "b"}


def test_of_a_window_that_stands_in_several_files_the_larger_values_count(tmp_path: Path) -> None:
    files = [write(tmp_path / "one", [("A", 0, 5.0, 1.0)]), write(tmp_path / "two", [("A", 0, 4.0, 2.0)])]
    merged = merge_files(files, HOUR, [], out := tmp_path / "out", 100)
    assert (read(out), merged.doubled) == ([("A", 0, 5.0, 2.0)], 1)


def test_a_merged_file_is_merged_again_without_a_change(tmp_path: Path) -> None:
    first = write(tmp_path / "one", [("A", 3, 5.0, 1.0), ("B", 11, 1.0, 0.0)])
    merge_files([first], HOUR, ["a"], once := tmp_path / "once")
    merge_files([first, once], HOUR, ["a"], twice := tmp_path / "twice")
    assert pq.read_table(twice).equals(pq.read_table(once))


def test_a_value_that_was_added_later_is_nought_in_older_rows(tmp_path: Path) -> None:
    old, new = write(tmp_path / "old", [("A", 0, 1.0, 1.0)]), tmp_path / "new"
    write(new, [("B", 0, 1.0, 1.0)], last_purchase=[7.0])
    merge_files([old, new], HOUR, [], out := tmp_path / "out")
    assert pq.read_table(out).column("last_purchase").to_pylist() == [0.0, 7.0]


def test_times_stand_for_instants_of_utc(tmp_path: Path) -> None:
    merge_files([write(tmp_path / "one", [("A", 0, 1.0, 1.0)])], HOUR, [], out := tmp_path / "out")
    assert pq.read_schema(out).field("window_start").type == pa.timestamp("ms", tz="UTC")


@pytest.mark.parametrize("content", [b"", b"PAR1 and then nothing"], ids=["empty", "torn"])
def test_a_file_that_is_not_parquet_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "part-7").write_bytes(content)
    with pytest.raises(ContractError, match="part-7 cannot be read"):
        merge_files([tmp_path / "part-7"], HOUR, [], tmp_path / "out")


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"entity_id": ["A"], "views": [1.0]}), tmp_path / "part-8")
    with pytest.raises(ContractError, match="part-8 has no column window_start"):
        merge_files([tmp_path / "part-8"], HOUR, [], tmp_path / "out")


def test_a_row_of_another_hour_is_not_dropped_in_silence(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="1 of 2 rows are of no window of 2026-01-05 07h"):
        merge_files([write(tmp_path / "one", [("A", 0, 1, 1), ("A", 12, 1, 1)])], HOUR, [], tmp_path / "out")
