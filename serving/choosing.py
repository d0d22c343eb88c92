"""The one place that decides what is shown: every list of every rung and route goes through :func:`choose`.

Never shown are items that are out of stock or unknown to the catalogue, that the person bought within the configured
days and that are not ``repeatable``, that are in the person's cart, that the request excludes, and that the shop's
rules hide. Everything here is pure; what could not be known (no catalogue yet, a person whose value cannot be read) is
told by the answer's ``filters``.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Final, NamedTuple

from contracts.items import Item
from contracts.lists import BasedOn, Reason
from contracts.merchandise import NOTHING, Active, apply
from serving.answers import StoreName
from serving.catalogue import Catalogue
from serving.wish import Wish

__all__ = ["DAY_MS", "NOBODY", "Candidates", "Chosen", "Held", "Pick", "choose", "filters_of", "may_show", "never"]

DAY_MS: Final = 86_400_000


class Held(NamedTuple):
    """What a person holds: purchases (item id → newest time, epoch ms) and the item ids in the cart.

    ``known`` is false where it could not be read, so that it holds only what is remembered.
    """

    bought: Mapping[str, int]
    cart: Sequence[str] = ()
    known: bool = True


NOBODY: Final = Held({})
"""Of a list that is for nobody in particular."""


class Candidates(NamedTuple):
    """A ranked list to choose from, and where it comes from. ``items`` and ``scores`` run in parallel, best first."""

    source: str
    store: StoreName | None
    items: Sequence[str]
    scores: Sequence[float]
    reasons: Sequence[Sequence[Reason]] = ()
    model_version: str = ""
    based_on: BasedOn | None = None
    written_at: int | None = None


class Pick(NamedTuple):
    """One item to show: the list that it comes from and its place there, or no list for one that a rule pinned."""

    item_id: str
    origin: Candidates | None
    place: int


class Chosen(NamedTuple):
    """What is shown. ``first`` is the best list that any of it comes from."""

    picks: list[Pick]
    first: Candidates | None


def never(held: Held, wish: Wish, catalogue: Catalogue, now_ms: int, bought_days: int) -> set[str]:
    """The item ids that this person must not be shown.

    >>> shop = Catalogue({"M": Item(item_id="M", title="Milk", repeatable=True)}, loaded_at=0)
    >>> sorted(never(Held({"A": 0, "B": DAY_MS, "M": DAY_MS}, ["C"]), Wish(), shop, DAY_MS, 1))
    ['B', 'C']
    """
    found = set(wish.exclude)
    if wish.hide_bought:
        since_ms = now_ms - bought_days * DAY_MS
        items = catalogue.items
        for item_id, at in held.bought.items():
            if at > since_ms and not ((item := items.get(item_id)) and item.repeatable):
                found.add(item_id)
        found.update(held.cart)
    return found


def may_show(catalogue: Catalogue, hidden: set[str], wish: Wish) -> Callable[[str], bool]:
    """Whether an item may be shown. Before the catalogue is there nothing is held back for what it would say."""
    items, loaded, narrow, in_stock = catalogue.items, catalogue.loaded_at is not None, wish.narrow, wish.in_stock

    def may(item_id: str) -> bool:
        if item_id in hidden:
            return False
        item = items.get(item_id)
        if item is None:
            return not loaded and not narrow
        if in_stock and not item.in_stock:
            return False
        return not narrow or _fits(item, wish)

    return may


def _fits(item: Item, wish: Wish) -> bool:
    if wish.category and item.category != wish.category:
        return False
    if wish.min_price is None and wish.max_price is None:
        return True
    price = item.price
    if price is None:
        return False
    return (wish.min_price is None or price >= wish.min_price) and (wish.max_price is None or price <= wish.max_price)


def filters_of(held: Held, wish: Wish, catalogue: Catalogue) -> list[str]:
    """The promises that could be kept: ``stock``, ``purchases``, ``cart``."""
    found = ["stock"] if catalogue.loaded_at is not None and wish.in_stock else []
    return [*found, "purchases", "cart"] if held.known and wish.hide_bought else found


async def choose(
    rungs: AsyncIterator[Candidates], active: Active, wish: Wish, catalogue: Catalogue, may: Callable[[str], bool]
) -> Chosen:
    """At most ``wish.n`` items of the first list that has any.

    Where only some of the shop's items are wanted, the next lists make up the number.
    """
    if active is NOTHING or not active.changes:
        return await _first_that_has(rungs, wish, may)
    ids: list[str] = []
    origins: dict[str, tuple[Candidates, int]] = {}
    seen: list[Candidates] = []
    chosen: list[str] = []
    async for found in rungs:
        seen.append(found)
        for place, item_id in enumerate(found.items):
            if item_id not in origins:
                origins[item_id] = found, place
                ids.append(item_id)
        chosen = apply(active, ids, wish.n, catalogue.category, may)
        if len(chosen) >= wish.n if wish.narrow else any(item_id in origins for item_id in chosen):
            break
    if not seen:
        chosen = apply(active, ids, wish.n, catalogue.category, may)
    picks = [Pick(item_id, *origins.get(item_id, (None, 0))) for item_id in chosen]
    used = {id(pick.origin) for pick in picks}
    return Chosen(picks, next((found for found in seen if id(found) in used), None))


async def _first_that_has(rungs: AsyncIterator[Candidates], wish: Wish, may: Callable[[str], bool]) -> Chosen:
    """:func:`choose` where no rule changes a list, which is most of the time and has to be quick."""
    picks: list[Pick] = []
    taken: set[str] = set()
    n = wish.n
    take, pick = taken.add, picks.append
    async for found in rungs:
        for place, item_id in enumerate(found.items):
            if may(item_id) and item_id not in taken:
                take(item_id)
                pick(Pick(item_id, found, place))
                if len(picks) == n:
                    return Chosen(picks, picks[0].origin)
        if picks and not wish.narrow:
            break
    return Chosen(picks, picks[0].origin if picks else None)
