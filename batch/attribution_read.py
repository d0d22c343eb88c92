"""The lake's impressions, clicks, purchases and sign-ins as a Spark table, and the rule applied to whole people."""

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any, Final

import msgspec
import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from batch.attribution_rule import Owners, credit
from batch.attribution_tables import KEYS, ROW_DDL, SUMS, rows_of
from batch.exchange import objects_of
from batch.lake import lines_in, settle
from batch.partition import Input
from batch.plan import arrival_day
from contracts.experiments import Experiment
from contracts.records import parse_records
from contracts.settings import Settings

__all__ = ["attributed", "shop_events"]

_DDL: Final = (
    "event_id string, event_type string, subject string, anonymous_id string, item_id string, request_id string, "
    "occurred_ms long, received_ms long, amount double"
)
_TYPES: Final = frozenset({"impression", "click", "purchase", "identify"})
_TASK_BYTES: Final = 4 << 20
_DAY_MS: Final = 24 * 3_600_000
_MARK: Final = b'"request_id"'


class _Request(msgspec.Struct):
    request_id: str | None = None


_request = msgspec.json.Decoder(_Request).decode


def shop_events(spark: SparkSession, settings: Settings, shop: str, objects: list[Input]) -> DataFrame:
    """The first copy of each accepted event of the types that matter here, from some objects of the lake."""
    tasks = _dealt(objects, max(spark.sparkContext.defaultParallelism, sum(o.bytes for o in objects) // _TASK_BYTES))
    shared = spark.sparkContext.broadcast(tasks)

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        settle()
        store = objects_of(settings)
        for batch in batches:
            for task in batch.column(0).to_pylist():
                for path in shared.value[task]:
                    yield from _read(store.get(path), path, shop)

    records = spark.range(0, len(tasks), 1, len(tasks)).mapInArrow(read, _DDL)
    records.createOrReplaceTempView("attribution_records")
    return spark.sql(
        f"""
        SELECT {_NAMES} FROM (
            SELECT *, ROW_NUMBER() OVER (PARTITION BY event_id ORDER BY received_ms, occurred_ms) AS copy
            FROM attribution_records
        ) WHERE copy = 1
        """
    )


_NAMES: Final = ", ".join(part.split()[0] for part in _DDL.split(", "))


def _dealt(objects: list[Input], most: int) -> list[list[str]]:
    """The paths, dealt out to at most so many tasks by size, the largest first."""
    tasks: list[list[str]] = [[] for _ in range(max(1, min(most, len(objects))))]
    sizes = [0] * len(tasks)
    for each in sorted(objects, key=lambda each: (-each.bytes, each.path)):
        at = sizes.index(min(sizes))
        tasks[at].append(each.path)
        sizes[at] += each.bytes + 1
    return tasks


def _read(data: bytes, path: str, shop: str) -> Iterator[pa.RecordBatch]:
    day = arrival_day(path) or date(9999, 12, 30)
    end_ms = (day.toordinal() - date(1970, 1, 1).toordinal() + 1) * _DAY_MS
    for lines in lines_in(data):
        if records := [line for line in lines or () if line]:
            columns = parse_records(records, [end_ms] * len(records))
            kept = [
                at
                for at, kind in enumerate(columns.event_type)
                if kind in _TYPES and not columns.reason[at] and columns.shop_id[at] == shop
            ]
            names = [name for name in _NAMES.split(", ") if name != "request_id"]
            rows: dict[str, list[Any]] = {name: [getattr(columns, name)[at] for at in kept] for name in names}
            rows["request_id"] = [_request_id(records[at]) for at in kept]
            schema = pa.schema([(name, _ARROW[kind]) for name, kind in (part.split() for part in _DDL.split(", "))])
            yield pa.RecordBatch.from_pydict(rows, schema)


_ARROW: Final = {"string": pa.string(), "long": pa.int64(), "double": pa.float64()}


def _request_id(record: bytes) -> str:
    """The request id of an accepted record, '' for none.

    >>> _request_id(b'{"event_id":"e","request_id":"r1"}'), _request_id(b'{"event_id":"e"}')
    ('r1', '')
    """
    return (_request(record).request_id or "") if _MARK in record else ""


def attributed(
    spark: SparkSession, events: DataFrame, experiments: Mapping[str, Experiment], first: int, last: int
) -> DataFrame:
    """The rows of :mod:`batch.attribution_tables` for the days from ``first`` to ``last`` (since the epoch), summed.

    People are dealt out by a hash; a task applies the rule to all people of its share at once.
    """
    events.createOrReplaceTempView("attribution_events")
    owners = _owners(spark)
    parts = 2 * spark.sparkContext.defaultParallelism
    known = spark.sparkContext.broadcast(owners)
    running = spark.sparkContext.broadcast(dict(experiments))
    links = [(visitor, owner) for visitor, (owner, _) in owners.items()]
    spark.createDataFrame(links, "visitor string, owner string").createOrReplaceTempView("attribution_owners")
    people = spark.sql(
        f"""
        SELECT e.*, COALESCE(o.owner, e.subject) AS person,
               PMOD(XXHASH64(COALESCE(o.owner, e.subject)), {parts}) AS share
        FROM attribution_events e LEFT JOIN attribution_owners o ON e.subject = o.visitor
        WHERE e.event_type <> 'identify'
        """
    )

    def work(frame: pd.DataFrame) -> pd.DataFrame:
        return rows_of(credit(frame, known.value, running.value), running.value)

    rows = people.groupBy("share").applyInPandas(work, ROW_DDL)
    return rows.where(f"day BETWEEN {first} AND {last}").groupBy(*KEYS).agg(*_summed())


def _summed() -> list[Any]:
    from pyspark.sql import functions as F

    return [F.sum(name).alias(name) for name in SUMS]


def _owners(spark: SparkSession) -> Owners:
    """Who each visitor turned out to be, by the latest sign-in, and since when."""
    found = spark.sql(
        """
        SELECT CONCAT('a.', anonymous_id) AS visitor, owner, since FROM (
            SELECT anonymous_id, subject AS owner, MIN(occurred_ms) AS since,
                   ROW_NUMBER() OVER (PARTITION BY anonymous_id ORDER BY MAX(occurred_ms) DESC, subject DESC) AS nth
            FROM attribution_events WHERE event_type = 'identify' GROUP BY anonymous_id, subject
        ) WHERE nth = 1
        """
    )
    return {row.visitor: (row.owner, int(row.since)) for row in found.collect()}
