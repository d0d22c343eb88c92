"""From a heap of events to units of behaviour: a session where one is given, else a person's UTC day."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["DAY_MS", "REACH_DAYS", "unit_days", "unit_keys"]

DAY_MS: Final = 24 * 60 * 60 * 1000
REACH_DAYS: Final = 2
"""Which unit an event belongs to depends on the session's events at most this many days away."""

Longs = npt.NDArray[np.int64]


def unit_days(session: npt.NDArray[Any], day: Longs) -> Longs:
    """The day of the unit that each event belongs to.

    Args:
        session: ``(E,)`` place of the event's session, −1 where it has none.
        day: ``(E,)`` UTC day of the event, days since the epoch.

    An event without a session stays on its own day. A session of two following days is one unit of the first of them
    (it crossed midnight). A session seen on three days or more is the trace of a browser, not a visit: each of its days
    is a unit. The rule looks at most :data:`REACH_DAYS` away, so a day's units never depend on how the days were read.

    >>> visit, browser = 0, 1
    >>> session = np.array([visit, visit, browser, browser, browser, -1])
    >>> unit_days(session, np.array([4, 5, 4, 5, 6, 5])).tolist()
    [4, 4, 4, 5, 6, 5]
    """
    if not len(day):
        return day
    base = day.min() - REACH_DAYS
    span = int(day.max() - base) + REACH_DAYS + 1
    here = session.astype(np.int64) * span + (day - base)
    present = np.unique(here[session >= 0])

    def on(shift: int) -> npt.NDArray[np.bool_]:
        at = np.minimum(np.searchsorted(present, here + shift), max(len(present) - 1, 0))
        return present[at] == here + shift if len(present) else np.zeros(len(here), bool)

    crossed = (session >= 0) & on(-1) & ~on(-2) & ~on(1)
    return day - crossed


def unit_keys(session: npt.NDArray[Any], subject: npt.NDArray[Any]) -> Longs:
    """A number that events of one unit of a day share: the session's place, else one of the person's own.

    >>> unit_keys(np.array([3, -1, -1]), np.array([0, 0, 1])).tolist()
    [3, -1, -2]
    """
    return np.where(session >= 0, session, -1 - subject.astype(np.int64)).astype(np.int64)
