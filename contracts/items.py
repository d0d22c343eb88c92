"""The catalogue item, and the catalogue file: gzipped JSON lines at ``shop=<id>/catalogue/items.jsonl.gz``."""

import gzip
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator
from sys import intern
from typing import NamedTuple

import msgspec

from contracts.errors import InvalidItem
from contracts.ids import is_id

__all__ = [
    "Item",
    "Places",
    "decode_catalogue",
    "decode_places",
    "encode_catalogue",
    "parse_item",
    "price_positions",
]


class Item(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What the shop says of a product.

    ``repeatable`` marks what is bought again as a matter of course (groceries): it stays on the shelf after a purchase.

    >>> parse_item(b'{"item_id":"A","title":"Oat milk","category":"DAIRY","price":1.99,"repeatable":true}').in_stock
    True
    """

    item_id: str
    title: str
    category: str = ""
    price: float | None = None
    in_stock: bool = True
    repeatable: bool = False
    image: str | None = None
    attributes: dict[str, str] = {}


_decode = msgspec.json.Decoder(Item).decode


def parse_item(line: bytes) -> Item:
    """Decode one line of the catalogue.

    Raises:
        InvalidItem: the line is not JSON, a field has the wrong type, or the id is malformed.
    """
    try:
        item = _decode(line)
    except msgspec.MsgspecError as exc:
        message = f"catalogue line {line[:80]!r} cannot be read: {exc}; expected one item object with item_id and title"
        raise InvalidItem(message) from exc
    if not is_id(item.item_id):
        message = f"item_id is {item.item_id[:40]!r}; expected 1 to 128 printable characters"
        raise InvalidItem(message)
    return item


def encode_catalogue(items: Iterable[Item]) -> bytes:
    """The gzipped file; the same items give the same bytes.

    >>> items = [Item(item_id="A", title="Oat milk")]
    >>> list(decode_catalogue(encode_catalogue(items)).values()) == items
    True
    """
    lines = b"".join(msgspec.json.encode(item) + b"\n" for item in items)
    return gzip.compress(lines, compresslevel=6, mtime=0)


def decode_catalogue(data: bytes) -> dict[str, Item]:
    """Items by id, in file order; a later line of the same id wins.

    Raises:
        InvalidItem: a line cannot be read.
    """
    return {item.item_id: item for item in map(parse_item, _lines(data))}


def _lines(data: bytes) -> Iterator[bytes]:
    if not data:
        message = "the catalogue file has 0 bytes; expected gzipped JSON lines, as encode_catalogue makes them"
        raise InvalidItem(message)
    return (line for line in gzip.decompress(data).split(b"\n") if line)


class Places(NamedTuple):
    """Item id → category (empty where it has none), and → price of those that have one."""

    categories: dict[str, str]
    prices: dict[str, float]


class _Place(msgspec.Struct):
    item_id: str
    category: str = ""
    price: float | None = None


_decode_place = msgspec.json.Decoder(_Place).decode


def decode_places(data: bytes) -> Places:
    """Of a catalogue file only where each item belongs: a fraction of the memory that its items take.

    >>> decode_places(encode_catalogue([Item(item_id="A", title="Oat milk", category="DAIRY", price=1.5)]))
    Places(categories={'A': 'DAIRY'}, prices={'A': 1.5})

    Raises:
        InvalidItem: a line cannot be read.
    """
    found = Places({}, {})
    for line in _lines(data):
        try:
            place = _decode_place(line)
        except msgspec.MsgspecError as exc:
            message = f"catalogue line {line[:80]!r} cannot be read: {exc}; expected one item object with item_id"
            raise InvalidItem(message) from exc
        found.categories[place.item_id] = intern(place.category)
        if place.price is not None:
            found.prices[place.item_id] = place.price
        else:
            found.prices.pop(place.item_id, None)
    return found


def price_positions(items: Collection[Item]) -> dict[str, float]:
    """Where each item's price stands in its category: the share of its priced items that are cheaper, ties half.

    Between 0 and 1; an item without a price or a category has no position.

    >>> goods = [Item(item_id=n, title=n, category="TEA", price=p) for n, p in zip("abcd", (1, 2, 2, 9))]
    >>> price_positions([*goods, Item(item_id="x", title="no price", category="TEA")])
    {'a': 0.125, 'b': 0.5, 'c': 0.5, 'd': 0.875}
    """
    priced = [(item.item_id, item.category, item.price) for item in items if item.category and item.price is not None]
    prices: dict[str, list[float]] = {}
    for _, category, price in priced:
        prices.setdefault(category, []).append(price)
    for values in prices.values():
        values.sort()
    return {
        item_id: (bisect_left(values := prices[category], price) + bisect_right(values, price)) / 2 / len(values)
        for item_id, category, price in priced
    }
