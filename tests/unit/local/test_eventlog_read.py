"""Reading an own log: every usual shape is understood by itself, every bad row is told with its line."""

import csv
import gzip
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.errors import LiveshelfError, SettingsError, TrainingError
from contracts.events import Event, parse
from contracts.items import Item, decode_catalogue
from contracts.lake import catalogue_path, visitors_path
from local.eventlog import FINDINGS, REJECTS, OwnLog, findings

NOW = datetime(2026, 3, 5, 7, 0, tzinfo=UTC)


def prepare(path: Path, mapping: str | None = None, *, items: Path | None = None, live: bool = False) -> Path:
    own = OwnLog(path=path, mapping=mapping, items=items, live=live, cache=path.parent / "cache")
    return own.prepare(NOW, say=lambda _: None)


def written(folder: Path) -> list[Event]:
    """Every event of the lake, through the contract, checked to lie in the folder of its arrival day."""
    events = []
    for path in sorted(folder.glob("events/**/*.gz")):
        for line in gzip.decompress(path.read_bytes()).splitlines():
            event = parse(line)
            assert event.received_at is not None
            assert f"{event.received_at:year=%Y/month=%m/day=%d}" in str(path)
            assert event.received_ms == event.occurred_ms
            events.append(event)
    return sorted(events, key=lambda event: (event.occurred_ms, event.event_id))


def text_file(folder: Path, *lines: str, name: str = "log.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def rejected(folder: Path) -> list[tuple[int, str]]:
    with (folder / REJECTS).open() as file:
        return sorted((int(row["line"]), row["reason"]) for row in csv.DictReader(file))


def short(events: Iterable[Event]) -> list[tuple[str, str, str | None, str | None]]:
    return [(event.event_type, event.subject, event.session_id, event.item_id) for event in events]


def test_a_log_of_visitors_events_and_transactions_is_understood_by_itself(tmp_path: Path) -> None:
    folder = prepare(
        text_file(
            tmp_path,
            "timestamp,visitorid,event,itemid,transactionid",
            "1433221332117,257597,view,355908,",
            "1433224214164,992329,addtocart,248676,",
            "1433222276276,483717,transaction,318965,4000",
        )
    )
    assert short(written(folder)) == [
        ("view", "u.257597", None, "355908"),
        ("purchase", "u.483717", None, "318965"),
        ("add_to_cart", "u.992329", None, "248676"),
    ], "an order is no session where there are views: it would tear visits apart"
    assert written(folder)[0].occurred_ms == 1433221332117
    assert "time = timestamp: epoch milliseconds" in findings(folder).notes


def test_clicks_of_sessions_without_header_need_only_their_columns_named(tmp_path: Path) -> None:
    lines = ["1,2014-04-07T10:51:09.277Z,214536502,0", "1,2014-04-07T10:54:09.868Z,214536500,S"]
    path = text_file(tmp_path, *lines, name="clicks.txt")
    with pytest.raises(SettingsError, match="the first line seems to be data already"):
        prepare(path)
    folder = prepare(path, "columns=session_id,time,item_id,category")
    assert short(written(folder)) == [("view", "a.1", "1", "214536502"), ("view", "a.1", "1", "214536500")]
    assert any("every row is taken as view" in note for note in findings(folder).notes)
    assert decode_catalogue((folder / catalogue_path("default")).read_bytes())["214536500"].category == "S"


def test_a_german_purchase_log_is_understood_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "verkauf.csv.gz"
    rows = [
        "Kunde;Artikel;Datum;Menge;Preis;OrderId",
        '17;A 1;31.01.2026 23:59;2;"1.299,00 €";b7',
        "17;B;01.02.2026;1;0,5;b7",
    ]
    path.write_bytes(gzip.compress("\ufeff".encode() + "\r\n".join(rows).encode()))
    folder = prepare(path, "user_id=Kunde,item_id=Artikel,time=Datum:%d.%m.%Y %H:%M")
    (event,) = written(folder)
    assert (event.event_type, event.subject, event.session_id, event.item_id) == ("purchase", "u.17", "b7", "A 1")
    assert (event.quantity, event.price) == (2, 1299.0)
    assert event.occurred_at == datetime(2026, 1, 31, 23, 59, tzinfo=UTC)
    assert rejected(folder) == [(3, "bad_time")]
    notes = " ".join(findings(folder).notes)
    assert "decimal comma" in notes
    assert "semicolon" in notes
    assert "no zone given: read as UTC" in notes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1769903940", "2026-01-31T23:59:00+00:00"),
        ("1769903940.5", "2026-01-31T23:59:00.500000+00:00"),
        ("1769903940000", "2026-01-31T23:59:00+00:00"),
        ("1769903940000000", "2026-01-31T23:59:00+00:00"),
        ("1769903940000000000", "2026-01-31T23:59:00+00:00"),
        ("2026-01-31T23:59:00", "2026-01-31T23:59:00+00:00"),
        ("2026-01-31 23:59:00.250 UTC", "2026-01-31T23:59:00.250000+00:00"),
        ("2026-01-31T23:59:00+02:00", "2026-01-31T21:59:00+00:00"),
        ("2026-01-31", "2026-01-31T00:00:00+00:00"),
        ("20260131", "2026-01-31T00:00:00+00:00"),
        ("31.01.2026 23:59:00", "2026-01-31T23:59:00+00:00"),
        ("1/31/2026 23:59", "2026-01-31T23:59:00+00:00"),
        ("31/01/2026 23:59", "2026-01-31T23:59:00+00:00"),
        ("2026/01/31 23:59:00", "2026-01-31T23:59:00+00:00"),
    ],
)
def test_usual_times_are_told_apart_by_themselves(tmp_path: Path, text: str, expected: str) -> None:
    folder = prepare(text_file(tmp_path, "user,item,time", f"u,i,{text}"))
    assert written(folder)[0].occurred_at.isoformat() == expected


