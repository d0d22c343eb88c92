"""What was chosen, in the words of the API: items with titles, prices and reasons. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, cast

from contracts.lists import Action, BasedOn, Reason
from serving.answers import BasedOnAnswer, Because, ItemAnswer, Shelf, ShelfItem
from serving.catalogue import Catalogue
from serving.choosing import Candidates, Chosen, Pick

__all__ = ["FILLED", "answer_based_on", "describe", "rows_of", "shelf_of", "sum_trend"]

BATCH: Final = "*"
"""The item id of a reason that stands for the list of the last training."""

FILLED: Final = 0.0
"""The score of an item that is there only to fill a short list."""

_STRENGTH: Final = {"view": 0, "click": 0, "add_to_cart": 1, "purchase": 2}
_DID: Final = {"view": "viewed", "click": "viewed", "add_to_cart": "put in the cart", "purchase": "bought"}
_OF_SOURCE: Final = {
    "live": "fits what you just did",
    "batch": "fits what you did before the last training",
    "trending": "wanted right now",
    "popular": "popular with all customers",
    "baked": "popular with all customers",
    "similar": "similar",
    "together": "often bought together",
    "cart": "goes with your cart",
    "new": "new in the shop",
}
PINNED: Final = "chosen by the shop"
NONE: Final = Candidates("none", None, (), ())


def shelf_of(user: str, known_as: str | None, chosen: Chosen, rows: list[ShelfItem], filters: list[str]) -> Shelf:
    """The answer; its facts are those of the best list that it shows something of."""
    first = chosen.first or NONE
    return Shelf(
        user=user,
        known_as=known_as,
        source=cast("Any", first.source),
        store=first.store,
        model_version=first.model_version or None,
        based_on=answer_based_on(first.based_on),
        written_at=first.written_at,
        filters=filters,
        items=rows,
    )


def rows_of(picks: Iterable[Pick], catalogue: Catalogue, actions: Sequence[Action] | None = None) -> list[ShelfItem]:
    """The items as they are shown; with ``actions``, the person's recent ones, each comes with its reasons."""
    did = None if actions is None else _strongest(actions)
    items = catalogue.items
    rows: list[ShelfItem] = []
    for item_id, origin, place in picks:
        item = items.get(item_id)
        score = round(origin.scores[place], 5) if origin is not None else FILLED
        row = (
            ShelfItem(item_id, item.title, item.category, item.price, score)
            if item is not None
            else ShelfItem(item_id, item_id, "", None, score)
        )
        if origin is not None and origin.source == "new":
            row.new = True
        if did is not None:
            _explain(row, origin, place, did, catalogue)
        rows.append(row)
    return rows


def _explain(
    row: ShelfItem, origin: Candidates | None, place: int, did: Mapping[str, str], catalogue: Catalogue
) -> None:
    if origin is None:
        row.reason, row.because = PINNED, []
        return
    row.because = [_because(term, did, catalogue) for term in (origin.reasons[place] if origin.reasons else ())]
    filler = origin.source == "trending" and row.score == FILLED
    row.reason = _sentence(row.because, "popular" if filler else origin.source)


def _because(term: Reason, did: Mapping[str, str], catalogue: Catalogue) -> Because:
    if term.item_id == BATCH:
        return Because(BATCH, term.weight)
    return Because(term.item_id, term.weight, catalogue.title(term.item_id), did.get(term.item_id))


def _sentence(because: Sequence[Because], source: str) -> str:
    """The strongest term that speaks for the item, in words."""
    top = max((b for b in because if b.weight > 0), key=lambda b: b.weight, default=None)
    if top is None:
        return _OF_SOURCE[source]
    if top.item_id == BATCH:
        return _OF_SOURCE["batch"]
    verb = _DID.get(top.event_type or "")
    return f"because you {verb} {top.title}" if verb else f"goes with {top.title}"


def _strongest(actions: Iterable[Action]) -> dict[str, str]:
    did: dict[str, str] = {}
    for action in actions:
        known = did.get(action.item_id)
        if known is None or _STRENGTH.get(action.event_type, -1) >= _STRENGTH.get(known, -1):
            did[action.item_id] = action.event_type
    return did


def answer_based_on(based_on: BasedOn | None) -> BasedOnAnswer | None:
    """The newest event of a list, as the API tells it."""
    return BasedOnAnswer(based_on.occurred_ms, based_on.event_id) if based_on else None


def describe(item_id: str, catalogue: Catalogue) -> ItemAnswer | None:
    """An item in full, or ``None`` where the catalogue does not know it."""
    item = catalogue.get(item_id)
    if item is None:
        return None
    return ItemAnswer(
        item.item_id,
        item.title,
        item.category,
        item.price,
        item.in_stock,
        item.repeatable,
        item.image,
        item.attributes,
    )


def sum_trend(buckets: Iterable[Iterable[tuple[str, float]]], keep: int) -> list[tuple[str, float]]:
    """The items of several buckets by their summed weight, best first; equal weights in the order of ids.

    >>> sum_trend([[("A", 1.0), ("B", 2.0)], [("A", 3.0), ("C", 2.0)]], keep=2)
    [('A', 4.0), ('B', 2.0)]
    """
    totals: dict[str, float] = {}
    for bucket in buckets:
        for item_id, weight in bucket:
            totals[item_id] = totals.get(item_id, 0.0) + weight
    return sorted(totals.items(), key=lambda pair: (-pair[1], pair[0]))[:keep]
