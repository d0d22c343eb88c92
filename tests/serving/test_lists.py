"""Every list over HTTP: its parameters, its rules, and what it never shows, whatever somebody did."""

import random
import time
from typing import Any

import pytest

from contracts.errors import ChangedMeanwhile
from contracts.held import HELD_TYPES, CartMark, merge_bought, merge_cart
from contracts.keys import similar_key, together_key, trending_key, user_key
from contracts.lake import rules_path
from contracts.lists import Action, Reason, RecommendationList, UserValue, decode_list, encode_value
from contracts.rules import Boost, Hide, PerCategory, Pin, Rules, encode_rules
from stores.objects import Objects

pytestmark = pytest.mark.serving

SHOP, VERSION = "default", "20260101T000000Z-test00"
DAY_MS = 86_400_000


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def asked(shop: Any, path: str) -> Any:
    """The answer to a path with its query, which may name a parameter several times."""
    answer = shop.http.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


def stored(items: list[str], source: Any = "batch", **fields: Any) -> bytes:
    scores = [1.0 - 0.01 * place for place in range(len(items))]
    fields = {"model_version": VERSION, "based_on": None, "written_at": now_ms()} | fields
    return encode_value(RecommendationList(source=source, items=items, scores=scores, **fields))


def person(did: list[tuple[int, str, str]], live: list[str] | None = None) -> bytes:
    """A person's value as the stream keeps it, after some (time, type, item)."""
    bought: dict[str, int] = {}
    for at, kind, item in did:
        if kind == "purchase":
            bought[item] = max(at, bought.get(item, 0))
    marks = [
        CartMark(at, f"m{n}", item, kind == "add_to_cart")
        for n, (at, kind, item) in enumerate(did)
        if kind in ("add_to_cart", "remove_from_cart")
    ]
    actions = [Action(at, f"e{n}", kind, item) for n, (at, kind, item) in enumerate(did) if kind != "remove_from_cart"]
    value = UserValue(
        rev="f" * 16,
        actions=actions[-3:],
        live=decode_list(stored(live, "live")) if live else None,
        bought=merge_bought({}, bought, 0),
        cart=merge_cart([], marks, 0),
    )
    return encode_value(value)


LISTS = [f"i{n}" for n in range(20)]
PATHS = [
    "/v1/users/{}/recommendations",
    "/v1/items/i9/similar?user_id={}",
    "/v1/items/i9/together?user_id={}",
    "/v1/cart/recommendations?user_id={}",
    "/v1/cart/recommendations?user_id={}&item_id=i9",
    "/v1/trending?user_id={}",
]


@pytest.fixture
def everything(shop: Any, until: Any) -> Any:
    """Every kind of list holds the same items, some of which may not be shown."""
    items = [*LISTS, "gone", "milk", "never heard of"]
    now = now_ms() // 300_000 * 300
    for make in (similar_key, together_key):
        shop.put_redis(make(SHOP, VERSION, "i9"), stored(items))
    key = trending_key(SHOP, now)
    shop.execute(("ZADD", key, *(part for place, item in enumerate(items) for part in (100 - place, item))))
    until(lambda: shop.get("/v1/trending", n=3)["source"] == "trending", "the trending list")
    yield items
    shop.execute(("DEL", key))
    until(lambda: shop.get("/v1/trending", n=3)["source"] == "popular", "the trending list's end")


def test_whatever_somebody_did_no_list_shows_what_they_hold_or_what_is_sold_out(
    shop: Any, everything: list[str]
) -> None:
    draw, never = random.Random(6), {"gone", "never heard of"}
    for number in range(12):
        did = sorted(
            (now_ms() - days * DAY_MS - n, draw.choice(HELD_TYPES), draw.choice([*LISTS[:8], "milk"]))
            for n, days in enumerate(draw.choices([1, 29, 31], k=draw.randint(1, 12)))
        )
        shop.put_redis(user_key(SHOP, f"u.did{number}"), person(did, everything if number % 3 else None))
        cart: set[str] = set()
        for _, kind, item in did:
            (cart.add if kind == "add_to_cart" else cart.discard)(item)
        lately = now_ms() - 30 * DAY_MS
        bought = {item for at, kind, item in did if kind == "purchase" and at > lately and item != "milk"}
        for path in PATHS:
            answer = asked(shop, path.format(f"did{number}") + ("&n=50" if "?" in path else "?n=50"))
            assert answer["filters"] == ["stock", "purchases", "cart"], path
            assert not (bought | cart | never) & set(ids(answer)), path
            assert answer["items"], path
            wanted = [i for i in everything if i not in bought | cart | never]
            if path != PATHS[3]:  # what goes with a cart is up to what is in it
                assert set(wanted) - set(ids(answer)) <= {"i9"}, path  # and nothing else is held back


def test_lists_are_narrowed_by_category_price_and_exclusion_and_filled_from_the_rungs_below(shop: Any) -> None:
    shop.put_live("u.narrow", ["i1", "i2", "i3", "i4", "i5", "gone"])
    path = "/v1/users/narrow/recommendations"
    even = shop.get(path, category="EVEN", n=3)
    assert (even["source"], ids(even)) == ("live", ["i2", "i4", "i30"])
    assert ids(shop.get(path, min_price=2, max_price=4.5, n=9)) == ["i2", "i3", "i4"]
    assert ids(asked(shop, path + "?exclude=i1&exclude=i2&n=2")) == ["i3", "i4"]
    assert "gone" in ids(shop.get(path, in_stock=False))
    assert ids(shop.get("/v1/trending", category="DAIRY")) == ["milk"]


