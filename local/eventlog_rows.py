"""From rows of an own log to clean events: one mapping settled from a sample, then piece by piece the same rules."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from contracts.errors import SettingsError
from contracts.events import EVENT_TYPES, FUTURE_MS
from contracts.ids import MAX_ID_LENGTH, is_id
from local.eventlog_map import IGNORE, Given, find_columns, guess, plain, type_of
from local.eventlog_read import Bad, Chunk, LogFile
from local.eventlog_time import NO_TIME, TimeFormat, detect_time, read_times, time_format

__all__ = ["DESCRIBING", "EVENT_COLUMNS", "LogMapping", "clean", "decimal_sign", "numbers", "settle", "texts"]

EVENT_COLUMNS: Final = (
    "line",
    "ms",
    "type",
    "user",
    "anonymous",
    "session",
    "item",
    "quantity",
    "price",
    "currency",
    "event_id",
)
"""Of the frame of clean rows; ``line`` is where the row is in the file, ``ms`` its time (UTC)."""

DESCRIBING: Final[tuple[str, ...]] = ("title", "category", "image")
"""Columns that say something of the item, not of the event; in the frame behind :data:`EVENT_COLUMNS`."""

_EMPTY: Final = frozenset(("", "null", "NULL", "None", "nan", "NaN", "NA", "N/A", "\\N", "<NA>"))
_SIGNS: Final = {"€": "EUR", "$": "USD", "£": "GBP"}
_ORDERED: Final = ("order_id", "quantity", "price")
"""A log without event types that has one of these is taken for purchases, any other for views."""

_IDS: Final = ("user_id", "anonymous_id", "session_id", "order_id", "item_id", "event_id")
_MOST: Final = {"quantity": 100_000.0, "price": 1e9}


@dataclass(frozen=True)
class LogMapping:
    """How a log is read.

    ``assumed`` is the type of every row where no column says it; ``decimal`` is ``.`` or ``,``.
    """

    columns: dict[str, str]
    types: dict[str, str]
    time: TimeFormat
    assumed: str | None = None
    decimal: str = "."
    currency: str | None = None

    def describe(self, words: Iterable[str | None] | None = None) -> list[str]:
        """The mapping in words, for the console."""
        said = [f"{name} = {column}" for name, column in self.columns.items() if name != "time"]
        lines = ["columns: " + ", ".join(said), f"time = {self.columns['time']}: {self.time.describe()}"]
        if self.assumed:
            lines.append(f'no column of event types: every row is taken as {self.assumed} (MAP="type=…" changes it)')
        elif words:
            pairs = ((word, type_of(word, self.types)) for word in words if word is not None)
            lines.append("event types: " + ", ".join(f"{word} → {kind or 'unknown'}" for word, kind in pairs))
        if "user_id" not in self.columns:
            person = "anonymous_id" if "anonymous_id" in self.columns else "session_id"
            lines.append(f"no column of known users: each {self.columns[person]} is one anonymous visitor")
        if "session_id" not in self.columns:
            by = self.columns["order_id"] if self.orders_are_sessions else "person and UTC day"
            lines.append(f"no column of sessions: what belongs together is told by {by}")
        if self.decimal == ",":
            lines.append("prices have a decimal comma")
        return lines

    @property
    def orders_are_sessions(self) -> bool:
        """Where every row is a purchase, an order is the visit; else orders would tear visits apart."""
        return "session_id" not in self.columns and "order_id" in self.columns and self.assumed == "purchase"


def settle(log: LogFile, sample: Chunk) -> LogMapping:
    """The mapping of a log, from what was given, its column names and some of its rows.

    Raises:
        SettingsError: a column is missing, or the time cannot be read.
    """
    given: Given = log.given
    columns = find_columns(log.columns, given, str(log.path))
    moments = [value for value in sample.columns[columns["time"]] if value not in (None, "")]
    if given.time_format:
        form = time_format(given.time_format, moments)
    elif columns["time"] in log.times:
        form = TimeFormat(log.times[columns["time"]], zone_given=columns["time"] not in log.naive, declared=True)
    else:
        form = detect_time(moments, columns["time"])
    orders = any(name in columns for name in _ORDERED)
    assumed = None if "event_type" in columns else given.options.get("type", "purchase" if orders else "view")
    prices = sample.columns[columns["price"]][:20_000] if "price" in columns else ()
    decimal = given.options.get("decimal") or decimal_sign([str(price) for price in prices])
    if decimal not in (".", ","):
        message = f"decimal is {decimal!r}; expected . or ,"
        raise SettingsError(message)
    return LogMapping(columns, given.types, form, assumed, decimal, given.options.get("currency_code"))


def decimal_sign(amounts: Sequence[str]) -> str:
    """The decimal sign, told from how many digits follow it.

    >>> decimal_sign(["1.299,00", "5,5"]), decimal_sign(["1,299.00", "5.5"]), decimal_sign(["7"])
    (',', '.', '.')
    """
    commas = sum(bool(re.search(r",\d{1,2}\D*$", amount)) for amount in amounts)
    points = sum(bool(re.search(r"\.\d{1,2}\D*$", amount)) for amount in amounts)
    return "," if commas > points else "."


def texts(values: Sequence[Any]) -> list[str | None]:
    """Ids and words as text, ``None`` for what means nothing; whole numbers lose the ``.0`` that a gap gave them.

    >>> texts([" a ", 7, 7.0, float("nan"), "NULL", None, True])
    ['a', '7', '7', None, None, None, 'True']
    """
    try:
        return [text if (text := value.strip()) not in _EMPTY else None for value in values]
    except AttributeError:  # not all of them are text
        return [_text(value) for value in values]


def _text(value: Any) -> str | None:
    if isinstance(value, float):
        if value != value:
            return None
        return str(int(value)) if value.is_integer() else repr(value)
    text = value.strip() if isinstance(value, str) else "" if value is None else str(value)
    return None if text in _EMPTY else text


def numbers(values: Sequence[Any], decimal: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Amounts, NaN where there is none, and where something that is no amount stands instead.

    >>> numbers(["1.299,00 €", "", "free"], ",")[0].tolist()[:1]
    [1299.0]
    """
    cleaned = texts(values)
    if decimal == ",":
        cleaned = [text and text.replace(".", "").replace(",", ".") for text in cleaned]
    read = pd.to_numeric(pd.Series(cleaned, dtype=object), errors="coerce").to_numpy(np.float64, na_value=np.nan).copy()
    given = np.array([text is not None for text in cleaned], bool)
    for at in np.flatnonzero(given & np.isnan(read)).tolist():
        plainer = re.sub(r"^[^\d+-]{1,4}|[^\d]{1,4}$|[\s,']", "", cleaned[at] or "")
        if re.fullmatch(r"[+-]?\d+(\.\d+)?", plainer):
            read[at] = float(plainer)
    return read, given & ~np.isfinite(read)


