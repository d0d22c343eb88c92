"""Visits, from the buckets of a person: exact, whatever the order in which events arrived."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from contracts.features import USER_FEATURES, WINDOWS_MS, first_ms, in_window, last_ms

__all__ = ["SESSION_GAP_MS", "Session", "newest_session"]

SESSION_GAP_MS: Final = 30 * 60 * 1000
"""A visit ends when nothing is done for longer than this (the definition of most web analytics)."""

_HORIZON_MS: Final = WINDOWS_MS["24h"]
_FIRST, _LAST = (next(at for at, f in enumerate(USER_FEATURES) if f.value == kind) for kind in ("first", "last"))
_DONE: Final = [at for at, f in enumerate(USER_FEATURES) if f.value == "count"]


class Session(NamedTuple):
    """A visit: times of its first and its newest event (epoch ms), and how much was done."""

    start_ms: int
    last_ms: int
    depth: float


def newest_session(buckets: Mapping[int, Sequence[float]], now_ms: int) -> Session | None:
    """The newest visit within the last 24 hours, ended or not; ``None`` where nothing was done.

    Exact although only buckets are kept: within a bucket no gap reaches 30 minutes, and between two buckets the gap is
    that from the last event of one to the first of the next.

    >>> quiet = [0.0] * 5
    >>> rows = {0: [3.0, *quiet[1:], 300_000.0, 200_001.0], 1_800_000: [1.0, *quiet[1:], 200_000.0, 100_001.0]}
    >>> newest_session(rows, now_ms=1_900_000)  # 200 s to 1,900 s: 28 minutes and 20 seconds of silence between
    Session(start_ms=0, last_ms=1900000, depth=4.0)
    """
    session: Session | None = None
    for start in sorted(buckets, reverse=True):
        values = buckets[start]
        if len(values) <= _LAST or not in_window(start, now_ms, _HORIZON_MS):
            continue
        first, last = first_ms(start, values[_FIRST]), last_ms(start, values[_LAST])
        if first is None or last is None:
            continue
        depth = sum(values[at] for at in _DONE)
        if session is None:
            session = Session(first, last, depth)
        elif session.start_ms - last <= SESSION_GAP_MS:
            session = Session(first, session.last_ms, session.depth + depth)
        else:
            break
    return session