def test_day_and_month_that_cannot_be_told_apart_are_asked_for(tmp_path: Path) -> None:
    path = text_file(tmp_path, "user,item,date", "u,i,02/03/2026")
    with pytest.raises(SettingsError, match=r"day and month cannot be told apart; say it: MAP=\"time=date:%m/%d/%Y\""):
        prepare(path)
    assert written(prepare(path, "time=date:%d/%m/%Y"))[0].occurred_at == datetime(2026, 3, 2, tzinfo=UTC)


BAD_ROWS: Sequence[tuple[str, str | None]] = (
    ("u1,i1,view,2026-01-01T10:00:00Z,1,2.5,EUR", None),
    ("u1,i1,wave,2026-01-01T10:00:00Z,1,2.5,EUR", "unknown_type"),
    ("u1,i1,,2026-01-01T10:00:00Z,1,2.5,EUR", "missing_field"),
    (",i1,view,2026-01-01T10:00:00Z,1,2.5,EUR", "missing_field"),
    ("u1,NULL,view,2026-01-01T10:00:00Z,1,2.5,EUR", "missing_field"),
    ("u1,i1,view,yesterday,1,2.5,EUR", "bad_time"),
    ("u1,i1,view,1970-01-01T00:00:00Z,1,2.5,EUR", "bad_time"),
    ("u1,i1,view,2026-03-06T00:00:00Z,1,2.5,EUR", "future"),
    ("u1,i1,purchase,2026-01-01T10:00:00Z,-2,2.5,EUR", "bad_field"),
    ("u1,i1,purchase,2026-01-01T10:00:00Z,many,2.5,EUR", "bad_field"),
    ("u1,i1,purchase,2026-01-01T10:00:00Z,1,-1,EUR", "bad_field"),
    ("u1,i1,purchase,2026-01-01T10:00:00Z,1,2.5,Euros", "bad_field"),
    (f"u1,{'x' * 129},view,2026-01-01T10:00:00Z,1,2.5,EUR", "bad_id"),
    ("u1,i\t1,view,2026-01-01T10:00:00Z,1,2.5,EUR", "bad_id"),
    ("u1,i1,view", "columns"),
    ("u1,i1,view,2026-01-01T10:00:00Z,1,2.5,EUR,more", "columns"),
    ('u1,"i1,view,2026-01-01T10:00:00Z,1,2.5,EUR', "columns"),
    ("", None),
    ("u2,i2,view,2026-01-01T11:00:00Z,,,", None),
)


def test_every_kind_of_bad_row_is_told_with_its_line_and_costs_no_other_row(tmp_path: Path) -> None:
    path = text_file(tmp_path, "user_id,item_id,event,time,quantity,price,currency", *(row for row, _ in BAD_ROWS))
    folder = prepare(path)
    assert rejected(folder) == [(line, reason) for line, (_, reason) in enumerate(BAD_ROWS, 2) if reason]
    assert [event.item_id for event in written(folder)] == ["i1", "i2"]
    found = findings(folder)
    assert found.rejected == {"unknown_type": 1, "missing_field": 3, "bad_time": 2, "future": 1, "bad_field": 4} | {
        "bad_id": 2,
        "columns": 3,
    }
    assert found.rows == len(BAD_ROWS) - 1
    assert any(text.startswith("line 7: bad_time: the time is 'yesterday'") for text in found.shown)


