"""From a candidate that passed to a live model: solve, lists, snapshot, report, switch; or the report of a refusal."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import pairwise
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from batch.clock import Clock
from batch.judging import Judgement
from batch.lists import popular_items
from batch.log import Log
from batch.moments import Totals
from batch.opponent import Opponent, recipe_of, same_columns
from batch.partition import decode_actions, partition_path
from batch.publish import Entry, ListWriter, Stores, prune_versions, switch, upload_snapshot
from batch.report import build_report
from batch.requests import daily_actions, price_positions
from batch.solve import Matrix
from batch.work import Work
from contracts.errors import PublishConflict
from contracts.lake import model_prefix, refused_report_path, report_path
from contracts.settings import Settings
from contracts.snapshot import Manifest, Snapshot, write_snapshot
from stores.objects import NotFound, Objects

__all__ = ["Made", "make_model", "release", "report_refusal"]

_POPULAR: Final = 200

Action = tuple[str, str, int, int]
"""Who, what, by which type of event, when."""


@dataclass(frozen=True, slots=True)
class Made:
    """The model of all days: totals and B over the same items."""

    totals: Totals
    matrix: Matrix
    solved: int


def make_model(work: Work, live: Opponent | None, keys: Mapping[str, str]) -> Made:
    """Solve all targets, or with ``targets="touched"`` those of units that the live model has not seen as they are.

    Args:
        keys: what the window's days are made from, as in the manifest's ``days``.
    """
    from batch.job import solve_model

    solve = work.recipe.solve
    totals = work.sums.total("total", min_units=solve.min_units)
    again = None
    if work.options.targets == "touched" and live is not None and live.manifest.days:
        if same_columns(work.recipe, recipe_of(live.manifest)):
            again = (_touched(work, live, keys, totals.items), _previous(work, live, totals.items))
        else:
            print("train: all items are solved: the settings are not the live model's", flush=True)
    matrix = solve_model(work.spark, work.scratch, "total", solve, again=again)
    return Made(totals, matrix, len(totals.items) if again is None else len(again[0]))


def _touched(work: Work, live: Opponent, keys: Mapping[str, str], items: list[str]) -> npt.NDArray[np.int64]:
    """Places of the items of all units that the live model has not seen as they are now.

    The sums of a day are made again when its neighbours change, so that a changed key says little: units are compared.
    """
    names: set[str] = set()
    for day, key in keys.items():
        known = live.manifest.days.get(day)
        if known == key:
            continue
        here = date.fromisoformat(day)
        new = _units(live.objects, work.sums.plan.wanted[here])
        old = _units(live.objects, partition_path(live.manifest.shop_id, here, known)) if known else frozenset()
        names.update(action[1] for unit in old ^ new for action in unit)
    for day in live.manifest.days.keys() - keys.keys():  # a window that moves on loses its oldest days
        old = _units(
            live.objects, partition_path(live.manifest.shop_id, date.fromisoformat(day), live.manifest.days[day])
        )
        names.update(action[1] for unit in old for action in unit)
    return np.array([at for at, item in enumerate(items) if item in names], np.int64)


def _units(objects: Objects, path: str) -> frozenset[tuple[Action, ...]]:
    """The units of a stored day; none where its sums were deleted, as after a rollback."""
    try:
        actions, items, _ = decode_actions(objects.get(path))
    except NotFound:
        return frozenset()
    who, what = (actions.subjects[at] for at in actions.subject), (items[at] for at in actions.item)
    done = list(zip(who, what, actions.type.tolist(), actions.ms.tolist(), strict=True))
    ends = actions.unit_offsets.tolist()
    return frozenset(tuple(done[begin:end]) for begin, end in pairwise(ends))


def _previous(work: Work, live: Opponent, items: list[str]) -> Matrix:
    """The live B over the new items; rows and columns of items that are gone are left out."""
    folder, manifest = work.scratch / f"parent-{live.manifest.version}", live.manifest
    prefix = model_prefix(manifest.shop_id, manifest.version)
    live.objects.download_folder(prefix, ["manifest.json", *manifest.files], folder)
    snapshot = Snapshot.open(folder)
    place = {item: at for at, item in enumerate(items)}
    to = np.fromiter((place.get(item, -1) for item in snapshot.items), np.int32, len(snapshot.items))
    indptr, cols, data = snapshot.matrix
    rows, cols = np.repeat(to, np.diff(indptr)), to[cols]
    kept = np.flatnonzero((rows >= 0) & (cols >= 0))
    order = kept[np.lexsort((cols[kept], rows[kept]))]
    starts = np.searchsorted(rows[order], np.arange(len(items) + 1)).astype(np.int64)
    return starts, cols[order], np.asarray(data)[order]


def release(
    work: Work, settings: Settings, stores: Stores, clock: Clock, manifest: Manifest, made: Made, extra: dict[str, Any]
) -> Manifest:
    """Lists, then the snapshot with its report, then the switch; returns the manifest as it was stored.

    Raises:
        PublishConflict: another run published first; a report of that is left.
    """
    shop, totals = manifest.shop_id, made.totals
    log = work.data.log.onto(work.data.items, totals.items)
    now_ms = int(manifest.trained_at.timestamp() * 1000)
    with clock.stage("lists") as notes:
        rows = _write_lists(work, settings, manifest, made, log, now_ms)
        notes.append(", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in rows.items()))
    with clock.stage("publish") as notes:
        manifest = msgspec.structs.replace(manifest, rows=manifest.rows | rows, seconds=clock.total())
        folder = work.scratch / manifest.version
        extras = {
            "daily": daily_actions(log, len(totals.items), now_ms),
            "price": price_positions(work.data.catalogue, totals.items),
        }
        manifest = write_snapshot(folder, manifest, totals.items, made.matrix, totals.events, extras)
        upload_snapshot(stores.objects, folder, manifest, work.scratch / "read-back", people=log.subjects)
        path = report_path(shop, manifest.version)
        stores.objects.put(path, build_report(manifest, extra))
        try:
            switch(stores, shop, manifest, datetime.now(UTC))
        except PublishConflict:
            report_refusal(stores.objects, manifest, extra | {"outcome": "conflict"})
            raise
        stores.objects.put(path, build_report(manifest, extra | {"outcome": "published"}))
        spare = (manifest.version, manifest.parent)
        gone = prune_versions(stores.objects, shop, settings.training.keep_versions, spare)
        notes.append(f"{manifest.version} on {manifest.parent}")
        notes += [f"{len(gone)} old versions deleted"] if gone else []
        expired = stores.tables.prune()
        notes += [f"{expired:,} expired rows deleted"] if expired else []
    return manifest


def _write_lists(
    work: Work, settings: Settings, manifest: Manifest, made: Made, log: Log, now_ms: int
) -> dict[str, int]:
    """Lists for people and items by tasks, the popular one here; how many of each."""
    from batch.job import write_person_lists, write_similar_lists, write_together_lists

    spark, items = work.spark, made.totals.items
    writer = ListWriter(
        manifest.shop_id,
        manifest.version,
        now_ms,
        settings.training.list_ttl_s,
        min(settings.training.redis_list_ttl_s, settings.training.list_ttl_s),
        writers=spark.sparkContext.defaultParallelism,
    )
    model, repeatable = (made.matrix, items), work.data.repeatable(items)
    recipe = (work.recipe.lists, work.recipe.model.event_weights)
    people = write_person_lists(spark, settings, writer, model, log, repeatable, recipe, now_ms, work.scratch)
    similar = write_similar_lists(spark, settings, writer, model, work.scratch)
    together = write_together_lists(spark, settings, writer, log, items, work.scratch)
    top = popular_items(made.totals.events, _POPULAR)
    popular = writer.write(settings, [Entry("popular", "", *top.row(0, items))])
    return {"person_lists": people, "similar_lists": similar, "together_lists": together, "popular_lists": popular}


def report_refusal(objects: Objects, manifest: Manifest, extra: dict[str, Any]) -> str:
    """The report of a run that published nothing; returns its path."""
    path = refused_report_path(manifest.shop_id, manifest.version)
    objects.put(path, build_report(manifest, extra))
    return path


def describe_judgement(judgement: Judgement) -> str:
    """One line for the console."""
    rates = ", ".join(f"{name} {values['HR@20']:.3f}" for name, values in judgement.metrics.items())
    choice = judgement.ranker.choice
    return f"{judgement.evaluation.get('cases', 0):,} cases, HR@20 {rates or 'none'}; ranker θ {choice.theta:g}"
