"""The parity check as a function: recompute every live feature from the lake and compare it with what is served."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Final

import msgspec
from pyspark.sql import DataFrame, SparkSession

from batch import parity_expected as lake
from batch import parity_stored as stored
from batch.activate import read_manifest
from batch.clock import Clock
from batch.lake import start_spark
from batch.parity_found import Names, Reading, chunk_of, scan
from batch.parity_report import Report
from batch.publish import versions
from batch.records import configured, lake_objects, lake_records
from contracts.errors import SnapshotError
from contracts.events import FUTURE_MS
from contracts.items import Item, decode_catalogue
from contracts.keys import rebuilt_key
from contracts.lake import catalogue_path
from contracts.settings import Settings
from stores.cluster import Cluster
from stores.objects import NotFound, Objects

__all__ = ["check"]

_DAY_MS: Final = 24 * 3600 * 1000
_BUCKET_MS: Final = 300_000
_KEEP: Final = 40
_LEAST: Final = 20
_CHUNK: Final = 20_000
_EVENTS_EACH: Final = 3
"""Events of one person or item, by which their number is guessed where it costs more to count them."""

_READ_MS: Final = 10 * 60 * 1000
"""How long reading Redis may take while the stream prunes behind it."""


def check(
    settings: Settings,
    at_ms: int,
    *,
    spark: SparkSession | None = None,
    shop: str | None = None,
    since_ms: int | None = None,
    now_ms: int | None = None,
    days: int = 30,
    drained: bool = False,
    files: bool = True,
    quiet: bool = True,
) -> Report:
    """Compare Redis and the Parquet features with the lake at one instant, for which both sides are computed.

    The stream must have caught up with everything received until then, and the delivery must have brought it to the
    lake: ``accounts`` of the report say so (``lost`` is 0).

    Args:
        at_ms: the instant, epoch ms; its 5-minute bucket counts whole.
        spark: default is a local session that is started and stopped here, which takes some seconds.
        shop: default is the first one of the settings.
        since_ms: events received before did not pass through the stream. Default: what its log of served events, and
            the note of a rebuild in Redis, say; 0 compares with all of the lake.
        now_ms: the clock, where the stream runs on after the instant: what it may have pruned or evicted since is left
            out on both sides. ``None``: nothing was written after ``at_ms``.
        days: how far back recent actions are compared.
        drained: the stream was stopped and wrote its last windows to S3.
        files: compare the stream's files on S3 too, not only what is in Redis.

    Raises:
        StoreError: a store did not answer.
    """
    own = None if spark else start_spark(settings, "local[2]", "1g", "liveshelf-parity")
    cluster = Cluster.from_settings(settings, timeout_ms=5000)
    try:
        with configured(spark or own):
            task = _Check(
                spark or own,
                settings,
                shop or settings.shops[0],
                cluster,
                at_ms,
                days,
                Clock(who="parity", quiet=quiet),
            )
            return task.run(since_ms, now_ms, files, drained)
    finally:
        cluster.close()
        if own:
            own.stop()


@dataclass(frozen=True, slots=True)
class _Check:
    """One check and what it works with."""

    spark: SparkSession
    settings: Settings
    shop: str
    cluster: Cluster
    at_ms: int
    days: int
    clock: Clock

    def run(self, since_ms: int | None, now_ms: int | None, files: bool, drained: bool) -> Report:
        spark, settings, shop, at_ms = self.spark, self.settings, self.shop, self.at_ms
        report, objects = Report(at_ms), Objects.from_settings(settings)
        with self.clock.stage("events") as notes:
            served = stored.read_served(spark, settings, shop, _day(at_ms - self.days * _DAY_MS))
            streamed_ms = stored.first_served_ms(served) if since_ms is None else since_ms
            rebuilt_ms = _rebuilt_ms(self.cluster, shop) if since_ms is None else None
            frame = _frame(objects, shop, at_ms, now_ms, self.days)
            events, records = _events(spark, settings, shop, frame, _taken(streamed_ms, rebuilt_ms))
            count = events.count()
            report.events = events.where(f"occurred_ms < {frame.until_ms}").count()
            notes.append(f"{count:,} events of the lake")
        with self.clock.stage("redis") as notes:
            names = scan(self.cluster, shop)
            notes.append(f"{len(names.subjects):,} people and {len(names.items):,} items")
            reading = _reading(self.cluster, shop, frame, _catalogue(spark, objects, shop))
            _compare_live(spark, reading, frame, names, report, count)
        if files:
            with self.clock.stage("files") as notes:
                options: dict[str, Any] = {
                    "taken": _taken(streamed_ms, None),
                    "since_ms": at_ms - 2 * _DAY_MS,
                    "drained": drained,
                }
                stored.compare_windows(spark, settings, shop, report, **options)
                stored.count_accounts(spark, served, report, streamed_ms or 0, at_ms + 1)
                notes.append(f"{report.accounts['counted'] or 0:,} events counted")
        events.unpersist()
        records.unpersist()
        report.seconds = self.clock.total()
        return report


def _taken(streamed_ms: int | None, rebuilt_ms: int | None) -> str:
    """SQL: whether the live side can know a record.

    >>> _taken(5, None), _taken(5, 7), _taken(None, None)
    ('(received_ms >= 5)', '(received_ms >= 5 OR occurred_ms >= 7)', '(false)')
    """
    known = [
        f"{column} >= {begin}"
        for column, begin in (("received_ms", streamed_ms), ("occurred_ms", rebuilt_ms))
        if begin is not None
    ]
    return f"({' OR '.join(known) or 'false'})"


def _rebuilt_ms(cluster: Cluster, shop: str) -> int | None:
    note = cluster.get_many([rebuilt_key(shop)])[0]
    return msgspec.json.decode(note, type=dict[str, int])["since_ms"] if note else None


def _frame(objects: Objects, shop: str, at_ms: int, now_ms: int | None, days: int) -> lake.Frame:
    floor_ms = 0
    if now_ms is not None and now_ms > at_ms:
        floor_ms = (now_ms + _READ_MS - _DAY_MS) // _BUCKET_MS * _BUCKET_MS
    return lake.Frame(at_ms, floor_ms, at_ms - days * _DAY_MS, _keep(objects, shop))


def _keep(objects: Objects, shop: str) -> int:
    """How many recent actions everybody's value holds, whichever of the shop's models wrote it last."""
    kept = [_KEEP]
    for version in versions(objects, shop):
        try:
            kept.append(max(_LEAST, 2 * read_manifest(objects, shop, version).model.history))
        except SnapshotError:  # not complete: nobody ever served it
            continue
    return min(kept)


def _events(
    spark: SparkSession, settings: Settings, shop: str, frame: lake.Frame, taken: str
) -> tuple[DataFrame, DataFrame]:
    """The tables of the lake's events, and the records they come from; both are kept until unpersisted."""
    first, last = _day(frame.actions_ms - FUTURE_MS), _day(frame.until_ms + _DAY_MS)
    records = lake_records(spark, settings, shop, lake_objects(settings, first, last)).persist()
    return lake.events_table(spark, records, taken), records


