"""Times of an own log: which format a column is in, told from a sample, and reading it into epoch milliseconds."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from contracts.errors import SettingsError

__all__ = ["NO_TIME", "TimeFormat", "detect_time", "read_times", "time_format"]

NO_TIME: Final = np.iinfo(np.int64).min
"""Stands where a value is not a time."""

EARLIEST_MS: Final = 631_152_000_000
"""1990-01-01: an older time in a shop's log is a zero or a wrong unit."""

_MOSTLY: Final = 0.5
"""A format that fits this share of a sample is the column's; the rest are bad rows."""

_UNITS: Final = {"s": 1000.0, "ms": 1.0, "us": 1e-3, "ns": 1e-6}
_LIMITS: Final = (("s", 1e11), ("ms", 1e14), ("us", 1e17), ("ns", 1e20))
_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d+)?([eE]\+?\d+)?")
_ISO: Final = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:?\d{2}.*)?")
_ZONE: Final = re.compile(r"([Zz]|[+-]\d{2}:?\d{2}|UTC|GMT)$")
_PATTERNS: Final = tuple(
    day + clock
    for day in ("%d.%m.%Y", "%Y/%m/%d", "%m/%d/%Y", "%d/%m/%Y", "%d-%m-%Y", "%Y%m%d", "%d %b %Y")
    for clock in (" %H:%M:%S", " %H:%M", "", "T%H:%M:%S", " %H:%M:%S.%f", " %I:%M:%S %p", " %I:%M %p")
)


@dataclass(frozen=True, slots=True)
class TimeFormat:
    """``kind`` is ``iso``, a unit of epoch time (``s``, ``ms``, ``us``, ``ns``) or a strptime pattern."""

    kind: str
    zone_given: bool = True
    declared: bool = field(default=False, repr=False)
    """The file itself says that the column is a time (Parquet)."""

    def describe(self) -> str:
        """In words, for the console.

        >>> TimeFormat("ms").describe(), TimeFormat("%d.%m.%Y", zone_given=False).describe()
        ('epoch milliseconds', "pattern '%d.%m.%Y', no zone given: read as UTC")
        """
        names = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
        if self.declared:
            return "a time as the file says" + ("" if self.zone_given else ", no zone given: read as UTC")
        if self.kind in names:
            return f"epoch {names[self.kind]}"
        what = "ISO 8601" if self.kind == "iso" else f"pattern {self.kind!r}"
        return what if self.zone_given else f"{what}, no zone given: read as UTC"


def time_format(text: str, sample: Sequence[Any] = ()) -> TimeFormat:
    """The format a person asked for: ``iso``, ``s``, ``ms``, ``us``, ``ns`` or a pattern with ``%``.

    >>> time_format("%d.%m.%Y %H:%M")
    TimeFormat(kind='%d.%m.%Y %H:%M', zone_given=False)

    Raises:
        SettingsError: it is none of these.
    """
    if text == "iso":
        return TimeFormat("iso", _zoned(sample))
    if text in _UNITS:
        return TimeFormat(text)
    if "%" in text:
        return TimeFormat(text, "%z" in text or "%Z" in text)
    message = f"the time format {text!r} is unknown; expected iso, s, ms, us, ns or a strptime pattern like %d.%m.%Y"
    raise SettingsError(message)


def detect_time(values: Sequence[Any], column: str) -> TimeFormat:
    """The format of a sample of values, text or numbers; a value or two that are broken do not matter.

    >>> detect_time(["1433221332117"], "timestamp"), detect_time(["2014-04-07T10:51:09.277Z"], "t").kind
    (TimeFormat(kind='ms', zone_given=True), 'iso')
    >>> detect_time(["20240131", "20240201"], "t_dat").kind
    '%Y%m%d'

    Raises:
        SettingsError: nothing fits, or day and month cannot be told apart.
    """
    texts = [text for value in values[:2000] if (text := str(value).strip())]
    numbers = [float(text) for text in texts if _NUMBER.fullmatch(text)]
    if texts and len(numbers) >= _MOSTLY * len(texts) and not _all_days(texts):
        middle = float(np.median(np.abs(numbers)))
        return TimeFormat(next((unit for unit, limit in _LIMITS if middle < limit), "ns"))
    if texts and sum(_ISO.fullmatch(text) is not None for text in texts) >= _MOSTLY * len(texts):
        return TimeFormat("iso", _zoned(texts))
    fits = {pattern: share for pattern in _PATTERNS if (share := _share(texts, pattern)) >= _MOSTLY}
    best = [pattern for pattern, share in fits.items() if share == max(fits.values())]
    if len(best) == 1 or (best and not {"%m/%d", "%d/%m"} <= {pattern[:5] for pattern in best}):
        return TimeFormat(best[0], zone_given=False)
    shown = ", ".join(repr(text) for text in texts[:3]) or "nothing"
    why = "day and month cannot be told apart" if best else "no known format fits"
    hint = best[0] if best else "%d.%m.%Y %H:%M:%S"
    message = f'column {column!r} holds {shown}: {why}; say it: MAP="time={column}:{hint}" (or iso, s, ms, us, ns)'
    raise SettingsError(message)


def _all_days(texts: Sequence[str]) -> bool:
    """Whether numbers are dates like 20240131: as seconds they would all be of August 1970."""
    return sum(len(text) == 8 and text[:2] in ("19", "20") for text in texts) >= _MOSTLY * len(texts)


def _zoned(texts: Sequence[Any]) -> bool:
    return any(_ZONE.search(str(text).strip()[10:]) for text in texts[:2000])


def _share(texts: Sequence[str], pattern: str) -> float:
    """The share of texts that are exactly of a pattern."""
    good = 0
    for text in texts[:500]:
        try:
            datetime.strptime(text, pattern).replace(tzinfo=UTC)
            good += 1
        except ValueError:
            continue
    return good / max(1, min(len(texts), 500))


def read_times(values: Sequence[Any], form: TimeFormat) -> npt.NDArray[np.int64]:
    """Epoch milliseconds; :data:`NO_TIME` where a value is not of the format, or from before 1990.

    >>> read_times(["1433221332", "soon", ""], TimeFormat("s")).tolist()[:1]
    [1433221332000]
    """
    if form.kind in _UNITS:
        ms = _epochs(values, form.kind)
    else:
        kind = "ISO8601" if form.kind == "iso" else form.kind
        texts = pd.Series([_stripped(value) for value in values], dtype=object)
        parsed = pd.to_datetime(texts, format=kind, utc=True, errors="coerce")
        whole = parsed.to_numpy(dtype="datetime64[ms]")
        ms = np.where(np.isnat(whole), NO_TIME, whole.astype(np.int64))
    return np.where(ms < EARLIEST_MS, NO_TIME, ms)


def _stripped(value: Any) -> str:
    """
    >>> _stripped(" 2019-10-01 00:00:00 UTC ")
    '2019-10-01 00:00:00Z'
    """
    text = value.strip() if isinstance(value, str) else str(value)
    return text[:-3].rstrip() + "Z" if text[-3:] in ("UTC", "GMT") else text


def _epochs(values: Sequence[Any], unit: str) -> npt.NDArray[np.int64]:
    numbers = pd.to_numeric(pd.Series(values, dtype=object), errors="coerce")
    scaled = np.floor(numbers.to_numpy(np.float64) * _UNITS[unit])
    usable = np.isfinite(scaled) & (np.abs(scaled) < 2.5e14)  # about the year 9900
    ms: npt.NDArray[np.int64] = np.where(usable, scaled, NO_TIME).astype(np.int64)
    return ms
