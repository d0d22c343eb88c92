"""Sums of days that are kept: all closed months are read as one object, and decay with one factor.

With a half life of h days the total of a window whose newest day is ``ref`` is

    total = Σ over days d of  2^((d − ref)/h) · day_d

and a month stores its part of that sum relative to its own last calendar day, ``Σ 2^((d − end)/h) · day_d``, so that
``2^((end − ref)/h)`` brings it to any later reference: decay rewrites no history.

``shop=<id>/moments/month=YYYY-MM/<key>.parquet`` has the item and matrix columns of a day partition
(:mod:`batch.partition`) and ``seen``, the units with an item as they happened, which is never weighted. ``<key>`` is a
digest of the half life and of the paths of the days in it, and these name all they were made from: a month is made
again exactly when one of its days is. ``moments/base/<key>.parquet`` is the sum of the closed months in the same form,
relative to the end of the last one: a daily run adds a few weeks of days to it. When a month closes, or one of its days
changes, the base is added up again from the months.
"""

import calendar
import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import groupby
from typing import Final

import msgspec

from batch.moments import Moments
from batch.partition import moment_columns, moments_from, read_row, write_row
from contracts.lake import base_path, rollup_path

__all__ = ["Part", "day_weight", "decode_rollup", "encode_rollup", "plan_parts"]

_FORMAT: Final = 1

_OPEN_DAYS: Final = 7
"""A month is closed when the window goes so many days beyond it, because late events still change its last days."""

_DAYS_TOGETHER: Final = 20
"""So many days outside of closed months are summed by one task."""


@dataclass(frozen=True, slots=True)
class Part:
    """Days that one task sums, with weights relative to ``reference``; equal sums have equal ``key``.

    ``path`` is the roll-up that keeps the sum (None: it is not kept); ``stored`` says whether it is there already;
    ``months`` are the roll-ups that it can be added up from, instead of from its days.
    """

    key: str
    days: tuple[tuple[date, str], ...]
    reference: date
    half_life_d: float = 0.0
    path: str | None = None
    stored: bool = False
    months: "tuple[Part, ...]" = ()


def day_weight(day: date, reference: date, half_life_d: float) -> float:
    """``2^((day − reference)/half_life_d)``; 1 where there is no decay (0).

    >>> day_weight(date(2026, 1, 1), date(2026, 1, 31), 15.0), day_weight(date(2026, 1, 1), date(2026, 1, 31), 0.0)
    (0.25, 1.0)
    """
    return float(2.0 ** ((day - reference).days / half_life_d)) if half_life_d else 1.0


def plan_parts(
    shop: str,
    wanted: Mapping[date, str],
    first: date | None,
    half_life_d: float,
    stored: Collection[str],
    newest: date | None = None,
) -> list[Part]:
    """Cut the days of a window into its closed months, summed up in one part, and the days outside of them.

    Args:
        wanted: the path of each day's partition.
        first: where the window was cut at its beginning, because then its first month may not be whole.
        stored: the paths of the roll-ups that exist.
        newest: the day that decides which months are closed (default: the newest one wanted).

    >>> days = {date(2026, 1, 30) + timedelta(days=n): f"d{n}" for n in range(60)}
    >>> parts = plan_parts("default", days, None, 0.0, ())
    >>> [len(part.days) for part in parts], [len(month.days) for month in parts[0].months]
    ([30, 20, 10], [2, 28])
    """
    newest = newest or max(wanted)
    months: list[Part] = []
    others: list[tuple[date, str]] = []
    for month, group in groupby(sorted(wanted.items()), lambda day: day[0].replace(day=1)):
        days, end = tuple(group), _end(month)
        cut = first is not None and month < first <= end
        if cut or newest - end < timedelta(days=_OPEN_DAYS):
            others += days
            continue
        key = _digest(half_life_d, days, end)
        path = rollup_path(shop, month, key)
        months.append(Part(key, days, end, half_life_d, path, path in stored))
    runs = [tuple(others[at : at + _DAYS_TOGETHER]) for at in range(0, len(others), _DAYS_TOGETHER)]
    parts = [Part(_digest(half_life_d, run, run[-1][0]), run, run[-1][0], half_life_d) for run in runs]
    if len(months) < 2:
        return months + parts
    days, end = tuple(day for month in months for day in month.days), months[-1].reference
    key = _digest(half_life_d, days, end)
    path = base_path(shop, key)
    return [Part(key, days, end, half_life_d, path, path in stored, tuple(months)), *parts]


def _end(month: date) -> date:
    return month.replace(day=calendar.monthrange(month.year, month.month)[1])


def _digest(half_life_d: float, days: Sequence[tuple[date, str]], reference: date) -> str:
    parts = msgspec.json.encode((_FORMAT, half_life_d, reference, [path for _, path in days]))
    return hashlib.sha256(parts).hexdigest()[:24]


def encode_rollup(total: Moments, part: Part) -> bytes:
    """The object's bytes."""
    metadata = {
        "liveshelf.format": str(_FORMAT),
        "liveshelf.reference": part.reference.isoformat(),
        "liveshelf.days": msgspec.json.encode([path for _, path in part.days]),
    }
    seen = total.seen.copy()  # so that the column is written whatever the weights are
    return write_row(moment_columns(replace(total, seen=seen)), metadata)


def decode_rollup(data: bytes) -> Moments:
    """Read the object's bytes.

    Raises:
        TrainingError: they are not a roll-up of this format.
    """
    return moments_from(read_row(data, "roll-up", _FORMAT)[0])