def test_what_is_bought_together_comes_from_baskets_else_from_the_model(shop: Any) -> None:
    shop.put_redis(together_key(SHOP, VERSION, "i12"), stored(["i14", "gone", "i13"]))
    shop.put_redis(similar_key(SHOP, VERSION, "i13"), stored(["i15"]))
    together, similar, nothing = (shop.get(f"/v1/items/i{n}/together", explain=True) for n in (12, 13, 39))
    assert (together["source"], ids(together)) == ("together", ["i14", "i13"])
    assert together["items"][0]["reason"] == "often bought together"
    assert (similar["source"], ids(similar)) == ("similar", ["i15"])
    assert (nothing["source"], ids(nothing)) == ("none", [])


def test_what_goes_with_a_cart_is_the_sum_of_what_goes_with_its_items(shop: Any) -> None:
    shop.put_redis(together_key(SHOP, VERSION, "i16"), stored(["i20", "i21", "i17"]))
    shop.put_redis(together_key(SHOP, VERSION, "i17"), stored(["i21", "i22"]))
    named = asked(shop, "/v1/cart/recommendations?item_id=i16&item_id=i17&explain=true")
    assert (named["source"], ids(named)) == ("cart", ["i21", "i20", "i22"])
    assert [because["item_id"] for because in named["items"][0]["because"]] == ["i17", "i16"]
    assert named["items"][1]["reason"] == "goes with Item 16"
    steps = (("add_to_cart", "i16"), ("add_to_cart", "i17"), ("remove_from_cart", "i17"))
    did = [(now_ms() - 9 + n, *step) for n, step in enumerate(steps)]
    shop.put_redis(user_key(SHOP, "u.carter"), person(did))
    own = shop.get("/v1/cart/recommendations", user_id="carter")
    assert (own["source"], ids(own)) == ("cart", ["i20", "i21", "i17"])
    assert shop.get("/v1/cart/recommendations")["source"] == "popular"


def test_the_shops_rules_hold_where_and_when_they_say_within_seconds(shop: Any, until: Any) -> None:
    objects, path = Objects.from_settings(shop.settings), "/v1/users/ruled/recommendations"
    shop.put_live("u.ruled", ["i1", "i3", "i5", "i2", "gone", "i4"])
    rules = [
        Pin(id="spring", items=["gone", "i8"], placements=["home"]),
        Hide(id="recall", items=["i3"]),
        Boost(id="push", items=["i4"], factor=100, placements=["home"]),
        PerCategory(id="mixed", most=2, placements=["home"]),
    ]
    tag = objects.replace(rules_path(SHOP), encode_rules(Rules(rules=rules)), objects.etag(rules_path(SHOP)))
    try:
        until(lambda: ids(shop.get(path)) == ["i1", "i5", "i2", "i4"], "the rules to be read")
        home = shop.get(path, placement="home", explain=True)
        assert ids(home) == ["i8", "i4", "i1", "i5"]
        assert home["items"][0]["reason"] == "chosen by the shop"
        assert "~home~" in home["request_id"]
    finally:
        objects.replace(rules_path(SHOP), encode_rules(Rules()), tag)
        until(lambda: "i3" in ids(shop.get(path)), "the rules to be gone")


def test_rules_are_replaced_only_as_they_were_read(shop: Any) -> None:
    objects, path = Objects.from_settings(shop.settings), rules_path("elsewhere")
    tag = objects.replace(path, b"one", None)
    assert objects.get_tagged(path) == (b"one", tag)
    newer = objects.replace(path, b"two", tag)
    for stale in (tag, None):
        with pytest.raises(ChangedMeanwhile, match="changed by somebody else"):
            objects.replace(path, b"three", stale)
    assert objects.get_tagged(path) == (b"two", newer)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("n=0", "n is '0'; expected a whole number from 1 to 200"),
        ("n=1e2", "whole number"),
        ("n=", "whole number"),
        ("explain=perhaps", "expected true or false"),
        ("placement=Home Page", "1 to 16 of a-z"),
        ("min_price=-1", "a number, 0 or more"),
        ("max_price=nan", "a number, 0 or more"),
        ("min_price=5&max_price=4", "at most max_price, which is 4"),
        ("category=%0a", "printable"),
        ("exclude=", "printable"),
        ("&".join(f"exclude={n}" for n in range(201)), "at most 200"),
        ("category=%ff", "cannot be read"),
        ("user_id=", "printable"),
    ],
)
def test_a_parameter_that_cannot_be_read_is_named_with_what_was_expected(shop: Any, query: str, says: str) -> None:
    for path in ("/v1/users/1/recommendations", "/v1/trending", "/v1/cart/recommendations"):
        answer = shop.http.get(f"{path}?{query}")
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["code"] == "bad_parameter" and says in answer.json()["error"]["message"]


def test_an_unknown_shop_and_item_are_told(shop: Any) -> None:
    for path, code in (("/v1/trending?shop=x", "unknown_shop"), ("/v1/items/none/together", "unknown_item")):
        answer = shop.http.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, code)


def test_the_reasons_of_a_list_for_nobody_name_only_what_it_is_made_of(shop: Any) -> None:
    shop.put_redis(similar_key(SHOP, VERSION, "i18"), stored(["i19"], reasons=[[Reason("i18", 1.0)]]))
    assert shop.get("/v1/items/i18/similar", explain=True)["items"][0]["reason"] == "goes with Item 18"
