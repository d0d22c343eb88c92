"""What may not be shown is not shown, whatever people did, whatever list, rules and wish: without any store."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from contracts.held import HELD_TYPES, CartMark, merge_bought, merge_cart
from contracts.items import Item
from contracts.lists import Action, BasedOn, RecommendationList, UserValue, encode_value
from contracts.merchandise import NOTHING, activate
from contracts.rules import Boost, BoughtWithin, Bury, Cap, Hide, PerCategory, Pin, Rules
from serving.catalogue import EMPTY, Catalogue
from serving.choosing import DAY_MS, NOBODY, Candidates, Chosen, Held, choose, filters_of, may_show, never
from serving.ladder import listed
from serving.person import Person, Stored
from serving.profile import profile
from serving.shelf import rows_of, shelf_of
from serving.wish import Wish

NOW_MS = 100 * DAY_MS
ITEMS = [f"{category}{n}" for category in ("tea", "cup", "cake", "-") for n in range(6)]
UNKNOWN = ["gone1", "gone2"]


def category(item_id: str) -> str:
    return "" if item_id[0] == "-" else item_id[:-1]


def item_of(name: str, good: "Good") -> Item:
    return Item(
        item_id=name,
        title=name,
        category=category(name),
        price=float(good.price),
        in_stock=good.stock,
        repeatable=good.again,
    )


def ranking(items: Sequence[str], source: Any = "live") -> RecommendationList:
    return RecommendationList(
        source=source,
        model_version="v",
        based_on=BasedOn(9, "e"),
        written_at=1,
        items=list(items),
        scores=[1.0] * len(items),
    )


async def rungs(*lists: RecommendationList) -> AsyncIterator[Candidates]:
    for found in lists:
        yield listed(found, "redis")


class Good(NamedTuple):
    stock: bool
    again: bool
    price: int


class Did(NamedTuple):
    hours_ago: int
    event_id: str
    kind: str
    item: str


KINDS = [*HELD_TYPES, "view"]
GOODS = st.lists(st.integers(0, 39), min_size=len(ITEMS), max_size=len(ITEMS)).map(
    lambda cells: {item: Good(c % 4 > 0, c // 4 % 3 == 0, c % 10) for item, c in zip(ITEMS, cells, strict=True)}
)


def did_of(code: int, number: int) -> Did:
    rest, kind = divmod(code, len(KINDS))
    hours_ago, item = divmod(rest, len(ITEMS))
    return Did(hours_ago, f"e{code * 7919 % 101}-{number}", KINDS[kind], ITEMS[item])


DID = st.lists(st.integers(0, 60 * 24 * len(KINDS) * len(ITEMS) - 1), max_size=25).map(
    lambda codes: [did_of(code, number) for number, code in enumerate(codes)]
)
NAMES = st.lists(st.sampled_from(ITEMS), max_size=3, unique=True)
IDS = st.uuids().map(str)
RULES = st.lists(
    st.one_of(
        st.builds(Pin, id=IDS, items=st.lists(st.sampled_from([*ITEMS, *UNKNOWN]), min_size=1, max_size=3)),
        st.builds(Boost, id=IDS, items=NAMES, categories=st.just(["tea"]), factor=st.floats(1.5, 9)),
        st.builds(Bury, id=IDS, items=NAMES),
        st.builds(Hide, id=IDS, items=NAMES),
        st.builds(Cap, id=IDS, categories=st.just(["cup"]), most=st.integers(0, 2)),
        st.builds(PerCategory, id=IDS, most=st.integers(1, 3)),
        st.builds(BoughtWithin, id=IDS, days=st.integers(0, 50)),
    ),
    max_size=4,
).map(lambda rules: Rules(rules=rules))
LISTS = st.lists(st.lists(st.sampled_from([*ITEMS, *UNKNOWN]), max_size=12, unique=True), min_size=1, max_size=3)
WISHES = st.builds(
    Wish,
    n=st.integers(1, 15),
    explain=st.booleans(),
    hide_bought=st.just(True),
    in_stock=st.just(True),
    placement=st.just("home"),
    category=st.sampled_from(["", "", "tea", "cake"]),
    exclude=st.sets(st.sampled_from(ITEMS), max_size=2).map(frozenset),
    min_price=st.sampled_from([None, 2.0]),
    max_price=st.sampled_from([None, 7.0]),
)


def person_who(did: Sequence[Did]) -> Person:
    """A person as the stream leaves them, known partly under the name of a visitor they were."""
    parts = []
    for visitor in (False, True):
        own = sorted(each for at, each in enumerate(did) if (at % 3 == 0) == visitor)
        bought: dict[str, int] = {}
        for each in own:
            if each.kind == "purchase":
                bought[each.item] = max(at_ms(each), bought.get(each.item, 0))
        marks = [
            CartMark(at_ms(d), d.event_id, d.item, d.kind == "add_to_cart") for d in own if d.kind in HELD_TYPES[:2]
        ]
        actions = sorted(Action(at_ms(d), *d[1:]) for d in own if d.kind != "remove_from_cart")
        value = UserValue(
            rev="0" * 16,
            actions=actions[-4:],
            bought=merge_bought({}, bought, 0),
            cart=merge_cart([], marks, 0),
            aliases={} if visitor else {"1": 1},
        )
        parts.append(Stored(encode_value(value)))
    return Person("u.1", None, (), parts[0], parts[1:])


def at_ms(did: Did) -> int:
    return NOW_MS - did.hours_ago * 3_600_000


def in_the_cart(did: Sequence[Did]) -> set[str]:
    """The plain model: one after the other."""
    cart: set[str] = set()
    for each in sorted(did, key=lambda each: (-each.hours_ago, each.kind == "purchase", each.event_id)):
        if each.kind == "add_to_cart":
            cart.add(each.item)
        elif each.kind in HELD_TYPES:
            cart.discard(each.item)
    return cart


@given(GOODS, DID, LISTS, RULES, WISHES)
def test_whatever_people_did_nothing_is_shown_that_must_not_be(
    goods: dict[str, Good], did: list[Did], lists: list[list[str]], rules: Rules, wish: Wish
) -> None:
    shop = Catalogue({name: item_of(name, good) for name, good in goods.items()}, loaded_at=0)
    person, active = person_who(did), activate(rules, "home", NOW_MS)
    days = 30 if active.bought_days is None else active.bought_days
    may = may_show(shop, never(person.held, wish, shop, NOW_MS, days), wish)
    chosen = asyncio.run(choose(rungs(*map(ranking, lists)), active, wish, shop, may))
    shelf = shelf_of("u", None, chosen, rows_of(chosen.picks, shop, person.actions if wish.explain else None), [])
    shown = [row.item_id for row in shelf.items]
    cart = in_the_cart(did)
    for item in shown:
        good = goods[item]  # KeyError: an item that the catalogue does not know
        assert good.stock and item not in cart and item not in wish.exclude
        assert good.again or not any(d.kind == "purchase" and d.item == item and d.hours_ago / 24 < days for d in did)
        assert not wish.category or category(item) == wish.category
        assert (wish.min_price or 0) <= good.price <= (wish.max_price or 99)
        assert not any(isinstance(rule, Hide) and item in rule.items for rule in rules.rules)
    counts = Counter(map(category, shown))
    for rule in rules.rules:
        assert not isinstance(rule, PerCategory) or all(n <= rule.most for name, n in counts.items() if name)
        assert not isinstance(rule, Cap) or counts["cup"] <= rule.most
    assert len(shown) == len(set(shown)) <= wish.n
    assert not wish.explain or all(row.reason for row in shelf.items)


@given(GOODS, LISTS)
def test_without_wishes_and_rules_the_order_of_the_first_list_with_anything_is_kept(
    goods: dict[str, Good], lists: list[list[str]]
) -> None:
    shop = Catalogue({name: item_of(name, good) for name, good in goods.items()}, loaded_at=0)
    chosen = asyncio.run(choose(rungs(*map(ranking, lists)), NOTHING, Wish(n=5), shop, may_show(shop, set(), Wish())))
    kept = [[item for item in items if item in goods and goods[item].stock] for items in lists]
    assert [pick.item_id for pick in chosen.picks] == next((items for items in kept if items), [])[:5]


def shown(held: Held, **wishes: bool) -> Chosen:
    wish = Wish(n=2, **wishes)
    may = may_show(EMPTY, never(held, wish, EMPTY, NOW_MS, 30), wish)
    return asyncio.run(choose(rungs(ranking(["1", "2", "3"])), NOTHING, wish, EMPTY, may))


def test_only_promises_that_could_be_kept_are_claimed() -> None:
    loaded, blind = Catalogue(loaded_at=0), Held({}, known=False)
    claims = [
        filters_of(NOBODY, Wish(), loaded),
        filters_of(blind, Wish(), loaded),
        filters_of(NOBODY, Wish(hide_bought=False), loaded),
        filters_of(NOBODY, Wish(in_stock=False), EMPTY),
    ]
    assert claims == [["stock", "purchases", "cart"], ["stock"], ["stock"], ["purchases", "cart"]]


def test_before_the_catalogue_is_loaded_a_shelf_is_still_served() -> None:
    rows = rows_of(shown(NOBODY).picks, EMPTY)
    assert [(row.item_id, row.title, row.price) for row in rows] == [("1", "1", None), ("2", "2", None)]


def test_purchases_and_cart_are_shown_only_where_that_is_asked_for_to_measure() -> None:
    held = Held({"1": NOW_MS}, ["2"])
    assert [pick.item_id for pick in shown(held).picks] == ["3"]
    assert [pick.item_id for pick in shown(held, hide_bought=False).picks] == ["1", "2"]


def test_a_narrow_wish_is_made_up_from_the_lists_below_and_says_where_it_begins() -> None:
    goods = {name: Item(item_id=name, title=name, category=category(name)) for name in ITEMS}
    wish, shop = Wish(n=3, category="tea"), Catalogue(goods, loaded_at=0)
    lists = (ranking(["cup1", "tea1"]), ranking(["cake1"], "batch"), ranking(["tea1", "tea2", "tea3"], "popular"))
    chosen = asyncio.run(choose(rungs(*lists), NOTHING, wish, shop, may_show(shop, set(), wish)))
    assert [(pick.item_id, pick.origin and pick.origin.source) for pick in chosen.picks] == [
        ("tea1", "live"),
        ("tea2", "popular"),
        ("tea3", "popular"),
    ]
    assert chosen.first and chosen.first.source == "live"


def test_a_profile_sums_the_unexpired_buckets_and_shows_actions_newest_first() -> None:
    hour_ms = 3_600_000
    buckets = {"0": [1.0, 0.0, 0.0, 0.0], "7200": [2.0, 1.0, 1.0, 9.5]}
    actions = [Action(1, "a", "view", "1"), Action(2, "b", "purchase", "2")]
    value = UserValue(rev="0" * 16, actions=actions, buckets=buckets)
    answer = profile("u", None, value, EMPTY, now_ms=2 * hour_ms)
    assert answer.features["1h"] == {"views": 2.0, "carts": 1.0, "purchases": 1.0, "spend": 9.5, "cart_removals": 0.0}
    assert answer.features["24h"]["views"] == 3.0
    assert [a.event_id for a in answer.actions] == ["b", "a"]
