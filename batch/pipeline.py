"""The training from start to end, stage by stage, with the time of each."""

import resource
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from batch.days import midnight_ms
from batch.evaluate import held_out_cases, list_metrics, live_lists
from batch.inventory import list_objects
from batch.lists import person_lists, popular_items
from batch.log import Log, gather
from batch.moments import Totals, sum_moments
from batch.partition import DayPartition, decode
from batch.plan import Plan, make_plan
from batch.publish import Entry, ListWriter, Stores, mend_mirrors, prune_versions, switch, upload_snapshot
from batch.recipe import Recipe
from batch.solve import Matrix, build_system
from batch.warm import compile_kernels
from contracts.errors import TrainingError
from contracts.items import decode_catalogue
from contracts.lake import EVENTS_PREFIX, catalogue_path, moments_prefix
from contracts.settings import Settings
from contracts.snapshot import Manifest, new_version, write_snapshot
from stores.objects import NotFound, Objects

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["Options", "run"]

_SEED = 7
_POPULAR = 200
_TASKS_PER_CORE = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What one run does. ``holdout_days`` 0 means no evaluation; ``window_days`` None means all that the lake holds."""

    shop: str
    until: date
    window_days: int | None = None
    holdout_days: int = 7
    cases: int = 2000
    publish: bool = True
    dry_run: bool = False
    master: str = "local[2]"
    driver_memory: str = "1g"
    scratch: Path | None = None


@dataclass(slots=True)
class Clock:
    """Says each stage with its seconds and keeps them."""

    seconds: dict[str, float] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)

    @contextmanager
    def stage(self, name: str) -> Iterator[list[str]]:
        """Time the block; what is appended to the yielded list is printed behind the seconds."""
        began, notes = time.monotonic(), list[str]()
        yield notes
        self.seconds[name] = round(time.monotonic() - began, 2)
        print(f"train: {name:<10} {self.seconds[name]:6.1f} s  {', '.join(notes)}", flush=True)

    def total(self) -> dict[str, float]:
        """Seconds by stage, and of all since the clock was made."""
        return {**self.seconds, "total": round(time.monotonic() - self._began, 2)}


@dataclass(frozen=True, slots=True)
class Data:
    """What the stages after the moments work on."""

    days: list[DayPartition]
    log: Log
    items: list[str]
    repeatable: frozenset[str]

    def known(self, model_items: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Which of the model's items are repeatable."""
        return np.fromiter((item in self.repeatable for item in model_items), bool, len(model_items))


def run(settings: Settings, recipe: Recipe, options: Options) -> dict[str, Any]:
    """Train; returns the summary of the command's last line.

    Raises:
        TrainingError: the lake does not hold what a training needs.
        PublishConflict: another run published first.
        StoreError: S3, DynamoDB or Redis did not answer.
    """
    clock, now = Clock(), datetime.now(UTC)
    objects = Objects.from_settings(settings)
    if options.dry_run:
        return _describe(_plan(settings, recipe, options), recipe)
    scratch = Path(tempfile.mkdtemp(prefix="liveshelf-train-", dir=options.scratch))
    starting = ThreadPoolExecutor(1).submit(_start_spark, settings, options)  # beside the listing
    try:
        stores = Stores.open(settings) if options.publish else None
        parent = mend_mirrors(stores, options.shop) if stores else None
        with clock.stage("plan") as notes:
            plan = _plan(settings, recipe, options)
            notes.append(f"{len(plan.wanted)} days, {len(plan.stale)} to make from {len(plan.reads)} objects")
        with clock.stage("start"):
            compile_kernels()
            spark = starting.result()
        with clock.stage("moments") as notes:
            data = _data(spark, settings, objects, plan, recipe, options)
            counts = sum((Counter(day.counts) for day in data.days), Counter[str]())
            notes.append(", ".join(f"{name} {number:,}" for name, number in sorted(counts.items())))
        metrics: dict[str, dict[str, float]] = {}
        if options.holdout_days:
            with clock.stage("evaluate") as notes:
                metrics, cases = _evaluate(spark, data, recipe, options, settings.training.batch_size, scratch)
                rates = (f"{name} {values['HR@20']:.3f}" for name, values in metrics.items())
                notes.append(f"{cases} cases, HR@20 " + ", ".join(rates))
        with clock.stage("solve") as notes:
            totals = _totals(data.days, recipe)
            matrix = _solve(spark, totals, recipe, scratch, "final")
            notes.append(f"{len(totals.items):,} items, {len(matrix[1]):,} weights")
        rows = {**counts, "items": len(totals.items), "weights": len(matrix[1]), "people": len(data.log.subjects)}
        rows["days"], rows["days_made"] = len(plan.wanted), len(plan.stale)
        manifest = _manifest(plan, recipe, options, now, parent.version if parent else None, metrics, rows)
        if stores:
            manifest = _publish(spark, settings, stores, clock, manifest, (totals, matrix), data, recipe, scratch)
            _forget_old_partitions(settings, objects, options.shop, plan)
        return _summary(manifest, clock, published=options.publish)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if starting.done() or not starting.cancel():
            starting.result().stop()


