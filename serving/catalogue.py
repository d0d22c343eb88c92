"""The catalogue in memory: items by id, a simple search, categories. Pure; :mod:`serving.feed` keeps it fresh."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, chain, islice

from contracts.items import Item, price_positions

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

    def category(self, item_id: str) -> str:
        """The item's category; empty where it has none, or is not known."""
        item = self.items.get(item_id)
        return item.category if item else ""

    def showable(self, item_id: str) -> bool:
        """Whether the item may be offered: known and in stock; before the first load nothing is held back."""
        if self.loaded_at is None:
            return True
        item = self.items.get(item_id)
        return item is not None and item.in_stock

    @cached_property
    def price_positions(self) -> dict[str, float]:
        """Item id → where its price stands in its category, see :func:`contracts.items.price_positions`."""
        return price_positions(self.items.values())

    @cached_property
    def categories(self) -> list[tuple[str, int]]:
        """(category, items in stock), the largest first."""
        counts = Counter(item.category for item in self.items.values() if item.in_stock and item.category)
        return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))

    @cached_property
    def _ids_of(self) -> dict[str, list[str]]:
        ids: dict[str, list[str]] = {}
        for item in self.items.values():
            ids.setdefault(item.category, []).append(item.item_id)
        return ids

    @cached_property
    def _text(self) -> tuple[str, list[str], list[int]]:
        """One line an item, all lines in one string: a single ``find`` passes over thousands of items at once."""
        ids = list(self.items)
        lines = [_line(item) for item in self.items.values()]
        return "".join(lines), ids, list(accumulate(map(len, lines), initial=0))

    def search(
        self, query: str = "", category: str = "", *, first: Iterable[str] = (), offset: int = 0, limit: int = 24
    ) -> list[Item]:
        """Items that hold every word of ``query`` in title, category or id; the ids of ``first`` come first."""
        words = sorted(query.casefold().split(), key=len, reverse=True)
        return list(islice(self._matches(words, category, first), offset, offset + limit))

    def _matches(self, words: list[str], category: str, first: Iterable[str]) -> Iterator[Item]:
        ahead = [i for i in dict.fromkeys(first) if i in self.items]
        if words:
            named = (i for i in ahead if all(word in _line(self.items[i]) for word in words))
            ids: Iterable[str] = chain(named, self._holding(words))
        else:
            ids = chain(ahead, self._ids_of.get(category, ()) if category else self.items)
        seen: set[str] = set()
        for item_id in ids:
            if item_id not in seen and (not category or self.items[item_id].category == category):
                seen.add(item_id)
                yield self.items[item_id]

    def _holding(self, words: list[str]) -> Iterator[str]:
        """The ids whose line holds all ``words``, found by the first and checked for the others."""
        text, ids, starts = self._text
        at = text.find(words[0])
        while at >= 0:
            row = bisect_right(starts, at) - 1
            begin, end = starts[row], starts[row + 1]
            if all(text.find(word, begin, end) >= 0 for word in words[1:]):
                yield ids[row]
            at = text.find(words[0], end)


def _line(item: Item) -> str:
    return f"{item.title} {item.category} {item.item_id}\n".casefold()


EMPTY = Catalogue()
