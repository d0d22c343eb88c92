"""What is a person's in an object of the lake, however it is written, and what is not."""

import gzip
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batch.forget_files import DELETE, clean
from batch.forget_lines import people_of
from batch.moments import Moments, Pairs
from batch.partition import Actions, DayPartition, Input, encode
from batch.recipe import MomentRecipe
from contracts.forgetting import Deletion

T = datetime(2026, 1, 10, tzinfo=UTC)
BEFORE, AFTER = T - timedelta(hours=1), T + timedelta(seconds=1)
IDS = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=12)


def line(user: str | None, anonymous: str | None, at: datetime = BEFORE, escape: bool = True, **more: Any) -> bytes:
    event = {"event_id": "e", "event_type": "view", "item_id": "A", "occurred_at": at.isoformat()} | more
    event |= {"user_id": user} if user is not None else {}
    event |= {"anonymous_id": anonymous} if anonymous is not None else {}
    return json.dumps(event, ensure_ascii=escape).encode()


def deletion(user: str | None, anonymous: list[str]) -> Deletion:
    return Deletion(id="d", shop="default", requested_at=T, user_id=user, anonymous_ids=anonymous)


@given(IDS, IDS, IDS, st.booleans())
@settings(max_examples=200, deadline=None)
def test_every_spelling_of_an_id_is_found_and_no_other_line_is_touched(
    user: str, visitor: str, other: str, escape: bool
) -> None:
    people = people_of("default", user, [visitor], T)
    mine = [line(user, None, escape=escape), line(user, other, escape=escape), line(None, visitor, escape=escape)]
    someone = f"{user}-{visitor}-{other}"
    others = [line(someone, None, escape=escape), line(someone, None, escape=escape, item_id=user, note=visitor)]
    sifted = people.sift([mine[0], others[0], mine[1], others[1], mine[2]])
    assert sifted.kept == others and sifted.removed == 3
    assert sifted.found == ({other} - {visitor})


def test_a_browser_that_two_people_used_loses_its_name_in_the_others_lines() -> None:
    people = people_of("default", "ada", ["shared"], T)
    kept, removed, found = people.sift([line("bob", "shared"), line("bob", "shared", event_type="identify")])
    assert [json.loads(k)["user_id"] for k in kept] == ["bob"] and b"shared" not in kept[0]
    assert (removed, found) == (2, frozenset())


def test_what_was_done_after_the_request_and_in_other_shops_stays() -> None:
    people = people_of("default", "ada", ["v"], T)
    later = [line("ada", "new", AFTER), line(None, "v", AFTER, received_at=AFTER.isoformat())]
    elsewhere = [line("ada", "v", shop_id="other")]
    assert people.sift([*later, *elsewhere]).kept == [*later, *elsewhere]
    assert people.sift([line("ada", None, AFTER, received_at=BEFORE.isoformat())]).kept == []  # a page's clock ahead


def test_a_broken_line_goes_where_it_holds_the_id_and_stays_where_it_holds_only_a_part() -> None:
    people = people_of("default", "ada", [], T)
    broken = [b'{"user_id":"ada","item', b'{"user_id":"adalbert","item', b"\xff\xfe ada", b'["ada"]']
    assert people.sift(broken).kept == [broken[1], broken[2]]


@pytest.mark.parametrize("packed", [True, False])
def test_an_object_keeps_its_form_and_one_without_a_line_left_goes(packed: bool) -> None:
    form = gzip.compress if packed else bytes
    who, people = deletion("ada", []), people_of("default", "ada", [], T)
    path = "events/year=2026/month=01/day=10/a.gz"
    cleaned = clean(path, form(line("ada", None) + b"\n" + line("bob", None) + b"\n"), who, people)
    assert cleaned.data and (gzip.decompress(cleaned.data) if packed else cleaned.data) == line("bob", None) + b"\n"
    assert clean(path, form(line("ada", None) + b"\n"), who, people).data == DELETE
    assert clean(path, form(line("bob", None) + b"\n"), who, people).data is None


def test_of_a_torn_object_the_lines_before_the_tear_are_cleaned() -> None:
    rng = np.random.default_rng(7)
    noise = [line("bob", None, note=rng.bytes(200).hex()) for _ in range(200)]
    torn = gzip.compress(b"\n".join([line("ada", None), *noise]))[:-2000]
    cleaned = clean("events/x.gz", torn, deletion("ada", []), people_of("default", "ada", [], T))
    assert cleaned.number == 1 and cleaned.data
    assert gzip.decompress(cleaned.data).split(b"\n")[0] == noise[0]


def parquet(**columns: Any) -> bytes:
    sink = io.BytesIO()
    table = pa.table(columns).replace_schema_metadata({"sources": "kept"})
    pq.write_table(table, sink)
    return sink.getvalue()