def test_what_is_not_utf_8_is_told_and_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes("user,item,time,title\nu,1,2026-01-01,Müsli\nu,2,2026-01-01,Tea\n".encode("latin-1"))
    folder = prepare(path)
    assert rejected(folder) == [(2, "encoding")]
    folder = prepare(path, "encoding=latin-1")
    assert decode_catalogue((folder / catalogue_path("default")).read_bytes())["1"].title == "Müsli"


def test_a_title_over_two_lines_does_not_shift_the_line_numbers(tmp_path: Path) -> None:
    path = text_file(tmp_path, "user,item,time,title", 'u,1,2026-01-01,"two', 'lines"', "u,2,never,x")
    folder = prepare(path)
    assert [event.item_id for event in written(folder)] == ["1"]
    assert rejected(folder) == [(4, "bad_time")]


def test_json_lines_are_read_with_their_line_numbers(tmp_path: Path) -> None:
    good = {"user_id": 7, "product_id": 12, "event_type": "click", "ts": 1769903940, "extra": {"a": 1}}
    path = text_file(
        tmp_path, json.dumps(good), "", "{broken", json.dumps([1]), json.dumps(good | {"ts": None}), name="log.jsonl"
    )
    folder = prepare(path)
    assert short(written(folder)) == [("click", "u.7", None, "12")]
    assert rejected(folder) == [(3, "not_json"), (4, "not_json"), (5, "bad_time")]


def test_parquet_columns_keep_their_types(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    when = pd.to_datetime(["2026-01-31 23:59:00.123", None, "2026-02-01"], format="ISO8601")
    table = pa.table(
        {"customer": pa.array([1.0, 2.0, None]), "article": [10, 11, 12], "when": when, "session": ["s", "t", "v"]}
    )
    pq.write_table(table, path)
    folder = prepare(path, "time=when,type=click")
    assert short(written(folder)) == [("click", "u.1", "s", "10"), ("click", "a.v", "v", "12")]
    assert written(folder)[0].occurred_ms == 1769903940123
    assert rejected(folder) == [(2, "bad_time")]
    assert "time = when: a time as the file says, no zone given: read as UTC" in findings(folder).notes


def test_a_missing_column_is_named_with_those_found_and_a_guess(tmp_path: Path) -> None:
    path = text_file(tmp_path, "usr_id,item_id,when_it_was", "u,i,2026-01-01")
    with pytest.raises(SettingsError) as told:
        prepare(path)
    message = str(told.value)
    assert "no column for user_id (or anonymous_id, or session_id), time" in message
    assert "columns found: usr_id, item_id, when_it_was" in message
    assert 'did you mean MAP="user_id=usr_id"?' in message


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        (
            "user_id=visitor",
            r"no column 'visitor' for user_id; did you mean visitorid\?; columns found: visitorid",
        ),
        ("userid=visitorid", r"'userid' in the mapping is unknown; did you mean user_id\?"),
        ("types.seen=vieww", r"event type 'vieww' in the mapping is unknown; did you mean view\?"),
        ("visitorid", r"expected field=column"),
        ("item_id=i,time=t:fortnights", r"the time format 'fortnights' is unknown"),
        ("nowhere.toml", r"nowhere.toml cannot be read"),
    ],
)
def test_a_wrong_mapping_says_what_was_meant(tmp_path: Path, mapping: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        prepare(text_file(tmp_path, "visitorid,i,t", "u,i,2026-01-01"), mapping)


def test_a_toml_file_maps_columns_types_and_options(tmp_path: Path) -> None:
    mapping = tmp_path / "map.toml"
    mapping.write_text(
        '[columns]\nuser_id = "who"\nitem_id = "what"\ntime = "at:s"\n[types]\nfav = "view"\nping = "ignore"\n'
        '[options]\ndelimiter = "|"\n'
    )
    path = text_file(tmp_path, "who|what|at|event", "u|1|1769903940|fav", "u|2|1769903941|ping")
    folder = prepare(path, str(mapping))
    assert short(written(folder)) == [("view", "u.u", None, "1")]
    assert findings(folder).ignored == 1


@pytest.mark.parametrize("lines", [(), ("user,item,time",), ("user,item,time", "u,i,never"), ("user,item,time", ",,")])
def test_a_log_with_nothing_in_it_is_an_error_that_says_why(tmp_path: Path, lines: Sequence[str]) -> None:
    path = tmp_path / "log.csv"
    path.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(LiveshelfError) as told:
        prepare(path)
    assert isinstance(told.value, (TrainingError, SettingsError))
    assert str(path) in str(told.value) or "column 'time' holds" in str(told.value)


def test_no_such_file_and_no_such_kind_are_told(tmp_path: Path) -> None:
    text_file(tmp_path, "user,item,time")
    with pytest.raises(SettingsError, match=r"there is no file .*lgo\.csv; did you mean log\.csv\?"):
        prepare(tmp_path / "lgo.csv")
    with pytest.raises(SettingsError, match="of no known kind"):
        prepare(text_file(tmp_path, "x", name="log.xlsx"))


def test_a_file_that_is_cut_off_is_told(tmp_path: Path) -> None:
    path = tmp_path / "log.csv.gz"
    whole = gzip.compress("\n".join(["user,item,time", *(f"u{n},{n * n},2026-01-01" for n in range(5000))]).encode())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SettingsError, match="cannot be read to its end"):
        prepare(path)


