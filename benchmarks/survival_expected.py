"""What Redis must hold after a run: buckets and recent actions recomputed from the events that were sent, one by one.

Deliberately plain and apart from the SQL: a loop over events and a dictionary. It knows the definitions of
:mod:`contracts.features` and nothing of how the stream computes them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from contracts.events import ACTION_TYPES, Event, is_late
from contracts.features import BUCKET_MS, ITEM_FEATURES, USER_FEATURES, BucketFeature
from contracts.lists import Action, UserValue

__all__ = ["Buckets", "Expected", "differences", "expect", "unequal"]

Buckets = dict[int, list[float]]
"""Bucket start in epoch seconds → values, in the order of the entity's features."""


@dataclass
class Expected:
    """Buckets of people and items, and all actions of people, oldest first."""

    users: dict[str, Buckets] = field(default_factory=dict)
    items: dict[str, Buckets] = field(default_factory=dict)
    actions: dict[str, list[Action]] = field(default_factory=dict)


def expect(events: Iterable[Event]) -> Expected:
    """Each distinct event counted once, late ones not at all.

    >>> from datetime import UTC, datetime
    >>> at = datetime(1970, 1, 1, 0, 5, 1, tzinfo=UTC)
    >>> bought = Event(event_id="e", event_type="purchase", user_id="7", item_id="A", price=2.0, quantity=3,
    ...                occurred_at=at, received_at=at)
    >>> found = expect([bought, bought])
    >>> found.items["A"][300][:4], [action.event_id for action in found.actions["u.7"]]
    ([0.0, 0.0, 1.0, 6.0], ['e'])
    """
    found = Expected()
    for event in {event.event_id: event for event in events}.values():
        if is_late(event.occurred_ms, event.received_ms):
            continue
        _count(found.users.setdefault(event.subject, {}), USER_FEATURES, event)
        if event.item_id is not None:
            _count(found.items.setdefault(event.item_id, {}), ITEM_FEATURES, event)
        if event.event_type in ACTION_TYPES:
            action = Action(event.occurred_ms, event.event_id, event.event_type, event.item_id or "")
            found.actions.setdefault(event.subject, []).append(action)
    for actions in found.actions.values():
        actions.sort()
    return found


def _count(buckets: Buckets, features: Sequence[BucketFeature], event: Event) -> None:
    into = event.occurred_ms % BUCKET_MS
    values = buckets.setdefault((event.occurred_ms - into) // 1000, [0.0] * len(features))
    for at, feature in enumerate(features):
        if event.event_type not in feature.event_types:
            continue
        if feature.value == "count":
            values[at] += 1
        elif feature.value == "amount":
            values[at] += event.amount
        else:
            values[at] = max(values[at], BUCKET_MS - into if feature.value == "first" else 1 + into)


def differences(
    expected: Expected, users: Mapping[str, UserValue | None], items: Mapping[str, Buckets], keep: int
) -> list[str]:
    """A sentence for each bucket value and each history that is not what it should be; empty where all agree.

    Args:
        users: stored values by subject, of everybody in ``expected`` (and nobody else).
        items: stored buckets by item.
        keep: how many actions a history keeps.
    """
    told: list[str] = []
    for subject, buckets in expected.users.items():
        value = users.get(subject) or UserValue(rev="")
        told += unequal(subject, {int(start): list(v) for start, v in value.buckets.items()}, buckets)
        wanted = [action.event_id for action in expected.actions.get(subject, [])[-keep:]]
        held = [action.event_id for action in value.actions][-keep:]
        if held != wanted:
            odd = sorted(set(held) ^ set(wanted))[:4]
            told.append(f"{subject}: {len(held)} actions, expected {len(wanted)}; not in both: {odd}")
    for item, buckets in expected.items.items():
        told += unequal(item, items.get(item, {}), buckets)
    return told


def unequal(who: str, found: Buckets, wanted: Buckets) -> list[str]:
    """A bucket that is not stored is one of zeros."""
    told = []
    for start in sorted(set(found) | set(wanted)):
        have, want = found.get(start), wanted.get(start)
        width = len(want or have or [])
        if (have or [0.0] * width) != (want or [0.0] * width):
            told.append(f"{who} at {start}: {have}, expected {want}")
    return told
