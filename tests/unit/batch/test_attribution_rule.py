"""Each click and purchase is credited once, to the right list: known cases, and a slow second implementation."""

from datetime import UTC, datetime
from itertools import count
from typing import Any

import numpy as np
import pandas as pd
import pytest

from batch.attribution_rule import MOST_TOUCHES, Credited, credit
from batch.attribution_tables import KEYS, SUMS, rows_of
from contracts.assignment import assign
from contracts.attribution import AFTER_CLICK_MS, AFTER_VIEW_MS
from contracts.experiments import Experiment, Variant
from contracts.request_ids import make_request_id

HOUR = 3_600_000
DAY = 24 * HOUR
NOW = 20_000 * DAY
START = datetime(2024, 1, 1, tzinfo=UTC)
ARMS = (Variant(name="a"), Variant(name="b"))
PERSONS = Experiment(id="p", status="running", start=START, variants=ARMS)
VISITORS = Experiment(id="v", status="running", start=START, variants=ARMS, unit="visitor")
COLUMNS = [
    "event_id",
    "event_type",
    "subject",
    "anonymous_id",
    "person",
    "item_id",
    "request_id",
    "occurred_ms",
    "amount",
]
NUMBERS = count()


def request(kind: str = "live", subject: str = "u.1", items: str = "AB", **more: Any) -> str:
    return make_request_id(kind, **({"via": "user", "subject": subject, "items": list(items), "now_ms": NOW} | more))


def event(kind: str, item: str, at: int, request_id: str = "", subject: str = "u.1", **more: Any) -> dict[str, Any]:
    row = {"event_id": f"e{next(NUMBERS):06}", "event_type": kind, "subject": subject, "person": subject}
    anonymous = subject[2:] if subject.startswith("a.") else ""
    rest = {
        "anonymous_id": anonymous,
        "item_id": item,
        "request_id": request_id,
        "occurred_ms": NOW + at,
        "amount": 10.0,
    }
    return row | rest | more


def credited(*events: dict[str, Any], experiments: Any = (), owners: Any = None) -> Credited:
    frame = pd.DataFrame(list(events), columns=COLUMNS)
    return credit(frame, owners or {}, {each.id: each for each in experiments})


def sums(found: Credited, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in found.touches[list(names)].itertuples(index=False)]


def test_an_item_of_an_answer_is_one_impression_however_often_it_is_reported() -> None:
    r = request()
    found = credited(event("impression", "A", 0, r), event("impression", "A", 5, r), event("impression", "B", 6, r))
    assert sums(found, "item_id", "impressions", "clicks") == [("A", 1, 0), ("B", 1, 0)]


def test_clicks_count_once_and_stand_for_a_lost_impression() -> None:
    r = request()
    found = credited(event("click", "A", 9, r), event("click", "A", 12, r))
    assert sums(found, "impressions", "clicks", "ms") == [(1, 1, NOW + 9)]


@pytest.mark.parametrize(("after", "expected"), [(AFTER_CLICK_MS, 1), (AFTER_CLICK_MS + 1, 0), (0, 1), (-1, 0)])
def test_a_purchase_is_credited_within_seven_days_of_the_click(after: int, expected: int) -> None:
    r = request()
    found = credited(event("click", "A", 0, r), event("purchase", "A", after))
    assert sums(found, "purchases", "purchases_after_click", "revenue") == [(expected, expected, 10.0 * expected)]


@pytest.mark.parametrize(("after", "expected"), [(AFTER_VIEW_MS, 1), (AFTER_VIEW_MS + 1, 0)])
def test_without_a_click_it_is_credited_within_a_day_of_the_impression(after: int, expected: int) -> None:
    found = credited(event("impression", "A", 0, request()), event("purchase", "A", after))
    assert sums(found, "purchases", "purchases_after_click") == [(expected, 0)]


