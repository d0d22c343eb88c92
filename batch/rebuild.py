"""``python -m batch.rebuild``: live features, recent actions and aliases from the lake into Redis."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pyarrow as pa

from batch.activate import activate, read_manifest
from batch.arguments import add_live_values, known_shop
from batch.clock import Clock
from batch.progress import spark_progress
from batch.publish import Stores
from batch.rebuild_write import HORIZON_MS, ItemRow, LiveWriter, PersonRow
from contracts.affinity import actions_kept
from contracts.errors import LiveshelfError, SettingsError, StoreError, TrainingError
from contracts.events import FUTURE_MS
from contracts.features import bucket_start
from contracts.held import CartMark
from contracts.items import decode_catalogue
from contracts.keys import rebuilt_key
from contracts.lake import catalogue_path
from contracts.lists import Action, Owner
from contracts.settings import Settings, load
from stores.cluster import Cluster
from stores.objects import NotFound, Objects

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

__all__ = ["Rebuilt", "main", "rebuild"]

_DESCRIPTION = """\
Rebuild what is live of a shop from its event lake: the feature buckets of people and items, what trends, the recent
actions, purchases and carts of everybody seen in the last days, and who anonymous visitors turned out to be.

For a first start against an existing lake, after Redis lost its data, and after the stream lost its state. It merges:
the larger of two sums and the union of actions stay, so it may run beside the stream, and twice. Live lists come back
with each person's next event; --lists gives Redis its batch lists back as well.

The last line is REBUILT and one JSON object: what was read and written, and the seconds of each stage."""

_EPILOG = """\
examples:
  python -m batch.rebuild                       24 hours of buckets, the recent actions of 30 days
  python -m batch.rebuild --days 2 --lists      two days of actions, and the batch lists of the live model
  python -m batch.rebuild --dry-run             count only, write nothing

exit status: 0 done, 2 the lake or the settings do not allow it, 5 a store did not answer.

Outside of EMR, LIVESHELF_SPARK_JARS names the jars that let Spark read S3, as for batch.train."""

_KEEP_WITHOUT_MODEL: Final = 40
_DAY_MS: Final = 24 * 3600 * 1000
_WRITERS: Final = 4
_COUNT: Final = "written long"


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild found and wrote; with a dry run nothing was written, and the counts are what would be."""

    events: int
    people: int
    items: int
    aliases: int
    lists: int
    seconds: dict[str, float]


def rebuild(
    spark: "SparkSession",
    settings: Settings,
    shop: str,
    *,
    now_ms: int,
    days: int = 30,
    dry_run: bool = False,
    lists: bool = False,
    now_ns: Callable[[], int] = time.time_ns,
) -> Rebuilt:
    """Merge what the lake says into Redis.

    Args:
        now_ms: the instant the values are for, epoch ms: what is older than a window can reach is left out.
        days: how many days of recent actions and aliases are read.
        lists: also copy the live model's batch lists to Redis, where it has lost them.
        now_ns: the clock that ranks revisions; called in the tasks.

    Raises:
        TrainingError: the lake holds nothing of these days.
        StoreError: a store did not answer; what was written stays, and another run goes on.
    """
    from batch.records import configured  # it needs Spark, and a wrong argument should not wait for it

    with configured(spark):
        return _rebuild(spark, settings, shop, now_ms, days, dry_run, lists, now_ns)


def _rebuild(
    spark: "SparkSession",
    settings: Settings,
    shop: str,
    now_ms: int,
    days: int,
    dry_run: bool,
    lists: bool,
    now_ns: Callable[[], int],
) -> Rebuilt:
    from batch import rebuild_lake
    from batch.records import lake_objects, lake_records

    clock, objects = Clock(who="rebuild"), Objects.from_settings(settings)
    reach = rebuild_lake.Reach(bucket_start(now_ms - HORIZON_MS), now_ms - days * _DAY_MS, _keep(objects, shop))
    with clock.stage("read") as notes:
        oldest_ms = min(reach.actions_ms, reach.buckets_ms)
        found = lake_objects(settings, _day(oldest_ms - FUTURE_MS), _day(now_ms + _DAY_MS))
        if not found:
            message = f"the lake has no objects of the last {days} days; check the delivery, or pass a larger --days"
            raise TrainingError(message)
        records = lake_records(spark, settings, shop, found)
        events = rebuild_lake.distinct(records).where(f"occurred_ms >= {oldest_ms}").persist()
        with spark_progress(spark.sparkContext, "read", len(found), "objects", who="rebuild"):
            count = events.count()
        notes.append(f"{count:,} events of {days} days, {len(found):,} objects")
    writer, write = LiveWriter(shop, reach.keep, _WRITERS), _Writing(spark, settings, dry_run, clock)
    known = write.run(
        "aliases",
        rebuild_lake.aliases(spark, events),
        lambda rows: writer.aliases(settings, ((r["anonymous_id"], r["subject"]) for r in rows)),
    )
    people = write.run(
        "people",
        rebuild_lake.people(spark, events, reach),
        lambda rows: writer.people(settings, map(_person, rows), now_ns),
    )
    categories = _categories(objects, shop)
    items = write.run(
        "items",
        rebuild_lake.items(spark, events, reach),
        lambda rows: writer.items(settings, (_item(row, categories) for row in rows), now_ms),
    )
    events.unpersist()
    if not dry_run:
        _note(settings, shop, reach.actions_ms)
    restored = _restore_lists(settings, shop, clock, now_ms) if lists and not dry_run else 0
    return Rebuilt(count, people, items, known, restored, clock.total())


