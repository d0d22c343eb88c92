"""A live list by a model version that the stream does not run: of the similar items of what a visitor just did."""

import math
from collections.abc import Mapping, Sequence

from contracts.lists import Action, BasedOn, Reason, RecommendationList

__all__ = ["EVENT_WEIGHTS", "HISTORY", "composed", "newest_items"]

HISTORY = 10
"""How many of the newest actions are looked at: as many lists are read."""

EVENT_WEIGHTS: Mapping[str, float] = {"view": 1.0, "click": 1.0, "add_to_cart": 2.0, "purchase": 3.0}
_DECAY = 8.0
_REASONS = 3


def newest_items(actions: Sequence[Action]) -> list[str]:
    """The distinct items of the newest :data:`HISTORY` actions (``actions`` oldest first), newest first."""
    return list(dict.fromkeys(action.item_id for action in reversed(actions[-HISTORY:])))


def composed(
    actions: Sequence[Action],
    similar: Mapping[str, RecommendationList],
    batch: RecommendationList | None,
    version: str,
    blend: float = 0.5,
) -> RecommendationList | None:
    """The live score of the stream, made of what is published of a version; ``None`` where nothing is known.

        taste(j) = Σ over the newest actions (d = 0, 1, …) of  exp(−d/8) · weight[type] · similar(item)[j]
        score(j) = taste(j) / max taste + blend · batch(j) / max batch

    An approximation: the published similar items are the strongest of a row of B, scaled by their maximum, without the
    negative entries, and the ranker is left out. So two versions are compared fairly only if *both* arms name theirs.

    >>> a = RecommendationList(source="batch", model_version="v", based_on=None, written_at=0,
    ...                        items=["X"], scores=[1.0])
    >>> composed([Action(5, "e", "view", "A")], {"A": a}, None, "v").items
    ['X']
    """
    terms: dict[str, dict[str, float]] = {}
    for distance, action in enumerate(reversed(actions[-HISTORY:])):
        strength = math.exp(-distance / _DECAY) * EVENT_WEIGHTS.get(action.event_type, 0.0)
        if strength and (found := similar.get(action.item_id)):
            for item, score in zip(found.items, found.scores, strict=True):
                own = terms.setdefault(item, {})
                own[action.item_id] = own.get(action.item_id, 0.0) + strength * score
    if not terms:
        return None
    top = max(sum(own.values()) for own in terms.values())
    shares = {item: {source: value / top for source, value in own.items()} for item, own in terms.items()}
    if batch and batch.scores:
        most = max(*batch.scores, 1e-12)
        for item, score in zip(batch.items, batch.scores, strict=True):
            shares.setdefault(item, {})["*"] = blend * score / most
    order = sorted(((sum(own.values()), item) for item, own in shares.items()), key=lambda pair: (-pair[0], pair[1]))
    newest = actions[-1]
    return RecommendationList(
        source="live",
        model_version=version,
        based_on=BasedOn(newest.occurred_ms, newest.event_id),
        written_at=newest.occurred_ms,
        items=[item for _, item in order],
        scores=[round(score, 5) for score, _ in order],
        reasons=[_strongest(shares[item]) for _, item in order],
    )


def _strongest(own: Mapping[str, float]) -> list[Reason]:
    total = sum(own.values()) or 1.0
    ordered = sorted(own.items(), key=lambda pair: (-pair[1], pair[0]))[:_REASONS]
    return [Reason(item, round(value / total, 3)) for item, value in ordered]
