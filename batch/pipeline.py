"""The training from start to end, stage by stage, with the time of each."""

import resource
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from batch.activate import read_manifest
from batch.checks import check_days, checks_report, facts_of
from batch.choosing import searched
from batch.clock import Clock
from batch.days import midnight_ms
from batch.forget import forget_open
from batch.judging import Judgement, judge_candidate
from batch.log import gather_stored
from batch.opponent import Opponent, recipe_of
from batch.plan import Plan, Window
from batch.publish import Stores, mend_mirrors, pointer_in_s3
from batch.recipe import Recipe
from batch.releasing import describe_judgement, make_model, release, report_refusal
from batch.request_days import earlier_moments, keep_day
from batch.sums import Found, Sums, describe, foreseen, forget_old, look, open_exchange, update
from batch.units import DAY_MS
from batch.warm import compile_kernels
from batch.work import Data, Options, Work
from contracts.errors import ContractError, TrainingError
from contracts.items import decode_catalogue
from contracts.lake import catalogue_path
from contracts.settings import Settings
from contracts.snapshot import Manifest, new_version
from stores.forgetting import open_deletions
from stores.objects import NotFound, Objects

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["Options", "run"]

_SEARCH_DAYS: Final = 28
"""Settings that were chosen longer ago are chosen anew by ``search="auto"``."""


@dataclass(slots=True)
class _Run:
    """One run and what it has so far."""

    settings: Settings
    options: Options
    clock: Clock
    now: datetime
    objects: Objects
    scratch: Path
    recipe: Recipe
    live: Opponent | None
    closing: ExitStack
    found: Found
    search: dict[str, Any]

    def summed(self, spark: "SparkSession") -> Work:
        """Bring the stored sums up to date with the lake for this recipe, and read the log."""
        from batch.lake import runner

        options = self.options
        with self.clock.stage("moments") as notes:
            room = self.closing.enter_context(open_exchange(spark, self.settings, options.shop, self.scratch))
            plan = update(spark, self.settings, options.shop, self.found, self.objects)
            half_life = self.recipe.window.half_life_d
            sums = Sums(runner(spark), room, self.scratch, plan, options.shop, half_life, options.since)
            notes.append(f"{len(plan.wanted)} days, {len(plan.stale)} made of {len(plan.reads)} objects")
        with self.clock.stage("log") as notes:
            data = _data(sums, self.objects)
            counts = sum(map(Counter, data.counts.values()), Counter[str]())
            notes.append(", ".join(f"{name} {number:,}" for name, number in sorted(counts.items())))
        size = self.settings.training.batch_size
        return Work(spark, sums, data, self.recipe, options, self.scratch, size)


def run(settings: Settings, options: Options) -> dict[str, Any]:
    """Train; returns the summary of the command's last line.

    A candidate that the gate refuses is not published: the summary says so, and its report is left.

    Raises:
        TrainingError: the lake does not hold what a training needs.
        PublishConflict: another run published first.
        StoreError: S3, DynamoDB or Redis did not answer.
    """
    objects = Objects.from_settings(settings)
    if options.dry_run:
        recipe = _recipe(options, _live(objects, options.shop, None))
        found = _look(settings, recipe, options)
        return describe(found, foreseen(found, options.shop)) | {"settings_digest": recipe.digest}
    clock, now = Clock(), datetime.now(UTC)
    with _started(settings, options) as (scratch, starting), ExitStack() as closing:
        stores = _opened(settings, closing) if options.publish else None
        if stores:
            _forget(settings, stores, options.shop, clock)
        live = _live(objects, options.shop, stores)
        recipe = _recipe(options, live)
        with clock.stage("plan") as notes:
            found = _look(settings, recipe, options)
            notes.append(f"{len(found.objects)} objects in the lake, {len(found.new())} new")
        with clock.stage("start"):
            compile_kernels()
            spark = starting.result()
        state = _Run(settings, options, clock, now, objects, scratch, recipe, live, closing, found, {})
        work = _with_settings(state, spark)
        return _finish(state, work, stores)


def _opened(settings: Settings, closing: ExitStack) -> Stores:
    stores = Stores.open(settings)
    closing.callback(stores.close)
    stores.tables.prepare()
    return stores


def _forget(settings: Settings, stores: Stores, shop: str, clock: Clock) -> None:
    """What is due of deletions, so that the model is made without these people."""
    if open_deletions(stores.objects, shop):
        with clock.stage("forget") as notes:
            try:
                notes.append(f"{len(forget_open(settings, stores, shop))} deletions done")
            except ContractError as exc:  # no file of these goes into a model: events are read line by line
                notes.append(f"A DELETION NEEDS A PERSON: {exc}")


