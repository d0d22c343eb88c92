"""Raw records become day partitions by the stream's own rules, and the cut into tasks changes nothing."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from batch.days import Chunk, day_number, make_days, sift
from batch.partition import DayPartition, encode
from batch.recipe import MomentRecipe
from batch.units import REACH_DAYS

FIRST = date(2026, 1, 1)
RECIPE = MomentRecipe()
Arrived = tuple[bytes, int]


def event(day: float, item: str, *, arrived: int | None = None, id: str | None = None, **more: Any) -> Arrived:
    """A record that occurred ``day`` days after FIRST, and its arrival day."""
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day)
    fields = {
        "event_id": id or f"{day}-{item}-{more.get('user_id', '7')}",
        "event_type": "view",
        "user_id": "7",
        "item_id": item,
        "occurred_at": at.isoformat(),
        "received_at": at.isoformat(),
    } | more
    return json.dumps(fields).encode(), day_number(FIRST) + (int(day) if arrived is None else arrived)


def made(records: Iterable[Arrived], chunks: list[tuple[int, int]] | None = None, recipe: MomentRecipe = RECIPE) -> Any:
    """The partitions by day after FIRST, made by one task a chunk."""
    base, records = day_number(FIRST), list(records)
    arrivals = list(dict.fromkeys(arrived for _, arrived in records))
    events = pa.concat_tables(
        sift([line for line, at in records if at == arrived], arrived, "default", recipe.late_days)
        for arrived in arrivals
    )
    cut = [Chunk(base + first, base + last) for first, last in chunks or [(0, 9)]]
    days = [day for chunk in cut for day in make_days(near(events, chunk), chunk, recipe)]
    return {(day.day - FIRST).days: day for day in days}


def near(events: pa.Table, chunk: Chunk) -> pa.Table:
    """What a chunk is promised to get, and not a row more."""
    day = events.column("day").to_numpy()
    return events.filter(pa.array((day >= chunk.first - REACH_DAYS) & (day <= chunk.last + REACH_DAYS)))


def units(day: DayPartition) -> list[list[str]]:
    ids, actions = day.moments.items, day.actions
    cuts = actions.unit_offsets
    return sorted([ids[i] for i in actions.item[a:b]] for a, b in pairwise(cuts))


def test_a_session_is_a_unit_and_without_one_a_persons_day_is() -> None:
    days = made(
        [
            event(0.1, "tea", session_id="s"),
            event(0.2, "milk", session_id="s", user_id="8"),
            event(0.3, "nuts"),
            event(0.9, "rice"),
            event(1.1, "oats"),
        ]
    )
    assert units(days[0]) == [["nuts", "rice"], ["tea", "milk"]]
    assert units(days[1]) == [["oats"]]


def test_a_unit_that_crosses_midnight_belongs_to_the_day_it_began() -> None:
    days = made([event(0.99, "tea", session_id="s"), event(1.01, "milk", session_id="s")])
    assert (units(days[0]), units(days[1])) == ([["tea", "milk"]], [])


def test_a_record_that_arrived_after_midnight_belongs_to_the_day_it_occurred() -> None:
    days = made([event(0.9999, "tea", arrived=1)])
    assert (units(days[0]), units(days[1])) == ([["tea"]], [])


def test_a_repeated_event_id_counts_once_where_it_occurred_first() -> None:
    copies = [event(0.5, "tea", id="e"), event(0.5, "tea", id="e", arrived=1), event(1.5, "tea", id="e")]
    days = made(copies)
    assert (units(days[0]), units(days[1])) == ([["tea"]], [])
    assert (days[0].counts["duplicates"], days[1].counts["duplicates"]) == (1, 1)


def test_what_is_left_out_is_counted_by_reason_on_its_arrival_day() -> None:
    good = event(0.5, "tea")
    days = made(
        [
            good,
            (b"{", good[1]),
            (b"[1]", good[1]),
            event(0.5, "tea", event_type="wave"),
            event(0.5, "tea", id="imp", event_type="impression"),
            event(0.5, "tea", id="rem", event_type="remove_from_cart"),
            event(0.5, "tea", id="late", arrived=2),
            event(0.5, "tea", id="other", shop_id="other"),
        ]
    )
    assert days[0].counts == {
        "malformed.not_json": 2,
        "malformed.unknown_type": 1,
        "ignored.impression": 1,
        "ignored.remove_from_cart": 1,
        "actions": 1,
        "units": 1,
        "cut": 0,
    }
    assert days[2].counts == {"too_late": 1, "actions": 0, "units": 0, "cut": 0}


def test_a_receipt_that_cannot_be_is_counted() -> None:
    """Received after its arrival day ended: refused; days before it arrived: used."""
    days = made(
        [
            event(0.5, "tea", received_at="2026-01-02T00:04:00Z"),
            event(0.5, "milk", received_at="2026-01-02T00:06:00Z"),
            event(4.5, "tea", occurred_at="2031-01-01T00:00:00Z", received_at="2031-01-01T00:00:00Z"),
            event(0.5, "nuts", arrived=4),
        ],
        recipe=MomentRecipe(late_days=9),
    )
    assert days[0].counts == {"malformed.future": 1, "actions": 2, "units": 1, "cut": 0}
    assert days[4].counts == {"malformed.future": 1, "old_receipt": 1, "actions": 0, "units": 0, "cut": 0}
    assert units(days[0]) == [["tea", "nuts"]] or units(days[0]) == [["nuts", "tea"]]


def test_a_program_is_counted_and_left_out() -> None:
    robot = [event(0.1 + n / 50_000, f"i{n % 9}", id=f"r{n}", user_id="robot") for n in range(2000)]
    day = made([*robot, event(0.5, "tea"), event(0.6, "milk", user_id="8")])[0]
    assert (day.counts["bots"], day.counts["bot_actions"], day.counts["actions"]) == (1, 2000, 2)
    assert day.moments.items == ["milk", "tea"]


def test_another_shops_records_leave_no_trace() -> None:
    mine = [event(0.5, "tea"), event(0.6, "milk")]
    theirs = [
        event(0.5, "lamp", shop_id="other", id="x"),
        event(0.5, "tea", shop_id="other", id=json.loads(mine[0][0])["event_id"]),
    ]
    assert [encode(day, RECIPE, []) for day in made(mine + theirs).values()] == [
        encode(day, RECIPE, []) for day in made(mine).values()
    ]


def test_identify_is_kept_as_an_alias_and_is_no_action() -> None:
    days = made(
        [
            event(0.1, "tea", user_id=None, anonymous_id="x"),
            event(0.2, "-", event_type="identify", user_id="7", anonymous_id="x", item_id=None),
        ]
    )
    assert days[0].actions.aliases == [("x", "7")]
    assert days[0].actions.subjects == ["a.x"]
    assert units(days[0]) == [["tea"]]


def test_a_unit_over_the_limit_keeps_its_newest_actions_in_the_moments_and_all_in_the_log() -> None:
    record = [event(0.1 + n / 100, f"i{n}", session_id="robot") for n in range(5)]
    day = made([*record, event(0.5, "tea", user_id="8")], recipe=MomentRecipe(longest=2))[0]
    assert day.counts["cut"] == 3
    assert dict(zip(day.moments.items, day.moments.units.tolist(), strict=True)) == {
        "i0": 0, "i1": 0, "i2": 0, "i3": 1, "i4": 1, "tea": 1,
    }  # fmt: skip
    assert len(day.actions.item) == 6


def test_the_order_of_the_records_does_not_matter() -> None:
    records = busy_week()
    shuffled = [records[at] for at in np.random.default_rng(2).permutation(len(records))]
    assert bytes_of(made(records)) == bytes_of(made(shuffled))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_cut_into_tasks_does_not_matter(size: int) -> None:
    chunks = [(first, min(first + size - 1, 9)) for first in range(0, 10, size)]
    whole, cut = made(busy_week()), made(busy_week(), chunks)
    assert list(whole) == list(cut)
    assert bytes_of(whole) == bytes_of(cut)
    counts = sum((Counter(day.counts) for day in cut.values()), Counter[str]())
    assert counts["duplicates"] + counts["too_late"] == 40


def busy_week() -> list[Arrived]:
    """Ten days of sessions that cross midnight, long-lived browsers, copies and arrivals a day later."""
    rng = np.random.default_rng(1)
    records = []
    for number in range(400):
        day = float(rng.random() * 9.9)
        session = [None, f"visit-{int(day * 10 - 0.5)}", f"browser-{number % 3}"][number % 3]
        item, user = f"i{rng.integers(20)}", str(number % 11)
        record, arrived = event(round(day, 4), item, id=f"e{number}", user_id=user, session_id=session)
        records.append((record, arrived + int(rng.random() < 0.1)))
    return records + [(record, arrived + at % 2) for at, (record, arrived) in enumerate(records[:40])]


def bytes_of(days: dict[int, DayPartition]) -> dict[int, bytes]:
    return {
        number: encode(replace(day, counts=dict(sorted(day.counts.items()))), RECIPE, [])
        for number, day in days.items()
    }
