"""Compaction against an emulated S3: one whole file an hour, whatever came late, was deleted, broke or was killed."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batch.compact import main
from contracts.errors import StoreError
from contracts.lake import compacted_path, features_day_prefix
from contracts.settings import Settings, to_properties
from local.emulator_process import running_emulator
from stores.aws import client
from stores.objects import Objects

pytestmark = pytest.mark.e2e

DAY = date(2026, 1, 5)
NOW = datetime(2026, 1, 6, 12, tzinfo=UTC)
Row = tuple[str, int, float]
"""Entity, minute of the hour at which its window began, a value."""


@dataclass
class Lake:
    """A bucket to compact, and what the command said last."""

    objects: Objects
    s3: Any
    file: Path
    capture: pytest.CaptureFixture[str]
    err: str = ""

    def stream(self, name: str, rows: Sequence[Row], hour: int = 7, entity: str = "item") -> str:
        """A file as the stream's sink writes it: its times have no zone."""
        begin = datetime.combine(DAY, time(hour))
        starts = [begin + timedelta(minutes=minute) for _, minute, _ in rows]
        table = pa.table(
            {
                "entity_id": [entity_id for entity_id, *_ in rows],
                "window_start": pa.array(starts, pa.timestamp("ns")),
                "window_end": pa.array([start + timedelta(minutes=5) for start in starts], pa.timestamp("ns")),
                "views": [value for *_, value in rows],
            }
        )
        pq.write_table(table, out := io.BytesIO(), use_deprecated_int96_timestamps=True)
        self.objects.put(path := f"{features_day_prefix('default', entity, DAY)}hour={hour:02}/{name}", out.getvalue())
        return path

    def compact(self, *options: str, status: int = 0, now: datetime = NOW) -> dict[str, Any]:
        """Run the command over the day and a day around it; its summary."""
        assert main(["--properties", str(self.file), *options], now) == status
        said = self.capture.readouterr()
        self.err = said.err
        head, _, text = said.out.strip().splitlines()[-1].partition(" ")
        assert head == "COMPACTED"
        return dict(json.loads(text))

    def rows(self, hour: int = 7, entity: str = "item") -> list[Row] | None:
        """What a reader of the compacted data set finds of an hour."""
        folder = compacted_path("default", entity, DAY, hour).rpartition("/")[0]
        paths = self.objects.list(folder)
        assert len(paths) <= 1
        if not paths:
            return None
        found = pq.read_table(io.BytesIO(self.objects.get(paths[0]))).to_pylist()
        return [(row["entity_id"], row["window_start"].minute, row["views"]) for row in found]

    def written(self) -> dict[str, Any]:
        """When each compacted file was written."""
        listed = self.s3.list_objects_v2(Bucket=self.objects.bucket, Prefix="shop=default/dataset=features-compact/")
        return {row["Key"]: (row["ETag"], row["LastModified"]) for row in listed.get("Contents", ())}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch, running_emulator() as address:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "local")
        yield address