def _day(ms: int) -> date:
    return datetime.fromtimestamp(max(ms, 0) / 1000, UTC).date()


def _catalogue(spark: SparkSession, objects: Objects, shop: str) -> dict[str, Item]:
    """The catalogue, also as a table of the other side."""
    try:
        items = decode_catalogue(objects.get(catalogue_path(shop)))
    except NotFound:
        items = {}
    lake.catalogue_table(spark, [(item.item_id, item.category, item.price) for item in items.values()])
    return items


def _reading(cluster: Cluster, shop: str, frame: lake.Frame, catalogue: Mapping[str, Item]) -> Reading:
    return Reading(cluster, shop, frame.at_ms, frame.floor_ms, frame.until_ms, frame.actions_ms, frame.keep, catalogue)


def _compare_live(
    spark: SparkSession, reading: Reading, frame: lake.Frame, names: Names, report: Report, events: int
) -> None:
    for wanted, subjects in _chunks(lake.people(spark, frame), names.subjects, events):
        _compare_people(reading, wanted, subjects, frame.keep, report)
    for wanted, ids in _chunks(lake.items(spark, frame), names.items, events):
        for item, row in reading.items(sorted(ids | set(wanted))):
            report.add_row("item.", item, wanted.get(item, lake.NO_ITEM), row)
    weights = {(row.category, row.item_id): row.weight for row in lake.trending(spark, frame).collect()}
    trending = reading.trending(names.trending)
    for category, item in {**weights, **trending}:
        name = "shop.trending_by_category" if category else "shop.trending"
        key = (category, item)
        report.add(name, f"{category}/{item}", weights.get(key, 0.0), trending.get(key, 0.0))
    owners = {row.visitor: row.owner for row in spark.table("parity_owners").collect()}
    known = reading.owners(sorted({*owners, *names.visitors}))
    for visitor in {**owners, **known}:
        report.add("user.alias", visitor, owners.get(visitor), known.get(visitor))


def _chunks(rows: DataFrame, names: Sequence[str], events: int) -> Iterator[tuple[dict[str, dict[str, Any]], set[str]]]:
    """Expected rows by entity with the names that Redis has, some thousands at a time, so that memory is bounded."""
    count = 1
    if max(events // _EVENTS_EACH, len(names)) > _CHUNK:
        rows = rows.persist()
        count = 1 + max(rows.count(), len(names)) // _CHUNK
    for chunk in range(count):
        part = rows.where(f"crc32(entity) % {count} = {chunk}") if count > 1 else rows
        wanted = {row.entity: row.asDict() for row in part.collect()}
        for row in wanted.values():
            del row["entity"]
        yield wanted, {name for name in names if chunk_of(name, count) == chunk}
    rows.unpersist()


def _compare_people(
    reading: Reading, wanted: Mapping[str, dict[str, Any]], subjects: set[str], keep: int, report: Report
) -> None:
    for person, found, newer in reading.people(sorted(subjects | set(wanted))):
        expected = dict(wanted.get(person, lake.NO_PERSON))
        left = keep - newer  # what the person did since has pushed as many older actions out
        expected["recent_actions"] = (
            [tuple(action) for action in expected["recent_actions"]][-left:] if left > 0 else []
        )
        if newer and left < _LEAST:
            for name in ("category_affinity", "price_affinity"):
                expected.pop(name), found.pop(name)
        expected["bought"] = [tuple(each) for each in expected["bought"]]
        for name in ("bought", "cart"):
            if name not in found:
                expected.pop(name)
        for row in (expected, found):
            if "category_affinity" in row:
                row["category_affinity"] = sorted(row["category_affinity"].items())
        report.add_row("user.", person, expected, found)