class _Faults:
    """Collects what is wrong with rows; the first fault of a row is the one that is told."""

    def __init__(self, lines: npt.NDArray[np.int64]) -> None:
        self._lines = lines
        self._which = np.full(len(lines), -1)
        self._told: list[tuple[str, Callable[[int], str]]] = []

    def note(self, rows: npt.NDArray[np.bool_], reason: str, tell: Callable[[int], str]) -> None:
        self._which[rows & (self._which < 0)] = len(self._told)
        self._told.append((reason, tell))

    @property
    def good(self) -> npt.NDArray[np.bool_]:
        return self._which < 0

    def bad(self) -> list[Bad]:
        rows = np.flatnonzero(self._which >= 0).tolist()
        told = ((at, *self._told[self._which[at]]) for at in rows)
        return [Bad(int(self._lines[at]), reason, tell(at)) for at, reason, tell in told]


def clean(chunk: Chunk, mapping: LogMapping, now_ms: int, words: Counter[str]) -> tuple[pd.DataFrame, list[Bad], int]:
    """The usable rows as a frame (:data:`EVENT_COLUMNS`, then those of :data:`DESCRIBING`), the bad ones, and how many
    were left out because their type says so.

    Args:
        now_ms: nothing can have happened later than five minutes after it.
        words: counts the log's words for event types.
    """
    column = {name: chunk.columns[found] for name, found in mapping.columns.items()}
    faults = _Faults(chunk.lines)
    absent: list[str | None] = [None] * len(chunk.lines)
    named = {name: texts(column[name]) if name in column else absent for name in (*_IDS, "currency", *DESCRIBING)}
    ms = read_times(column["time"], mapping.time)
    faults.note(ms == NO_TIME, "bad_time", lambda at: f"the time is {column['time'][at]!r}; {_expected(mapping)}")
    faults.note(ms > now_ms + FUTURE_MS, "future", lambda at: f"the time is {column['time'][at]!r}; it is yet to come")
    kinds = _types(column.get("event_type"), mapping, len(ms), words, faults)
    _check_ids(named, faults)
    amounts = {name: _amount(name, column, mapping.decimal, faults) for name in _MOST}
    frame = pd.DataFrame({"line": chunk.lines, "ms": ms, "type": kinds})
    frame["user"] = np.array(named["user_id"], object)
    frame["anonymous"] = np.array(_anonymous(named), object)
    frame["session"] = np.array(named["order_id" if mapping.orders_are_sessions else "session_id"], object)
    frame["item"] = np.array(named["item_id"], object)
    frame["quantity"] = np.ceil(np.nan_to_num(amounts["quantity"], nan=1.0))
    frame["price"] = amounts["price"]
    frame["currency"] = np.array(_currency(named["currency"], mapping.currency, faults), object)
    frame["event_id"] = _event_ids(frame, named["event_id"], named["order_id"])
    for name in DESCRIBING:
        frame[name] = np.array(named[name], object)
    ignored = faults.good & (kinds == IGNORE)
    bad = sorted(faults.bad() + chunk.bad, key=lambda row: row.line)
    return frame[faults.good & ~ignored], bad, int(ignored.sum())


