"""What Spark does with the lake: read the events of some arrival days and have each task make the days of its chunk."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession

from batch.days import EVENT_COLUMNS, day_of, make_days, route, sift
from batch.partition import Input, encode
from batch.plan import Plan
from batch.recipe import MomentRecipe
from contracts.lake import EVENTS_PREFIX
from contracts.settings import Settings
from stores.objects import Objects

__all__ = ["JARS_VARIABLE", "make_partitions", "start_spark"]

JARS_VARIABLE: Final = "LIVESHELF_SPARK_JARS"
"""Names the jars that let Spark read S3, separated by colons; empty on EMR, which has its own."""

_TYPES: Final = (pa.int64(), pa.int8(), pa.string(), pa.string(), pa.string(), pa.string(), pa.int64())
_EVENTS: Final = pa.schema([("chunk", pa.int32()), *zip(EVENT_COLUMNS, _TYPES, strict=True)])
_EVENTS_DDL: Final = (
    "chunk int, day long, kind byte, event_id string, subject string, session string, item string, ms long"
)

Batches = Iterator[pa.RecordBatch]


def start_spark(settings: Settings, master: str, memory: str) -> SparkSession:
    """The session: under ``spark-submit`` the submitted configuration holds, else Spark runs inside this process tree.

    ``s3://`` URIs work in both: EMR has its own file system for them, elsewhere they are mapped to s3a.
    """
    builder = SparkSession.builder.appName("liveshelf-train")
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        own = {
            "spark.master": master,
            "spark.driver.memory": memory,
            # The JVM only lists, reads and moves bytes, for a minute: the optimising compiler never earns its keep.
            "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.jars": ",".join(filter(None, os.environ.get(JARS_VARIABLE, "").split(":"))),
            "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
            "spark.hadoop.fs.s3a.endpoint.region": settings.aws_region,
        }
        if settings.aws_endpoint:
            own["spark.hadoop.fs.s3a.endpoint"] = settings.aws_endpoint
            own["spark.hadoop.fs.s3a.path.style.access"] = "true"
            own["spark.hadoop.fs.s3a.connection.ssl.enabled"] = str(settings.aws_endpoint.startswith("https")).lower()
            own["spark.hadoop.fs.s3a.aws.credentials.provider"] = (
                "com.amazonaws.auth.EnvironmentVariableCredentialsProvider"
            )
        for key, value in own.items():
            builder = builder.config(key, value)
    spark = (
        builder.config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        # One object a day is the rule: a listing job with a task for each would cost more than the listing.
        .config("spark.sql.sources.parallelPartitionDiscovery.threshold", "2000")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    return spark


def make_partitions(
    spark: SparkSession, settings: Settings, shop: str, plan: Plan, recipe: MomentRecipe
) -> dict[str, int]:
    """Make and store the partitions of the stale days; returns their sizes in bytes by path.

    The only shuffle moves events (once, to the chunk that makes their day); pairs of items never leave a task.
    """
    chunks = plan.chunks
    if not chunks:
        return {}
    lines = _read_lines(spark, settings, plan.reads)
    events = lines.mapInArrow(_sifter(shop, plan, recipe.late_days), _EVENTS_DDL)
    made = (
        events.repartition(len(chunks), "chunk")
        .mapInArrow(_maker(settings, plan, recipe), "path string, bytes long")
        .collect()
    )
    sizes = {row.path: row.bytes for row in made}
    # Days whose inputs hold nothing of theirs reach no task; they are stored as well, or each training looks again.
    empty = _EVENTS.empty_table().to_pandas()
    objects = Objects.from_settings(settings)
    for chunk in chunks:
        if not any(plan.wanted[day_of(d)] in sizes for d in range(chunk.first, chunk.last + 1)):
            for day in make_days(empty, chunk, recipe):
                data = encode(day, recipe, plan.inputs[day.day])
                objects.put(plan.wanted[day.day], data)
                sizes[plan.wanted[day.day]] = len(data)
    return sizes


def _read_lines(spark: SparkSession, settings: Settings, reads: Sequence[Input]) -> DataFrame:
    """Raw lines with their arrival day, days since the epoch."""
    base = f"s3://{settings.lake_bucket}/"
    frame = spark.read.option("basePath", base + EVENTS_PREFIX).text([base + object_.path for object_ in reads])
    return frame.selectExpr("value", "unix_date(make_date(year, month, day)) AS arrived")


def _sifter(shop: str, plan: Plan, late_days: int) -> Callable[[Batches], Batches]:
    chunks = plan.chunks

    def sift_batches(batches: Batches) -> Batches:
        for batch in batches:
            records = batch.column(0).cast(pa.binary()).to_pylist()
            events = sift(records, batch.column(1).to_numpy(), shop, late_days)
            for number, rows in route(events, chunks):
                yield pa.RecordBatch.from_pandas(rows.assign(chunk=number), schema=_EVENTS, preserve_index=False)

    return sift_batches


def _maker(settings: Settings, plan: Plan, recipe: MomentRecipe) -> Callable[[Batches], Batches]:
    chunks, wanted, inputs = plan.chunks, plan.wanted, plan.inputs

    def make_batches(batches: Batches) -> Batches:
        objects = Objects.from_settings(settings)
        frame = pa.Table.from_batches(list(batches), _EVENTS).to_pandas()
        made: dict[str, list[Any]] = {"path": [], "bytes": []}
        for number, events in frame.groupby("chunk"):
            for day in make_days(events, chunks[number], recipe):
                data = encode(day, recipe, inputs[day.day])
                objects.put(wanted[day.day], data)
                made["path"].append(wanted[day.day])
                made["bytes"].append(len(data))
        yield pa.RecordBatch.from_pydict(made, pa.schema([("path", pa.string()), ("bytes", pa.int64())]))

    return make_batches