def _start_spark(settings: Settings, options: Options) -> "SparkSession":
    from batch.lake import start_spark  # a dry run needs no Spark

    return start_spark(settings, options.master, options.driver_memory)


def _plan(settings: Settings, recipe: Recipe, options: Options) -> Plan:
    first = options.until - timedelta(days=options.window_days - 1) if options.window_days else None
    objects = list_objects(settings, EVENTS_PREFIX)
    stored = [found.path for found in list_objects(settings, _moments_root(options.shop))]
    return make_plan(objects, stored, options.shop, (first, options.until), recipe.moments, 12)


def _moments_root(shop: str) -> str:
    """Above the day folders of a shop's moments."""
    return moments_prefix(shop, date.min).partition("day=")[0]


def _describe(plan: Plan, recipe: Recipe) -> dict[str, Any]:
    """What a dry run prints: the days, and the objects that would be read."""
    days = list(plan.wanted)
    size = sum(read.bytes for read in plan.reads)
    print(f"train: window {days[0]} to {days[-1]}: {len(days)} days, {len(days) - len(plan.stale)} of them stored")
    print(f"train: {len(plan.stale)} days to make from {len(plan.reads)} objects of {size / 1e6:.1f} MB")
    for day in plan.stale:
        inputs = plan.inputs[day]
        print(f"train:   {day}  {len(inputs)} objects, {sum(read.bytes for read in inputs):,} bytes")
    return {"dry_run": True, "days": len(days), "stale": len(plan.stale), "objects": len(plan.reads), "bytes": size} | {
        "settings_digest": recipe.digest
    }


def _data(
    spark: "SparkSession", settings: Settings, objects: Objects, plan: Plan, recipe: Recipe, options: Options
) -> Data:
    """Make the stale days, then read the whole window back."""
    from batch.lake import make_partitions

    make_partitions(spark, settings, options.shop, plan, recipe.moments)
    with ThreadPoolExecutor(8) as pool:
        days = [decode(data) for data in pool.map(objects.get, plan.wanted.values())]
    if not any(day.counts.get("actions") for day in days):
        counts = sum((Counter(day.counts) for day in days), Counter[str]())
        message = f"the window {days[0].day} to {days[-1].day} holds no action of shop {options.shop!r}: {dict(counts)}"
        raise TrainingError(message)
    try:
        catalogue = decode_catalogue(objects.get(catalogue_path(options.shop)))
    except NotFound:
        print(f"train: no catalogue at {catalogue_path(options.shop)}; nothing counts as repeatable", flush=True)
        catalogue = {}
    log, items = gather(days)
    return Data(days, log, items, frozenset(item for item, row in catalogue.items() if row.repeatable))


def _totals(days: Sequence[DayPartition], recipe: Recipe) -> Totals:
    totals = sum_moments([day.moments for day in days], recipe.solve.min_units)
    if len(totals.items) < 2:
        message = (
            f"{len(totals.items)} items occur in {recipe.solve.min_units} units or more of {len(days)} days; "
            "expected at least 2; let more events arrive, or lower solve.min_units"
        )
        raise TrainingError(message)
    return totals


def _solve(spark: "SparkSession", totals: Totals, recipe: Recipe, scratch: Path, name: str) -> Matrix:
    from batch.job import solve_model

    return solve_model(spark, build_system(totals, recipe.solve), recipe.solve, scratch, name)


