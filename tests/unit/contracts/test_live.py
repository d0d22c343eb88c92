"""Live features against what the raw events say, whatever the order, repetition and division in which they came."""

import random
import sqlite3
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import pytest

from contracts.affinity import AFFINITY_ACTIONS
from contracts.features import BUCKET_MS, ITEM_FEATURES, USER_FEATURES, WINDOWS_MS, BucketFeature, bucket_start, larger
from contracts.items import Item, price_positions
from contracts.lists import Action
from contracts.live import FEATURES, HORIZON_MS, add_buckets, item_features, user_buckets, user_features
from contracts.sessions import SESSION_GAP_MS, newest_session
from contracts.trends import TREND_PRIOR, trend, trend_sums

NOW = 1_800_000_123_456
MINUTE = 60_000
TYPES = ["view", "view", "click", "add_to_cart", "remove_from_cart", "purchase", "impression"]
DONE = {"view", "click", "add_to_cart", "remove_from_cart", "purchase"}
ITEMS = {
    f"i{n}": Item(item_id=f"i{n}", title="", category="" if n == 5 else f"C{n % 2}", price=None if n == 4 else n + 1.0)
    for n in range(6)
}


class Event(NamedTuple):
    """What the stream knows of an event of one person and, for the tests of items, of one item."""

    occurred_ms: int
    event_id: str
    event_type: str
    item_id: str
    amount: float
    late: bool


def events_of(seed: int, number: int = 80) -> list[Event]:
    """Bursts and silences over somewhat more than a day, with silences close to the gap that ends a visit."""
    draw = random.Random(seed)
    gaps = [1, MINUTE, 20 * MINUTE, SESSION_GAP_MS - 1, SESSION_GAP_MS, SESSION_GAP_MS + 1, 3 * 60 * MINUTE]
    time, found = NOW - draw.choice([0, 1, 7 * MINUTE, SESSION_GAP_MS, SESSION_GAP_MS + 1]), []
    for n in range(number):
        kind, late = draw.choice(TYPES), draw.random() < 0.1
        found.append(Event(time, f"e{n:03}", kind, f"i{draw.randrange(7)}", float(draw.randrange(1, 9)), late))
        time -= draw.choice(gaps[:3] if draw.random() < 0.7 else gaps)
    return found


def buckets_of(events: Sequence[Event], features: Sequence[BucketFeature]) -> dict[int, list[float]]:
    """Bucket values by the very SQL of the definitions, which SQLite understands as well."""
    with sqlite3.connect(":memory:") as base:
        base.execute("CREATE TABLE events (occurred_ms BIGINT, id, event_type TEXT, item, amount DOUBLE, late BOOL)")
        base.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", events)
        values = ", ".join(f"{feature.aggregate}({feature.expression})" for feature in features)
        rows = base.execute(f"SELECT occurred_ms - occurred_ms % {BUCKET_MS} AS b, {values} FROM events GROUP BY b")
        found = {start: list(values) for start, *values in rows if any(values)}
    base.close()
    return found


def counted(events: Sequence[Event], kinds: set[str], window: str) -> list[Event]:
    begin = bucket_start(NOW - WINDOWS_MS[window])
    return [e for e in events if not e.late and e.event_type in kinds and begin <= e.occurred_ms <= NOW]


def actions_of(events: Sequence[Event]) -> list[Action]:
    kinds = DONE - {"remove_from_cart"}
    return [Action(*event[:4]) for event in events if not event.late and event.event_type in kinds]


def features_of(events: Sequence[Event]) -> dict[str, Any]:
    positions = price_positions(ITEMS.values())
    return user_features(buckets_of(events, USER_FEATURES), actions_of(events), ITEMS, positions, NOW)


def visit(events: Sequence[Event]) -> dict[str, Any]:
    """The visit by the plain definition: walk back from the newest event until a silence is too long."""
    times = sorted(e.occurred_ms for e in counted(events, DONE, "24h"))
    begin = max([0, *(n for n, (a, b) in enumerate(pairwise(times), 1) if b - a > SESSION_GAP_MS)])
    on = bool(times) and NOW - times[-1] <= SESSION_GAP_MS
    return {
        "session_start": times[begin] if on else None,
        "session_length": times[-1] - times[begin] if on else 0,
        "session_depth": float(len(times) - begin) if on else 0.0,
        "last_seen": max(times, default=None),
    }


@pytest.mark.parametrize("seed", range(40))
def test_visits_and_sums_made_of_buckets_are_those_of_the_raw_events(seed: int) -> None:
    events = events_of(seed, number=random.Random(seed).randrange(90))
    values = features_of(events)
    assert {name: values[name] for name in visit(events)} == visit(events)
    for window in WINDOWS_MS:
        assert values[f"views_{window}"] == len(counted(events, {"view", "click"}, window))
        assert values[f"cart_removals_{window}"] == len(counted(events, {"remove_from_cart"}, window))
        assert values[f"spend_{window}"] == sum(e.amount for e in counted(events, {"purchase"}, window))


