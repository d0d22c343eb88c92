"""The shelf comes from the best source that holds something, and never shows what must not be shown."""

import time
from typing import Any

import pytest

from contracts.features import BUCKET_MS, bucket_start
from contracts.keys import alias_key, trending_key
from contracts.lists import Action, Reason

pytestmark = pytest.mark.serving


def ids(shelf: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in shelf["items"]]


def act(event_type: str, item_id: str, at: int = 1_000) -> Action:
    return Action(at, f"e-{at}-{item_id}", event_type, item_id)


def test_the_live_list_comes_first_and_says_what_it_is_based_on(shop: Any) -> None:
    shop.put_live("u.both", ["i1", "i2", "gone", "i3"], [act("view", "i9", 5_000)])
    shelf = shop.get("/v1/users/both/recommendations", n=2)
    assert (shelf["source"], shelf["store"], ids(shelf)) == ("live", "redis", ["i1", "i2"])
    assert shelf["based_on"] == {"occurred_at": 5_000, "event_id": "e-5000-i9"}
    assert shelf["items"][0] == {"item_id": "i1", "title": "Item 1", "category": "ODD", "price": 1.5, "score": 1.0}


def test_without_a_live_list_the_last_training_serves_from_redis_then_from_dynamodb(shop: Any) -> None:
    shop.execute(("DEL", "default:user:u.both"))
    redis, dynamodb = (shop.get(f"/v1/users/{user}/recommendations") for user in ("both", "cold"))
    assert (redis["source"], redis["store"], ids(redis)) == ("batch", "redis", ["i10", "i11"])
    assert (dynamodb["source"], dynamodb["store"], ids(dynamodb)) == ("batch", "dynamodb", ["i20", "i21"])


def test_an_unknown_visitor_gets_what_is_popular_then_what_is_trending(shop: Any, until: Any) -> None:
    shelf = shop.get("/v1/visitors/never-seen/recommendations")
    assert (shelf["source"], ids(shelf)) == ("popular", ["i30", "i31", "milk"])
    assert shop.get("/v1/trending")["source"] == "popular"
    now = bucket_start(time.time_ns() // 1_000_000) // 1000
    newest, older, expired = (trending_key("default", now - i * BUCKET_MS // 1000) for i in (0, 5, 13))
    shop.execute(("ZADD", newest, 3, "i4", 1, "gone"), ("ZADD", older, 4, "i5", 2, "i4"), ("ZADD", expired, 99, "i6"))
    try:
        until(lambda: shop.get("/v1/trending")["source"] == "trending", "the trending list")
        trending = shop.get("/v1/trending")
        assert [(i["item_id"], i["score"]) for i in trending["items"]] == [("i4", 5.0), ("i5", 4.0)]
        shelf = shop.get("/v1/visitors/never-seen/recommendations", explain=True)
        assert (shelf["source"], ids(shelf)) == ("trending", ["i4", "i5", "i30", "i31", "milk"])
        assert [i["reason"] for i in shelf["items"][1:3]] == ["wanted right now", "popular with all customers"]
    finally:
        shop.execute(*(("DEL", key) for key in (newest, older, expired)))
        until(lambda: shop.get("/v1/trending")["source"] == "popular", "the trending list's end")


def test_what_trended_when_a_newcomer_last_acted_is_shown_for_an_hour_and_no_longer(shop: Any) -> None:
    now_ms = time.time_ns() // 1_000_000
    for user, age_ms in (("lately", 60_000), ("long-ago", 2 * 3_600_000)):
        shop.put_live(f"u.{user}", ["i7"], [act("view", "i9")], source="trending", written_at=now_ms - age_ms)
    lately, long_ago = (shop.get(f"/v1/users/{user}/recommendations") for user in ("lately", "long-ago"))
    assert (lately["source"], ids(lately)) == ("trending", ["i7"])
    assert (long_ago["source"], ids(long_ago)) == ("popular", ["i30", "i31", "milk"])


def test_an_expired_row_of_dynamodb_is_not_served(shop: Any) -> None:
    assert shop.get("/v1/users/old/recommendations")["source"] == "popular"


def test_a_list_with_nothing_to_show_gives_way_to_the_next_rung(shop: Any) -> None:
    shop.put_live("u.cold", ["gone", "i3"], [act("purchase", "i3", time.time_ns() // 1_000_000)])
    assert shop.get("/v1/users/cold/recommendations")["source"] == "batch"


@pytest.mark.parametrize("source", ["live", "batch", "popular"])
def test_bought_items_are_hidden_on_every_rung_unless_repeatable(shop: Any, source: str) -> None:
    user = {"live": "buyer", "batch": "both", "popular": "shopper"}[source]
    items = ["i30", "i10", "milk", "i31"] if source == "live" else None
    now_ms = time.time_ns() // 1_000_000
    did = [act("purchase", item, now_ms - at) for at, item in ((3, "i30"), (2, "i10"), (1, "milk"))]
    shop.put_live(f"u.{user}", items, did)
    path = f"/v1/users/{user}/recommendations"
    shelf, unfiltered = shop.get(path), shop.get(path, filter=False)
    assert shelf["source"] == unfiltered["source"] == source
    assert not {"i30", "i10", "gone"} & set(ids(shelf))
    assert ids(shelf) == [i for i in ids(unfiltered) if i not in ("i30", "i10")] != ids(unfiltered)
    assert ("milk" in ids(unfiltered)) == ("milk" in ids(shelf))
    assert (shelf["filters"], unfiltered["filters"]) == (["stock", "purchases", "cart"], ["stock"])


def test_every_item_is_explained_by_its_strongest_term(shop: Any) -> None:
    reasons = [
        [Reason("i5", 0.2), Reason("milk", 0.7), Reason("*", 0.1)],
        [Reason("*", 0.9)],
        [Reason("i5", -0.4), Reason("i6", 0.1)],
    ]
    actions = [act("view", "i5", 1), act("purchase", "milk", 2), act("view", "milk", 3)]
    shop.put_live("u.why", ["i1", "i2", "i3"], actions, reasons=reasons)
    shelf = shop.get("/v1/users/why/recommendations", explain=True)
    assert [item["reason"] for item in shelf["items"]] == [
        "because you bought Oat Milk",
        "fits what you did before the last training",
        "goes with Item 6",
    ]
    assert shelf["items"][0]["because"][1] == {
        "item_id": "milk", "weight": 0.7, "title": "Oat Milk", "event_type": "purchase"
    }  # fmt: skip
    assert "reason" not in shop.get("/v1/users/why/recommendations")["items"][0]


def test_a_visitor_who_signed_in_is_answered_as_that_user(shop: Any) -> None:
    shop.put_live("a.anon-1", ["i1"])
    shop.put_live("u.known-1", ["i2"])
    before = shop.get("/v1/visitors/anon-1/recommendations")
    shop.put_redis(alias_key("default", "anon-1"), b"u.known-1")
    after = shop.get("/v1/visitors/anon-1/recommendations")
    assert (ids(before), before["known_as"], ids(after), after["known_as"]) == (["i1"], None, ["i2"], "known-1")


def test_an_unchanged_shelf_costs_no_body(shop: Any) -> None:
    shop.put_live("u.tag", ["i1"])
    path = "/v1/users/tag/recommendations"
    tag = shop.http.get(path).headers["etag"]
    assert shop.http.get(path, headers={"If-None-Match": tag}).status_code == 304
    shop.put_live("u.tag", ["i2"])
    assert shop.http.get(path, headers={"If-None-Match": tag}).status_code == 200