@contextmanager
def _started(settings: Settings, options: Options) -> Iterator[tuple[Path, "Future[SparkSession]"]]:
    """A scratch folder, and a Spark session that starts beside what comes first; both go in the end."""
    scratch = Path(tempfile.mkdtemp(prefix="liveshelf-train-", dir=options.scratch))
    starting = ThreadPoolExecutor(1).submit(_start_spark, settings, options)
    try:
        yield scratch, starting
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if starting.done() or not starting.cancel():
            starting.result().stop()


def _start_spark(settings: Settings, options: Options) -> "SparkSession":
    from batch import lake  # a dry run needs no Spark

    spark = lake.start_spark(settings, options.master, options.driver_memory)
    lake.warm_workers(spark)
    return spark


def _live(objects: Objects, shop: str, stores: Stores | None) -> Opponent | None:
    """The live model; a run that publishes nothing, and so opens no other store, takes S3's word for it."""
    pointer = mend_mirrors(stores, shop) if stores else pointer_in_s3(objects, shop)
    return Opponent(read_manifest(objects, shop, pointer.version), objects) if pointer else None


def _recipe(options: Options, live: Opponent | None) -> Recipe:
    """Pinned settings, else those that were chosen for the live model, else the defaults; single ones on top.

    The rules of gate and checks are not inherited: one that was loosened for a day must not stay so unseen.
    """
    recipe, default = options.pinned, Recipe()
    if recipe is None and live and live.manifest.search.get("choice"):
        recipe = msgspec.structs.replace(recipe_of(live.manifest), gate=default.gate, checks=default.checks)
    return (recipe or default).with_options(list(options.sets))


def _look(settings: Settings, recipe: Recipe, options: Options) -> Found:
    window = Window(options.since, options.until)
    return look(settings, options.shop, window, recipe.moments, recipe.window.half_life_d, full=options.full)


def _data(sums: Sums, objects: Objects) -> Data:
    """The actions of the window, what the days count, and the catalogue."""
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
    return Data(counts, log, items, catalogue)


def _with_settings(state: _Run, spark: "SparkSession") -> Work:
    """The run's data, after a search by the settings it chose."""
    work = state.summed(spark)
    inherited = state.live.manifest.search if state.live and not state.options.pinned else {}
    chosen_before = dict(inherited) if inherited.get("choice") else {}
    state.search = chosen_before or {"why": "settings were pinned" if state.options.pinned else "defaults"}
    if not _search_is_due(state, inherited):
        return work
    with state.clock.stage("search") as notes:
        choice = searched(work, spark)
        if choice is None:
            notes.append("too few actions before the newest days to choose by")
            return work
        state.search = choice.plain() | {"searched_at": state.now.isoformat()}
        notes.append(f"{len(choice.curve)} trials, {state.search['metric']} {choice.value:.4f}")
    chosen = choice.recipe.with_options(list(state.options.sets))
    before, state.recipe = state.recipe, chosen
    if (chosen.moments, chosen.window) == (before.moments, before.window):
        return Work(spark, work.sums, work.data, chosen, work.options, work.scratch, work.list_size)
    state.found = _look(state.settings, chosen, state.options)
    return state.summed(spark)


def _search_is_due(state: _Run, inherited: dict[str, Any]) -> bool:
    wanted = state.options.search
    if wanted != "auto":
        return wanted == "always"
    at = inherited.get("searched_at")
    old = at is None or state.now - datetime.fromisoformat(at) > timedelta(days=_SEARCH_DAYS)
    return state.options.pinned is None and old


def _finish(state: _Run, work: Work, stores: Stores | None) -> dict[str, Any]:
    """Judge, and publish what passes."""
    options, clock, live = state.options, state.clock, state.live
    now_ms = int(state.now.timestamp() * 1000)
    until_ms = min(now_ms, midnight_ms(options.until) + 2 * DAY_MS)
    judge_from = _judge_from(live.manifest, work.data) if live else None
    facts = facts_of(work.data.counts, work.data.log, work.data.items)
    findings = check_days(facts, until_ms, work.recipe.checks, judge_from=judge_from)
    judgement: Judgement | None = None
    cut = work.data.last_day - timedelta(days=options.holdout_days - 1)
    if options.holdout_days:
        with clock.stage("evaluate") as notes:
            earlier = earlier_moments(state.objects, options.shop, work.recipe, state.found.stored, cut)
            judgement = judge_candidate(work, findings, live, earlier, judge_from)
            notes.append(describe_judgement(judgement) if judgement else "nothing to judge by")
        if judgement is None and live and stores:
            _may_go_unjudged(live.manifest, cut)
    manifest = _manifest(state, work, judgement, checks_report(findings))
    extra = (judgement.extra if judgement else {}) | {"parent": live.manifest if live else None}
    for sentence in manifest.gate.get("sentences", ()):
        print(f"train: {sentence}", flush=True)
    if judgement and not judgement.decision.publish:
        if stores:
            path = report_refusal(stores.objects, manifest, extra | {"outcome": "refused"})
            print(f"train: the report is {path}", flush=True)
        return _summary(manifest, clock, published=False)
    with clock.stage("solve") as notes:
        made = make_model(work, live, manifest.days)
        notes.append(f"{made.solved:,} of {len(made.totals.items):,} items, {len(made.matrix[1]):,} weights")
    rows = manifest.rows | {"items": len(made.totals.items), "weights": len(made.matrix[1])}
    manifest = msgspec.structs.replace(manifest, rows=rows)
    if stores:
        manifest = release(work, state.settings, stores, clock, manifest, made, extra)
        forget_old(state.settings, state.objects, options.shop, work.sums.plan)
        if judgement:
            keep_day(state.objects, options.shop, work.recipe, judgement.ranker.moments, cut)
    return _summary(manifest, clock, published=stores is not None)