def _evaluate(
    spark: "SparkSession", data: Data, recipe: Recipe, options: Options, list_size: int, scratch: Path
) -> tuple[dict[str, dict[str, float]], int]:
    """Train without the newest days with actions, complete their units; returns metrics by model, and the cases."""
    newest = max(day.day for day in data.days if day.counts.get("actions"))
    cut = newest - timedelta(days=options.holdout_days - 1)
    seen = [day for day in data.days if day.day < cut]
    if not any(day.counts.get("actions") for day in seen):
        print(f"train: no actions before {cut}, so nothing to evaluate with", flush=True)
        return {}, 0
    totals = _totals(seen, recipe)
    matrix = _solve(spark, totals, recipe, scratch, "held-out")
    log, cut_ms, model = data.log.onto(data.items, totals.items), midnight_ms(cut), recipe.model
    cases = held_out_cases(log, cut_ms, seed=_SEED, most=options.cases, history=model.history)
    if not cases:
        print(f"train: no unit of four items or more since {cut}, so nothing to evaluate on", flush=True)
        return {}, 0
    people, person = np.unique([case.person for case in cases], return_inverse=True)
    before = log.until(cut_ms).only(people)
    known = data.known(totals.items)
    span = (0, len(people))
    listed = person_lists(matrix, before, span, cut_ms, known, model.event_weights, recipe.lists, list_size)
    batch = listed.take(person)
    live = live_lists(matrix, log, cases, batch, model, 20)
    popular = popular_items(totals.events, 20).items[0]
    metrics = {
        "live": list_metrics(lambda case: live.items[case], cases),
        "batch": list_metrics(lambda case: batch.items[case], cases),
        "popularity": list_metrics(lambda case: popular, cases),
    }
    return metrics, len(cases)


def _manifest(
    plan: Plan,
    recipe: Recipe,
    options: Options,
    now: datetime,
    parent: str | None,
    metrics: dict[str, dict[str, float]],
    rows: dict[str, int],
) -> Manifest:
    days = list(plan.wanted)
    start, end = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (days[0], days[-1]))
    return Manifest(
        shop_id=options.shop,
        version=new_version(now, recipe.digest),
        parent=parent,
        trained_at=now,
        window_start=start,
        window_end=min(end + timedelta(days=1), now),
        model=recipe.model,
        training=msgspec.to_builtins(recipe) | {"settings_digest": recipe.digest, "holdout_days": options.holdout_days},
        feature_names=[],
        coefficients=[],
        metrics=metrics,
        rows=rows,
    )


def _publish(
    spark: "SparkSession",
    settings: Settings,
    stores: Stores,
    clock: Clock,
    manifest: Manifest,
    model: tuple[Totals, Matrix],
    data: Data,
    recipe: Recipe,
    scratch: Path,
) -> Manifest:
    """Snapshot, lists, then the switch; returns the manifest as it was stored."""
    from batch.job import write_person_lists, write_similar_lists

    (totals, matrix), shop = model, manifest.shop_id
    now_ms = int(manifest.trained_at.timestamp() * 1000)
    writer = ListWriter(shop, manifest.version, now_ms, settings.training.list_ttl_s)
    b = (matrix, totals.items)
    with clock.stage("lists") as notes:
        log = data.log.onto(data.items, totals.items)
        lists = (recipe.lists, recipe.model.event_weights)
        people = write_person_lists(spark, settings, writer, b, log, data.known(totals.items), lists, now_ms, scratch)
        similar = write_similar_lists(spark, settings, writer, b, scratch)
        top = popular_items(totals.events, _POPULAR)
        popular = writer.write(settings, [Entry("popular", "", *top.row(0, totals.items))])
        notes.append(f"{people:,} people, {similar:,} items, {popular} popular")
    with clock.stage("publish") as notes:
        rows = manifest.rows | {"person_lists": people, "similar_lists": similar, "popular_lists": popular}
        manifest = msgspec.structs.replace(manifest, rows=rows)
        folder = scratch / manifest.version
        manifest = write_snapshot(folder, manifest, totals.items, matrix, totals.events)
        upload_snapshot(stores.objects, folder, manifest, scratch / "read-back")
        switch(stores, shop, manifest, datetime.now(UTC))
        spare = (manifest.version, manifest.parent)
        gone = prune_versions(stores.objects, shop, settings.training.keep_versions, spare)
        notes.append(
            f"{manifest.version} on {manifest.parent}" + (f", {len(gone)} old versions deleted" if gone else "")
        )
    return manifest


def _forget_old_partitions(settings: Settings, objects: Objects, shop: str, plan: Plan) -> None:
    """Delete the stored sums that this run replaced (the same days under other keys)."""
    folders = tuple(moments_prefix(shop, day) for day in plan.stale)
    wanted = set(plan.wanted.values())
    for found in list_objects(settings, _moments_root(shop)) if folders else ():
        if found.path.startswith(folders) and found.path not in wanted:
            objects.delete(found.path)


def _summary(manifest: Manifest, clock: Clock, *, published: bool) -> dict[str, Any]:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {
        "shop": manifest.shop_id,
        "version": manifest.version,
        "parent": manifest.parent,
        "published": published,
        "rows": manifest.rows,
        "metrics": manifest.metrics,
        "seconds": clock.total(),
        "driver_peak_mib": peak,
        "settings_digest": manifest.training["settings_digest"],
    }