def test_the_last_click_wins_over_older_clicks_and_newer_impressions() -> None:
    old, clicked, seen = request("batch"), request("live"), request("popular")
    found = credited(
        event("click", "A", 0, old),
        event("click", "A", HOUR, clicked),
        event("impression", "A", 2 * HOUR, seen),
        event("purchase", "A", 3 * HOUR, amount=7.0),
    )
    assert dict(sums(found, "kind", "revenue")) == {"batch": 0.0, "live": 7.0, "popular": 0.0}


def test_nobody_is_credited_with_another_item_or_another_persons_purchase() -> None:
    found = credited(
        event("click", "A", 0, request()), event("purchase", "B", 1), event("purchase", "A", 1, subject="u.2")
    )
    assert found.touches["revenue"].sum() == 0 and len(found.purchases) == 2


def test_two_lines_of_a_basket_are_two_purchases_each_credited_once() -> None:
    r, s = request(), request("batch")
    found = credited(
        event("click", "A", 0, r), event("click", "A", 1, s), event("purchase", "A", 2), event("purchase", "A", 3)
    )
    assert found.touches["purchases"].sum() == 2 and dict(sums(found, "kind", "purchases"))["batch"] == 2


def test_what_a_visitor_clicked_is_credited_when_they_sign_in_and_buy() -> None:
    r = request(subject="a.9", via="visitor")
    owners = {"a.9": ("u.1", NOW + HOUR)}
    found = credited(
        event("click", "A", 0, r, subject="a.9", person="u.1"), event("purchase", "A", 2 * HOUR), owners=owners
    )
    assert sums(found, "purchases", "revenue") == [(1, 10.0)]


def variant(experiment: Experiment, unit: str) -> str:
    found = assign(experiment, unit)
    assert found
    return found.name


def test_the_unit_is_the_id_that_was_hashed() -> None:
    owners = {"a.9": ("u.1", NOW)}
    as_user, as_visitor = variant(PERSONS, "u.1"), variant(VISITORS, "a.9")
    both = [f"p:{as_user}", f"v:{as_visitor}"]
    r = request(via="alias", variants=both)
    found = credited(
        event("impression", "A", 0, r, subject="a.9", person="u.1"), experiments=[PERSONS, VISITORS], owners=owners
    )
    assert found.touches["units"].tolist() == [{"p": (as_user, "u.1"), "v": (as_visitor, "a.9")}]
    before = request(via="visitor", subject="a.9", variants=[f"p:{variant(PERSONS, 'a.9')}"])
    found = credited(
        event("impression", "A", 0, before, subject="a.9", person="u.1"), experiments=[PERSONS], owners=owners
    )
    assert found.touches["units"].tolist() == [{"p": (variant(PERSONS, "a.9"), "a.9")}]