def _may_go_unjudged(live: Manifest, cut: date) -> None:
    """A young shop's models follow each other unjudged; one that was judged gives way only to one that is.

    So a lake that lost its history, or a window no longer than the hold-out, replaces no model by a worse one.

    Raises:
        TrainingError: the live model was judged when it was published.
    """
    if live.metrics:
        message = (
            f"the window holds no actions before {cut} to judge a candidate by, and the live {live.version} was "
            "judged; it stays. Look whether the lake lost days; else lengthen the window (--since, --window-days), "
            "lower --holdout-days, or publish without a judgement: --no-evaluate"
        )
        raise TrainingError(message)


def _judge_from(live: Manifest, data: Data) -> date:
    """The first day that the live model may not have seen whole.

    That is the day of its training (where that looked at days before ``until`` only, the one after), but for newer days
    than its newest that came to the lake since. Not simply the day after its newest: that days before the training were
    empty was known when it was published.
    """
    first, until = live.trained_at.date(), live.training.get("until")
    if until:
        first = min(first, date.fromisoformat(until) + timedelta(days=1))
    newest = max(map(date.fromisoformat, live.days), default=first)
    came = (day for day, counts in data.counts.items() if newest < day < first and counts.get("actions"))
    return min(came, default=first)


def _manifest(state: _Run, work: Work, judgement: Judgement | None, checks: dict[str, Any]) -> Manifest:
    plan, recipe, options = work.sums.plan, work.recipe, state.options
    counts = sum(map(Counter, work.data.counts.values()), Counter[str]())
    theta = judgement.ranker.choice.theta if judgement else 0.0
    weights = judgement.ranker.weights if judgement else {}
    training = recipe.plain() | {
        "settings_digest": recipe.digest,
        "holdout_days": options.holdout_days,
        "until": options.until.isoformat(),
    }
    return Manifest(
        shop_id=options.shop,
        version=new_version(state.now, recipe.digest),
        parent=state.live.manifest.version if state.live else None,
        trained_at=state.now,
        window_start=_midnight(min(plan.wanted)),
        window_end=min(_midnight(max(plan.wanted)) + timedelta(days=1), state.now),
        model=msgspec.structs.replace(recipe.model, theta=theta),
        training=training,
        feature_names=list(weights),
        coefficients=list(weights.values()),
        metrics=judgement.metrics if judgement else {},
        rows={**counts, "people": len(work.data.log.subjects), "days": len(plan.wanted), "days_made": len(plan.stale)},
        evaluation=judgement.evaluation if judgement else {},
        gate=judgement.decision.plain(recipe.gate) if judgement else {},
        search=state.search,
        ranker=judgement.ranker.plain() if judgement else {},
        checks=checks,
        seconds=state.clock.total(),
        days=_keys(plan),
    )


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _keys(plan: Plan) -> dict[str, str]:
    """What each day was made from: the name of its partition."""
    return {day.isoformat(): Path(path).stem for day, path in plan.wanted.items()}


def _summary(manifest: Manifest, clock: Clock, *, published: bool) -> dict[str, Any]:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return {
        "shop": manifest.shop_id,
        "version": manifest.version,
        "parent": manifest.parent,
        "published": published,
        "rows": manifest.rows,
        "metrics": manifest.metrics,
        "evaluation": {key: value for key, value in manifest.evaluation.items() if key != "per_day"},
        "checks": manifest.checks,
        "gate": manifest.gate,
        "theta": manifest.model.theta,
        "seconds": clock.total(),
        "driver_peak_mib": peak,
        "settings_digest": manifest.training["settings_digest"],
    }
