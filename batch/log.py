"""Every de-duplicated action of the window in one table, by person and time: histories, lists and held-out cases."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from batch.partition import DayPartition

__all__ = ["Log", "gather"]

Longs = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Log:
    """Actions sorted by person, then time; person r did ``offsets[r]:offsets[r + 1]``. ``unit`` numbers the units.

    ``item`` is a place in some item index; items outside of it are negative numbers from −2 on, one for each.
    """

    subjects: list[str]
    offsets: Longs
    item: npt.NDArray[np.int32]
    type: npt.NDArray[np.int8]
    ms: Longs
    unit: Longs

    def until(self, end_ms: int) -> "Log":
        """The same people, with only what they did before ``end_ms``."""
        kept = self.ms < end_ms
        offsets = np.concatenate(([0], np.cumsum(kept)))[self.offsets]
        return Log(self.subjects, offsets, self.item[kept], self.type[kept], self.ms[kept], self.unit[kept])

    def only(self, people: npt.NDArray[Any]) -> "Log":
        """The people at the given places, in that order."""
        spans = [np.arange(self.offsets[p], self.offsets[p + 1]) for p in people]
        rows = np.concatenate(spans) if spans else np.zeros(0, np.int64)
        offsets = np.concatenate(([0], np.cumsum([len(span) for span in spans]))).astype(np.int64)
        names = [self.subjects[p] for p in people]
        return Log(names, offsets, self.item[rows], self.type[rows], self.ms[rows], self.unit[rows])

    def onto(self, items: Sequence[str], wanted: Sequence[str]) -> "Log":
        """The same actions with places in ``wanted`` instead of in ``items``."""
        place = {item: at for at, item in enumerate(wanted)}
        to = np.array([place.get(item, -2 - at) for at, item in enumerate(items)], np.int32)
        item = to[self.item] if len(items) else self.item
        return Log(self.subjects, self.offsets, item, self.type, self.ms, self.unit)


def gather(days: Sequence[DayPartition]) -> tuple[Log, list[str]]:
    """The log of some days, and the item ids that it names by place.

    ``identify`` is followed: what an anonymous visitor did belongs to the user they turned out to be, at any time.
    """
    alias = {f"a.{anonymous}": f"u.{user}" for day in days for anonymous, user in day.actions.aliases}
    named = [[alias.get(subject, subject) for subject in day.actions.subjects] for day in days]
    subjects = sorted(set().union(*named))
    items = sorted(set().union(*(day.moments.items for day in days)))
    person_at, item_at = ({name: at for at, name in enumerate(names)} for names in (subjects, items))
    parts: list[tuple[Any, ...]] = []
    units = 0
    for day, names in zip(days, named, strict=True):
        actions = day.actions
        person = np.array([person_at[name] for name in names], np.int64)[actions.subject]
        item = np.array([item_at[name] for name in day.moments.items], np.int32)[actions.item]
        count = len(actions.unit_offsets) - 1
        unit = np.repeat(np.arange(units, units + count), np.diff(actions.unit_offsets))
        parts.append((person, item, actions.type, actions.ms, unit))
        units += count
    person, item, kind, ms, unit = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((np.arange(len(ms)), ms, person))
    offsets = np.searchsorted(person[order], np.arange(len(subjects) + 1)).astype(np.int64)
    return Log(subjects, offsets, item[order], kind[order], ms[order], unit[order]), items
