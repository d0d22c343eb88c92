"""Live features over HTTP: every one of the registry, of all names of a person, and trending within a category."""

import math
import time
from typing import Any

import msgspec
import pytest

from contracts.features import bucket_start
from contracts.keys import alias_key, item_key, trending_key, user_key
from contracts.lists import Action, Owner, UserValue, decode_user, encode_value

pytestmark = pytest.mark.serving


def ids(shelf: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in shelf["items"]]


def act(event_type: str, item_id: str, at: int = 1_000) -> Action:
    return Action(at, f"e-{at}-{item_id}", event_type, item_id)


def value_of(buckets: dict[int, list[float]], *actions: Action, **fields: Any) -> bytes:
    """A person's value as the stream stores it; buckets by start in epoch seconds."""
    stored = {str(start): values for start, values in buckets.items()}
    return encode_value(UserValue(rev="f" * 16, actions=sorted(actions), buckets=stored, **fields))


def now_bucket_s() -> int:
    return bucket_start(time.time_ns() // 1_000_000) // 1000


def test_the_profile_shows_every_live_feature(shop: Any) -> None:
    now = now_bucket_s()
    # A visit began 40 minutes ago and went on 20 minutes later; the one before it was two hours ago.
    buckets = {
        now: [1.0, 0, 1.0, 4.0, 0, 300_000.0, 1_001.0],
        now - 1200: [2.0, 1.0, 0, 0, 1.0, 200_000.0, 150_001.0],
        now - 7200: [5.0, 0, 0, 0, 0, 300_000.0, 1.0],
    }
    actions = [act("view", "i3", now * 1000 - 2), act("purchase", "milk", now * 1000 - 1)]
    shop.put_redis(user_key("default", "u.me"), value_of(buckets, *actions))
    profile = shop.get("/v1/users/me/profile")
    assert [(a["event_type"], a["title"]) for a in profile["actions"]] == [("purchase", "Oat Milk"), ("view", "Item 3")]
    assert profile["known"]
    names = ("views", "carts", "purchases", "spend", "cart_removals")
    sums = {window: [values[name] for name in names] for window, values in profile["features"].items()}
    assert sums == {"5m": [1, 0, 1, 4, 0], "1h": [3, 1, 1, 4, 1], "24h": [8, 1, 1, 4, 1]}
    began, ended = (now - 1200) * 1000 + 100_000, now * 1000 + 1_000
    assert profile["session"] == {"started_at": began, "length_ms": ended - began, "depth": 6.0}
    assert profile["last_seen_at"] == ended
    assert list(profile["category_affinity"].items()) == [("DAIRY", 5 / 6), ("ODD", 1 / 6)]
    assert profile["price_affinity"] == pytest.approx((5 * 0.25 + 1 * (1 + 0.5) / 20) / 6)


def test_the_profile_of_nobody_has_the_defaults(shop: Any) -> None:
    profile = shop.get("/v1/users/nobody/profile")
    assert profile["known"] is False
    assert {value for window in profile["features"].values() for value in window.values()} == {0}
    names = ("session", "last_seen_at", "category_affinity", "price_affinity", "actions")
    assert [profile[name] for name in names] == [None, None, {}, 0.5, []]


def test_a_user_is_one_with_the_visitors_they_were_but_not_with_whom_else_used_the_device(shop: Any) -> None:
    now = now_bucket_s()
    here = act("view", "i2", now * 1000)

    def at(item: str, **owner: Any) -> bytes:
        return value_of({now: [1.0, 0, 0, 0, 0, 9.0, 5.0]}, here, act("view", item, now * 1000 + 1), **owner)

    mine = {now: [2.0, 0, 0, 0, 0, 3.0, 7.0]}
    shop.put_redis(user_key("default", "u.joy"), value_of(mine, here, aliases={"phone": 1, "desk": 2, "lent": 3}))
    shop.put_redis(user_key("default", "a.phone"), at("i4", owner=Owner(1, "u.joy")))
    shop.put_redis(user_key("default", "a.desk"), at("i6"))
    shop.put_redis(user_key("default", "a.lent"), at("i8", owner=Owner(4, "u.other")))
    shop.put_redis(alias_key("default", "desk"), b"u.joy")  # of the phone only its own value says whose it is
    paths = ("/v1/users/joy/profile", "/v1/visitors/phone/profile", "/v1/visitors/desk/profile")
    known = [shop.get(path) for path in paths]
    for profile in known:
        assert profile["features"]["1h"]["views"] == 4
        assert {a["item_id"] for a in profile["actions"]} == {"i2", "i4", "i6"}
        assert profile["last_seen_at"] == now * 1000 + 6
    assert [profile["known_as"] for profile in known] == [None, "joy", "joy"]


def test_what_was_bought_before_signing_in_is_hidden_after_it(shop: Any) -> None:
    shop.put_live("u.late", ["i1", "i2"])
    shop.put_redis(
        user_key("default", "a.early"),
        value_of({}, act("purchase", "i1", now_bucket_s() * 1000), owner=Owner(1, "u.late")),
    )
    assert ids(shop.get("/v1/users/late/recommendations")) == ["i1", "i2"]
    with shop.cluster as cluster:
        value = decode_user(cluster.get_many([user_key("default", "u.late")])[0])
    joined = msgspec.structs.replace(value, aliases={"early": 1, "never-stored": 1})
    shop.put_redis(user_key("default", "u.late"), encode_value(joined))
    assert ids(shop.get("/v1/users/late/recommendations")) == ["i2"]


def test_a_visitors_value_that_cannot_be_read_costs_the_user_nothing_else(shop: Any) -> None:
    shop.put_redis(user_key("default", "u.torn"), value_of({now_bucket_s(): [2.0]}, aliases={"broken": 1}))
    shop.put_redis(user_key("default", "a.broken"), b"no such value")
    assert shop.get("/v1/users/torn/profile")["features"]["1h"]["views"] == 2


def test_item_features_are_made_of_the_unexpired_buckets(shop: Any) -> None:
    now = now_bucket_s()
    shop.execute(
        ("HSET", item_key("default", "i3"), now, "2,1,0,0,0", now - 7200, "5,0,1,3.5,61", now - 2 * 86_400, "9,9,9,9,9")
    )
    found = shop.get("/v1/items/i3/features")
    assert found["features"] == {
        "5m": {"views": 2, "carts": 1, "purchases": 0, "revenue": 0},
        "1h": {"views": 2, "carts": 1, "purchases": 0, "revenue": 0},
        "24h": {"views": 7, "carts": 1, "purchases": 1, "revenue": 3.5},
    }
    assert found["conversion"] == pytest.approx((1 + 1) / (7 + 50))
    assert found["trend"] == pytest.approx(math.log((5 + 20) / (15 / 24 + 20)))
    assert found["last_purchase_at"] == (now - 7200) * 1000 + 60


def test_an_item_without_events_has_the_defaults(shop: Any) -> None:
    found = shop.get("/v1/items/i39/features")
    assert (found["conversion"], found["trend"], found["last_purchase_at"]) == (0.02, 0, None)


def test_what_is_wanted_within_a_category_comes_from_its_own_counts(shop: Any, until: Any) -> None:
    def trending(category: str) -> Any:
        return shop.get("/v1/trending", category=category)

    assert (trending("DAIRY")["source"], ids(trending("DAIRY"))) == ("popular", ["milk"])
    assert (trending("no such")["source"], ids(trending("no such"))) == ("none", [])
    key = trending_key("default", now_bucket_s(), "DAIRY")
    shop.execute(("ZADD", key, 2, "a/b c", 1, "milk"))
    try:
        until(lambda: trending("DAIRY")["source"] == "trending", "the category's trending list")
        assert ids(trending("DAIRY")) == ["a/b c", "milk"]
        assert trending("EVEN")["source"] == "popular"
    finally:
        shop.execute(("DEL", key))
