"""Which days a training needs, which of them are stored already, and what has to be read to make the others."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from batch.days import Chunk, day_number
from batch.partition import Input, partition_key, partition_path
from batch.recipe import MomentRecipe
from batch.units import REACH_DAYS
from contracts.errors import TrainingError
from contracts.lake import EVENTS_PREFIX

__all__ = ["Plan", "arrival_day", "inputs_of", "make_plan"]


@dataclass(frozen=True, slots=True)
class Plan:
    """``wanted`` maps every day of the window to its partition's path, oldest first; ``stale`` are those not stored.

    ``inputs`` are the lake objects of each stale day; ``reads`` all of theirs, each once; ``chunks`` cover these days.
    """

    wanted: dict[date, str]
    stale: list[date]
    inputs: dict[date, list[Input]]
    reads: list[Input]
    chunks: list[Chunk]


def arrival_day(path: str) -> date | None:
    """The arrival day in a lake path; None where it is not one.

    >>> arrival_day("events/year=2026/month=01/day=05/a.gz")
    datetime.date(2026, 1, 5)
    """
    parts = dict(part.split("=", 1) for part in path.removeprefix(EVENTS_PREFIX).split("/")[:-1] if "=" in part)
    try:
        return date(int(parts["year"]), int(parts["month"]), int(parts["day"]))
    except (KeyError, ValueError):
        return None


def inputs_of(day: date, lake: Mapping[date, Sequence[Input]], late_days: int) -> list[Input]:
    """Every object that can hold a record that decides over the units of ``day``.

    These are the arrival days of the events of ``day ± REACH_DAYS``: one day earlier, because a client's clock may be
    ahead, and ``late_days`` later.
    """
    first, last = -REACH_DAYS - 1, REACH_DAYS + late_days
    return [object_ for shift in range(first, last + 1) for object_ in lake.get(day + timedelta(days=shift), ())]


def make_plan(
    objects: Sequence[Input],
    stored: Sequence[str],
    shop: str,
    window: tuple[date | None, date],
    recipe: MomentRecipe,
    tasks: int,
) -> Plan:
    """Compare what the lake holds with the partitions that are stored.

    Args:
        objects: the lake's objects.
        stored: the paths of the day partitions that exist.
        window: first day (None: the lake's first) and last day of units, both included.
        tasks: how many chunks to aim at.

    Raises:
        TrainingError: no object of the lake belongs to the window.
    """
    lake: dict[date, list[Input]] = defaultdict(list)
    for object_ in objects:
        if (day := arrival_day(object_.path)) is not None:
            lake[day].append(object_)
    if not lake:
        message = (
            f"the lake holds no events: {len(objects)} objects below {EVENTS_PREFIX}; let events arrive, then train"
        )
        raise TrainingError(message)
    first = max(min(lake) - timedelta(days=1), window[0] or date.min)
    last = min(max(lake) + timedelta(days=1), window[1])
    span = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    late = recipe.late_days
    days = [d for d in span if any(d + timedelta(days=n) in lake for n in range(-1, late + 1))]
    if not days:
        message = (
            f"no events between {window[0]} and {window[1]}; the lake holds arrivals from {min(lake)} to {max(lake)}"
        )
        raise TrainingError(message)
    inputs = {day: inputs_of(day, lake, late) for day in days}
    wanted = {day: partition_path(shop, day, partition_key(recipe, inputs[day])) for day in days}
    known = set(stored)
    stale = [day for day in days if wanted[day] not in known]
    reads = sorted({object_ for day in stale for object_ in inputs[day]})
    return Plan(wanted, stale, {day: inputs[day] for day in stale}, reads, _chunks(stale, tasks))


def _chunks(days: Sequence[date], tasks: int) -> list[Chunk]:
    """Runs of days that follow each other, cut to even lengths.

    >>> week = [date(1970, 1, 1 + n) for n in (1, 2, 3, 4, 9)]
    >>> _chunks(week, 3)
    [Chunk(first=1, last=2), Chunk(first=3, last=4), Chunk(first=9, last=9)]
    """
    most = max(1, math.ceil(len(days) / tasks))
    chunks: list[Chunk] = []
    for number in map(day_number, days):
        previous = chunks[-1] if chunks else None
        if previous and number == previous.last + 1 and number - previous.first < most:
            chunks[-1] = Chunk(previous.first, number)
        else:
            chunks.append(Chunk(number, number))
    return chunks