@pytest.mark.parametrize("seed", range(20))
def test_item_features_made_of_buckets_are_those_of_the_raw_events(seed: int) -> None:
    events = events_of(seed)
    values = item_features(buckets_of(events, ITEM_FEATURES), NOW)
    bought = counted(events, {"purchase"}, "24h")
    viewed = counted(events, {"view", "click"}, "24h")
    assert values["last_purchase"] == max((e.occurred_ms for e in bought), default=None)
    assert values["revenue_24h"] == sum(e.amount for e in bought)
    assert values["conversion"] == (len(bought) + 1) / (max(len(viewed), len(bought)) + 50)


@pytest.mark.parametrize("seed", range(20))
def test_no_feature_depends_on_the_order_of_arrival_or_on_a_replay(seed: int) -> None:
    draw = random.Random(seed)
    events = events_of(seed)
    shuffled = draw.sample(events, len(events))
    assert features_of(shuffled) == features_of(events)
    # As the stream writes them: running values, of which the larger is kept; a crash plays a part of them again.
    running = [buckets_of(shuffled[:end], USER_FEATURES) for end in range(0, len(events) + 1, 8)]
    stored: dict[int, list[float]] = {}
    for written in (*running, *draw.sample(running, len(running))):
        for start, values in written.items():
            stored[start] = larger(stored.get(start), values)
    assert stored == buckets_of(events, USER_FEATURES)


@pytest.mark.parametrize("seed", range(10))
def test_a_person_under_two_names_has_the_features_of_one(seed: int) -> None:
    events = events_of(seed)
    draw = random.Random(seed)
    parts: tuple[list[Event], list[Event]] = ([], [])
    for event in events:
        draw.choice(parts).append(event)
    joined = add_buckets(USER_FEATURES, [buckets_of(part, USER_FEATURES) for part in parts])
    assert joined == buckets_of(events, USER_FEATURES)


@pytest.mark.parametrize("seed", range(10))
def test_affinities_are_weighted_shares_of_the_newest_actions(seed: int) -> None:
    events = events_of(seed)
    values = features_of(events)
    weights = {"view": 1, "click": 1, "add_to_cart": 3, "purchase": 5}
    newest = [a for a in sorted(actions_of(events)) if a.occurred_ms > NOW - HORIZON_MS][-AFFINITY_ACTIONS:]
    spent = {f"C{n}": 0 for n in range(2)}
    for action in newest:
        item = ITEMS.get(action.item_id)
        if item and item.category:
            spent[item.category] += weights[action.event_type]
    total = sum(spent.values())
    assert values["category_affinity"] == {name: w / total for name, w in spent.items() if w}
    # of C0: 0 costs 1, 2 costs 3 (4 has no price); of C1: 1 costs 2, 3 costs 4 (5 has no category)
    place = {"i0": 0.25, "i2": 0.75, "i1": 0.25, "i3": 0.75}
    priced = [(weights[a.event_type], place[a.item_id]) for a in newest if a.item_id in place]
    expected = sum(w * p for w, p in priced) / sum(w for w, _ in priced)
    assert values["price_affinity"] == pytest.approx(expected)


def test_yesterdays_values_are_gone_a_day_later_without_anything_being_written() -> None:
    buckets = {bucket_start(NOW): [1.0] * len(USER_FEATURES)}
    later = user_features(buckets, [], {}, {}, NOW + HORIZON_MS + BUCKET_MS)
    assert later == {name: f.default for f in FEATURES if f.entity == "user" for name in f.columns}


def test_three_clicks_are_no_trend_and_many_are_one() -> None:
    def trend_of(views: float) -> float:
        values: float = item_features({bucket_start(NOW): [views]}, NOW)["trend"]
        return values

    assert trend_of(3) < 0.15 < 1.5 < trend_of(100)
    assert TREND_PRIOR == 20


def test_the_rankers_trend_is_that_of_the_feature() -> None:
    buckets = buckets_of(events_of(3), ITEM_FEATURES)
    fields = {f"{start // 1000}".encode(): ",".join(map(repr, v)).encode() for start, v in buckets.items()}
    assert trend(*trend_sums(fields, NOW)) == pytest.approx(item_features(buckets, NOW)["trend"])


@pytest.mark.parametrize("features", [USER_FEATURES, ITEM_FEATURES])
def test_values_written_before_a_feature_was_added_still_count(features: Sequence[BucketFeature]) -> None:
    old: Mapping[str, Sequence[float]] = {str(bucket_start(NOW) // 1000): [2.0, 1.0, 1.0, 9.5]}
    assert newest_session(user_buckets(old), NOW) is None
    known = user_features(user_buckets(old), [], {}, {}, NOW), item_features(user_buckets(old), NOW)
    assert [values["views_1h"] for values in known] == [2.0, 2.0]
    (joined,) = add_buckets(features, [user_buckets(old)]).values()
    assert joined == [2.0, 1.0, 1.0, 9.5, *[0.0] * (len(features) - 4)]
