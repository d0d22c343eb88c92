"""What a visitor turns to, from recent actions and the catalogue."""

from collections.abc import Iterable, Mapping
from typing import Final

from contracts.features import WINDOWS_MS
from contracts.items import Item
from contracts.lists import Action
from contracts.trends import TYPE_WEIGHTS

__all__ = ["AFFINITY_ACTIONS", "NEUTRAL_PRICE", "actions_kept", "affinities"]

AFFINITY_ACTIONS: Final = 20
"""The newest actions that affinities are made of. A person's value keeps as many, whatever the model."""

NEUTRAL_PRICE: Final = 0.5
"""The price position of somebody of whom nothing is known: the middle."""

_HORIZON_MS: Final = WINDOWS_MS["24h"]


def actions_kept(history: int) -> int:
    """How many actions a person's value keeps where the model scores the newest ``history`` (L): twice as many.

    At least those that affinities are made of, so that they do not depend on the model.

    >>> actions_kept(5), actions_kept(20)
    (20, 40)
    """
    return max(2 * history, AFFINITY_ACTIONS)


def affinities(
    actions: Iterable[Action], items: Mapping[str, Item], positions: Mapping[str, float], now_ms: int
) -> tuple[dict[str, float], float]:
    """What the visitor turns to: the share of each category, and the mean price position.

    Both over the newest :data:`AFFINITY_ACTIONS` actions of the last 24 hours, each counted by :data:`TYPE_WEIGHTS`;
    items without a category, or without a price position, count in the one or the other for nothing.

    Args:
        actions: in any order.
        items: the catalogue.
        positions: :func:`contracts.items.price_positions` of the catalogue.

    >>> goods = {i: Item(item_id=i, title=i, category=c) for i, c in (("a", "TEA"), ("b", "CUPS"))}
    >>> did = [Action(5, "e1", "view", "a"), Action(6, "e2", "add_to_cart", "b"), Action(7, "e3", "view", "?")]
    >>> affinities(did, goods, {"a": 0.9, "b": 0.5}, now_ms=10)
    ({'CUPS': 0.75, 'TEA': 0.25}, 0.6)
    """
    recent = (action for action in actions if now_ms - _HORIZON_MS < action.occurred_ms <= now_ms)
    weights: dict[str, float] = {}
    price, priced = 0.0, 0.0
    for action in sorted(recent)[-AFFINITY_ACTIONS:]:
        weight = TYPE_WEIGHTS.get(action.event_type, 0.0)
        item = items.get(action.item_id)
        if item is not None and item.category and weight:
            weights[item.category] = weights.get(item.category, 0.0) + weight
        if (position := positions.get(action.item_id)) is not None:
            price, priced = price + weight * position, priced + weight
    total = sum(weights.values())
    shares = {name: weights[name] / total for name in sorted(weights, key=lambda name: (-weights[name], name))}
    return shares, price / priced if priced else NEUTRAL_PRICE