def _expected(mapping: LogMapping) -> str:
    return f"expected {mapping.time.describe().partition(',')[0]}, 1990 or later"


def _types(
    values: Sequence[Any] | None, mapping: LogMapping, count: int, words: Counter[str], faults: _Faults
) -> npt.NDArray[Any]:
    if values is None:
        return np.full(count, mapping.assumed, object)
    named = texts(values)
    seen = Counter(word for word in named if word is not None)
    words.update(seen)
    known = {word: type_of(word, mapping.types) for word in seen}
    kinds = np.array([known[word] if word is not None else None for word in named], object)
    absent = np.array([word is None for word in named], bool)
    faults.note(absent, "missing_field", lambda at: f"{mapping.columns['event_type']} (event_type) is empty")

    def tell(at: int) -> str:
        word = str(named[at])
        hint = f"types.{plain(word) or word}=view"
        return f'event type {word[:40]!r} is unknown{guess(word, EVENT_TYPES)} (MAP="{hint}" or ={IGNORE})'

    faults.note(np.array([kind is None for kind in kinds], bool), "unknown_type", tell)
    return kinds


def _check_ids(named: Mapping[str, Sequence[str | None]], faults: _Faults) -> None:
    people = zip(named["user_id"], named["anonymous_id"], named["session_id"], strict=True)
    nobody = np.array([user is None and other is None and session is None for user, other, session in people], bool)
    faults.note(nobody, "missing_field", lambda at: "user, anonymous visitor and session are all empty")
    items = named["item_id"]
    faults.note(np.array([item is None for item in items], bool), "missing_field", lambda at: "item_id is empty")
    for name in _IDS:
        values = named[name]
        given = [value for value in values if value is not None]
        if "".join(given).isprintable() and max(map(len, given), default=0) <= MAX_ID_LENGTH:
            continue
        wrong = np.array([value is not None and not is_id(value) for value in values], bool)
        faults.note(wrong, "bad_id", _teller(name, values))


def _teller(name: str, values: Sequence[Any]) -> Callable[[int], str]:
    return lambda at: f"{name} is {values[at][:40]!r} ({len(values[at])} characters); expected 1 to 128 printable ones"


def _amount(name: str, column: Mapping[str, Sequence[Any]], decimal: str, faults: _Faults) -> npt.NDArray[np.float64]:
    if name not in column:
        return np.full(len(faults.good), np.nan)
    values = column[name]
    read, wrong = numbers(values, decimal)
    faults.note(wrong, "bad_field", lambda at: f"{name} is {values[at]!r}; expected a number")
    least, most = (1e-9, _MOST[name]) if name == "quantity" else (0.0, _MOST[name])
    outside = (read < least) | (read > most)
    expected = f"1 to {most:,.0f} (a return is no event)" if name == "quantity" else f"0 to {most:,.0f}"
    faults.note(outside, "bad_field", lambda at: f"{name} is {values[at]!r}; expected {expected}")
    return read


def _currency(named: Sequence[str | None], fallback: str | None, faults: _Faults) -> list[str | None]:
    codes = [fallback if code is None else _SIGNS.get(code, code.upper()) for code in named]
    wrong = np.array([code is not None and len(code) != 3 for code in codes], bool)
    faults.note(wrong, "bad_field", lambda at: f"currency is {codes[at]!r}; expected three letters")
    return codes


def _anonymous(named: Mapping[str, Sequence[str | None]]) -> list[str | None]:
    """Who is not known is told apart by their own id, else by their session."""
    rows = zip(named["user_id"], named["anonymous_id"], named["session_id"], strict=True)
    return [other if user or other else session for user, other, session in rows]


def _event_ids(frame: pd.DataFrame, own: Sequence[str | None], orders: Sequence[str | None]) -> npt.NDArray[Any]:
    """The log's own ids; else a hash of person, session, order, item and type, behind the time.

    The same row has the same id in every run and every export; two rows that agree in all of this count once.
    """
    parts = frame[["user", "anonymous", "session", "item", "type"]].assign(order=np.array(orders, object))
    hashes = pd.util.hash_pandas_object(parts.fillna(""), index=False).to_numpy()
    made = [f"{ms:x}-{number:016x}" for ms, number in zip(frame["ms"].tolist(), hashes.tolist(), strict=True)]
    return np.array([mine if mine is not None else other for mine, other in zip(own, made, strict=True)], object)
