"""What a person has bought and what is in the cart, as two bounded unions that no order and no repetition changes.

    bought: item → time of the newest purchase                          the newest MOST_BOUGHT items
    cart:   item → the newest of add_to_cart and remove_from_cart       the newest MOST_CART items
    in the cart = items whose newest mark is an add, after their newest purchase

Marks are ordered by (occurred_at, event_id); where a purchase and an add carry the same millisecond the purchase came
last. Unlike features, these count late events too: what somebody owns does not go out of date.

Trap: a full ``bought`` has forgotten what was bought before its oldest entry, so marks from before it count no more.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

__all__ = ["HELD_TYPES", "MOST_BOUGHT", "MOST_CART", "CartMark", "in_cart", "merge_bought", "merge_cart"]

MOST_BOUGHT: Final = 200
MOST_CART: Final = 100
HELD_TYPES: Final = ("add_to_cart", "remove_from_cart", "purchase")
"""The event types that say what somebody holds."""


class CartMark(msgspec.Struct, frozen=True, array_like=True, order=True):
    """The newest that is known of an item and the cart: ``inside`` after an add, not after a removal."""

    occurred_ms: int
    event_id: str
    item_id: str
    inside: bool


def merge_bought(known: Mapping[str, int], news: Mapping[str, int], oldest_ms: int) -> dict[str, int]:
    """The newest :data:`MOST_BOUGHT` purchases of both that happened after ``oldest_ms``, oldest first.

    >>> merge_bought({"A": 5, "B": 6}, {"A": 9, "C": 1}, oldest_ms=2)
    {'B': 6, 'A': 9}
    """
    merged = dict(known)
    for item_id, at in news.items():
        if at > merged.get(item_id, -1):
            merged[item_id] = at
    newest = sorted((at, item_id) for item_id, at in merged.items() if at > oldest_ms)[-MOST_BOUGHT:]
    return {item_id: at for at, item_id in newest}


def merge_cart(known: Iterable[CartMark], news: Iterable[CartMark], oldest_ms: int) -> list[CartMark]:
    """The newest mark of each item of both, the newest :data:`MOST_CART` after ``oldest_ms``, oldest first.

    >>> add, gone = CartMark(3, "a", "A", True), CartMark(5, "b", "A", False)
    >>> merge_cart([gone], [add], oldest_ms=0) == merge_cart([add], [gone, gone], oldest_ms=0) == [gone]
    True
    """
    merged: dict[str, CartMark] = {}
    for mark in (*known, *news):
        other = merged.get(mark.item_id)
        if other is None or mark > other:
            merged[mark.item_id] = mark
    return sorted(mark for mark in merged.values() if mark.occurred_ms > oldest_ms)[-MOST_CART:]


def in_cart(bought: Mapping[str, int], cart: Iterable[CartMark]) -> list[str]:
    """The item ids in the cart, in the order in which they were put there.

    >>> marks = [CartMark(1, "a", "A", True), CartMark(2, "b", "B", True), CartMark(3, "c", "C", False)]
    >>> in_cart({"A": 1, "B": 1}, marks)
    ['B']
    """
    floor = min(bought.values()) if len(bought) >= MOST_BOUGHT else -1
    return [mark.item_id for mark in cart if mark.inside and mark.occurred_ms > bought.get(mark.item_id, floor)]
