"""From raw lake records to day partitions, without an engine: what one Spark task does with the records it is given."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batch.bots import find_bots
from batch.moments import Units, day_moments
from batch.partition import Actions, DayPartition
from batch.recipe import MomentRecipe
from batch.units import DAY_MS, REACH_DAYS, unit_days, unit_keys
from contracts.events import ACTION_TYPES
from contracts.records import parse_records

__all__ = [
    "EVENTS",
    "IDENTIFY",
    "TALLY",
    "Chunk",
    "day_number",
    "day_of",
    "make_days",
    "midnight_ms",
    "sift",
]

EVENTS: Final = pa.schema(
    [
        ("day", pa.int64()),
        ("kind", pa.int8()),
        ("event_id", pa.string()),
        ("subject", pa.string()),
        ("session", pa.string()),
        ("item", pa.string()),
        ("ms", pa.int64()),
    ]
)
"""The table between the two tasks: ``kind`` is a place in ``ACTION_TYPES``, :data:`IDENTIFY` or :data:`TALLY`."""

IDENTIFY: Final = len(ACTION_TYPES)
TALLY: Final = IDENTIFY + 1
"""A row that only counts: ``subject`` is the name of the count, ``ms`` the number, ``day`` the arrival day."""

_EPOCH: Final = date(1970, 1, 1)
_KINDS: Final = {name: at for at, name in enumerate((*ACTION_TYPES, "identify"))}
_OLD_RECEIPT_DAYS: Final = 2

Longs = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Days that one task makes, ``first`` to ``last`` included, as days since the epoch."""

    first: int
    last: int


def day_number(day: date) -> int:
    """Days since the epoch.

    >>> day_number(date(1970, 1, 2)), day_of(1)
    (1, datetime.date(1970, 1, 2))
    """
    return (day - _EPOCH).days


def day_of(number: int) -> date:
    """The date of :func:`day_number`."""
    return _EPOCH + timedelta(days=int(number))


def sift(records: Sequence[bytes], arrived: int, shop: str, late_days: int) -> pa.Table:
    """Parse records of one arrival day with the stream's own rules and keep what the moments need, as :data:`EVENTS`.

    Args:
        records: raw lines of the lake.
        arrived: their arrival day, days since the epoch.
        late_days: a record that arrived more days than this after it occurred is counted and left out.

    Malformed records, ignored types and late ones become tallies of the arrival day; so does (as ``future``) a record
    that says it was received after that day ended, and ``old_receipt`` counts those received more than two days before
    it began, which are used. Other shops' records vanish.
    """
    columns = parse_records(records, [(arrived + 1) * DAY_MS] * len(records))
    ms = np.array(columns.occurred_ms, np.int64)
    day = ms // DAY_MS
    good = np.fromiter((not reason for reason in columns.reason), bool, len(ms))
    mine = good & np.fromiter((found == shop for found in columns.shop_id), bool, len(ms))
    kind = np.fromiter((_KINDS.get(name, -1) for name in columns.event_type), np.int8, len(ms))
    late = mine & (arrived - day > late_days)
    kept = mine & ~late & (kind >= 0)
    old = kept & (np.array(columns.received_ms, np.int64) < (arrived - _OLD_RECEIPT_DAYS) * DAY_MS)
    tallies = Counter(f"malformed.{columns.reason[at]}" for at in np.flatnonzero(~good))
    tallies.update(f"ignored.{columns.event_type[at]}" for at in np.flatnonzero(mine & ~late & (kind < 0)))
    tallies.update({"too_late": int(late.sum()), "old_receipt": int(old.sum())})
    item = columns.item_id
    for at in np.flatnonzero(kind == IDENTIFY):
        item[at] = columns.anonymous_id[at]
    texts = [pa.array(column, pa.string()) for column in (columns.event_id, columns.subject, columns.session_id, item)]
    events = pa.Table.from_arrays([pa.array(day), pa.array(kind), *texts, pa.array(ms)], schema=EVENTS)
    return pa.concat_tables([events.filter(pa.array(kept)), _tallies(+tallies, arrived)])


def _tallies(counts: Counter[str], arrived: int) -> pa.Table:
    rows = [
        {"day": arrived, "kind": TALLY, "event_id": "", "subject": name, "session": "", "item": "", "ms": number}
        for name, number in counts.items()
    ]
    return pa.Table.from_pylist(rows, EVENTS)


