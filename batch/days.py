"""From raw lake records to day partitions, without an engine: what one Spark task does with the records it is given."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from batch.moments import Units, day_moments
from batch.partition import Actions, DayPartition
from batch.recipe import MomentRecipe
from batch.units import DAY_MS, REACH_DAYS, unit_days, unit_keys
from contracts.events import ACTION_TYPES
from contracts.records import parse_records

__all__ = [
    "EVENT_COLUMNS",
    "IDENTIFY",
    "TALLY",
    "Chunk",
    "day_number",
    "day_of",
    "make_days",
    "midnight_ms",
    "route",
    "sift",
]

EVENT_COLUMNS: Final = ("day", "kind", "event_id", "subject", "session", "item", "ms")
"""The columns between the two tasks: ``kind`` is a place in ``ACTION_TYPES``, :data:`IDENTIFY` or :data:`TALLY`."""

IDENTIFY: Final = len(ACTION_TYPES)
TALLY: Final = IDENTIFY + 1
"""A row that only counts: ``subject`` is the name of the count, ``ms`` the number, ``day`` the arrival day."""

_EPOCH: Final = date(1970, 1, 1)
_KINDS: Final = {name: at for at, name in enumerate((*ACTION_TYPES, "identify"))}


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


def sift(records: Sequence[bytes], arrived: Sequence[int], shop: str, late_days: int) -> pd.DataFrame:
    """Parse records with the stream's own rules and keep what the moments need, as :data:`EVENT_COLUMNS`.

    Args:
        records: raw lines of the lake.
        arrived: the arrival day of each, days since the epoch.
        late_days: a record that arrived more days than this after it occurred is counted and left out, because its
            day's inputs (:func:`batch.plan.inputs_of`) do not reach so far.

    Malformed records, ignored types and late ones become tallies of their arrival day. Other shops' records vanish.
    """
    columns = parse_records(records)
    frame = pd.DataFrame({name: getattr(columns, name) for name in ("reason", "shop_id", "event_id", "event_type")})
    frame["subject"], frame["session"], frame["item"] = columns.subject, columns.session_id, columns.item_id
    frame["ms"], frame["arrived"] = np.array(columns.occurred_ms, np.int64), np.array(arrived, np.int64)
    frame["day"] = frame["ms"] // DAY_MS
    bad = frame["reason"] != ""
    mine = ~bad & (frame["shop_id"] == shop)
    kind = frame["event_type"].map(_KINDS)
    late = mine & (frame["arrived"] - frame["day"] > late_days)
    kept = mine & ~late & kind.notna()
    names = np.select(
        [bad, late, mine & kind.isna()],
        ["malformed." + frame["reason"], "too_late", "ignored." + frame["event_type"]],
        "",
    )
    identify = (kind == IDENTIFY).to_numpy()
    frame.loc[identify, "item"] = np.array(columns.anonymous_id, object)[identify]
    events = frame.loc[kept].assign(kind=kind[kept].astype(np.int8))
    return pd.concat([events[list(EVENT_COLUMNS)], _tallies(names, frame["arrived"].to_numpy())], ignore_index=True)


def _tallies(names: npt.NDArray[Any], arrived: npt.NDArray[np.int64]) -> pd.DataFrame:
    counts = Counter(zip(arrived[names != ""].tolist(), names[names != ""].tolist(), strict=True))
    rows = [(day, TALLY, "", name, "", "", number) for (day, name), number in counts.items()]
    types = {"day": np.int64, "kind": np.int8, "ms": np.int64}
    return pd.DataFrame(rows, columns=list(EVENT_COLUMNS)).astype(types)


def route(events: pd.DataFrame, chunks: Sequence[Chunk]) -> Iterator[tuple[int, pd.DataFrame]]:
    """The rows that each chunk needs: those of its days and, but for tallies, of :data:`REACH_DAYS` on each side."""
    day = events["day"].to_numpy()
    reach = np.where(events["kind"] == TALLY, 0, REACH_DAYS)
    for number, chunk in enumerate(chunks):
        wanted = (day >= chunk.first - reach) & (day <= chunk.last + reach)
        if wanted.any():
            yield number, events[wanted]


def make_days(events: pd.DataFrame, chunk: Chunk, recipe: MomentRecipe) -> Iterator[DayPartition]:
    """The partitions of a chunk's days from the rows routed to it, one for every day, in order.

    A repeated ``event_id`` counts once, as it occurred first.
    """
    tallies, events = _split(events, events["kind"].to_numpy() == TALLY)
    counts = {day: Counter[str]() for day in range(chunk.first, chunk.last + 1)}
    for day, name, number in zip(tallies["day"], tallies["subject"], tallies["ms"], strict=True):
        counts[int(day)][str(name)] += int(number)
    events = events.assign(rank=pd.factorize(events["event_id"], sort=True)[0])
    events = events.iloc[np.lexsort((events["rank"], events["ms"]))]
    repeated = events["rank"].duplicated().to_numpy()
    repeats = events["day"].to_numpy()[repeated]
    for day in repeats[(repeats >= chunk.first) & (repeats <= chunk.last)]:
        counts[int(day)]["duplicates"] += 1
    events = events[~repeated]
    identifies, actions = _split(events, events["kind"].to_numpy() == IDENTIFY)
    session = pd.factorize(actions["session"].where(actions["session"] != ""))[0]
    subject = pd.factorize(actions["subject"])[0]
    actions = actions.assign(unit_day=unit_days(session, actions["day"].to_numpy()), unit=unit_keys(session, subject))
    # Rows are in the order of (ms, event_id) already, and a stable sort keeps it within a unit.
    actions = actions.iloc[np.lexsort((actions["unit"], actions["unit_day"]))]
    for day in range(chunk.first, chunk.last + 1):
        begin, end = np.searchsorted(actions["unit_day"], [day, day + 1])
        aliases = identifies[identifies["day"] == day]
        pairs = sorted(set(zip(aliases["item"], aliases["subject"].str.removeprefix("u."), strict=True)))
        yield _make_day(day, actions.iloc[begin:end], pairs, counts[day], recipe)


def _split(frame: pd.DataFrame, chosen: npt.NDArray[np.bool_]) -> tuple[pd.DataFrame, pd.DataFrame]:
    return frame[chosen], frame[~chosen]


def _make_day(
    day: int, actions: pd.DataFrame, aliases: list[tuple[str, str]], counts: Counter[str], recipe: MomentRecipe
) -> DayPartition:
    item, items = pd.factorize(actions["item"], sort=True)
    subject, subjects = pd.factorize(actions["subject"], sort=True)
    unit = actions["unit"].to_numpy()
    starts = np.flatnonzero(np.diff(unit, prepend=unit[:1] - 1))
    offsets = np.append(starts, len(unit)).astype(np.int64)
    units = _shortened(Units(offsets, item.astype(np.int32)), recipe.longest)
    counts.update(actions=len(actions), units=len(units), cut=len(item) - len(units.items))
    log = Actions(
        subjects.tolist(),
        offsets,
        subject.astype(np.int32),
        item.astype(np.int32),
        actions["kind"].to_numpy(np.int8),
        actions["ms"].to_numpy(np.int64),
        aliases,
    )
    return DayPartition(day_of(day), day_moments(units, items.tolist(), recipe), log, dict(counts))


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
