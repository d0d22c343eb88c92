"""The catalogue's search against the plain rule it stands for."""

import random

import pytest

from contracts.items import Item
from serving.catalogue import Catalogue

WORDS = ["oat", "milk", "tea", "black", "green", "xl", "Äpfel", "MILKSHAKE"]


@pytest.mark.parametrize("seed", range(10))
def test_a_search_finds_every_item_that_holds_all_words_and_no_other(seed: int) -> None:
    draw = random.Random(seed)
    items = [
        Item(item_id=f"id{n}", title=" ".join(draw.choices(WORDS, k=3)), category=draw.choice(["A", "B", ""]))
        for n in range(200)
    ]
    shop = Catalogue({item.item_id: item for item in items}, loaded_at=0)
    first = [f"id{n}" for n in draw.sample(range(250), 20)]
    for query in ("", "milk", "MILK tea", "äpfel", "id1", "nothing", "k t", "oat oat"):
        for category in ("", "A", "C"):
            found = [item.item_id for item in shop.search(query, category, first=first, limit=500)]
            expected = {
                item.item_id
                for item in items
                if (not category or item.category == category)
                and all(
                    w in f"{item.title} {item.category} {item.item_id}".casefold() for w in query.casefold().split()
                )
            }
            assert len(found) == len(set(found)) and set(found) == expected
            ahead = [i for i in first if i in expected]
            assert found[: len(ahead)] == ahead
            pages = [
                i.item_id for at in (0, 7, 14) for i in shop.search(query, category, first=first, offset=at, limit=7)
            ]
            assert pages == found[:21]


def test_categories_count_what_is_in_stock() -> None:
    items = [Item(item_id=str(n), title="T", category="AB"[n % 2], in_stock=n < 4) for n in range(6)]
    assert Catalogue({i.item_id: i for i in items}, loaded_at=0).categories == [("A", 2), ("B", 2)]
