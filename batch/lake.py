"""What Spark does with the lake: read the events of some objects and have each task make the days of its run."""

import gc
import gzip
import io
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, reduce
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession

from batch.contents import Held
from batch.days import EVENTS, TALLY, Chunk, day_number, day_of, make_days, sift
from batch.exchange import objects_of
from batch.merge import Runner
from batch.partition import Input, encode
from batch.plan import Plan, arrival_day, chunks_of
from batch.recipe import MomentRecipe
from batch.units import REACH_DAYS
from contracts.settings import Settings
from stores.objects import Objects

__all__ = [
    "JARS_VARIABLE",
    "Scan",
    "few",
    "hold",
    "lines_in",
    "make_few",
    "make_partitions",
    "read_contents",
    "runner",
    "scan",
    "settle",
    "start_spark",
    "warm_workers",
]

JARS_VARIABLE: Final = "LIVESHELF_SPARK_JARS"
"""Names the jars that let Spark read S3, separated by colons; empty on EMR, which has its own."""

_ROUTED: Final = pa.schema([pa.field("run", pa.int32()), *EVENTS])
_ROUTED_DDL: Final = (
    "run int, day long, kind byte, event_id string, subject string, session string, item string, ms long"
)
_MADE: Final = pa.schema([("path", pa.string()), ("bytes", pa.int64())])

_CONTENTS: Final = -1
"""The run of rows that say what an object holds: its place in ``ms``, then one row a day (``day``)."""

_PIECE: Final = 1 << 22
_FEW_BYTES: Final = 1 << 20
_TASK_BYTES: Final = 4 << 20

Batches = Iterator[pa.RecordBatch]


def start_spark(settings: Settings, master: str, memory: str, name: str = "liveshelf-train") -> SparkSession:
    """The session: under ``spark-submit`` the submitted configuration holds, else Spark runs inside this process tree.

    ``s3://`` URIs work in both: EMR has its own file system for them, elsewhere they are mapped to s3a.
    """
    builder = SparkSession.builder.appName(name)
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


def few(objects: Sequence[Input]) -> bool:
    """Whether so little is to be read that a shuffle would cost more than reading some of it twice."""
    return sum(each.bytes for each in objects) <= _FEW_BYTES


def hold(run: Runner, settings: Settings, shop: str, objects: Sequence[Input], late_days: int) -> dict[Input, Held]:
    """What each of a few objects holds."""

    def work(each: Input) -> Held:
        days, counts = set[int](), False
        for events in _events(objects_of(settings), each, shop, late_days):
            tally = events.column("kind").to_numpy() == TALLY
            counts |= bool(tally.any())
            days.update(events.column("day").to_numpy()[~tally].tolist())
        return Held(tuple(sorted(days)), counts)

    return dict(zip(objects, run(work, objects), strict=True))


def make_few(run: Runner, settings: Settings, shop: str, plan: Plan, recipe: MomentRecipe, length: int) -> int:
    """Make and store the stale days of a plan that reads few objects; returns how many.

    Each task reads all that its days are made from. Equal to :func:`make_partitions`, which reads every object once.
    """
    wanted, inputs = {day: plan.wanted[day] for day in plan.stale}, plan.inputs
    chunks = [chunk for cut in chunks_of(plan.stale, length).values() for chunk in cut]

    def work(chunk: Chunk) -> int:
        objects, days = objects_of(settings), range(chunk.first, chunk.last + 1)
        reads = sorted({each for day in days for each in inputs[day_of(day)]})
        tables = [table for each in reads for table in _events(objects, each, shop, recipe.late_days)]
        for day in make_days(pa.concat_tables(tables), chunk, recipe):
            objects.put(wanted[day.day], encode(day, recipe, inputs[day.day]))
        return len(days)

    return sum(run(work, chunks))


def _events(store: Objects, each: Input, shop: str, late_days: int) -> Iterator[pa.Table]:
    """The events and tallies of an object, some at a time."""
    if (arrival := arrival_day(each.path)) is not None:
        for lines in lines_in(store.get(each.path)):
            yield sift(lines, day_number(arrival), shop, late_days) if lines else _torn(day_number(arrival))


