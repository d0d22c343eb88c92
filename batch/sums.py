"""The trainer's memory: the stored sums brought up to date with the lake, and the totals of any span of their days."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batch.contents import Contents, decode_contents, encode_contents
from batch.exchange import Exchange
from batch.inventory import list_objects
from batch.merge import Runner, merge_parts
from batch.moments import Totals
from batch.partition import Input
from batch.plan import Plan, Window, foresee, make_plan, run_length, unread
from batch.recipe import MomentRecipe
from batch.rollup import Part, plan_parts
from contracts.errors import TrainingError
from contracts.lake import EVENTS_PREFIX, contents_path, moments_prefix, moments_root, scratch_prefix
from contracts.settings import Settings
from stores.objects import NotFound, Objects

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["Found", "Sums", "describe", "foreseen", "forget_old", "look", "open_exchange", "update"]


@dataclass(frozen=True, slots=True)
class Found:
    """What a run finds: the lake's objects, what they hold as far as it is known, and the sums that are stored."""

    objects: list[Input]
    contents: Contents
    stored: frozenset[str]
    window: Window
    recipe: MomentRecipe
    half_life_d: float = 0.0

    def new(self) -> list[Input]:
        """The objects that have to be read to know what they hold."""
        return unread(self.objects, self.contents, self.window, self.recipe.late_days)


def look(
    settings: Settings, shop: str, window: Window, recipe: MomentRecipe, half_life_d: float = 0.0, *, full: bool = False
) -> Found:
    """List the lake and the stored sums; with ``full`` as if nothing were stored."""
    objects = list_objects(settings, EVENTS_PREFIX)
    if full:
        return Found(objects, {}, frozenset(), window, recipe, half_life_d)
    stored = frozenset(found.path for found in list_objects(settings, moments_root(shop)))
    contents: Contents = {}
    if contents_path(shop) in stored:
        try:
            held = Objects.from_settings(settings).get(contents_path(shop))
            contents = decode_contents(held, recipe.late_days)
        except (NotFound, TrainingError) as exc:
            print(f"train: the whole lake is read: {exc}", flush=True)
    return Found(objects, contents, stored, window, recipe, half_life_d)


def foreseen(found: Found, shop: str) -> Plan:
    """The plan, with a likely guess of what unread objects hold.

    Raises:
        TrainingError: the lake does not hold what a training needs.
    """
    contents = foresee(found.objects, found.contents, found.window, found.recipe.late_days)
    return make_plan(found.objects, contents, found.stored, shop, found.window, found.recipe, found.half_life_d)


def describe(found: Found, plan: Plan) -> dict[str, Any]:
    """Print what a run would read; returns the figures."""
    days, new = list(plan.wanted), found.new()
    reads = sorted(set(plan.reads) | set(new))
    size = sum(each.bytes for each in reads)
    months = [each for part in plan.parts for each in (part.months or (part,)) if each.path]
    stale = [part for part in months if not part.stored]
    guess = f", {len(new)} of them new, so what they hold is a guess" if new else ""
    print(f"train: window {days[0]} to {days[-1]}: {len(days)} days, {len(days) - len(plan.stale)} of them stored")
    print(f"train: {len(plan.stale)} days to make from {len(reads)} objects of {size / 1e6:.1f} MB{guess}")
    print(f"train: {len(months)} closed months, {len(months) - len(stale)} of them stored as one sum")
    for day in plan.stale:
        inputs = plan.inputs[day]
        print(f"train:   {day}  {len(inputs)} objects, {sum(each.bytes for each in inputs):,} bytes")
    for part in stale:
        print(f"train:   month {part.reference:%Y-%m}  to sum from {len(part.days)} days")
    return {
        "dry_run": True, "days": len(days), "stale": len(plan.stale), "objects": len(reads), "new_objects": len(new),
        "bytes": size, "months": len(months), "months_stale": len(stale),
    }  # fmt: skip