def test_rows_told_twice_count_once_and_filling_twice_writes_the_same_bytes(tmp_path: Path) -> None:
    lines = ["user,item,time", "u,1,2026-01-01T10:00:00Z", "u,2,2026-01-01T10:00:00Z", "u,1,2026-01-01T10:00:00Z"]
    first = prepare(text_file(tmp_path, *lines))
    other = tmp_path / "other"
    other.mkdir()
    again = prepare(text_file(other, *lines))
    assert findings(first).repeated == 1
    assert [event.item_id for event in written(first)] == ["1", "2"], "the order of the file breaks ties of time"
    objects = [
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("*/**/*") if path.is_file()}
        for folder in (first, again)
    ]
    assert objects[0] == objects[1]


def test_event_ids_of_the_log_are_kept(tmp_path: Path) -> None:
    path = text_file(tmp_path, "event_id,user,item,time", "e1,u,1,2026-01-01", "e1,u,1,2026-01-02", "e2,u,2,2026-01-02")
    assert [event.event_id for event in written(prepare(path))] == ["e1", "e1", "e2"]


def test_events_of_one_time_stay_in_the_order_of_the_file_and_on_their_day(tmp_path: Path) -> None:
    rows = [f"u,{item},2026-01-01T23:59:59.999Z" for item in "cab"] + [f"u,{item},2026-01-02" for item in "zyx"]
    events = written(prepare(text_file(tmp_path, "user,item,time", *rows)))
    assert [event.occurred_at.day for event in events] == [1, 1, 1, 2, 2, 2]
    assert [event.item_id for event in events[3:]] == ["z", "y", "x"]


def test_what_is_said_of_items_reaches_the_catalogue(tmp_path: Path) -> None:
    log = text_file(
        tmp_path, "user,item,time,price,category", "u,1,2026-01-01,2.5,Tea", "u,1,2026-01-02,3,Tea", "u,2,2026-01-02,,"
    )
    items = text_file(
        tmp_path,
        "product_id;title;price;in_stock;brand",
        "2;Oat milk;1,99;no;Moo",
        "9;Unsold;;1;",
        ";nothing;;;",
        name="items.csv",
    )
    folder = prepare(log, "type=view", items=items)
    catalogue = decode_catalogue((folder / catalogue_path("default")).read_bytes())
    assert list(catalogue.values()) == [
        Item(item_id="1", title="1", category="Tea", price=3.0),
        Item(item_id="2", title="Oat milk", price=1.99, in_stock=False, attributes={"brand": "Moo"}),
        Item(item_id="9", title="Unsold"),
    ]
    assert rejected(folder) == [(4, "bad_id")]


def test_the_figures_are_those_of_the_log(tmp_path: Path) -> None:
    rows = [
        "u,1,2026-01-01T10:00:00Z",
        "u,2,2026-01-01T10:00:01Z",
        "u,1,2026-01-03T10:00:00Z",
        "v,1,2026-01-03T12:00:00Z",
    ]
    folder = prepare(text_file(tmp_path, "user,item,time", *rows), "type=purchase")
    found = findings(folder)
    assert (found.events, found.users, found.items, found.busiest) == (4, 2, 2, 3)
    assert found.repeat_share == 0.25
    assert found.days == {"2026-01-01": 2, "2026-01-03": 2}
    assert json.loads((folder / visitors_path("default")).read_text()) == ["u", "v"]
    assert (folder / FINDINGS).is_file()