@dataclass(frozen=True, slots=True)
class Scan:
    """The events of some objects, parsed once, kept on the executors' disks by runs of days until :meth:`close`."""

    length: int
    objects: Sequence[Input] = ()
    frame: DataFrame | None = None

    def close(self) -> None:
        """Forget what is kept."""
        if self.frame is not None:
            self.frame.unpersist()


@cache
def settle() -> None:
    """Once a worker process, what every task would pay for otherwise.

    PySpark's daemon collects garbage after each task; with all libraries loaded that is a tenth of a second or more, so
    what lives as long as the process is taken out of the collector's sight.
    """
    pa.array([""])  # Arrow imports pandas when the first array is made
    gc.collect()
    gc.freeze()


def runner(spark: SparkSession) -> Runner:
    """Runs work as Spark tasks, one an input; results in order."""

    def run(work: Callable[[Any], Any], inputs: Sequence[Any]) -> list[Any]:
        def settled(each: Any) -> Any:
            settle()
            return work(each)

        if not inputs:
            return []
        return list(spark.sparkContext.parallelize(list(inputs), len(inputs)).map(settled).collect())

    return run


def warm_workers(spark: SparkSession) -> None:
    """Have the local Python workers import what the tasks need, which takes seconds, beside other work."""

    def imports(_: Any) -> None:
        import batch.merge
        import batch.warm

        batch.warm.compile_kernels()

    runner(spark)(imports, range(spark.sparkContext.defaultParallelism))


