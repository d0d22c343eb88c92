"""Writing the attribution's tables and what is read from them: one file a day and table, replaced as a whole."""

import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession

from batch.attribution_tables import TABLES
from batch.days import day_number, day_of
from batch.exchange import objects_of
from batch.experiment_results import ArmSums, results_of, unit_sums_sql
from contracts.attribution import TOTAL_COLUMNS, UNIT_COLUMNS, AttributionSummary, ListTotals
from contracts.experiment_results import ExperimentResults
from contracts.experiments import Experiment
from contracts.lake import attribution_items_path, attribution_totals_path, attribution_units_path
from contracts.settings import Settings
from stores.objects import Objects

__all__ = ["experiment_results", "item_counts", "summarise", "write_days"]

_ARROW: Final = {"string": pa.string(), "long": pa.int64(), "double": pa.float64(), "boolean": pa.bool_()}
_PATHS: Final = {
    "totals": attribution_totals_path,
    "units": attribution_units_path,
    "items": attribution_items_path,
}


def parquet(table: str, rows: pd.DataFrame) -> bytes:
    """The file of a day: the same rows in any order give the same bytes."""
    columns = TABLES[table]
    ordered = rows.sort_values([name for name, kind in columns.items() if kind in ("string", "boolean")])
    arrays = {name: pa.array(ordered[name].tolist(), _ARROW[kind]) for name, kind in columns.items()}
    buffer = io.BytesIO()
    pq.write_table(pa.table(arrays), buffer, compression="zstd")
    return buffer.getvalue()


def write_days(rows: DataFrame, settings: Settings, shop: str, first: int, last: int) -> dict[str, int]:
    """Write every table of every day; returns the rows of each. A day without rows gets an empty file.

    Each file is made and put by one task, so writing again replaces it and nothing is left of an earlier run.
    """
    store = objects_of(settings)
    for day in range(first, last + 1):
        for table, columns in TABLES.items():
            store.put(_PATHS[table](shop, day_of(day)), parquet(table, pd.DataFrame(columns=list(columns))))

    def write(part: pd.DataFrame) -> pd.DataFrame:
        table, day = str(part["table"].iloc[0]), int(part["day"].iloc[0])
        kept = part[part["impressions"] + part["clicks"] + part["total_revenue"] > 0]
        objects_of(settings).put(_PATHS[table](shop, day_of(day)), parquet(table, kept))
        return pd.DataFrame({"table": [table], "rows": [len(kept)]})

    written = rows.groupBy("table", "day").applyInPandas(write, "`table` string, `rows` long").collect()
    counts = dict.fromkeys(TABLES, 0)
    for row in written:
        counts[row.table] += row.rows
    return counts


def _stored(store: Objects, table: str, shop: str, first: int, last: int) -> Iterator[tuple[int, str]]:
    """The days that have a file, with its path."""
    for day in range(first, last + 1):
        path = _PATHS[table](shop, day_of(day))
        if store.etag(path) is not None:
            yield day, path


def _read(store: Objects, table: str, shop: str, first: int, last: int) -> pd.DataFrame:
    """A small table over some days, in the driver."""
    parts = [pq.read_table(pa.BufferReader(store.get(path))) for _, path in _stored(store, table, shop, first, last)]
    if not any(len(part) for part in parts):
        return pd.DataFrame(columns=list(TABLES[table]))
    return pd.DataFrame(pa.concat_tables(parts).to_pydict())


def summarise(
    store: Objects, shop: str, first: int, last: int, *, made_at: datetime, dropped: int
) -> AttributionSummary:
    """The totals of some days together, by list, placement, model version, variant, the most shown first."""
    keys = [name for name, kind in TOTAL_COLUMNS.items() if kind in ("string", "boolean")]
    rows = _read(store, "totals", shop, first, last)
    sums = rows.groupby(keys, sort=False).sum(numeric_only=True).reset_index()
    lists = [_totals(row) for row in sums.to_dict("records")]
    lists.sort(key=lambda each: (-each.impressions, each.kind, each.placement, each.variant))
    return AttributionSummary(
        shop=shop,
        made_at=made_at,
        first_day=day_of(first).isoformat(),
        last_day=day_of(last).isoformat(),
        lists=lists,
        dropped=dropped,
    )