@dataclass(frozen=True, slots=True)
class _Writing:
    """Runs a write as Spark tasks, a stage with progress and a rate."""

    spark: "SparkSession"
    settings: Settings
    dry_run: bool
    clock: Clock

    def run(self, stage: str, rows: "DataFrame", write: Callable[[Iterator[dict[str, Any]]], int]) -> int:
        """Returns what ``write`` returned, summed over the tasks; with a dry run the number of rows."""

        def task(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            written = write(row for batch in batches for row in batch.to_pylist())
            yield pa.RecordBatch.from_pydict({"written": [written]}, pa.schema([("written", pa.int64())]))

        with self.clock.stage(stage) as notes:
            if self.dry_run:
                count = int(rows.count())
                notes.append(f"{count:,} would be written")
                return count
            began = time.monotonic()
            with spark_progress(self.spark.sparkContext, stage, _WRITERS, "parts", who="rebuild"):
                count = sum(row.written for row in _collected(rows.coalesce(_WRITERS).mapInArrow(task, _COUNT)))
            notes.append(f"{count:,} written, {count / max(time.monotonic() - began, 1e-3):,.0f} a second")
            return count


def _collected(rows: "DataFrame") -> list[Any]:
    """The rows; a store's failure in a task is told as such."""
    from pyspark.errors import PythonException

    try:
        return list(rows.collect())
    except PythonException as exc:
        told = [line for line in str(exc).splitlines() if "StoreError: " in line]
        if not told:
            raise
        raise StoreError(told[-1].partition("StoreError: ")[2]) from exc


def _person(row: dict[str, Any]) -> PersonRow:
    return PersonRow(
        row["subject"],
        [Action(**each) for each in row["actions"] or ()],
        {each["start_s"]: each["values"] for each in row["buckets"] or ()},
        {each["anonymous_id"]: each["at_ms"] for each in row["aliases"] or ()},
        Owner(row["owner"]["at_ms"], row["owner"]["subject"]) if row["owner"] else None,
        {each["item_id"]: each["at_ms"] for each in row["bought"] or ()},
        [CartMark(e["occurred_ms"], e["event_id"], e["item_id"], e["inside"]) for e in row["cart"] or ()],
    )


def _item(row: dict[str, Any], categories: dict[str, str]) -> ItemRow:
    buckets = {b["start_s"]: b["values"] for b in row["buckets"]}
    return ItemRow(row["item_id"], buckets, categories.get(row["item_id"], ""))


def _keep(objects: Objects, shop: str) -> int:
    """How many actions the stream keeps of a person with the live model."""
    from batch.publish import pointer_in_s3

    pointer = pointer_in_s3(objects, shop)
    if not pointer:
        return _KEEP_WITHOUT_MODEL
    return actions_kept(read_manifest(objects, shop, pointer.version).model.history)


def _categories(objects: Objects, shop: str) -> dict[str, str]:
    try:
        return {i: item.category for i, item in decode_catalogue(objects.get(catalogue_path(shop))).items()}
    except NotFound:
        return {}


def _note(settings: Settings, shop: str, since_ms: int) -> None:
    """Say in Redis from which events values were rebuilt; a check of parity expects these there."""
    cluster = Cluster.from_settings(settings, timeout_ms=5000)
    try:
        known = cluster.get_many([rebuilt_key(shop)])[0]
        since_ms = min(since_ms, msgspec.json.decode(known, type=dict[str, int])["since_ms"]) if known else since_ms
        note = msgspec.json.encode({"since_ms": since_ms})
        cluster.execute([("SET", rebuilt_key(shop), note, "EX", settings.streaming.user_ttl_s)])
    finally:
        cluster.close()


def _restore_lists(settings: Settings, shop: str, clock: Clock, now_ms: int) -> int:
    """Give Redis back the batch lists of the live model, and set the mirrors of the pointer right."""
    with (
        closing(Stores.open(settings)) as stores,
        clock.stage("lists") as notes,
        tempfile.TemporaryDirectory(prefix="liveshelf-rebuild-") as scratch,
    ):
        pointer = stores.tables.current(shop)
        if pointer is None:
            notes.append("no model is live yet")
            return 0
        now = datetime.fromtimestamp(now_ms / 1000, UTC)
        done = activate(stores, settings, shop, pointer.version, now=now, scratch=Path(scratch), say=notes.append)
        return done.restored


def _day(ms: int) -> Any:
    return datetime.fromtimestamp(ms / 1000, UTC).date()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m batch.rebuild",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_live_values(parser)
    parser.add_argument("--lists", action="store_true", help="also give Redis the live model's batch lists back")
    parser.add_argument("--dry-run", action="store_true", help="count what would be written")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    given = _parser().parse_args(argv)
    try:
        settings = load(given.properties)
        shop = known_shop(settings, given.shop)
        from batch.lake import start_spark

        began = time.monotonic()
        spark = start_spark(settings, given.master, given.driver_memory, "liveshelf-rebuild")
        print(f"rebuild: {'spark':<10} {time.monotonic() - began:6.1f} s", flush=True)
        try:
            done = rebuild(
                spark,
                settings,
                shop,
                now_ms=time.time_ns() // 1_000_000,
                days=given.days,
                dry_run=given.dry_run,
                lists=given.lists,
            )
        finally:
            spark.stop()
    except (TrainingError, SettingsError) as exc:
        return _fail("cannot rebuild", exc, 2)
    except LiveshelfError as exc:
        return _fail("a store failed", exc, 5)
    print("REBUILT " + json.dumps({name: getattr(done, name) for name in Rebuilt.__slots__}), flush=True)
    return 0


def _fail(what: str, exc: Exception, status: int) -> int:
    print(f"rebuild: {what}: {exc}", file=sys.stderr, flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