def scan(
    spark: SparkSession, settings: Settings, shop: str, objects: Sequence[Input], late_days: int, length: int
) -> Scan:
    """Read objects, one Python task for several of them, and route their events to runs of ``length`` days.

    An event goes to the run of its day and to those of the days around it; a tally to that of its arrival day.
    """
    if not objects:
        return Scan(length)
    bins = _bins(objects, max(spark.sparkContext.defaultParallelism * 3, sum(o.bytes for o in objects) // _TASK_BYTES))
    shared = spark.sparkContext.broadcast(bins)

    def read(batches: Batches) -> Batches:
        settle()
        store = objects_of(settings)
        for batch in batches:
            for at in batch.column(0).to_pylist():
                for place, each in shared.value[at]:
                    yield from _read_object(store, place, each, shop, late_days, length)

    frame = spark.range(0, len(bins), 1, len(bins)).mapInArrow(read, _ROUTED_DDL)
    return Scan(length, objects, frame.persist(StorageLevel.DISK_ONLY))


def _bins(objects: Sequence[Input], count: int) -> list[list[tuple[int, Input]]]:
    """Objects with their places, cut in order into about ``count`` lists of even bytes."""
    ends = np.cumsum([0, *(each.bytes + 1 for each in objects)])
    bins = (ends[:-1] * count // max(int(ends[-1]), 1)).tolist()
    found: dict[int, list[tuple[int, Input]]] = {}
    for place, (at, each) in enumerate(zip(bins, objects, strict=True)):
        found.setdefault(at, []).append((place, each))
    return list(found.values())


def _read_object(store: Objects, place: int, each: Input, shop: str, late_days: int, length: int) -> Batches:
    days: set[int] = set()
    counts = False
    for events in _events(store, each, shop, late_days):
        tally = pc.equal(events.column("kind"), TALLY)
        counts = counts or bool(pc.any(tally).as_py())
        days.update(pc.unique(events.filter(pc.invert(tally)).column("day")).to_pylist())
        yield from _route(events, length).to_batches()
    rows: list[dict[str, Any]] = [{"run": _CONTENTS, "day": day, "kind": TALLY, "ms": place} for day in sorted(days)]
    rows += [{"run": _CONTENTS, "day": None, "kind": TALLY, "ms": place}] if counts else []
    yield from pa.Table.from_pylist(rows, _ROUTED).to_batches()


def lines_in(data: bytes) -> Iterator[list[bytes]]:
    """Some lines at a time; an empty list at the end of an object that is torn."""
    file: Any = gzip.GzipFile(fileobj=io.BytesIO(data)) if data[:2] == b"\x1f\x8b" else io.BytesIO(data)
    rest = b""
    try:
        while piece := file.read1(_PIECE):
            *lines, rest = (rest + piece).split(b"\n")
            yield [line.rstrip(b"\r") for line in lines]
        if rest:
            yield [rest]
    except (EOFError, OSError, zlib.error):
        yield []


def _torn(arrived: int) -> pa.Table:
    row = {"day": arrived, "kind": TALLY, "event_id": "", "subject": "torn_objects", "session": "", "item": "", "ms": 1}
    return pa.Table.from_pylist([row], EVENTS)


def _route(events: pa.Table, length: int) -> pa.Table:
    """The events once for each run that needs them, under its number."""
    day = events.column("day").to_numpy()
    reach = np.where(events.column("kind").to_numpy() == TALLY, 0, REACH_DAYS)
    rows, runs = [], []
    for shift in range((REACH_DAYS + length - 1) // length * -1, (REACH_DAYS + length - 1) // length + 1):
        run = day // length + shift
        first = run * length
        near = np.flatnonzero((day + reach >= first) & (day - reach < first + length))
        rows.append(near)
        runs.append(run[near])
    routed = events.take(pa.array(np.concatenate(rows)))
    return routed.add_column(0, "run", pa.array(np.concatenate(runs).astype(np.int32))).cast(_ROUTED)


def read_contents(found: Scan) -> dict[Input, Held]:
    """What each scanned object holds; this reads them."""
    days: dict[int, list[int]] = {}
    counts: set[int] = set()
    for row in found.frame.where(f"run = {_CONTENTS}").select("day", "ms").collect() if found.frame else ():
        if row.day is None:
            counts.add(row.ms)
        else:
            days.setdefault(row.ms, []).append(row.day)
    return {each: Held(tuple(sorted(days.get(place, ()))), place in counts) for place, each in enumerate(found.objects)}


def make_partitions(
    spark: SparkSession, settings: Settings, shop: str, plan: Plan, found: Scan, recipe: MomentRecipe
) -> dict[str, int]:
    """Make and store the partitions of the stale days; returns their sizes in bytes by path.

    ``found`` holds some of the objects; the others that the plan reads are read now. The only shuffle moves events
    (once, to the run that makes their days); pairs of items never leave a task.
    """
    chunks = chunks_of(plan.stale, found.length)
    if not chunks:
        return {}
    have = set(found.objects)
    others = scan(
        spark, settings, shop, [each for each in plan.reads if each not in have], recipe.late_days, found.length
    )
    events = reduce(DataFrame.unionByName, [each.frame for each in (found, others) if each.frame is not None])
    wanted = ",".join(map(str, chunks))
    made = (
        events.where(f"run IN ({wanted})")
        .repartition(2 * len(chunks), "run")  # twice, because they are dealt out by a hash
        .mapInArrow(_maker(settings, plan, chunks, recipe), "path string, bytes long")
        .collect()
    )
    others.close()
    return {row.path: row.bytes for row in made}


def _maker(
    settings: Settings, plan: Plan, chunks: Mapping[int, Sequence[Chunk]], recipe: MomentRecipe
) -> Callable[[Batches], Batches]:
    wanted, inputs = {day: plan.wanted[day] for day in plan.stale}, plan.inputs

    def make_batches(batches: Batches) -> Batches:
        settle()
        # Of a column compared with a single value Spark knows that it holds no null, and says so in its schema.
        table = pa.Table.from_batches([pa.RecordBatch.from_arrays(b.columns, schema=_ROUTED) for b in batches], _ROUTED)
        made: dict[str, list[Any]] = {"path": [], "bytes": []}
        objects = objects_of(settings)
        for run in pc.unique(table.column("run")).to_pylist():
            events = table.filter(pc.equal(table.column("run"), run)).drop(["run"])
            for day in (day for chunk in chunks[run] for day in make_days(events, chunk, recipe)):
                data = encode(day, recipe, inputs[day.day])
                objects.put(wanted[day.day], data)
                made["path"].append(wanted[day.day])
                made["bytes"].append(len(data))
        yield pa.RecordBatch.from_pydict(made, _MADE)

    return make_batches
