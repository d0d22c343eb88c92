"""The initial lake: whole weeks, arrival days, records that the contract takes, a cache that is used."""

import gzip
import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.events import parse, to_ms
from contracts.items import decode_catalogue
from contracts.lake import catalogue_path, visitors_path
from local import fill, journey
from stores.objects import Objects

NOW = datetime(2026, 3, 5, 7, 0, tzinfo=UTC)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of six weeks: 40 baskets a week of three lines, the last minutes before midnight included."""
    began = datetime(2017, 1, 1, 23, 59, 58)  # noqa: DTZ001 - the package's times carry no zone
    rows = [
        (b % 30 + 1, 1000 * w + b, 100 + (b + k) % 50, 1, 1.99, w, began + timedelta(days=7 * w + b % 7))
        for w in range(1, 7)
        for b in range(40)
        for k in range(3)
    ]
    names = ["household_id", "basket_id", "product_id", "quantity", "sales_value", "week", "transaction_timestamp"]
    lines = pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))
    pq.write_table(lines, tmp_path / "transactions.parquet")
    words = ["department", "brand", "product_category", "product_type", "package_size"]
    numbers = {"product_id": list(range(100, 150)), "manufacturer_id": [1] * 50}
    pq.write_table(pa.table(numbers | {name: ["SOUP"] * 50 for name in words}), tmp_path / "products.parquet")
    monkeypatch.setattr(journey, "data_folder", lambda: tmp_path)
    return tmp_path


def events_of(folder: Path) -> dict[Path, list[bytes]]:
    return {
        path.relative_to(folder): gzip.decompress(path.read_bytes()).splitlines()
        for path in sorted((folder / "events").rglob("*.gz"))
    }


def test_the_history_ends_less_than_a_week_before_now_and_never_after(small: Path, tmp_path: Path) -> None:
    folder = fill.prepare(NOW, cache=tmp_path / "cache", say=lambda _: None)
    filled, original = fill.summary(folder), journey.load(journey.split().lake).lines
    assert to_ms(NOW) - journey.WEEK_MS < filled.last_ms <= to_ms(NOW)
    assert filled.last_ms - int(original["occurred_ms"].max()) == filled.weeks_shifted * journey.WEEK_MS
    assert filled.records == len(original) == 240


def test_every_record_keeps_the_event_contract_and_lies_in_the_folder_of_its_arrival(
    small: Path, tmp_path: Path
) -> None:
    folder = fill.prepare(NOW, cache=tmp_path / "cache", say=lambda _: None)
    seen, crossed = set(), 0
    for path, records in events_of(folder).items():
        assert path.name.startswith("behaviour-1-")
        arrived = []
        for record in records:
            event = parse(record)
            assert event.received_at is not None
            assert f"events/year={event.received_at:%Y}/month={event.received_at:%m}/day={event.received_at:%d}" == str(
                path.parent
            )
            assert 0 < event.received_ms - event.occurred_ms <= fill.LONGEST_DELAY_MS
            crossed += event.occurred_at.date() != event.received_at.date()
            arrived.append(event.received_ms)
            seen.add(event.event_id)
        assert arrived == sorted(arrived)
    assert len(seen) == 240
    assert crossed, "what occurred before midnight and arrived after it is in the next day's folder"


def test_the_catalogue_covers_the_held_out_weeks_too(small: Path, tmp_path: Path) -> None:
    folder = fill.prepare(NOW, shop="corner", cache=tmp_path / "cache", say=lambda _: None)
    items = decode_catalogue((folder / catalogue_path("corner")).read_bytes())
    assert {str(p) for p in journey.load().lines["product"]} == set(items)
    assert json.loads((folder / visitors_path("corner")).read_text()) == fill.summary(folder).visitors
    assert all(parse(record).shop_id == "corner" for records in events_of(folder).values() for record in records)


def test_a_preparation_is_used_again_within_the_week_and_gives_the_same_bytes(small: Path, tmp_path: Path) -> None:
    def digests(folder: Path) -> dict[str, str]:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    said: list[str] = []
    first = fill.prepare(NOW, cache=tmp_path / "cache", say=said.append)
    again = fill.prepare(NOW.replace(hour=8), cache=tmp_path / "cache", say=said.append)
    elsewhere = fill.prepare(NOW, cache=tmp_path / "other", say=said.append)
    assert again == first
    assert "before" in said[2]
    assert digests(first) == digests(elsewhere)
    assert fill.prepare(NOW, seed=8, cache=tmp_path / "cache", say=said.append) != first


def test_a_preparation_that_was_killed_is_neither_used_nor_kept(small: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    folder = fill.prepare(NOW, cache=cache, say=lambda _: None)
    (folder / "filled.json").unlink()
    torn = cache / "torn.part"
    torn.mkdir()
    assert fill.prepare(NOW, cache=cache, say=lambda _: None) == folder
    assert fill.summary(folder).records == 240
    assert [path.name for path in cache.iterdir()] == [folder.name]


def test_upload_puts_every_object_under_its_path(small: Path, tmp_path: Path) -> None:
    class Bucket:
        def __init__(self) -> None:
            self.objects: dict[str, bytes] = {}

        def put_object(self, Bucket: str, Key: str, Body: bytes) -> None:
            self.objects[f"{Bucket}/{Key}"] = Body

    bucket = Bucket()
    folder = fill.prepare(NOW, cache=tmp_path / "cache", say=lambda _: None)
    filled = fill.upload(folder, Objects(bucket, "lake"), say=lambda _: None)
    assert sum(path.startswith("lake/events/") for path in bucket.objects) == filled.objects
    assert len(bucket.objects) == filled.objects + 2
    assert sum(len(data) for path, data in bucket.objects.items() if "/events/" in path) == filled.bytes


def test_encoded_lines_say_what_the_columns_say() -> None:
    columns = {
        "basket": [31198570044],
        "place": [2],
        "household": [900],
        "product": [1095275],
        "quantity": [11_000],
        "price": [0.0025],
    }
    line = fill.encode_lines(pd.DataFrame(columns), np.array([1_700_000_000_000]), np.array([1_700_000_000_123]))[0]
    event = parse(line.encode())
    assert (event.event_id, event.user_id, event.session_id, event.item_id) == (
        "cj-31198570044-2",
        "900",
        "31198570044",
        "1095275",
    )
    assert (event.occurred_ms, event.received_ms) == (1_700_000_000_000, 1_700_000_000_123)
    assert event.amount == pytest.approx(27.5)
    assert line.endswith("}\n")
