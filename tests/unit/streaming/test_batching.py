"""Grouping a batch, and merging it into what is stored: order, repetition and division must not matter."""

import random
from collections.abc import Sequence

import pytest

from contracts.features import ITEM_FEATURES, USER_FEATURES
from contracts.held import HELD_TYPES, in_cart
from contracts.lists import MOST_ALIASES, UserValue, decode_user, encode_value
from contracts.packed import Owner, Packed, pack, unpack
from streaming.batching import Change, EventRow, Person, changes_of, columns_of
from streaming.revising import HELD_MS, HORIZON_MS, actions_of, revise

NOW_MS = 1_800_000_000_000
BUCKET_MS = NOW_MS - NOW_MS % 300_000
SILENT = {"identify", "impression", "remove_from_cart"}


def wide(values: Sequence[float], width: int) -> tuple[float, ...]:
    return (*map(float, values), *(0.0,) * (width - len(values)))


def row(
    number: int,
    *,
    subject: str = "u.1",
    kind: str = "view",
    item: str = "A",
    at: int | None = None,
    late: bool = False,
    anonymous: str = "",
    item_values: Sequence[float] = (1,),
    user_values: Sequence[float] = (1,),
) -> EventRow:
    """An event of one person; times rise with the number unless given."""
    occurred = BUCKET_MS + number if at is None else at
    counts = kind not in SILENT and not late
    values = (
        wide(item_values if counts else (), len(ITEM_FEATURES)),
        wide(user_values if counts else (), len(USER_FEATURES)),
    )
    return EventRow(
        "default",
        f"e{number:03}",
        kind,
        subject,
        anonymous,
        item,
        occurred,
        occurred,
        late,
        kind not in SILENT,
        occurred - occurred % 300_000,
        *values,
    )


def changed(rows: Sequence[EventRow]) -> Change:
    return changes_of(columns_of(rows))


def merged(rows: Sequence[EventRow], value: Packed | None = None, keep: int = 40) -> Packed:
    """What is stored of ``u.1`` after the rows."""
    packed = value or Packed()
    revise(packed, changed(rows).people.get(("default", "u.1"), Person()), keep, NOW_MS)
    return packed


def user(packed: Packed) -> UserValue:
    return decode_user(pack("0" * 16, packed))


def test_only_the_newest_event_of_a_person_is_scored_whatever_the_order_of_arrival() -> None:
    rows = [row(3), row(1), row(2), row(9, subject="u.2")]
    assert changed(rows).outcomes == ["scored", "superseded", "superseded", "scored"]


def test_a_late_event_is_counted_and_changes_nothing() -> None:
    change = changed([row(1, late=True)])
    assert (change.outcomes, change.people, change.items, change.trends) == (["late"], {}, {}, {})


def test_an_impression_is_no_action_and_writes_nobody() -> None:
    change = changed([row(1, kind="impression")])
    assert (change.outcomes, change.people, change.items) == (["noted"], {}, {})