def _totals(row: Mapping[Any, Any]) -> ListTotals:
    shown, revenue = int(row["impressions"]), float(row["revenue"])
    return ListTotals(
        kind=row["kind"],
        placement=row["placement"],
        model_version=row["model_version"],
        variant=row["variant"],
        new=bool(row["new"]),
        impressions=shown,
        clicks=int(row["clicks"]),
        purchases=int(row["purchases"]),
        purchases_after_click=int(row["purchases_after_click"]),
        revenue=round(revenue, 2),
        click_through=round(int(row["clicks"]) / shown, 6),
        conversion=round(int(row["purchases"]) / shown, 6),
        revenue_per_thousand=round(1000 * revenue / shown, 4),
    )


def item_counts(store: Objects, shop: str, first: int, last: int) -> dict[str, tuple[int, int]]:
    """Impressions and clicks of each item over some days."""
    rows = _read(store, "items", shop, first, last)
    sums = rows.groupby("item_id")[["impressions", "clicks"]].sum()
    return {
        str(item): (int(row.impressions), int(row.clicks))
        for item, row in zip(sums.index, sums.itertuples(), strict=True)
    }


def experiment_results(
    spark: SparkSession,
    settings: Settings,
    shop: str,
    experiments: Sequence[Experiment],
    last: int,
    *,
    made_at: datetime,
    dropped: int,
) -> list[ExperimentResults]:
    """What each experiment has shown so far, from its first day to ``last``."""
    store = objects_of(settings)
    begun = [
        each for each in experiments if each.status != "draft" and day_number(each.start.astimezone(UTC).date()) <= last
    ]
    if not begun:
        return []
    first = min(day_number(each.start.astimezone(UTC).date()) for each in begun)
    sums = _unit_sums(spark, store, shop, first, last)
    found = []
    for each in begun:
        text = (_first_day(each).isoformat(), _last_day(each, day_of(last)).isoformat())
        found.append(results_of(each, sums.get(each.id, {}), shop=shop, made_at=made_at, days=text, dropped=dropped))
    return found


def _first_day(experiment: Experiment) -> date:
    return experiment.start.astimezone(UTC).date()


def _last_day(experiment: Experiment, last: date) -> date:
    if experiment.end is None:
        return last
    return min(last, (experiment.end - timedelta(microseconds=1)).astimezone(UTC).date())


def _unit_sums(spark: SparkSession, store: Objects, shop: str, first: int, last: int) -> dict[str, dict[str, ArmSums]]:
    """Experiment → variant → sums, from the stored days."""
    ddl = ", ".join(f"`{name}` {kind}" for name, kind in UNIT_COLUMNS.items())
    days = list(_stored(store, "units", shop, first, last))
    if not days:
        return {}
    rows = spark.read.schema(ddl + ", year int, month int, day int").option("basePath", _base(store, shop))
    units = rows.parquet(*(store.uri(path) for _, path in days))
    dated = units.selectExpr(*UNIT_COLUMNS, "DATEDIFF(MAKE_DATE(year, month, day), DATE'1970-01-01') AS day")
    dated.createOrReplaceTempView("attribution_units")
    found: dict[str, dict[str, ArmSums]] = {}
    for row in spark.sql(unit_sums_sql("attribution_units")).collect():
        values = row.asDict()
        found.setdefault(values.pop("experiment"), {})[values.pop("variant")] = ArmSums(values)
    return found


def _base(store: Objects, shop: str) -> str:
    return store.uri(attribution_units_path(shop, day_of(0)).split("year=")[0])
