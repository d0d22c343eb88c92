"""The training from start to end, stage by stage, with the time of each."""

import resource
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from batch.days import midnight_ms
from batch.evaluate import held_out_cases, list_metrics, live_lists
from batch.lists import person_lists, popular_items
from batch.log import Log, gather_stored
from batch.moments import Totals
from batch.plan import Plan, Window
from batch.publish import Entry, ListWriter, Stores, mend_mirrors, prune_versions, switch, upload_snapshot
from batch.recipe import Recipe
from batch.solve import Matrix
from batch.sums import Found, Sums, describe, foreseen, forget_old, look, open_exchange, update
from batch.warm import compile_kernels
from contracts.errors import TrainingError
from contracts.items import decode_catalogue
from contracts.lake import catalogue_path
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
    """What one run does.

    ``holdout_days`` 0 means no evaluation; ``since`` None means all that the lake holds; ``full`` makes every sum anew.
    """

    shop: str
    until: date
    since: date | None = None
    full: bool = False
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

    counts: dict[date, dict[str, int]]
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
        found = _look(settings, recipe, options)
        return describe(found, foreseen(found, options.shop)) | {"settings_digest": recipe.digest}
    scratch = Path(tempfile.mkdtemp(prefix="liveshelf-train-", dir=options.scratch))
    closing = ExitStack()
    starting = ThreadPoolExecutor(1).submit(_start_spark, settings, options)  # beside the listing
    try:
        stores = Stores.open(settings) if options.publish else None
        parent = mend_mirrors(stores, options.shop) if stores else None
        with clock.stage("plan") as notes:
            found = _look(settings, recipe, options)
            notes.append(f"{len(found.objects)} objects in the lake, {len(found.new())} new")
        with clock.stage("start"):
            compile_kernels()
            spark = starting.result()
            from batch.lake import runner
        with clock.stage("moments") as notes:
            room = closing.enter_context(open_exchange(spark, settings, options.shop, scratch))
            plan = update(spark, settings, options.shop, found, objects)
            sums = Sums(runner(spark), room, scratch, plan, options.shop, _half_life(recipe), options.since)
            notes.append(f"{len(plan.wanted)} days, {len(plan.stale)} made of {len(plan.reads)} objects")
        with clock.stage("log") as notes:
            data = _data(sums, objects)
            counts = sum((Counter(day) for day in data.counts.values()), Counter[str]())
            notes.append(", ".join(f"{name} {number:,}" for name, number in sorted(counts.items())))
        metrics: dict[str, dict[str, float]] = {}
        if options.holdout_days:
            with clock.stage("evaluate") as notes:
                metrics, cases = _evaluate(spark, data, sums, recipe, options, settings.training.batch_size, scratch)
                rates = (f"{name} {values['HR@20']:.3f}" for name, values in metrics.items())
                notes.append(f"{cases} cases, HR@20 " + ", ".join(rates))
        with clock.stage("solve") as notes:
            totals = sums.total("total", min_units=recipe.solve.min_units)
            matrix = _solve(spark, recipe, scratch, "total")
            notes.append(f"{len(totals.items):,} items, {len(matrix[1]):,} weights")
        rows = {**counts, "items": len(totals.items), "weights": len(matrix[1]), "people": len(data.log.subjects)}
        rows["days"], rows["days_made"] = len(plan.wanted), len(plan.stale)
        manifest = _manifest(plan, recipe, options, now, parent.version if parent else None, metrics, rows)
        if stores:
            manifest = _publish(spark, settings, stores, clock, manifest, (totals, matrix), data, recipe, scratch)
            forget_old(settings, objects, options.shop, plan)
        return _summary(manifest, clock, published=options.publish)
    finally:
        closing.close()
        shutil.rmtree(scratch, ignore_errors=True)
        if starting.done() or not starting.cancel():
            starting.result().stop()


def _start_spark(settings: Settings, options: Options) -> "SparkSession":
    from batch.lake import start_spark  # a dry run needs no Spark

    return start_spark(settings, options.master, options.driver_memory)


def _look(settings: Settings, recipe: Recipe, options: Options) -> Found:
    window = Window(options.since, options.until)
    return look(settings, options.shop, window, recipe.moments, _half_life(recipe), full=options.full)


def _half_life(recipe: Recipe) -> float:
    return recipe.window.half_life_d


def _data(sums: Sums, objects: Objects) -> Data:
    """The actions of the window and what the days count."""
    wanted, shop = sums.plan.wanted, sums.shop
    log, items, days = gather_stored(sums.run, sums.exchange, list(wanted.values()))
    counts = dict(zip(wanted, days, strict=True))
    if not any(day.get("actions") for day in days):
        total = dict(sum(map(Counter, days), Counter[str]()))
        message = f"the window {min(wanted)} to {max(wanted)} holds no action of shop {shop!r}: {total}"
        raise TrainingError(message)
    try:
        catalogue = decode_catalogue(objects.get(catalogue_path(shop)))
    except NotFound:
        print(f"train: no catalogue at {catalogue_path(shop)}; nothing counts as repeatable", flush=True)
        catalogue = {}
    return Data(counts, log, items, frozenset(item for item, row in catalogue.items() if row.repeatable))


def _solve(spark: "SparkSession", recipe: Recipe, scratch: Path, name: str) -> Matrix:
    from batch.job import solve_model

    return solve_model(spark, scratch, name, recipe.solve)


def _evaluate(
    spark: "SparkSession", data: Data, sums: Sums, recipe: Recipe, options: Options, list_size: int, scratch: Path
) -> tuple[dict[str, dict[str, float]], int]:
    """Train without the newest days with actions, complete their units; returns metrics by model, and the cases."""
    active = [day for day, counts in data.counts.items() if counts.get("actions")]
    newest = max(active)
    cut = newest - timedelta(days=options.holdout_days - 1)
    if min(active) >= cut:
        print(f"train: no actions before {cut}, so nothing to evaluate with", flush=True)
        return {}, 0
    totals = sums.total("held-out-total", min_units=recipe.solve.min_units, before=cut)
    matrix = _solve(spark, recipe, scratch, "held-out-total")
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
