"""Grouping a batch, and merging it into what is stored: order, repetition and division must not matter."""

import random
from collections.abc import Sequence

import pytest

from contracts.lists import Action, UserValue
from streaming.batching import EventRow, changes_of, revise

NOW_US = 1_800_000_000_000_000
NOW_MS = NOW_US // 1000
BUCKET_MS = NOW_MS - NOW_MS % 300_000


def row(
    number: int,
    *,
    subject: str = "u.1",
    kind: str = "view",
    item: str = "A",
    at: int | None = None,
    late: bool = False,
    anonymous: str = "",
    item_values: Sequence[float] = (1, 0, 0, 0),
    user_values: Sequence[float] = (1, 0, 0, 0),
) -> EventRow:
    """An event of one person; times rise with the number unless given."""
    occurred = BUCKET_MS + number if at is None else at
    action = kind not in {"identify", "impression", "remove_from_cart"}
    values = (tuple(item_values), tuple(user_values)) if action and not late else ((0.0,) * 4, (0.0,) * 4)
    bucket = occurred - occurred % 300_000
    return EventRow(
        "default", f"e{number:03}", kind, subject, anonymous, item, occurred, occurred, late, action, bucket, *values
    )


def merged(rows: Sequence[EventRow], value: UserValue | None = None) -> UserValue:
    """What is stored of ``u.1`` after the rows."""
    person = changes_of(rows).people[("default", "u.1")]
    return revise(value, person, [], keep=40, now_us=NOW_US)


def test_only_the_newest_event_of_a_person_is_scored_whatever_the_order_of_arrival() -> None:
    rows = [row(3), row(1), row(2), row(9, subject="u.2")]
    assert changes_of(rows).outcomes == ["scored", "superseded", "superseded", "scored"]


def test_a_late_event_is_counted_and_changes_nothing() -> None:
    change = changes_of([row(1, late=True)])
    assert (change.outcomes, change.people, change.items, change.trends) == (["late"], {}, {}, {})


def test_an_impression_is_no_action() -> None:
    change = changes_of([row(1, kind="impression")])
    assert change.outcomes == ["noted"]
    assert not change.people[("default", "u.1")].changed


def test_the_largest_value_of_a_bucket_wins_within_a_batch() -> None:
    change = changes_of([row(1, item_values=(5, 0, 0, 0)), row(2, item_values=(4, 1, 0, 0))])
    assert change.items[("default", "A")] == {BUCKET_MS // 1000: [5, 1, 0, 0]}
    assert change.trends[("default", BUCKET_MS // 1000)] == {"A": 5 * 1.0 + 1 * 3.0}


@pytest.mark.parametrize("seed", range(20))
def test_actions_do_not_depend_on_order_repetition_or_how_batches_are_cut(seed: int) -> None:
    draw = random.Random(seed)
    rows = [row(i, item=f"I{i % 7}", user_values=(i + 1, 0, 0, 0)) for i in range(60)]
    expected = merged(rows)
    shuffled = rows + draw.sample(rows, 20)
    draw.shuffle(shuffled)
    cuts = sorted(draw.sample(range(1, len(shuffled)), 5))
    value: UserValue | None = None
    for start, end in zip([0, *cuts], [*cuts, len(shuffled)], strict=True):
        value = merged(shuffled[start:end], value)
    assert value is not None
    assert (value.actions, value.buckets) == (expected.actions, expected.buckets)
    assert [action.event_id for action in value.actions] == [f"e{i:03}" for i in range(20, 60)]


def test_every_revision_is_above_the_one_it_replaces_even_when_the_clock_goes_back() -> None:
    first = merged([row(1)])
    person = changes_of([row(2)]).people[("default", "u.1")]
    assert revise(first, person, [], keep=40, now_us=NOW_US - 10_000_000).rev > first.rev


def test_identify_brings_the_visitors_actions_along() -> None:
    stranger = UserValue(rev="0" * 16, actions=[Action(BUCKET_MS, "x1", "view", "Z")])
    change = changes_of([row(1, kind="identify", item="", anonymous="browser-7")])
    person = change.people[("default", "u.1")]
    assert person.aliases == ["browser-7"]
    assert revise(None, person, [stranger], keep=40, now_us=NOW_US).actions == stranger.actions


def test_a_late_identify_still_says_who_the_visitor_is() -> None:
    change = changes_of([row(1, kind="identify", item="", anonymous="browser-7", late=True)])
    assert change.outcomes == ["late"]
    assert change.people[("default", "u.1")].aliases == ["browser-7"]


def test_buckets_older_than_a_day_are_dropped() -> None:
    old = UserValue(rev="0" * 16, buckets={str(BUCKET_MS // 1000 - 2 * 86_400): [9.0, 0, 0, 0]})
    assert list(merged([row(1)], old).buckets) == [str(BUCKET_MS // 1000)]