def make_days(events: pa.Table, chunk: Chunk, recipe: MomentRecipe) -> Iterator[DayPartition]:
    """The partitions of a chunk's days, one for every day, in order, from all events of these days and around them.

    ``events`` must hold every event of :data:`REACH_DAYS` on each side, in any order, and may hold more. An
    ``event_id`` that occurred before, on the same day or up to :data:`REACH_DAYS` days earlier, is a repetition and
    does not count. What a program did (:mod:`batch.bots`) is counted and left out. None of this, nor the order of the
    units within a day (the one that began first is first), depends on how the days are cut into chunks.
    """
    events, counts = _take_tallies(events, chunk)
    day, kind, ms = (events.column(name).to_numpy() for name in ("day", "kind", "ms"))
    event, _ = _codes(events.column("event_id"))
    subject, subjects = _codes(events.column("subject"))
    item, items = _codes(events.column("item"))
    session, sessions = _codes(events.column("session"))
    session = np.where(sessions.to_numpy(zero_copy_only=False)[session] == "", -1, session) if len(session) else session
    time = np.lexsort((item, kind, subject, session, event, ms))  # the last four tell apart what a client mixed up
    day, kind, ms, event, subject, item, session = (c[time] for c in (day, kind, ms, event, subject, item, session))
    repeated = _repeated(event, day)
    for number in day[repeated]:
        if number in counts:
            counts[int(number)]["duplicates"] += 1
    action = kind != IDENTIFY
    unit_day = np.full(len(day), -1)
    unit_day[action] = unit_days(session[action], day[action])
    known = np.flatnonzero(~action & ~repeated)
    rows = np.flatnonzero(action & ~repeated)
    bots = find_bots(subject[rows], ms[rows], recipe.bots)
    rows = rows[~bots.drop]
    unit = unit_keys(session[rows], subject[rows])
    rows = rows[_by_unit(unit_day[rows], unit)]
    unit = unit_keys(session[rows], subject[rows])
    for number in range(chunk.first, chunk.last + 1):
        counts[number].update(bots.counts(number))
        begin, end = np.searchsorted(unit_day[rows], [number, number + 1])
        here, alias = rows[begin:end], known[day[known] == number]
        pairs = {
            (str(items[i]), str(subjects[s]).removeprefix("u."))
            for i, s in zip(item[alias], subject[alias], strict=True)
        }
        done = (subject[here], subjects, item[here], items, kind[here], ms[here], unit[begin:end])
        yield _make_day(number, done, sorted(pairs), counts[number], recipe)


def _take_tallies(events: pa.Table, chunk: Chunk) -> tuple[pa.Table, dict[int, Counter[str]]]:
    """The events that decide over a chunk, and the counts of its days."""
    counts = {day: Counter[str]() for day in range(chunk.first, chunk.last + 1)}
    day, tally = events.column("day").to_numpy(), events.column("kind").to_numpy() == TALLY
    for row in events.filter(pa.array(tally)).to_pylist():
        if row["day"] in counts:
            counts[row["day"]][row["subject"]] += row["ms"]
    near = ~tally & (day >= chunk.first - REACH_DAYS) & (day <= chunk.last + REACH_DAYS)
    return events.filter(pa.array(near)), counts


def _codes(column: pa.ChunkedArray) -> tuple[Longs, pa.Array]:
    """Places of strings among the distinct ones, which are sorted."""
    if not len(column):
        return np.zeros(0, np.int64), pa.array([], pa.string())
    found = column.combine_chunks().dictionary_encode()
    if isinstance(found, pa.ChunkedArray):
        found = found.combine_chunks()
    order = pc.sort_indices(found.dictionary)
    place = np.empty(len(order), np.int64)
    place[order.to_numpy()] = np.arange(len(order))
    codes: Longs = place[found.indices.to_numpy()]
    return codes, found.dictionary.take(order)


def _repeated(event: Longs, day: Longs) -> Mask:
    """Which events, in the order of time, have the id of one at most :data:`REACH_DAYS` days before.

    >>> _repeated(np.array([0, 1, 0, 0]), np.array([1, 1, 2, 9])).tolist()
    [False, False, True, False]
    """
    order = np.argsort(event, kind="stable")
    again = np.diff(event[order], prepend=-1) == 0
    near = np.diff(day[order], prepend=0) <= REACH_DAYS
    out = np.zeros(len(event), bool)
    out[order] = again & near
    return out


def _by_unit(unit_day: Longs, unit: Longs) -> Longs:
    """The order by day, then unit (the one that began first is first), then time, of actions in the order of time.

    >>> _by_unit(np.array([5, 4, 4, 4]), np.array([1, 9, -2, 9])).tolist()
    [1, 3, 2, 0]
    """
    order: Longs = np.lexsort((unit, unit_day))
    new = (np.diff(unit_day[order], prepend=-1) != 0) | (np.diff(unit[order], prepend=0) != 0)
    new[:1] = True
    began = np.empty(len(unit), np.int64)
    began[order] = order[np.flatnonzero(new)][np.cumsum(new) - 1]
    return np.lexsort((np.arange(len(unit)), began, unit_day))  # type: ignore[no-any-return]


def _make_day(
    day: int, done: tuple[Any, ...], aliases: list[tuple[str, str]], counts: Counter[str], recipe: MomentRecipe
) -> DayPartition:
    subject, subjects, item, items, kind, ms, unit = done
    here, item = np.unique(item, return_inverse=True)
    people, subject = np.unique(subject, return_inverse=True)
    starts = np.flatnonzero(np.diff(unit, prepend=unit[:1] - 1))
    offsets = np.append(starts, len(unit)).astype(np.int64)
    units = _shortened(Units(offsets, item.astype(np.int32)), recipe.longest)
    counts.update(actions=len(item), units=len(units), cut=len(item) - len(units.items))
    log = Actions(
        subjects.take(pa.array(people)).to_pylist(),
        offsets,
        subject.astype(np.int32),
        item.astype(np.int32),
        kind,
        ms,
        aliases,
    )
    moments = day_moments(units, items.take(pa.array(here)).to_pylist(), recipe)
    return DayPartition(day_of(day), moments, log, dict(counts))


def _shortened(units: Units, longest: int) -> Units:
    """Units with only their newest ``longest`` actions."""
    lengths = np.diff(units.offsets)
    if not len(lengths) or lengths.max() <= longest:
        return units
    left = np.repeat(units.offsets[1:], lengths) - np.arange(len(units.items))
    offsets = np.concatenate(([0], np.cumsum(np.minimum(lengths, longest))))
    return Units(offsets.astype(np.int64), units.items[left <= longest])


def midnight_ms(day: date) -> int:
    """The first millisecond of a UTC day.

    >>> midnight_ms(date(1970, 1, 2))
    86400000
    """
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
