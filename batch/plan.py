"""Which days a training needs, which of them are stored already, and what has to be read to make the others."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Final

from batch.contents import Contents, Held, assumed
from batch.days import Chunk, day_number, day_of
from batch.partition import Input, partition_key, partition_path
from batch.recipe import MomentRecipe
from batch.rollup import Part, plan_parts
from batch.units import REACH_DAYS
from contracts.errors import TrainingError
from contracts.lake import EVENTS_PREFIX

__all__ = ["Plan", "Window", "arrival_day", "chunks_of", "foresee", "make_plan", "run_length", "unread"]

_CHUNK_BYTES: Final = 8 << 20
"""Compressed events that one task makes days of: some 10⁵ events."""

_SHORTEST_RUN: Final = 3
"""Days that are made together at least, because each needs its neighbours' events too."""


@dataclass(frozen=True, slots=True)
class Window:
    """Days of units, ``first`` (None: the lake's first) to ``last``, both included."""

    first: date | None
    last: date

    def reaches(self, arrival: date, late_days: int) -> bool:
        """Whether an object of an arrival day can decide over units of the window."""
        before, after = timedelta(days=REACH_DAYS + 1), timedelta(days=REACH_DAYS + late_days)
        return arrival <= self.last + after and (self.first is None or arrival >= self.first - before)


@dataclass(frozen=True, slots=True)
class Plan:
    """``wanted`` maps every day of the window to its partition's path, oldest first; ``stale`` are those not stored.

    ``inputs`` are the lake objects of each stale day; ``reads`` all of theirs, each once; ``parts`` how the days of the
    window are summed.
    """

    wanted: dict[date, str]
    stale: list[date]
    inputs: dict[date, list[Input]]
    reads: list[Input]
    parts: list[Part]


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


def unread(objects: Sequence[Input], contents: Contents, window: Window, late_days: int) -> list[Input]:
    """The objects that can decide over the window and of which nobody knows yet what they hold."""
    return [
        each
        for each in objects
        if each not in contents and (day := arrival_day(each.path)) and window.reaches(day, late_days)
    ]


def foresee(objects: Sequence[Input], contents: Contents, window: Window, late_days: int) -> dict[Input, Held]:
    """Contents with a likely guess for the unread objects: what a dry run plans with."""
    new = unread(objects, contents, window, late_days)
    return {**contents, **assumed(new, [day_number(arrival_day(each.path) or date.min) for each in new])}


def make_plan(
    objects: Sequence[Input],
    contents: Contents,
    stored: Collection[str],
    shop: str,
    window: Window,
    recipe: MomentRecipe,
    half_life_d: float = 0.0,
) -> Plan:
    """Compare what the lake holds with the sums that are stored.

    A day is made from the objects that hold events of it or of :data:`REACH_DAYS` around it, and from those of its
    arrival day whose records are counted there.

    Args:
        objects: the lake's objects; of those without ``contents`` nothing is expected.
        stored: the paths of the day partitions and roll-ups that exist.

    Raises:
        TrainingError: no object of the lake belongs to the window.
    """
    lake = {each: day for each in objects if (day := arrival_day(each.path)) is not None}
    if not lake:
        message = (
            f"the lake holds no events: {len(objects)} objects below {EVENTS_PREFIX}; let events arrive, then train"
        )
        raise TrainingError(message)
    near, holding = _by_day(lake, contents)
    days = [day for day in sorted(holding) if (window.first is None or day >= window.first) and day <= window.last]
    if not days:
        span = f"{min(lake.values())} to {max(lake.values())}"
        message = (
            f"no events of shop {shop!r} between {window.first} and {window.last}; the lake holds arrivals from {span}"
        )
        raise TrainingError(message)
    inputs = {day: sorted(near[day]) for day in days}
    wanted = {day: partition_path(shop, day, partition_key(recipe, inputs[day])) for day in days}
    known = set(stored)
    stale = [day for day in days if wanted[day] not in known]
    reads = sorted({each for day in stale for each in inputs[day]})
    parts = plan_parts(shop, wanted, window.first, half_life_d, known)
    return Plan(wanted, stale, {day: inputs[day] for day in stale}, reads, parts)


def _by_day(lake: dict[Input, date], contents: Contents) -> tuple[dict[date, set[Input]], set[date]]:
    """The objects that decide over each day, and the days that have events or counts of their own."""
    near: dict[int, set[Input]] = defaultdict(set)
    holding: set[int] = set()
    for each, arrival in lake.items():
        held = contents.get(each, Held())
        holding.update(held.days)
        for day in {day + shift for day in held.days for shift in range(-REACH_DAYS, REACH_DAYS + 1)}:
            near[day].add(each)
        if held.counts:
            near[day_number(arrival)].add(each)
            holding.add(day_number(arrival))
    return {day_of(day): found for day, found in near.items()}, {day_of(day) for day in holding}


def run_length(objects: Sequence[Input], tasks: int) -> int:
    """How many days following each other one task should make, for about ``tasks`` tasks of a fair size.

    >>> year = [Input(f"events/year=2026/month=01/day={n:02}/a.gz", 1000, "x") for n in range(1, 31)]
    >>> run_length(year, 6), run_length(year[:2], 6)
    (5, 3)
    """
    days = len({arrival_day(each.path) for each in objects})
    tasks = max(tasks, sum(each.bytes for each in objects) // _CHUNK_BYTES)
    return min(max(-(-days // tasks), _SHORTEST_RUN), max(days, _SHORTEST_RUN))


def chunks_of(days: Iterable[date], length: int) -> dict[int, list[Chunk]]:
    """Days by run of ``length`` days since the epoch; within a run those that follow each other.

    >>> chunks_of([date(1970, 1, 1 + n) for n in (1, 2, 3, 4, 5, 9)], 5)
    {0: [Chunk(first=1, last=4)], 1: [Chunk(first=5, last=5), Chunk(first=9, last=9)]}
    """
    runs: dict[int, list[int]] = defaultdict(list)
    for number in sorted(map(day_number, days)):
        runs[number // length].append(number)
    chunks = {}
    for run, numbers in runs.items():
        ends = [a for a, b in pairwise(numbers) if b > a + 1] + numbers[-1:]
        starts = numbers[:1] + [b for a, b in pairwise(numbers) if b > a + 1]
        chunks[run] = [Chunk(a, b) for a, b in zip(starts, ends, strict=True)]
    return chunks