def test_the_largest_value_of_a_bucket_wins_within_a_batch() -> None:
    change = changed([row(1, item_values=(5, 0)), row(2, item_values=(4, 1))])
    assert change.items[("default", "A")] == {BUCKET_MS // 1000: wide((5, 1), len(ITEM_FEATURES))}
    assert change.trends[("default", BUCKET_MS // 1000)] == {"A": 5 * 1.0 + 1 * 3.0}


def shuffled_batches(rows: Sequence[EventRow], draw: random.Random) -> list[Sequence[EventRow]]:
    """The rows in another order, some twice, cut into batches at other places."""
    again = [*rows, *draw.sample(list(rows), len(rows) // 3)]
    draw.shuffle(again)
    cuts = sorted(draw.sample(range(1, len(again)), draw.randint(1, len(again) - 1)))
    return [again[start:end] for start, end in zip([0, *cuts], [*cuts, len(again)], strict=True)]


@pytest.mark.parametrize("seed", range(40))
def test_what_is_stored_does_not_depend_on_order_repetition_or_how_batches_are_cut(seed: int) -> None:
    draw = random.Random(seed)
    # One bucket in four, so that buckets are met behind, in and before the newest; some times are equal.
    kinds = ["view", "view", "add_to_cart", "remove_from_cart", "purchase"]
    rows = [
        row(
            i,
            kind=draw.choice(kinds),
            item=f"I{i % 7}",
            at=BUCKET_MS + (i % 4) * 300_000 + i // 2,
            user_values=(i + 1, i // 3),
        )
        for i in range(draw.randint(2, 60))
    ]
    rows += [
        row(100 + i, kind="identify", item="", anonymous=f"browser-{i % 5}", late=bool(i % 2))
        for i in range(draw.randint(0, 8))
    ]
    keep = draw.choice([3, 10, 40])
    expected = user(merged(rows, keep=keep))
    value = Packed()
    for batch in shuffled_batches(rows, draw):
        value = merged(batch, value, keep)
    assert user(value) == expected
    newest = sorted((r.occurred_ms, r.event_id) for r in rows if r.action)[-keep:]
    assert [(action.occurred_ms, action.event_id) for action in expected.actions] == newest


@pytest.mark.parametrize("seed", range(10))
def test_item_buckets_and_trends_do_not_depend_on_order_or_repetition(seed: int) -> None:
    draw = random.Random(seed)
    rows = [row(i, item=f"I{i % 5}", subject=f"u.{i}", item_values=(i + 1, i // 2)) for i in range(50)]
    expected = changed(rows)
    (batch,) = ([r for part in shuffled_batches(rows, draw) for r in part],)
    again = changed(batch)
    assert (again.items, again.trends) == (expected.items, expected.trends)


def test_an_event_id_that_is_part_of_another_is_still_another_event() -> None:
    longer, shorter = row(1)._replace(event_id="e10"), row(2)._replace(event_id="e1")
    assert [action[1] for action in actions_of(merged([shorter], merged([longer])))] == ["e10", "e1"]


def test_a_value_written_before_a_feature_was_added_keeps_what_it_has() -> None:
    old = UserValue(rev="0" * 16, buckets={str(BUCKET_MS // 1000): [5.0, 2.0]})
    packed = merged([row(1, user_values=(1, 3))], unpack(encode_value(old)))
    assert user(packed).buckets == {str(BUCKET_MS // 1000): list(wide((5, 3), len(USER_FEATURES)))}


def test_late_purchases_and_carts_count_because_they_do_not_go_out_of_date() -> None:
    rows = [row(i, kind=kind, item=kind, late=True) for i, kind in enumerate(HELD_TYPES)]
    value = user(merged(rows))
    assert changed(rows).outcomes == ["late"] * 3
    assert (value.actions, value.bought) == ([], {"purchase": BUCKET_MS + 2})
    assert in_cart(value.bought, value.cart) == ["add_to_cart"]


def test_a_view_leaves_purchases_and_cart_untouched() -> None:
    held = merged([row(1, kind="purchase"), row(2, kind="add_to_cart", item="B")])
    before = (held.bought, held.bought_times, held.cart, held.cart_ids)
    after = merged([row(3)], held)
    assert (after.bought, after.bought_times, after.cart, after.cart_ids) == before


def test_what_was_bought_long_ago_is_forgotten_with_the_next_purchase() -> None:
    value = Packed()
    for at, item in ((NOW_MS - HELD_MS, "A"), (NOW_MS - HELD_MS + 1, "B"), (NOW_MS, "C")):
        value = merged([row(1, kind="purchase", item=item, at=at)], value)
    assert list(user(value).bought) == ["B", "C"]


def test_identify_names_the_alias_of_the_user_and_the_owner_of_the_visitor() -> None:
    rows = [row(i, kind="identify", item="", anonymous="browser-7", subject=who) for i, who in ((2, "u.2"), (1, "u.1"))]
    people = changed(rows).people
    assert people[("default", "u.1")].aliases == {"browser-7": BUCKET_MS + 1}
    assert people[("default", "a.browser-7")].owner == Owner(BUCKET_MS + 2, "u.2")


def test_a_late_identify_still_says_who_the_visitor_is() -> None:
    change = changed([row(1, kind="identify", item="", anonymous="browser-7", late=True)])
    assert change.outcomes == ["late"]
    assert list(change.people[("default", "u.1")].aliases) == ["browser-7"]


@pytest.mark.parametrize("seed", range(5))
def test_of_many_aliases_the_newest_are_kept_in_whatever_order_they_come(seed: int) -> None:
    rows = [row(i, kind="identify", item="", anonymous=f"b{i}") for i in range(2 * MOST_ALIASES)]
    random.Random(seed).shuffle(rows)
    value = Packed()
    for single in rows:
        value = merged([single], value)
    assert sorted(value.aliases) == sorted(f"b{i}" for i in range(MOST_ALIASES, 2 * MOST_ALIASES))


def test_buckets_older_than_a_day_are_dropped() -> None:
    start = BUCKET_MS // 1000
    kept = start - HORIZON_MS // 1000
    old = UserValue(rev="0" * 16, buckets={str(kept - 600): [9.0], str(kept): [8.0]})
    assert list(user(merged([row(1)], unpack(encode_value(old)))).buckets) == [str(kept), str(start)]
