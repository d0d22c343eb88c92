"""Every live feature, defined once: what it means, and the pure function that makes it of what is stored.

Stored are the 5-minute buckets of :mod:`contracts.features`, a person's recent actions and the catalogue. A feature is
computed when it is read, for the instant at which it is read: so it is fresh to the last event, it decays in silence,
and stream, API and batch agree on it. No value depends on the order in which events arrived.

``docs/features.md`` shows :data:`FEATURES` as a table.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from contracts.affinity import AFFINITY_ACTIONS, NEUTRAL_PRICE, affinities
from contracts.features import (
    ITEM_FEATURES,
    TREND_WEIGHTS,
    USER_FEATURES,
    WINDOWS_MS,
    BucketFeature,
    in_window,
    last_ms,
    window_sums,
)
from contracts.held import CartMark, merge_bought, merge_cart
from contracts.items import Item
from contracts.lists import Action, UserValue, merge_actions
from contracts.sessions import SESSION_GAP_MS, newest_session
from contracts.trends import trend

__all__ = [
    "CONVERSION_PRIOR",
    "FEATURES",
    "HORIZON_MS",
    "Buckets",
    "LiveFeature",
    "add_buckets",
    "item_buckets",
    "item_features",
    "joined",
    "user_buckets",
    "user_features",
]

Buckets = Mapping[int, Sequence[float]]
"""Bucket start (epoch ms) → values in the order of :data:`ITEM_FEATURES` or :data:`USER_FEATURES`."""

HORIZON_MS: Final = WINDOWS_MS["24h"]
"""How far back features look; older buckets and actions are in none of them."""

CONVERSION_PRIOR: Final = (1.0, 50.0)
"""Purchases and views added to an item's own: without any of its own it is taken to sell once in 50 views."""


