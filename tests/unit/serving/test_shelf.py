"""The shelf's promises, without any store."""

import random

import pytest

from contracts.items import Item
from contracts.lists import Action, BasedOn, RecommendationList, UserValue
from serving.catalogue import EMPTY, Catalogue
from serving.profile import profile
from serving.shelf import build_shelf


def catalogue(draw: random.Random) -> Catalogue:
    items = (
        Item(item_id=str(i), title=f"T{i}", in_stock=draw.random() < 0.7, repeatable=draw.random() < 0.3)
        for i in range(60)
    )
    return Catalogue({item.item_id: item for item in items}, loaded_at=0)


def ranking(items: list[str]) -> RecommendationList:
    return RecommendationList(
        source="live", model_version="v", based_on=BasedOn(9, "e"), written_at=1, items=items, scores=[1.0] * len(items)
    )


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_list_nothing_unshowable_is_shown_and_the_order_is_kept(seed: int) -> None:
    draw = random.Random(seed)
    shop = catalogue(draw)
    items = draw.sample([str(i) for i in range(80)], 50)  # a fifth of them the catalogue does not know
    kinds = ("view", "add_to_cart", "purchase")
    actions = [Action(i, f"e{i}", draw.choice(kinds), draw.choice(items)) for i in range(30)]
    bought = {a.item_id for a in actions if a.event_type == "purchase"}
    value = UserValue(rev="0" * 16, actions=actions)
    shelf = build_shelf("u", None, ranking(items), value, shop, n=20, explain=True)
    may = [i for i in items if (it := shop.get(i)) and it.in_stock and (i not in bought or it.repeatable)]
    assert [row.item_id for row in shelf.items] == may[:20]
    assert all(row.reason for row in shelf.items)


def test_the_purchase_filter_is_only_claimed_where_it_could_be_applied() -> None:
    known = build_shelf("u", None, ranking(["1"]), None, EMPTY, n=1)
    blind = build_shelf("u", None, ranking(["1"]), None, EMPTY, n=1, actions_known=False)
    off = build_shelf("u", None, ranking(["1"]), None, EMPTY, n=1, hide_bought=False)
    assert (known.filters, blind.filters, off.filters) == (["stock", "purchases"], ["stock"], ["stock"])


def test_before_the_catalogue_is_loaded_a_shelf_is_still_served() -> None:
    shelf = build_shelf("u", None, ranking(["1", "2"]), None, EMPTY, n=2)
    assert [(row.item_id, row.title, row.price) for row in shelf.items] == [("1", "1", None), ("2", "2", None)]


def test_a_profile_sums_the_unexpired_buckets_and_shows_actions_newest_first() -> None:
    hour_ms = 3_600_000
    buckets = {"0": [1.0, 0.0, 0.0, 0.0], "7200": [2.0, 1.0, 1.0, 9.5]}
    actions = [Action(1, "a", "view", "1"), Action(2, "b", "purchase", "2")]
    value = UserValue(rev="0" * 16, actions=actions, buckets=buckets)
    answer = profile("u", None, value, EMPTY, now_ms=2 * hour_ms)
    assert answer.features["1h"] == {"views": 2.0, "carts": 1.0, "purchases": 1.0, "spend": 9.5, "cart_removals": 0.0}
    assert answer.features["24h"]["views"] == 3.0
    assert [a.event_id for a in answer.actions] == ["b", "a"]
