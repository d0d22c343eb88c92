"""From a batch of counted events to what has to change: people, items and trends, each with absolute values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from contracts.features import ITEM_FEATURES, TREND_WEIGHTS, larger
from contracts.lists import Action, BasedOn, UserValue, merge_actions, next_rev, prune_buckets

__all__ = ["HORIZON_MS", "Change", "EventRow", "Person", "Served", "changes_of", "revise", "rows_of"]

HORIZON_MS: Final = 24 * 60 * 60 * 1000

Values = list[float]
Buckets = dict[int, Values]
"""Bucket start in epoch seconds → absolute sums."""


class EventRow(NamedTuple):
    """One counted event with the running values of its buckets, in the order of ``SERVE_ARGUMENTS``."""

    shop_id: str
    event_id: str
    event_type: str
    subject: str
    anonymous_id: str
    item_id: str
    occurred_ms: int
    received_ms: int
    late: bool
    action: bool
    bucket_ms: int
    item_values: tuple[float, ...]
    user_values: tuple[float, ...]


class Served(NamedTuple):
    """What became of an event: one row of the ``served`` log.

    ``outcome`` is ``late`` (in no live feature), ``noted`` (nothing to learn of it), ``superseded`` (a newer event of
    the same person in the same batch is scored for it) or ``scored``; then ``items`` is the list's head as JSON.
    """

    outcome: str
    model_version: str | None = None
    items: str | None = None


@dataclass(slots=True)
class Person:
    """What a batch says of one person."""

    actions: list[Action] = field(default_factory=list)
    buckets: Buckets = field(default_factory=dict)
    aliases: list[str] = field(default_factory=list)
    newest_row: int = -1

    @property
    def changed(self) -> bool:
        """Whether anything about the person has to be written."""
        return bool(self.actions or self.aliases or self.buckets)


@dataclass(slots=True)
class Change:
    """What a batch says, by (shop, subject), (shop, item) and (shop, bucket start in seconds)."""

    people: dict[tuple[str, str], Person] = field(default_factory=dict)
    items: dict[tuple[str, str], Buckets] = field(default_factory=dict)
    trends: dict[tuple[str, int], dict[str, float]] = field(default_factory=dict)
    outcomes: list[str] = field(default_factory=list)


def changes_of(rows: Sequence[EventRow]) -> Change:
    """Group a batch; ``outcomes`` runs parallel to ``rows``, see :class:`Served`."""
    change = Change()
    newest: dict[tuple[str, str], BasedOn] = {}
    for at, row in enumerate(rows):
        change.outcomes.append("late" if row.late else "noted")
        who = (row.shop_id, row.subject)
        if row.event_type == "identify":  # however late: who somebody is does not go out of date
            change.people.setdefault(who, Person()).aliases.append(row.anonymous_id)
        if row.late:
            continue
        person = change.people.setdefault(who, Person())
        if any(row.user_values):
            _keep_larger(person.buckets, row.bucket_ms // 1000, row.user_values)
        if any(row.item_values):
            _keep_larger(
                change.items.setdefault((row.shop_id, row.item_id), {}), row.bucket_ms // 1000, row.item_values
            )
        if not row.action:
            continue
        person.actions.append(Action(row.occurred_ms, row.event_id, row.event_type, row.item_id))
        change.outcomes[at] = "superseded"
        order = BasedOn(row.occurred_ms, row.event_id)
        if who not in newest or order > newest[who]:
            newest[who], person.newest_row = order, at
    for person in change.people.values():
        if person.newest_row >= 0:
            change.outcomes[person.newest_row] = "scored"
    _add_trends(change)
    return change


def _keep_larger(buckets: Buckets, start: int, values: Sequence[float]) -> None:
    buckets[start] = larger(buckets.get(start), values)


def _add_trends(change: Change) -> None:
    weights = [TREND_WEIGHTS.get(feature.name, 0.0) for feature in ITEM_FEATURES]
    for (shop, item), buckets in change.items.items():
        for start, values in buckets.items():
            score = sum(w * v for w, v in zip(weights, values, strict=False))
            if score > 0:
                change.trends.setdefault((shop, start), {})[item] = score


def revise(
    value: UserValue | None, person: Person, strangers: Sequence[UserValue], keep: int, now_us: int
) -> UserValue:
    """A person's value with a batch's news merged in.

    Merging is a set union of actions and a maximum of sums: repeating it, or doing it in another order, gives the same.

    Args:
        value: what is stored; ``None`` for a new person.
        strangers: stored values of anonymous visitors that turned out to be this person.
        keep: how many actions to keep, 2·L.
        now_us: the clock, epoch microseconds; ranks revisions and prunes buckets.
    """
    known = value or UserValue(rev="")
    actions = merge_actions(known.actions, person.actions, keep)
    buckets = dict(known.buckets)
    for stranger in strangers:
        actions = merge_actions(actions, stranger.actions, keep)
    for start, values in person.buckets.items():
        buckets[str(start)] = larger(buckets.get(str(start)), values)
    return UserValue(
        rev=next_rev(known.rev or None, now_us),
        actions=actions,
        buckets=prune_buckets(buckets, now_us // 1000, HORIZON_MS),
        live=known.live,
    )


def rows_of(columns: Mapping[str, Sequence[Any]]) -> list[EventRow]:
    """Rows from the columns of a batch: the plain fields, then the item's values, then the person's."""
    plain = [columns[name] for name in EventRow._fields[:-2]]
    names = list(columns)[len(plain) :]
    items = zip(*(columns[name] for name in names[: len(ITEM_FEATURES)]), strict=True)
    users = zip(*(columns[name] for name in names[len(ITEM_FEATURES) :]), strict=True)
    return [EventRow(*fields) for fields in zip(*plain, items, users, strict=True)]
