"""From a batch of counted events to what has to change: people, items and trends, each with absolute values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from contracts.features import ITEM_FEATURES, TREND_WEIGHTS, USER_FEATURES, feature_columns
from contracts.held import CartMark
from contracts.packed import LETTERS, Owner

__all__ = ["COLUMNS", "Change", "Columns", "EventRow", "Person", "Served", "changes_of", "columns_of"]

Columns = Mapping[str, Sequence[Any]]
"""The columns of a batch by name, those of :data:`COLUMNS`."""

Values = tuple[float, ...]
Buckets = dict[int, Values]
"""Bucket start in epoch seconds → absolute values."""

Action = tuple[int, str, str, str]
"""(occurred_ms, event_id, letter of :data:`contracts.packed.LETTERS`, item_id): in the order of actions."""

Who = tuple[str, str]


class EventRow(NamedTuple):
    """One counted event with the running values of its buckets, in the order of :data:`COLUMNS`."""

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
    item_values: Values
    user_values: Values


_ITEM_COLUMNS: Final = feature_columns("item", ITEM_FEATURES)
_USER_COLUMNS: Final = feature_columns("user", USER_FEATURES)
COLUMNS: Final = (*EventRow._fields[:-2], *_ITEM_COLUMNS, *_USER_COLUMNS)
_WEIGHTS: Final = np.array([TREND_WEIGHTS.get(feature.name, 0.0) for feature in ITEM_FEATURES])


_FACTS: Final = {"identify", "add_to_cart", "remove_from_cart", "purchase"}


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
    """What a batch says of one person; ``newest_row`` is the row whose outcome is the list, −1 for none."""

    actions: list[Action] = field(default_factory=list)
    buckets: Buckets = field(default_factory=dict)
    aliases: dict[str, int] = field(default_factory=dict)
    owner: Owner | None = None
    bought: dict[str, int] = field(default_factory=dict)
    cart: list[CartMark] = field(default_factory=list)
    newest_row: int = -1

    @property
    def changed(self) -> bool:
        """Whether anything about the person has to be written."""
        return bool(self.actions or self.buckets or self.aliases or self.owner or self.bought or self.cart)


@dataclass(slots=True)
class Change:
    """What a batch says, by (shop, subject), (shop, item) and (shop, bucket start in seconds)."""

    people: dict[Who, Person] = field(default_factory=dict)
    items: dict[tuple[str, str], Buckets] = field(default_factory=dict)
    trends: dict[tuple[str, int], dict[str, float]] = field(default_factory=dict)
    outcomes: list[str] = field(default_factory=list)


def changes_of(columns: Columns) -> Change:
    """Group a batch; ``outcomes`` runs parallel to its rows, see :class:`Served`."""
    late = np.asarray(columns["late"], bool)
    action = np.asarray(columns["action"], bool) & ~late
    starts = np.asarray(columns["bucket_ms"], np.int64) // 1000
    change = Change(outcomes=_outcomes(late, action))
    people = list(zip(columns["shop_id"], columns["subject"], strict=True))
    values = _matrix(columns, _USER_COLUMNS)
    for at, start, largest in _largest(people, starts, values, ~late):
        _person(change, people[at]).buckets[start] = largest
    items = list(zip(columns["shop_id"], columns["item_id"], strict=True))
    values = _matrix(columns, _ITEM_COLUMNS)
    for at, start, largest in _largest(items, starts, values, ~late):
        change.items.setdefault(items[at], {})[start] = largest
    _add_actions(change, columns, people, np.flatnonzero(action))
    _add_facts(change, columns, people)
    _add_trends(change)
    return change


def _outcomes(late: npt.NDArray[np.bool_], action: npt.NDArray[np.bool_]) -> list[str]:
    return [("superseded", "late", "noted")[code] for code in np.where(action, 0, np.where(late, 1, 2)).tolist()]


def _matrix(columns: Columns, names: Sequence[str]) -> npt.NDArray[np.float64]:
    return np.column_stack([np.asarray(columns[name], np.float64) for name in names])


def _person(change: Change, who: Who) -> Person:
    person = change.people.get(who)
    if person is None:
        person = change.people[who] = Person()
    return person


def _largest(
    keys: Sequence[Who], starts: npt.NDArray[np.int64], values: npt.NDArray[np.float64], counted: npt.NDArray[np.bool_]
) -> list[tuple[int, int, Values]]:
    """Of each (key, bucket): a row of it, the bucket's start, and the largest of each value. Rows of zeros say nothing.

    Absolute values only grow, so the larger is the newer; which row of a batch comes last does not matter.
    """
    rows = np.flatnonzero(counted & values.any(axis=1))
    if not len(rows):
        return []
    number: dict[Who, int] = {}
    codes = np.array([number.setdefault(keys[row], len(number)) for row in rows.tolist()], np.int64)
    order = np.lexsort((starts[rows], codes))
    codes, rows = codes[order], rows[order]
    new = np.flatnonzero(np.r_[True, (np.diff(codes) != 0) | (np.diff(starts[rows]) != 0)])
    largest = np.maximum.reduceat(values[rows], new, axis=0)
    first = rows[new]
    return list(zip(first.tolist(), starts[first].tolist(), map(tuple, largest.tolist()), strict=True))


def _add_actions(change: Change, columns: Columns, people: Sequence[Who], rows: npt.NDArray[np.int64]) -> None:
    """Actions, and the newest row of each person, whose outcome is the list."""
    times, ids, kinds, items = (columns[name] for name in ("occurred_ms", "event_id", "event_type", "item_id"))
    newest: dict[Who, Action] = {}
    for row in rows.tolist():
        who = people[row]
        action = (times[row], ids[row], LETTERS[kinds[row]], items[row])
        person = _person(change, who)
        person.actions.append(action)
        if who not in newest or action > newest[who]:
            newest[who], person.newest_row = action, row
    for who in newest:
        change.outcomes[change.people[who].newest_row] = "scored"


def _add_facts(change: Change, columns: Columns, people: Sequence[Who]) -> None:
    """Who somebody is and what they hold does not go out of date, so lateness does not matter.

    Most events are none of these, and one look at their type is all that they cost.
    """
    times, ids, items = columns["occurred_ms"], columns["event_id"], columns["item_id"]
    for row, kind in enumerate(columns["event_type"]):
        if kind not in _FACTS:
            continue
        if kind == "identify":
            _add_alias(change, people[row], columns["anonymous_id"][row], times[row])
        elif kind == "purchase":
            bought, item, at = _person(change, people[row]).bought, items[row], times[row]
            bought[item] = max(at, bought.get(item, at))
        else:
            mark = CartMark(times[row], ids[row], items[row], kind == "add_to_cart")
            _person(change, people[row]).cart.append(mark)


def _add_alias(change: Change, who: Who, alias: str, at: int) -> None:
    aliases = _person(change, who).aliases
    aliases[alias] = max(at, aliases.get(alias, at))
    visitor = _person(change, (who[0], f"a.{alias}"))
    visitor.owner = latest(visitor.owner, Owner(at, who[1]))


def latest(one: Owner | None, other: Owner | None) -> Owner | None:
    """The later of two owners.

    >>> latest(Owner(1, "u.a"), Owner(2, "u.b")), latest(None, None)
    (Owner(since_ms=2, subject='u.b'), None)
    """
    return max(one, other) if one and other else one or other


def _add_trends(change: Change) -> None:
    rows = [
        (shop, item, start, values) for (shop, item), found in change.items.items() for start, values in found.items()
    ]
    if not rows:
        return
    # Not by ``@``: for 2,000 rows OpenBLAS takes a second thread, which then spins for 0.1 s.
    scores = np.einsum("ij,j->i", np.array([values for _, _, _, values in rows]), _WEIGHTS)
    for (shop, item, start, _), score in zip(rows, scores.tolist(), strict=True):
        if score > 0:
            change.trends.setdefault((shop, start), {})[item] = score


def columns_of(rows: Sequence[EventRow]) -> dict[str, list[Any]]:
    """The columns of rows."""
    cells = [(*row[:-2], *row.item_values, *row.user_values) for row in rows]
    return dict(zip(COLUMNS, map(list, zip(*cells, strict=True)), strict=True))
