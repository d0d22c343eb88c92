"""Records of the lake as a Spark table, as the stream's own parser takes them: where rebuild and parity begin."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from batch.exchange import objects_of
from batch.inventory import list_objects
from batch.lake import lines_in, settle
from batch.partition import Input
from batch.plan import arrival_day
from contracts.lake import EVENTS_PREFIX, day_prefix
from contracts.records import RecordColumns, parse_records
from contracts.settings import Settings

__all__ = ["TORN", "configured", "lake_objects", "lake_records"]

TORN: Final = "torn_object"
"""The reason of one row that stands for the unreadable end of an object."""

_TASK_BYTES: Final = 4 << 20
_DAY_MS: Final = 24 * 3600 * 1000
_SCHEMA: Final = pa.schema(
    [
        ("reason", pa.string()),
        ("event_id", pa.string()),
        ("event_type", pa.string()),
        ("subject", pa.string()),
        ("anonymous_id", pa.string()),
        ("item_id", pa.string()),
        ("occurred_ms", pa.int64()),
        ("received_ms", pa.int64()),
        ("amount", pa.float64()),
        ("late", pa.bool_()),
        ("action", pa.bool_()),
    ]
)
_DDL: Final = (
    "reason string, event_id string, event_type string, subject string, anonymous_id string, item_id string, "
    "occurred_ms long, received_ms long, amount double, late boolean, action boolean"
)


@contextmanager
def configured(spark: SparkSession) -> Iterator[None]:
    """The session with what reading events wants: times in UTC, shuffles of a size that fits; as it was afterwards."""
    wanted = {
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": str(2 * spark.sparkContext.defaultParallelism),
    }
    before = {name: spark.conf.get(name) for name in wanted}
    try:
        for name, value in wanted.items():
            spark.conf.set(name, value)
        yield
    finally:
        for name, value in before.items():
            spark.conf.set(name, value)


def lake_objects(settings: Settings, first: date, last: date) -> list[Input]:
    """The lake's objects of the arrival days ``first`` to ``last``, both included.

    Raises:
        StoreError: the bucket cannot be listed.
    """
    if (last - first).days < 3:  # a list a day costs less than the names of all years
        days = [date.fromordinal(n) for n in range(first.toordinal(), last.toordinal() + 1)]
        return [each for day in days for each in list_objects(settings, day_prefix(day))]
    found = list_objects(settings, EVENTS_PREFIX)
    return [each for each in found if (day := arrival_day(each.path)) and first <= day <= last]


def lake_records(spark: SparkSession, settings: Settings, shop: str, objects: list[Input]) -> DataFrame:
    """Every record of a shop in some objects, repeated ones included, and every rejected one with its ``reason``.

    Rejected records have no other column (they belong to no shop that one could trust); accepted ones have the reason
    ``''`` and the columns of :class:`contracts.records.RecordColumns`. Parsed anew whenever the table is read: persist
    it where that is more than once.
    """
    cuts = max(spark.sparkContext.defaultParallelism, sum(each.bytes for each in objects) // _TASK_BYTES)
    cuts = max(1, min(cuts, len(objects)))
    ends = np.cumsum([0, *(each.bytes + 1 for each in objects)])
    at = (ends[:-1] * cuts // max(int(ends[-1]), 1)).tolist()
    tasks = [[each.path for each, cut in zip(objects, at, strict=True) if cut == n] for n in range(cuts)]
    shared = spark.sparkContext.broadcast(tasks)

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        settle()
        store = objects_of(settings)
        for batch in batches:
            for task in batch.column(0).to_pylist():
                for path in shared.value[task]:
                    yield from _read(store.get(path), path, shop)

    return spark.range(0, cuts, 1, cuts).mapInArrow(read, _DDL)


def _read(data: bytes, path: str, shop: str) -> Iterator[pa.RecordBatch]:
    """The records of an object, some at a time."""
    day = arrival_day(path) or date(9999, 12, 30)
    end_ms = (day.toordinal() - date(1970, 1, 1).toordinal() + 1) * _DAY_MS
    for lines in lines_in(data):
        records = [line for line in lines if line]
        columns = parse_records(records, [end_ms] * len(records)) if lines else _torn()
        yield _batch(columns, shop)


def _torn() -> RecordColumns:
    columns = parse_records([b""])
    columns.reason = [TORN]
    return columns


def _batch(columns: RecordColumns, shop: str) -> pa.RecordBatch:
    arrays: list[Any] = [pa.array(getattr(columns, field.name), field.type) for field in _SCHEMA]
    mine = [bool(reason) or found == shop for reason, found in zip(columns.reason, columns.shop_id, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA).filter(pa.array(mine, pa.bool_()))