class LiveFeature(NamedTuple):
    """One line of the table of features.

    With ``windows`` it has one value for each, ``<name>_<window>``, otherwise one, ``<name>``, over ``span``.
    ``default`` is what a reader gets of somebody, or something, of which nothing is known.
    """

    entity: Literal["user", "item", "shop"]
    name: str
    meaning: str
    unit: str
    span: str
    default: Any
    windows: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its values.

        >>> FEATURES[0].columns, FEATURES[-1].columns
        (('views_5m', 'views_1h', 'views_24h'), ('trending_by_category',))
        """
        return tuple(f"{self.name}_{window}" for window in self.windows) or (self.name,)


_WINDOWS: Final = tuple(WINDOWS_MS)
_SPAN: Final = ", ".join(_WINDOWS)
_UNITS: Final = {"count": "events", "amount": "the shop's currency"}


def _sums(entity: Literal["user", "item"], features: Sequence[BucketFeature]) -> list[LiveFeature]:
    return [
        LiveFeature(entity, feature.name, feature.meaning, _UNITS[feature.value], _SPAN, 0.0, _WINDOWS)
        for feature in features
        if feature.aggregate == "SUM"
    ]


_AFFINITY_SPAN: Final = f"newest {AFFINITY_ACTIONS} actions of 24 h"
FEATURES: Final = (
    *_sums("user", USER_FEATURES),
    LiveFeature("user", "session_start", "begin of the visit that is on", "epoch ms", "until 30 min of silence", None),
    LiveFeature("user", "session_length", "from its first to its newest event", "ms", "until 30 min of silence", 0),
    LiveFeature("user", "session_depth", "what was done in it", "events", "until 30 min of silence", 0.0),
    LiveFeature("user", "last_seen", "when the visitor last did something", "epoch ms", "24h", None),
    LiveFeature(
        "user", "category_affinity", "weight of the actions on each category", "share, 0 to 1", _AFFINITY_SPAN, {}
    ),
    LiveFeature(
        "user",
        "price_affinity",
        "weighted mean of the price positions (share of the category that is cheaper)",
        "share, 0 to 1",
        _AFFINITY_SPAN,
        NEUTRAL_PRICE,
    ),
    LiveFeature(
        "user", "recent_actions", "newest distinct actions, oldest first", "list", "newest 2·L of the model, ≥ 20", []
    ),
    *_sums("item", ITEM_FEATURES),
    LiveFeature(
        "item",
        "conversion",
        "purchases a view, with 1 purchase in 50 views added",
        "share, 0 to 1",
        "24h",
        CONVERSION_PRIOR[0] / CONVERSION_PRIOR[1],
    ),
    LiveFeature(
        "item",
        "trend",
        "weighted actions of the last hour against the hourly mean of the day, with 20 added to both",
        "log ratio",
        "1h against 24h",
        0.0,
    ),
    LiveFeature("item", "last_purchase", "when it was last bought", "epoch ms", "24h", None),
    LiveFeature("shop", "trending", "items by weighted actions", "list", "newest 12 buckets", []),
    LiveFeature(
        "shop", "trending_by_category", "items of a category by weighted actions", "list", "newest 12 buckets", []
    ),
)


def user_buckets(stored: Mapping[str, Sequence[float]]) -> dict[int, Sequence[float]]:
    """Buckets as :class:`contracts.lists.UserValue` holds them, by start in epoch ms.

    >>> user_buckets({"300": [1.0]})
    {300000: [1.0]}
    """
    return {int(start) * 1000: values for start, values in stored.items()}


def item_buckets(fields: Mapping[bytes, bytes]) -> dict[int, Sequence[float]]:
    """Buckets as an item's hash in Redis holds them, by start in epoch ms.

    >>> item_buckets({b"300": b"1,0,2"})
    {300000: [1.0, 0.0, 2.0]}
    """
    return {int(start) * 1000: [float(value) for value in values.split(b",")] for start, values in fields.items()}


def add_buckets(features: Sequence[BucketFeature], parts: Iterable[Buckets]) -> dict[int, list[float]]:
    """The buckets of several subjects that are one person: counts and amounts added, of times the larger.

    >>> one, other = {0: [1.0, 0.0, 0.0, 0.0, 0.0, 9.0, 5.0]}, {0: [2.0, 0.0, 0.0, 0.0, 0.0, 4.0, 7.0], 300_000: [1.0]}
    >>> add_buckets(USER_FEATURES, [one, other])
    {0: [3.0, 0.0, 0.0, 0.0, 0.0, 9.0, 7.0], 300000: [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]}
    """
    total: dict[int, list[float]] = {}
    for part in parts:
        for start, values in part.items():
            sums = total.setdefault(start, [0.0] * len(features))
            for at, (feature, value) in enumerate(zip(features, values, strict=False)):
                sums[at] = sums[at] + value if feature.aggregate == "SUM" else max(sums[at], value)
    return total


def joined(subject: str, value: UserValue | None, visitors: Iterable[UserValue]) -> UserValue | None:
    """One person, of the stored values of a user and of the anonymous visitors that ``identify`` said they are.

    Buckets are added, actions merged by ``event_id`` (as many as the longest part holds), purchases and carts are
    united (:mod:`contracts.held`); list and revision are the user's. A visitor who is somebody else by now, on a shared
    device, is left out.

    >>> from contracts.lists import Owner
    >>> mine = UserValue(rev="0" * 16, actions=[Action(2, "b", "view", "B")], buckets={"0": [1.0]}, aliases={"x": 9})
    >>> was = UserValue(rev="1" * 16, actions=[Action(3, "c", "view", "C")], buckets={"0": [2.0]})
    >>> value = joined("u.1", mine, [was, msgspec.structs.replace(was, owner=Owner(9, "u.2"))])
    >>> value.buckets["0"][0], [action.event_id for action in value.actions], value.rev
    (3.0, ['b', 'c'], '0000000000000000')
    """
    parts = [visitor for visitor in visitors if visitor.owner is None or visitor.owner.subject == subject]
    if not parts:
        return value
    first = value or UserValue(rev=parts[0].rev)
    parts = [first, *parts]
    actions: list[Action] = []
    keep = max(AFFINITY_ACTIONS, *(len(part.actions) for part in parts))
    for part in parts:
        actions = merge_actions(actions, part.actions, keep)
    buckets = add_buckets(USER_FEATURES, [user_buckets(part.buckets) for part in parts])
    stored = {str(start // 1000): values for start, values in buckets.items()}
    bought: dict[str, int] = {}
    cart: list[CartMark] = []
    for part in parts:
        bought, cart = merge_bought(bought, part.bought, -1), merge_cart(cart, part.cart, -1)
    return msgspec.structs.replace(first, actions=actions, buckets=stored, bought=bought, cart=cart)


def user_features(
    buckets: Buckets,
    actions: Sequence[Action],
    items: Mapping[str, Item],
    positions: Mapping[str, float],
    now_ms: int,
) -> dict[str, Any]:
    """All values of a person at ``now_ms``, named as the ``columns`` of :data:`FEATURES`.

    Args:
        buckets: of the person; of one with several subjects, :func:`add_buckets` of all of them.
        actions: stored recent actions of all of them, each once.

    >>> values = user_features({}, [], {}, {}, 0)
    >>> values == {name: f.default for f in FEATURES if f.entity == "user" for name in f.columns}
    True
    """
    session = newest_session(buckets, now_ms)
    current = session if session and now_ms - session.last_ms <= SESSION_GAP_MS else None
    categories, price = affinities(actions, items, positions, now_ms)
    return {
        **_window_values(USER_FEATURES, buckets, now_ms),
        "session_start": current.start_ms if current else None,
        "session_length": current.last_ms - current.start_ms if current else 0,
        "session_depth": current.depth if current else 0.0,
        "last_seen": session.last_ms if session else None,
        "category_affinity": categories,
        "price_affinity": price,
        "recent_actions": sorted(actions),
    }


def item_features(buckets: Buckets, now_ms: int) -> dict[str, Any]:
    """All values of an item at ``now_ms``, named as the ``columns`` of :data:`FEATURES`.

    A purchase without a view is taken to have had one, so that the conversion stays a share.

    >>> values = item_features({}, 0)
    >>> values == {name: f.default for f in FEATURES if f.entity == "item" for name in f.columns}
    True
    >>> values = item_features({0: [50.0, 0.0, 1.0, 9.5, 1.0]}, 7_200_000)
    >>> values["conversion"], round(values["trend"], 3), values["last_purchase"], values["revenue_24h"]
    (0.02, -0.108, 0, 9.5)
    """
    sums = _window_values(ITEM_FEATURES, buckets, now_ms)
    purchases, views = sums["purchases_24h"], max(sums["views_24h"], sums["purchases_24h"])
    bought = [
        time
        for start, values in buckets.items()
        if in_window(start, now_ms, HORIZON_MS) and len(values) > _BOUGHT
        if (time := last_ms(start, values[_BOUGHT])) is not None
    ]
    return {
        **sums,
        "conversion": (purchases + CONVERSION_PRIOR[0]) / (views + CONVERSION_PRIOR[1]),
        "trend": trend(*(_weighted(sums, window) for window in ("1h", "24h"))),
        "last_purchase": max(bought, default=None),
    }


_BOUGHT: Final = next(at for at, feature in enumerate(ITEM_FEATURES) if feature.value == "last")


def _weighted(sums: Mapping[str, float], window: str) -> float:
    return sum(weight * sums[f"{name}_{window}"] for name, weight in TREND_WEIGHTS.items())


def _window_values(features: Sequence[BucketFeature], buckets: Buckets, now_ms: int) -> dict[str, float]:
    totals = {window: window_sums(buckets, now_ms, length, len(features)) for window, length in WINDOWS_MS.items()}
    return {
        f"{feature.name}_{window}": totals[window][at]
        for at, feature in enumerate(features)
        if feature.aggregate == "SUM"
        for window in WINDOWS_MS
    }