def test_rows_of_the_person_leave_a_table_whatever_it_calls_them() -> None:
    who, people = deletion("ada", ["v"]), people_of("default", "ada", ["v"], T)
    ms, starts = int(T.timestamp() * 1000), pa.array([BEFORE, BEFORE, AFTER], pa.timestamp("us"))
    tables = {
        "served": parquet(
            subject=["u.ada", "a.v", "u.bob", "u.ada"], occurred_ms=[ms, 5, 5, ms + 9], received_ms=[ms] * 3 + [ms + 9]
        ),
        "features": parquet(entity_id=["u.ada", "u.bob", "a.v"], window_start=starts),
        "attribution": parquet(unit=["u.ada", "u.bob", "ada"]),
        "dead-letter": parquet(data=pa.array([b'{"user_id":"ada"', b'{"user_id":"bob"'], pa.binary())),
    }  # fmt: skip
    left = {}
    for name, data in tables.items():
        cleaned = clean(f"shop=default/dataset={name}/year=2026/part-1", data, who, people)
        assert cleaned.data
        table = pq.read_table(pa.BufferReader(cleaned.data))
        assert table.schema.metadata == {b"sources": b"kept"}
        left[name] = (cleaned.number, table.column(0).to_pylist())
    assert left == {
        "served": (2, ["u.bob", "u.ada"]),
        "features": (1, ["u.bob", "a.v"]),
        "attribution": (1, ["u.bob", "ada"]),
        "dead-letter": (1, [b'{"user_id":"bob"']),
    }


@pytest.mark.parametrize("name", ["served", "dead-letter"])
def test_a_table_that_holds_the_person_alone_goes_and_one_without_rows_stays(name: str) -> None:
    who, people = deletion("ada", []), people_of("default", "ada", [], T)
    columns = {
        "served": {"subject": pa.array(["u.ada"], pa.string()), "occurred_ms": [5], "received_ms": [5]},
        "dead-letter": {"data": pa.array([b'{"user_id":"ada"'], pa.binary())},
    }[name]
    path, full = f"shop=default/dataset={name}/year=2026/part-1", pa.table(columns)
    sink = io.BytesIO()
    pq.write_table(full.slice(0, 0), sink)
    assert clean(path, parquet(**columns), who, people)[:3] == (DELETE, "rows", 1)
    assert clean(path, sink.getvalue(), who, people).data is None


def test_a_table_that_arrow_cannot_handle_is_a_value_error_whatever_arrow_calls_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown(*_: Any) -> None:
        raise gone

    gone = pa.ArrowNotImplementedError("no kernel")
    monkeypatch.setattr("batch.forget_files._until", unknown)
    who, people = deletion("ada", []), people_of("default", "ada", [], T)
    with pytest.raises(ValueError, match="no kernel"):
        clean("shop=default/dataset=served/part-1", parquet(subject=["u.ada"]), who, people)


def test_a_day_of_sums_goes_where_it_knows_the_person_under_any_name() -> None:
    def day(subjects: list[str], aliases: list[tuple[str, str]]) -> bytes:
        ints, longs, none = np.zeros(1, np.int32), np.array([0, 1]), np.zeros(0, np.int32)
        one = np.ones(1)
        pairs = Pairs(longs, ints, np.ones((1, 1)))
        empty = Pairs(np.zeros(1, np.int64), none, np.zeros((1, 0)))
        moments = Moments(["A"], one, one, one, one, pairs, empty)
        actions = Actions(subjects, longs, ints, ints, np.zeros(1, np.int8), np.array([5]), aliases)
        return encode(DayPartition(T.date(), moments, actions, {}), MomentRecipe(), [Input("events/a.gz", 1, "x")])

    who, people = deletion("ada", ["v"]), people_of("default", "ada", ["v"], T)
    path = "shop=default/moments/day=2026-01-10/k.parquet"
    answers = [
        clean(path, day(*args), who, people).data
        for args in ((["u.ada"], []), (["a.v"], []), (["u.bob"], [("v", "bob")]), (["u.bob"], []))
    ]
    assert answers == [DELETE, DELETE, DELETE, None]
    assert clean(path, b"torn", who, people).data == DELETE


def test_names_beside_a_model_and_on_the_page_go() -> None:
    who, people = deletion("ada", ["v"]), people_of("default", "ada", ["v"], T)
    names = gzip.compress(json.dumps(["u.ada", "u.bob", "a.v"]).encode())
    cleaned = clean("shop=default/models/v1/people.json.gz", names, who, people)
    assert cleaned.data and json.loads(gzip.decompress(cleaned.data)) == ["u.bob"]
    assert clean("shop=default/catalogue/visitors.json", b'["ada","bob"]', who, people).data == b'["bob"]'
