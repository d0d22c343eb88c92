"""What goes with a cart: the lists of its items, added up. Pure."""

from collections.abc import Mapping
from typing import Final

from contracts.lists import Reason, RecommendationList

__all__ = ["MOST_LOOKED_AT", "with_cart"]

MOST_LOOKED_AT: Final = 10
"""How many items of a cart are looked at, the newest: as many lists are read."""

_REASONS: Final = 3


def with_cart(lists: Mapping[str, RecommendationList]) -> RecommendationList | None:
    """The items of all lists by the sum of their shares, each a list's score over its largest; ``None`` of no list.

    The reasons of an item are those of the cart that bring it, with their part of the sum. What is in the cart itself
    is left to the filters.

    >>> def made(items):
    ...     scores = [1.0 / (1 + n) for n in range(len(items))]
    ...     return RecommendationList(source="batch", model_version="v", based_on=None, written_at=1, items=items,
    ...                               scores=scores)
    >>> found = with_cart({"tea": made(["cup", "pot"]), "milk": made(["bread", "pot"])})
    >>> found.items, found.reasons[1]
    (['bread', 'cup', 'pot'], [Reason(item_id='tea', weight=1.0)])
    """
    shares: dict[str, dict[str, float]] = {}
    for source, found in lists.items():
        top = max(found.scores, default=0.0)
        if top <= 0:
            continue
        for item_id, score in zip(found.items, found.scores, strict=True):
            if score > 0:
                shares.setdefault(item_id, {})[source] = score / top
    if not shares:
        return None
    sums = {item_id: sum(own.values()) for item_id, own in shares.items()}
    order = sorted(sums, key=lambda item_id: (-sums[item_id], item_id))
    newest = max(lists.values(), key=lambda found: found.written_at)
    return RecommendationList(
        source="batch",
        model_version=newest.model_version,
        based_on=None,
        written_at=newest.written_at,
        items=order,
        scores=[round(sums[item_id], 5) for item_id in order],
        reasons=[_strongest(shares[item_id], sums[item_id]) for item_id in order],
    )


def _strongest(own: Mapping[str, float], total: float) -> list[Reason]:
    best = sorted(own.items(), key=lambda pair: (-pair[1], pair[0]))[:_REASONS]
    return [Reason(item_id, round(share / total, 3)) for item_id, share in best]
