"""The catalogue in memory: items by id, a simple search, categories. Pure; :mod:`serving.feed` keeps it fresh."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice

from contracts.items import Item

__all__ = ["EMPTY", "Catalogue"]


@dataclass(frozen=True)
class Catalogue:
    """The items of one shop. ``loaded_at`` is epoch ms, ``None`` before the first load.

    >>> shop = Catalogue({"A": Item(item_id="A", title="Oat milk", category="DAIRY"),
    ...                   "B": Item(item_id="B", title="Milk", category="DAIRY", in_stock=False)}, loaded_at=0)
    >>> [item.item_id for item in shop.search("MILK")], shop.showable("B"), shop.title("C")
    (['A', 'B'], False, 'C')
    """

    items: Mapping[str, Item] = field(default_factory=dict)
    loaded_at: int | None = None

    def get(self, item_id: str) -> Item | None:
        """The item, or ``None``."""
        return self.items.get(item_id)

    def title(self, item_id: str) -> str:
        """The item's title; its id where the catalogue does not know it."""
        item = self.items.get(item_id)
        return item.title if item else item_id

    def showable(self, item_id: str) -> bool:
        """Whether the item may be offered: known and in stock; before the first load nothing is held back."""
        if self.loaded_at is None:
            return True
        item = self.items.get(item_id)
        return item is not None and item.in_stock

    @cached_property
    def categories(self) -> list[tuple[str, int]]:
        """(category, items in stock), the largest first."""
        counts = Counter(item.category for item in self.items.values() if item.in_stock and item.category)
        return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))

    @cached_property
    def _texts(self) -> dict[str, str]:
        return {i: f"{item.title} {item.category} {item.item_id}".casefold() for i, item in self.items.items()}

    def search(
        self, query: str = "", category: str = "", *, first: Iterable[str] = (), offset: int = 0, limit: int = 24
    ) -> list[Item]:
        """Items that hold every word of ``query`` in title, category or id; the ids of ``first`` come first."""
        return list(islice(self._matches(query.casefold().split(), category, first), offset, offset + limit))

    def _matches(self, words: list[str], category: str, first: Iterable[str]) -> Iterator[Item]:
        ahead = dict.fromkeys(i for i in first if i in self.items)
        texts = self._texts if words else {}
        for rest, ids in ((False, ahead), (True, self.items)):
            for item_id in ids:
                item = self.items[item_id]
                if (
                    not (rest and item_id in ahead)
                    and (not category or item.category == category)
                    and all(word in texts[item_id] for word in words)
                ):
                    yield item


EMPTY = Catalogue()