def update(spark: "SparkSession", settings: Settings, shop: str, found: Found, objects: Objects) -> Plan:
    """Read the new objects, note what they hold, and make the days that they touch.

    Raises:
        TrainingError: the lake does not hold what a training needs.
    """
    from batch import lake

    new, late_days, here = found.new(), found.recipe.late_days, set(found.objects)
    length = run_length(new, spark.sparkContext.defaultParallelism * 3)
    run, little = lake.runner(spark), lake.few(new)
    read = lake.scan(spark, settings, shop, [] if little else new, late_days, length)
    contents = {each: held for each, held in found.contents.items() if each in here}
    try:
        if new:
            contents |= lake.hold(run, settings, shop, new, late_days) if little else lake.read_contents(read)
            objects.put(contents_path(shop), encode_contents(contents, late_days))
        plan = make_plan(found.objects, contents, found.stored, shop, found.window, found.recipe, found.half_life_d)
        if little and lake.few(plan.reads):
            lake.make_few(run, settings, shop, plan, found.recipe, length)
        else:
            lake.make_partitions(spark, settings, shop, plan, read, found.recipe)
    finally:
        read.close()
    return plan


@contextmanager
def open_exchange(spark: "SparkSession", settings: Settings, shop: str, scratch: Path) -> Iterator[Exchange]:
    """Room for the arrays of one run: below ``scratch`` on one machine, on a cluster below an S3 path; then deleted."""
    if spark.sparkContext.master.startswith("local"):
        folder = scratch / "exchange"
        folder.mkdir(exist_ok=True)
        exchange = Exchange(settings, folder, "")
    else:
        exchange = Exchange(settings, None, scratch_prefix(shop, secrets.token_hex(8)))
    try:
        yield exchange
    finally:
        exchange.drop("")


@dataclass(frozen=True, slots=True)
class Sums:
    """The totals of any days of a plan; the arrays lie in ``folder``, mapped."""

    run: Runner
    exchange: Exchange
    folder: Path
    plan: Plan
    shop: str
    half_life_d: float
    first: date | None = None

    def total(
        self,
        name: str,
        *,
        min_units: int,
        before: date | None = None,
        since: date | None = None,
        half_life_d: float | None = None,
        newest: date | None = None,
    ) -> Totals:
        """The total of the days ``since`` (included) to ``before`` (excluded), as ``<name>-<field>.npy`` in ``folder``.

        Closed months that lie in it whole are read from their roll-ups; those that are missing are made and stored,
        unless the half life is not the recipe's own (as in a search). ``newest`` has weight 1 (default: the last day).

        Raises:
            TrainingError: fewer than two items are left.
        """
        days = {
            day: path
            for day, path in self.plan.wanted.items()
            if (before is None or day < before) and (since is None or day >= since)
        }
        parts = self._parts(days, since, self.half_life_d if half_life_d is None else half_life_d) if days else []
        total = (
            merge_parts(self.run, self.exchange, self.folder, parts, name, min_units=min_units, newest=newest)
            if parts
            else None
        )
        if total is None or len(total.items) < 2:
            message = (
                f"{len(total.items) if total else 0} items occur in {min_units} units or more of {len(days)} days; "
                "expected at least 2; let more events arrive, or lower solve.min_units"
            )
            raise TrainingError(message)
        return total

    def _parts(self, days: dict[date, str], since: date | None, half_life_d: float) -> list[Part]:
        """The plan's own parts where they fit; no roll-up is stored that the next run would not ask for."""
        stored = {each.path for part in self.plan.parts for each in (part, *part.months) if each.stored and each.path}
        first = max((day for day in (self.first, since) if day), default=None)
        newest = max(self.plan.wanted)
        found: list[Part] = []
        for part in plan_parts(self.shop, days, first, half_life_d, stored, newest):
            own = part.path is None or part.key in {each.key for each in self.plan.parts}
            found += [part] if own else part.months or [part]
        if half_life_d == self.half_life_d:
            return found
        return [replace(each, path=None, stored=False) for part in found for each in part.months or (part,)]


def forget_old(settings: Settings, objects: Objects, shop: str, plan: Plan) -> list[str]:
    """Delete the stored sums that this run replaced: the same days and months under other keys; returns their paths."""
    sums = [each for part in plan.parts for each in (part, *part.months) if each.path]
    folders = [moments_prefix(shop, day) for day in plan.stale]
    folders += [str(each.path).rpartition("/")[0] + "/" for each in sums if not each.stored]
    kept = {*plan.wanted.values(), *(each.path for each in sums)}
    gone: Sequence[str] = ()
    if folders:
        found = (each.path for each in list_objects(settings, moments_root(shop)))
        gone = [path for path in found if path.startswith(tuple(folders)) and path not in kept]
    for path in gone:
        objects.delete(path)
    return list(gone)
