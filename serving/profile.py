"""Live features of a visitor and of an item as the API tells them: :mod:`contracts.live` computes, this arranges."""

from collections.abc import Mapping, Sequence
from typing import Any

from contracts.features import ITEM_FEATURES, USER_FEATURES, WINDOWS_MS, BucketFeature
from contracts.lists import UserValue
from contracts.live import item_buckets, item_features, user_buckets, user_features
from serving.answers import ItemFeaturesAnswer, ProfileAction, ProfileAnswer, SessionAnswer
from serving.catalogue import Catalogue
from serving.shelf import answer_based_on

__all__ = ["item_profile", "profile"]


def profile(
    user: str, known_as: str | None, value: UserValue | None, catalogue: Catalogue, now_ms: int
) -> ProfileAnswer:
    """What the system knows live about a visitor at ``now_ms``; ``value`` is of all their names together."""
    buckets = user_buckets(value.buckets) if value else {}
    known = user_features(buckets, value.actions if value else [], catalogue.items, catalogue.price_positions, now_ms)
    session = SessionAnswer(known["session_start"], known["session_length"], known["session_depth"])
    live = value.live if value else None
    return ProfileAnswer(
        user=user,
        known_as=known_as,
        known=value is not None,
        actions=[
            ProfileAction(a.event_id, a.event_type, a.occurred_ms, a.item_id, catalogue.title(a.item_id))
            for a in reversed(known["recent_actions"])
        ],
        features=_windows(known, USER_FEATURES),
        session=None if session.started_at is None else session,
        last_seen_at=known["last_seen"],
        category_affinity=known["category_affinity"],
        price_affinity=known["price_affinity"],
        list_based_on=answer_based_on(live.based_on) if live else None,
        list_written_at=live.written_at if live else None,
    )


def item_profile(item_id: str, fields: Mapping[bytes, bytes], now_ms: int) -> ItemFeaturesAnswer:
    """An item's live features from its stored hash.

    >>> answer = item_profile("A", {b"0": b"2,1,0,0", b"300": b"1,0,1,9.5,7"}, now_ms=300_000)
    >>> answer.features["1h"], answer.last_purchase_at
    ({'views': 3.0, 'carts': 1.0, 'purchases': 1.0, 'revenue': 9.5}, 300006)
    """
    known = item_features(item_buckets(fields), now_ms)
    return ItemFeaturesAnswer(
        item_id=item_id,
        features=_windows(known, ITEM_FEATURES),
        conversion=known["conversion"],
        trend=known["trend"],
        last_purchase_at=known["last_purchase"],
    )


def _windows(known: Mapping[str, Any], features: Sequence[BucketFeature]) -> dict[str, dict[str, float]]:
    names = [feature.name for feature in features if feature.aggregate == "SUM"]
    return {window: {name: known[f"{name}_{window}"] for name in names} for window in WINDOWS_MS}
