"""What the stream wrote to S3, held against the lake in Spark: windows in Parquet, and the log of counted events."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any, Final

from pyspark.sql import DataFrame, SparkSession

from batch import parity_expected
from batch.parity_report import EXAMPLES, Mismatch, Report, Tally
from contracts.lake import dataset_prefix
from contracts.settings import Settings
from stores.objects import Objects

__all__ = ["compare_windows", "count_accounts", "first_served_ms", "read_served"]

_DAY: Final = re.compile(r".*/year=(\d+)/month=(\d+)/day=(\d+)(?=/)")
_ENTITIES: Final = {
    "item": ("item_id", ("views", "carts", "purchases", "revenue", "last_purchase")),
    "user": ("subject", ("views", "carts", "purchases", "spend", "cart_removals", "first", "last")),
}


def _parquet(spark: SparkSession, objects: Objects, prefix: str, first: date) -> DataFrame | None:
    """The visible Parquet files below a prefix from a day on; none where there are none yet."""
    shown = [path for path in objects.list(prefix) if not path.rpartition("/")[2].startswith(("_", "."))]
    days = {match[0] for path in shown if (match := _DAY.search(path)) and _date(match) >= first}
    if not days:
        return None
    folders = [objects.uri(folder) for folder in sorted(days)]
    return spark.read.option("recursiveFileLookup", "true").parquet(*folders)


def _date(match: re.Match[str]) -> date:
    return date(*(int(part) for part in match.groups()))


def read_served(spark: SparkSession, settings: Settings, shop: str, first: date) -> DataFrame | None:
    """``event_id`` and ``received_ms`` of what the stream counted from a day on; none where it never ran."""
    found = _parquet(spark, Objects.from_settings(settings), dataset_prefix(shop, "served"), first)
    return None if found is None else found.select("event_id", "received_ms")


def first_served_ms(served: DataFrame | None) -> int | None:
    """When the oldest event that the stream counted was received, epoch ms."""
    return None if served is None else served.agg({"received_ms": "min"}).collect()[0][0]


def count_accounts(spark: SparkSession, served: DataFrame | None, report: Report, since_ms: int, until_ms: int) -> None:
    """Every accepted event of the lake was counted exactly once, and nothing else was; both received in a span of time.

    Adds the figures to ``report.accounts`` and the comparison as ``stream.counted_once``.
    """
    records = spark.sql(
        "SELECT reason, COUNT(*) AS n, COUNT(DISTINCT event_id) AS d, SUM(INT(late)) AS late FROM parity_records "
        "GROUP BY reason"
    ).collect()
    accepted = next((row for row in records if row.reason == ""), None)
    report.accounts |= {
        "lake_records": sum(row.n for row in records),
        "accepted": accepted.n if accepted else 0,
        "distinct": accepted.d if accepted else 0,
        "late_records": (accepted.late or 0) if accepted else 0,
        "rejected": {row.reason: row.n for row in records if row.reason},
    }
    if served is None:
        report.accounts["counted"] = None
        return
    span = f"received_ms >= {since_ms} AND received_ms < {until_ms}"
    served.createOrReplaceTempView("parity_served")
    both = spark.sql(
        f"""
        SELECT COALESCE(l.event_id, s.event_id) AS event_id, l.event_id IS NOT NULL AS lake,
            COALESCE(s.times, 0) AS times
        FROM (SELECT event_id FROM parity_distinct WHERE {span}) l
        FULL OUTER JOIN (
            SELECT event_id, COUNT(*) AS times FROM parity_served WHERE {span} GROUP BY event_id
        ) s ON l.event_id = s.event_id
        """
    ).persist()
    counts = {"counted": "times > 0", "lost": "lake AND times = 0", "doubled": "times > 1", "extra": "NOT lake"}
    sums = both.selectExpr("COUNT(*) AS ids", *(f"SUM(INT({test})) AS {name}" for name, test in counts.items()))
    figures = {name: int(value or 0) for name, value in sums.collect()[0].asDict().items()}
    wrong = both.where("times <> 1 OR NOT lake").limit(EXAMPLES).collect()
    both.unpersist()
    report.accounts |= {name: figures[name] for name in counts}
    report.features["stream.counted_once"] = Tally(
        figures["ids"],
        figures["ids"],
        figures["lost"] + figures["doubled"] + figures["extra"],
        [Mismatch("stream.counted_once", row.event_id, int(row.lake), row.times) for row in wrong],
    )


def compare_windows(
    spark: SparkSession, settings: Settings, shop: str, report: Report, *, taken: str, since_ms: int, drained: bool
) -> None:
    """Rows of Parquet against the lake: one an entity and window, and each value; as ``s3.<entity>.<feature>``.

    Args:
        taken: SQL of which events passed through the stream.
        since_ms: windows that end after it.
        drained: the stream was stopped and its last windows were written; otherwise the newest window that is there is
            left out, because its rows may still be on their way.
    """
    objects = Objects.from_settings(settings)
    for entity, (column, features) in _ENTITIES.items():
        first = datetime.fromtimestamp(since_ms / 1000, UTC).date()
        found = _parquet(spark, objects, f"{dataset_prefix(shop, 'features')}entity={entity}/", first)
        if found is None:
            report.accounts[f"{entity}_window_rows"] = 0
            continue
        values = [f"MAX(`{name}`) AS `{name}`" for name in features if name in found.columns]
        named = [name for name in features if name in found.columns]
        found.createOrReplaceTempView("parity_parquet")
        rows = spark.sql(
            f"""
            SELECT entity_id, CAST(window_end AS LONG) * 1000 AS end_ms, COUNT(*) AS rows, {", ".join(values)}
            FROM parity_parquet WHERE CAST(window_end AS LONG) * 1000 > {since_ms} GROUP BY 1, 2
            """
        ).persist()
        about = rows.selectExpr("MAX(end_ms) AS newest", "COUNT(*) AS rows").collect()[0]
        newest = about.newest or 0
        closed = f"end_ms > {since_ms} AND end_ms < {newest + int(drained)}"
        expected = parity_expected.windows(spark, column, taken).where(closed)
        report.accounts[f"{entity}_window_rows"] = int(about["rows"])
        _compare(spark, report, f"s3.{entity}", expected, rows.where(closed), named)
        rows.unpersist()


def _compare(
    spark: SparkSession, report: Report, prefix: str, expected: DataFrame, found: DataFrame, features: Sequence[str]
) -> None:
    expected.createOrReplaceTempView("parity_wanted")
    found.createOrReplaceTempView("parity_written")
    columns = ", ".join(f"e.`{name}` AS `wanted_{name}`, f.`{name}` AS `{name}`" for name in features)
    joined = spark.sql(
        f"""
        SELECT COALESCE(e.entity_id, f.entity_id) AS entity_id, COALESCE(e.end_ms, f.end_ms) AS end_ms,
            INT(e.end_ms IS NOT NULL) AS wanted_rows, COALESCE(f.rows, 0L) AS rows, {columns}
        FROM parity_wanted e FULL OUTER JOIN parity_written f ON e.entity_id = f.entity_id AND e.end_ms = f.end_ms
        """
    ).persist()
    wrong = {
        name: f"NOT COALESCE(ABS(`wanted_{name}` - `{name}`) <= 1e-9 * GREATEST(1, ABS(`{name}`)), false)"
        for name in features
    }
    wrong["rows"] = "rows <> wanted_rows"
    sums = [f"SUM(INT({test})) AS `{name}`" for name, test in wrong.items()]
    sums += [f"SUM(INT(COALESCE(`wanted_{name}`, `{name}`) <> 0)) AS `present_{name}`" for name in (*features, "rows")]
    figures: dict[str, Any] = joined.selectExpr("COUNT(*) AS compared", *sums).collect()[0].asDict()
    for name, test in wrong.items():
        tally = Tally(figures["compared"], figures[f"present_{name}"] or 0, figures[name] or 0)
        if tally.mismatches:
            tally.examples = [
                Mismatch(f"{prefix}.{name}", f"{row.entity_id} until {row.end_ms}", row[f"wanted_{name}"], row[name])
                for row in joined.where(test).orderBy("end_ms", "entity_id").limit(EXAMPLES).collect()
            ]
        report.features[f"{prefix}.{name}"] = tally
    joined.unpersist()
