"""``python -m batch.attribution``: what lists, models and variants led to, how experiments stand, what is new."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from batch.arguments import known_shop, whole_number
from batch.days import day_number, day_of
from batch.metrics import cold_items
from batch.records import configured, lake_objects
from contracts.attribution import AFTER_CLICK_MS, AttributionSummary, encode_summary
from contracts.errors import LiveshelfError, SettingsError
from contracts.experiment_results import ExperimentResults, encode_results
from contracts.experiments import Experiments, decode_experiments
from contracts.exploration import NewItems, encode_new_items
from contracts.lake import (
    attribution_summary_path,
    experiment_results_path,
    experiments_path,
    model_prefix,
    new_items_path,
)
from contracts.settings import ENVIRONMENT_VARIABLE, MANAGED_PATH, Settings, load
from contracts.snapshot import Snapshot
from stores.objects import NotFound, Objects
from stores.tables import Tables

__all__ = ["main"]

_DESCRIPTION = """\
Credit every click and purchase to the impression that led to it, and write what came of it: by kind of list, placement,
model version and variant; by person, for the experiments; by item, for the exploration of new ones.

Only the newest days are made anew (--days), those whose purchases may still come; older ones stay as they are. So a
run costs what is new, and running it again changes nothing. The rule of credit is in docs/experiments.md.

The last line is ATTRIBUTED and one JSON object."""

_EPILOG = """\
examples:
  python -m batch.attribution                     every hour or night: the newest nine days
  python -m batch.attribution --days 60           after experiments.json named an experiment that began long ago
  python -m batch.attribution --until 2026-01-05  as of the end of that day

exit status: 0 written, 2 the settings cannot be read, 5 a store did not answer, or what it holds cannot be read.

Outside of EMR, LIVESHELF_SPARK_JARS names the jars that let Spark read S3, as for batch.train."""

_REACH_DAYS: Final = AFTER_CLICK_MS // (24 * 3_600_000)
_SUMMARY_DAYS: Final = 28
_ITEM_DAYS: Final = 90


class Job(NamedTuple):
    """One run: the days from ``first`` to ``last`` (since the epoch) are made anew, as of ``made_at``."""

    settings: Settings
    shop: str
    first: int
    last: int
    made_at: datetime


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as exc:
        message = f"{text!r} is no day; expected one like 2026-01-05"
        raise argparse.ArgumentTypeError(message) from exc


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m batch.attribution",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--shop", help="shop id (default: the first one of the settings)")
    add("--days", type=whole_number, default=_REACH_DAYS + 2, metavar="N", help="days made anew (default: %(default)s)")
    add("--until", type=_day, metavar="DAY", help="the last day, UTC (default: today)")
    add(
        "--properties",
        type=Path,
        metavar="FILE",
        help=f"where the stores are (default: ${ENVIRONMENT_VARIABLE}, then {MANAGED_PATH})",
    )
    add("--master", default="local[2]", help="Spark master; spark-submit's own wins (default: %(default)s)")
    add("--driver-memory", default="1g", help="heap of a local Spark (default: %(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    given = _parser().parse_args(argv)
    began = time.monotonic()
    try:
        settings = load(given.properties)
        shop = known_shop(settings, given.shop)
        now = datetime.now(UTC)
        last = day_number(given.until or now.date())
        job = Job(settings, shop, last - max(given.days, 1) + 1, last, now)
        summary = run(job, given.master, given.driver_memory)
    except SettingsError as exc:
        return _fail("cannot start", exc, 2)
    except LiveshelfError as exc:
        return _fail("a store failed", exc, 5)
    print(f"ATTRIBUTED {json.dumps(summary | {'seconds': round(time.monotonic() - began, 1)})}", flush=True)
    return 0


def _fail(what: str, exc: Exception, status: int) -> int:
    print(f"attribution: {what}: {exc}", file=sys.stderr, flush=True)
    return status


def run(job: Job, master: str, memory: str) -> dict[str, Any]:
    """Make the tables, then what is read from them; returns what was written."""
    from batch.attribution_read import attributed, shop_events
    from batch.attribution_store import experiment_results, item_counts, summarise, write_days
    from batch.lake import start_spark

    store = Objects.from_settings(job.settings)
    document = _experiments(store, job.shop)
    begun = {each.id: each for each in document.experiments if each.status != "draft"}
    # A click some days before the first day may own a purchase on it; and a record may arrive a day late.
    reads = day_of(job.first - _REACH_DAYS), day_of(job.last + 1)
    objects = lake_objects(job.settings, *reads)
    _say(f"days {day_of(job.first)} to {day_of(job.last)}, {len(objects)} objects from {reads[0]} on")
    spark = start_spark(job.settings, master, memory, "liveshelf-attribution")
    try:
        with configured(spark):
            events = shop_events(spark, job.settings, job.shop, objects).persist()
            rows = attributed(spark, events, begun, job.first, job.last).persist()
            counts = write_days(rows, job.settings, job.shop, job.first, job.last)
            _say(f"{counts['totals']} rows of lists, {counts['units']} of units, {counts['items']} of items")
            dropped = int(rows.selectExpr("COALESCE(SUM(dropped), 0) AS n").collect()[0].n)
            results = experiment_results(
                spark, job.settings, job.shop, document.experiments, job.last, made_at=job.made_at, dropped=dropped
            )
    finally:
        spark.stop()
    for each in results:
        store.put(experiment_results_path(job.shop, each.experiment_id), encode_results(each))
        _say(_told(each))
    days = job.last - _SUMMARY_DAYS + 1, job.last
    summary = summarise(store, job.shop, *days, made_at=job.made_at, dropped=dropped)
    store.put(attribution_summary_path(job.shop), encode_summary(summary))
    shown = item_counts(store, job.shop, job.last - _ITEM_DAYS + 1, job.last)
    known = _write_new_items(store, job, document, shown)
    return _outcome(summary, counts, results, known, dropped)


def _say(line: str) -> None:
    print(f"attribution: {line}", flush=True)


def _experiments(store: Objects, shop: str) -> Experiments:
    """The shop's document; none where there is none."""
    with suppress(NotFound):
        return decode_experiments(store.get(experiments_path(shop)))
    return Experiments()