@pytest.fixture
def lake(
    endpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> Iterator[Lake]:
    bucket = f"lake-{abs(hash(request.node.name))}"
    settings = Settings.from_properties({"liveshelf": {"aws.endpoint": endpoint, "lake.bucket": bucket}})
    file = tmp_path / "application_properties.json"
    file.write_text(json.dumps(to_properties(settings)))
    s3 = client("s3", settings)
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": settings.aws_region})
    yield Lake(Objects(s3, bucket), s3, file, capsys)
    s3.close()


def test_an_hour_of_many_files_becomes_one_and_the_files_stay(lake: Lake) -> None:
    paths = [lake.stream(f"part-{n}", [(f"i{n}", 5 * (n % 12), 1.0)]) for n in range(30)]
    lake.stream("part-0", [("ada", 55, 2.0)], entity="user")
    summary = lake.compact()
    assert sorted(lake.rows() or ()) == sorted((f"i{n}", 5 * (n % 12), 1.0) for n in range(30))
    assert lake.rows(entity="user") == [("ada", 55, 2.0)]
    assert (summary["hours"], summary["files"], summary["rows"], summary["doubled"]) == (2, 31, 31, 0)
    assert set(paths) <= set(lake.objects.list("shop=default/dataset=features/"))


def test_a_second_run_writes_nothing(lake: Lake) -> None:
    lake.stream("part-0", [("A", 0, 1.0)])
    lake.compact()
    before = lake.written()
    summary = lake.compact()
    assert (summary["hours"], summary["unchanged"]) == (0, 1)
    assert lake.written() == before


def test_a_file_that_comes_late_is_added_and_no_other_hour_is_touched(lake: Lake) -> None:
    lake.stream("part-0", [("A", 0, 1.0)])
    lake.stream("part-0", [("B", 0, 1.0)], hour=8)
    lake.compact()
    before = lake.written()
    lake.stream("part-1", [("C", 10, 3.0)])
    summary = lake.compact()
    assert lake.rows() == [("A", 0, 1.0), ("C", 10, 3.0)]
    changed = {path for path, seen in lake.written().items() if seen != before[path]}
    assert changed == {compacted_path("default", "item", DAY, 7)}
    assert (summary["hours"], summary["unchanged"], summary["files"]) == (1, 1, 1)


def test_what_was_compacted_outlives_the_streams_files(lake: Lake) -> None:
    gone = lake.stream("part-0", [("A", 0, 1.0)])
    lake.compact()
    lake.objects.delete(gone)
    assert lake.compact()["hours"] == 0
    lake.stream("part-1", [("B", 0, 2.0)])
    lake.compact()
    assert lake.rows() == [("A", 0, 1.0), ("B", 0, 2.0)]


def test_a_window_that_was_written_twice_stands_once_with_the_larger_values(lake: Lake) -> None:
    lake.stream("part-0", [("A", 0, 5.0)])
    lake.stream("part-1", [("A", 0, 3.0)])
    assert lake.compact()["doubled"] == 1
    assert lake.rows() == [("A", 0, 5.0)]


def test_an_hour_that_is_not_over_for_long_enough_is_left_alone(lake: Lake) -> None:
    lake.stream("part-0", [("A", 0, 1.0)], hour=7)
    almost = datetime(2026, 1, 5, 8, 29, 59, tzinfo=UTC)
    lake.compact("--settle", "30", now=almost)
    assert lake.rows() is None
    lake.compact("--settle", "30", now=almost + timedelta(seconds=1))
    assert lake.rows() == [("A", 0, 1.0)]


def test_only_the_days_asked_for_are_looked_at(lake: Lake) -> None:
    lake.stream("part-0", [("A", 0, 1.0)])
    lake.compact("--day", "2026-01-06", "--until", "2026-01-06")
    lake.compact("--until", "2026-01-04")
    assert lake.rows() is None
    lake.compact("--day", "2026-01-05", "--until", "2026-01-05")
    assert lake.rows() is not None


def test_a_dry_run_tells_and_writes_nothing(lake: Lake) -> None:
    lake.stream("part-0", [("A", 0, 1.0)])
    summary = lake.compact("--dry-run")
    assert (summary["dry_run"], summary["hours"], summary["files"]) == (True, 1, 1)
    assert lake.written() == {}


def test_files_that_are_no_data_are_passed_over(lake: Lake) -> None:
    lake.stream("part-0", [("A", 0, 1.0)])
    for name in ("_SUCCESS", ".part-1.inprogress"):
        lake.objects.put(f"{features_day_prefix('default', 'item', DAY)}hour=07/{name}", b"")
    lake.compact()
    assert lake.rows() == [("A", 0, 1.0)]


def test_a_broken_file_is_named_and_costs_its_hour_only(lake: Lake) -> None:
    lake.stream("part-0", [("A", 0, 1.0)])
    lake.compact()
    lake.objects.put(f"{features_day_prefix('default', 'item', DAY)}hour=07/part-torn", b"PAR1")
    lake.stream("part-0", [("B", 0, 1.0)], hour=8)
    assert lake.compact(status=3)["failed"] == ["default item 2026-01-05 07h"]
    assert "part-torn cannot be read" in lake.err
    assert (lake.rows(7), lake.rows(8)) == ([("A", 0, 1.0)], [("B", 0, 1.0)])


def test_when_the_write_fails_the_hour_stays_as_it_was(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.stream("part-0", [("A", 0, 1.0)])
    lake.compact()
    lake.stream("part-1", [("B", 0, 1.0)])

    def fail(*_: Any) -> None:
        message = "S3 is away"
        raise StoreError(message)

    with monkeypatch.context() as patch:
        patch.setattr(Objects, "upload_folder", fail)
        assert main(["--properties", str(lake.file)], NOW) == 5
        assert "S3 is away" in lake.capture.readouterr().err
    assert lake.rows() == [("A", 0, 1.0)]
    lake.compact()
    assert lake.rows() == [("A", 0, 1.0), ("B", 0, 1.0)]


def test_killed_at_any_moment_every_hour_is_whole_or_as_it_was_and_the_next_run_ends_the_work(lake: Lake) -> None:
    rows: list[Row] = [(f"i{n:03}", 5 * (n % 12), float(n)) for n in range(200)]
    whole = sorted(rows, key=lambda row: (row[1], row[0]))
    for hour in range(24):
        for part in range(4):
            lake.stream(f"part-{part}", rows[part::4], hour=hour)
    command = [sys.executable, "-m", "batch.compact", "--properties", str(lake.file), "--day", str(DAY)]
    with subprocess.Popen([*command, "--until", str(DAY)], stdout=subprocess.PIPE, env=dict(os.environ)) as run:
        assert run.stdout is not None
        assert b"compact: default item 2026-01-05 00h: 4 files -> 200 rows" in run.stdout.readline()
        run.kill()
    found = [lake.rows(hour) for hour in range(24)]
    assert found[0] == whole
    assert all(row in (whole, None) for row in found)
    lake.compact()
    assert [lake.rows(hour) for hour in range(24)] == [whole] * 24


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["--help"], 0, "usage: python -m batch.compact"),
        (["--day", "yesterday"], 2, "'yesterday' is not a day; expected YYYY-MM-DD"),
        (["--day", "2026-01-06", "--until", "2026-01-05"], 2, "--day 2026-01-06 is after --until 2026-01-05"),
        (["--settle", "soon"], 2, "'soon' is not a whole number"),
    ],
)
def test_arguments_are_explained(
    options: list[str], status: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(options)
    said = capsys.readouterr()
    assert ended.value.code == status
    assert words in said.out + said.err


def test_a_shop_that_the_settings_do_not_name_is_refused(lake: Lake) -> None:
    assert main(["--properties", str(lake.file), "--shop", "nobodys"], NOW) == 2
    assert "shop 'nobodys' is not in the settings; expected one of default" in lake.capture.readouterr().err
