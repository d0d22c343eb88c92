"""Which visitors of a day are programs: what no person can do in a day is left out of the moments, and counted."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from batch.rules import BotRule
from batch.units import DAY_MS

__all__ = ["BotRule", "Bots", "find_bots"]

Longs = npt.NDArray[np.int64]

_SPAN_S = 600


@dataclass(frozen=True, slots=True)
class Bots:
    """``drop (E,)`` marks the actions to leave out; the rest has one entry a bot and day."""

    drop: npt.NDArray[np.bool_]
    subject: Longs
    day: Longs
    actions: Longs

    def counts(self, day: int) -> dict[str, int]:
        """What to add to the counts of ``day`` (days since the epoch); nothing where there was no bot.

        >>> find_bots(np.zeros(20_000, int), np.arange(20_000)).counts(0)
        {'bots': 1, 'bot_actions': 20000}
        """
        here = self.day == day
        return {"bots": int(here.sum()), "bot_actions": int(self.actions[here].sum())} if here.any() else {}


def find_bots(subject: npt.NDArray[np.integer[Any]], ms: Longs, rule: BotRule | None = None) -> Bots:
    """Apply the rule to every person and UTC day.

    A day is judged by its own actions alone, so that a rebuild of many days finds what the run of each day found. The
    trap: give whole days, every person's, after de-duplication (a client that repeats itself is no bot).

    Args:
        subject: ``(E,)`` any code that is equal for equal people; the order of the events does not matter.
        ms: ``(E,)`` when each action occurred, epoch ms.

    >>> many = find_bots(np.repeat([7, 8], [3, 1500]), np.arange(1503))
    >>> many.drop.sum(), many.subject.tolist(), many.actions.tolist()
    (1500, [8], [1500])
    """
    rule = rule or BotRule()
    none = np.zeros(0, np.int64)
    if not len(ms):
        return Bots(np.zeros(0, bool), none, none, none)
    day = ms // DAY_MS
    order = np.lexsort((ms, subject, day))
    new = np.diff(day[order], prepend=-1) != 0
    new |= np.diff(subject[order].astype(np.int64), prepend=subject[order[0]] - 1) != 0
    begin = np.flatnonzero(new)
    count = np.diff(begin, append=len(ms))
    visit_day = day[order[begin]]
    bot = (count > _limits(visit_day, count, rule)) | _tireless(ms[order] // 1000, new, rule)
    drop = np.zeros(len(ms), bool)
    drop[order] = np.repeat(bot, count)
    return Bots(drop, subject[order[begin]][bot].astype(np.int64), visit_day[bot], count[bot])


def _limits(day: Longs, count: Longs, rule: BotRule) -> npt.NDArray[np.float64]:
    """The most actions of a person on the day of each of the visits (``day`` is sorted)."""
    _, begin, size = np.unique(day, return_index=True, return_counts=True)
    ranked = count[np.lexsort((count, day))]
    limit = rule.times_median * ranked[begin + (size - 1) // 2]
    return np.repeat(np.minimum(np.maximum(limit, rule.always_fine), rule.never_fine), size)


def _tireless(second: Longs, new: npt.NDArray[np.bool_], rule: BotRule) -> npt.NDArray[np.bool_]:
    """Which visits have more than ``most_in_ten_minutes`` different seconds in ten minutes; visits begin at ``new``."""
    visit = np.cumsum(new) - 1
    distinct = new | (np.diff(second, prepend=second[0]) != 0)
    second, visit_of = second[distinct], visit[distinct]
    ahead = rule.most_in_ten_minutes
    found = (visit_of[ahead:] == visit_of[:-ahead]) & (second[ahead:] - second[:-ahead] < _SPAN_S)
    tireless = np.zeros(int(visit[-1]) + 1, bool)
    tireless[visit_of[ahead:][found]] = True
    return tireless