def test_a_claimed_variant_is_dropped_and_counted_and_a_foreign_id_is_nothing() -> None:
    other = "ab".replace(variant(PERSONS, "u.1"), "")
    forged, true = request(variants=[f"p:{other}"]), request(variants=[f"p:{variant(PERSONS, 'u.1')}"])
    found = credited(
        event("impression", "A", 0, forged),
        event("impression", "A", 0, true),
        event("impression", "A", 0, "a-shop's-own"),
        experiments=[PERSONS],
    )
    assert len(found.touches) == 1 and found.dropped == {NOW // DAY: 1}


def test_an_experiment_that_is_gone_leaves_the_rest_of_the_touch() -> None:
    found = credited(event("impression", "A", 0, request(variants=["old:a"])))
    assert sums(found, "variant", "kind", "impressions") == [("", "live", 1)]


def test_a_program_is_left_out() -> None:
    r = request()
    crawled = [event("impression", f"i{n}", n, r) for n in range(MOST_TOUCHES + 1)]
    found = credited(*crawled, event("impression", "A", 0, request(subject="u.2"), subject="u.2"))
    assert len(found.touches) == 1 and found.dropped == {NOW // DAY: MOST_TOUCHES + 1}


def test_no_events_are_no_rows() -> None:
    assert rows_of(credited(experiments=[PERSONS]), {"p": PERSONS}).empty


def test_all_purchases_of_a_unit_are_kept_for_its_total() -> None:
    owners = {"a.9": ("u.1", NOW + HOUR)}
    found = credited(
        event("purchase", "X", 0, subject="a.9", person="u.1", amount=5.0),  # before the sign-in: the visitor's
        event("purchase", "X", 2 * HOUR, subject="a.9", person="u.1", amount=6.0),
        event("purchase", "Y", 2 * HOUR, amount=7.0),
        experiments=[PERSONS],
        owners=owners,
    )
    rows = rows_of(found, {"p": PERSONS})
    units = rows[rows["table"] == "units"].set_index("unit")["total_revenue"].to_dict()
    assert units == {"a.9": 5.0, "u.1": 13.0}


def slow(events: list[dict[str, Any]]) -> dict[tuple[str, str, str], list[float]]:
    """The rule once more, purchase by purchase."""
    touches: dict[tuple[str, str, str], list[float]] = {}
    reports = [e for e in events if e["request_id"]]
    for e in reports:
        row = touches.setdefault((e["person"], e["item_id"], e["request_id"]), [0.0, 0.0, 0.0])
        row[0] = max(row[0], float(e["event_type"] == "click"))
    for bought in (e for e in events if e["event_type"] == "purchase"):

        def before(e: dict[str, Any], within: int, bought: dict[str, Any] = bought) -> bool:
            age = bought["occurred_ms"] - e["occurred_ms"]
            return (e["person"], e["item_id"]) == (bought["person"], bought["item_id"]) and 0 <= age <= within

        clicks = [e for e in reports if e["event_type"] == "click" and before(e, AFTER_CLICK_MS)]
        found = clicks or [e for e in reports if before(e, AFTER_VIEW_MS)]
        if found:
            last = max(found, key=lambda e: (e["occurred_ms"], e["event_id"]))
            row = touches[last["person"], last["item_id"], last["request_id"]]
            row[1] += 1
            row[2] += bought["amount"]
    return touches


@pytest.mark.parametrize("seed", range(5))
def test_the_fast_form_equals_the_slow_one_on_random_people(seed: int) -> None:
    rng = np.random.default_rng(seed)
    requests = [request(kind, now_ms=NOW + n * HOUR) for n in range(3) for kind in ("live", "batch", "popular")]
    events = []
    for _ in range(600):
        kind = str(rng.choice(["impression", "click", "purchase"]))
        at, subject = int(rng.integers(0, 10 * DAY)), f"u.{rng.integers(4)}"
        request_id = "" if kind == "purchase" else requests[rng.integers(len(requests))]
        amount = float(rng.integers(1, 9))
        events.append(event(kind, "ABC"[rng.integers(3)], at, request_id, subject, amount=amount))
    found = credited(*events).touches
    fast = {
        (row.person, row.item_id, row.request_id): [row.clicks, row.purchases, row.revenue]
        for row in found.itertuples()
    }
    assert fast == slow(events)


def test_rows_add_up_and_share_one_form() -> None:
    label = [f"p:{variant(PERSONS, 'u.1')}"]
    r = request(variants=label, placement="home", model_version="v1", new_items=["B"])
    found = credited(
        event("click", "A", 0, r), event("impression", "B", 0, r), event("purchase", "A", 1), experiments=[PERSONS]
    )
    rows = rows_of(found, {"p": PERSONS})
    assert list(rows.columns) == [*KEYS, *SUMS]
    totals = rows[rows["table"] == "totals"].set_index("new")
    assert totals.loc[False, ["impressions", "clicks", "purchases", "revenue"]].tolist() == [1, 1, 1, 10.0]
    assert totals.loc[True, ["impressions", "clicks"]].tolist() == [1, 0]
    assert set(totals["variant"]) == set(label) and set(totals["placement"]) == {"home"}
    units = rows[rows["table"] == "units"]
    assert units[["impressions", "revenue", "total_revenue"]].sum().tolist() == [2, 10.0, 10.0]
    items = rows[rows["table"] == "items"].set_index("item_id")["impressions"].to_dict()
    assert items == {"A": 1, "B": 1}