def _told(found: ExperimentResults) -> str:
    """An experiment in one line."""
    ratio = "" if found.sample_ratio.ok else f"; SAMPLE RATIO WRONG (p = {found.sample_ratio.p_value:.2g})"
    primary = [each for each in found.comparisons if each.metric == found.primary]
    verdicts = ", ".join(
        f"{each.variant} {each.decided} ({each.difference.value:+.4g}, p = {each.p_value:.3g})" for each in primary
    )
    units = sum(each.units for each in found.variants)
    return f"experiment {found.experiment_id}, {units} units, {found.primary}: {verdicts}{ratio}"


def _write_new_items(store: Objects, job: Job, document: Experiments, shown: dict[str, tuple[int, int]]) -> int | None:
    """Say which items are not new any more; ``None`` where no model is live, because then all would be new."""
    pointer = Tables.from_settings(job.settings).current(job.shop)
    if pointer is None:
        return None
    known = set(_model_items(store, job.shop, pointer.version))
    enough = document.exploration.enough
    known |= {item for item, (impressions, _) in shown.items() if impressions >= enough}
    counts = {item: pair for item, pair in shown.items() if item not in known}
    found = NewItems(made_at=job.made_at, model_version=pointer.version, known=sorted(known), counts=counts)
    store.put(new_items_path(job.shop), encode_new_items(found))
    return len(known)


def _model_items(store: Objects, shop: str, version: str) -> list[str]:
    """The items that a model knows well: seen in as many units as the metrics ask of an item that is not cold."""
    prefix = model_prefix(shop, version)
    names = ["manifest.json", "items.json", "popularity.npy"]
    with tempfile.TemporaryDirectory(prefix="liveshelf-attribution-") as folder:
        store.download_folder(prefix, names, Path(folder))
        items = json.loads((Path(folder) / "items.json").read_bytes())
        popularity = np.load(Path(folder) / "popularity.npy")
        Snapshot.read_manifest(Path(folder))  # an unknown format is refused
    cold = cold_items(popularity)
    return [item for item, is_cold in zip(items, cold, strict=True) if not is_cold]


def _outcome(
    summary: AttributionSummary,
    counts: dict[str, int],
    results: Sequence[ExperimentResults],
    known: int | None,
    dropped: int,
) -> dict[str, Any]:
    lists = summary.lists
    return {
        "last_day": summary.last_day,
        "rows": counts,
        "impressions": sum(each.impressions for each in lists),
        "clicks": sum(each.clicks for each in lists),
        "purchases": sum(each.purchases for each in lists),
        "revenue": round(sum(each.revenue for each in lists), 2),
        "experiments": [each.experiment_id for each in results],
        "known_items": known,
        "dropped": dropped,
    }


if __name__ == "__main__":
    sys.exit(main())
