"""What a visitor is shown, as a pure function of their live value, a ranked list and the catalogue."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from contracts.lists import Action, BasedOn, Reason, RecommendationList, UserValue
from serving.answers import (
    BasedOnAnswer,
    Because,
    ItemAnswer,
    Shelf,
    ShelfItem,
    StoreName,
)
from serving.catalogue import Catalogue

__all__ = [
    "answer_based_on",
    "bought",
    "build_shelf",
    "describe",
    "empty_shelf",
    "filled",
    "ranked",
    "sum_trend",
    "within",
]

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
}


def bought(actions: Iterable[Action], catalogue: Catalogue) -> set[str]:
    """The recently bought items that are not bought again as a matter of course."""
    ids = {action.item_id for action in actions if action.event_type == "purchase"}
    return {i for i in ids if not ((item := catalogue.get(i)) and item.repeatable)}


def build_shelf(
    user: str,
    known_as: str | None,
    ranking: RecommendationList,
    value: UserValue | None,
    catalogue: Catalogue,
    *,
    n: int,
    store: StoreName | None = None,
    explain: bool = False,
    hide_bought: bool = True,
    actions_known: bool = True,
) -> Shelf:
    """The best ``n`` items of ``ranking`` that may be shown to this visitor.

    Never shown: what is not in stock; with ``hide_bought``, what the visitor's recent actions hold as bought and is
    not ``repeatable``. ``actions_known`` says whether those actions could be read at all.
    """
    actions = value.actions if value else []
    filters = ["stock"]
    hidden: set[str] = set()
    if hide_bought and actions_known:
        filters.append("purchases")
        hidden = bought(actions, catalogue)
    did = _strongest(actions) if explain else None
    return Shelf(
        user=user,
        known_as=known_as,
        source=ranking.source,
        store=store,
        model_version=ranking.model_version or None,
        based_on=answer_based_on(ranking.based_on),
        written_at=ranking.written_at,
        filters=filters,
        items=ranked(ranking, catalogue, n=n, hidden=hidden, did=did),
    )


def empty_shelf(user: str, known_as: str | None) -> Shelf:
    """The answer where no rung of the ladder holds anything."""
    return Shelf(user, known_as, "none", None, None, None, None, ["stock"], [])


def ranked(
    ranking: RecommendationList,
    catalogue: Catalogue,
    *,
    n: int,
    hidden: Iterable[str] = (),
    did: Mapping[str, str] | None = None,
) -> list[ShelfItem]:
    """The best ``n`` showable items; with ``did`` (item id → strongest event type) each comes with its reasons."""
    hidden = set(hidden)
    rows: list[ShelfItem] = []
    for place, item_id in enumerate(ranking.items):
        if len(rows) == n:
            break
        if item_id in hidden or not catalogue.showable(item_id):
            continue
        item = catalogue.get(item_id)
        row = ShelfItem(
            item_id=item_id,
            title=item.title if item else item_id,
            category=item.category if item else "",
            price=item.price if item else None,
            score=ranking.scores[place],
        )
        if did is not None:
            terms = ranking.reasons[place] if ranking.reasons else []
            row.because = [_because(term, did, catalogue) for term in terms]
            filler = ranking.source == "trending" and row.score == FILLED
            row.reason = _sentence(row.because, "popular" if filler else ranking.source)
        rows.append(row)
    return rows


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


def filled(ranking: RecommendationList, rest: RecommendationList) -> RecommendationList:
    """``ranking`` with the items of ``rest`` behind it, scored 0: one click of one visitor makes no shelf."""
    known = set(ranking.items)
    more = [item_id for item_id in rest.items if item_id not in known]
    return msgspec.structs.replace(
        ranking, items=ranking.items + more, scores=ranking.scores + [FILLED] * len(more), reasons=[]
    )


def within(ranking: RecommendationList, category: str, catalogue: Catalogue) -> RecommendationList:
    """The items of one category, in the same order."""
    kept = [at for at, item_id in enumerate(ranking.items) if (i := catalogue.get(item_id)) and i.category == category]
    return msgspec.structs.replace(
        ranking, items=[ranking.items[at] for at in kept], scores=[ranking.scores[at] for at in kept], reasons=[]
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
