"""The streaming job on files instead of Kinesis, whole or in part: what ``flink run`` starts for the benchmarks."""

import argparse
from functools import partial
from pathlib import Path
from typing import Any, Final

from pyflink.table import StreamTableEnvironment

import streaming.job
from benchmarks.stream_clock import clocked_serve
from contracts.features import ITEM_FEATURES, USER_FEATURES, BucketFeature
from contracts.settings import Settings, load
from streaming.job import build, build_until, environment, submit
from streaming.sinks import create_sinks
from streaming.source import RECORDS
from streaming.stages import STAGES

__all__ = ["PARTS", "create_files"]

PARTS: Final = ("whole", "json", *STAGES, "features")
_SHARD: Final = "shardId-000000000000"
_SEQUENCE: Final = "49660000000000000000000000000000000000000000000000000002"


def create_files(tables: StreamTableEnvironment, settings: Settings, *, folder: Path, every_s: float = 0.0) -> None:
    """The table ``records`` of :func:`streaming.source.create_source`, from the lines of the files in ``folder``.

    Shard and sequence number are made up; a record arrives when it is read. With ``every_s`` the folder is looked at
    again for new files, for ever.
    """
    watch = f", 'source.monitor-interval' = '{round(1000 * every_s)} ms'" if every_s else ""
    tables.execute_sql(
        f"""
        CREATE TEMPORARY TABLE record_lines (data BYTES)
        WITH ('connector' = 'filesystem', 'path' = '{folder.as_uri()}', 'format' = 'raw'{watch})
        """
    )
    # Made of the record, if only by its being there: constants would reach Python in another form than columns do.
    made_up = [
        f"CASE WHEN data IS NULL THEN '' ELSE '{value}' END AS {name}"
        for name, value in (("shard_id", _SHARD), ("sequence_number", _SEQUENCE))
    ]
    columns = ", ".join(("data", *made_up, "CURRENT_ROW_TIMESTAMP() AS arrived"))
    tables.create_temporary_view(RECORDS, tables.sql_query(f"SELECT {columns} FROM record_lines"))


class _LocalPaths:
    """Tables of the sinks below a local folder instead of the bucket, all else as it is."""

    def __init__(self, tables: StreamTableEnvironment, bucket: str, folder: Path) -> None:
        self._tables, self._bucket, self._folder = tables, f"s3a://{bucket}/", folder

    def execute_sql(self, statement: str) -> Any:
        return self._tables.execute_sql(statement.replace(self._bucket, f"{self._folder.as_uri()}/"))


def _local_sinks(tables: StreamTableEnvironment, settings: Settings, *, folder: Path) -> None:
    create_sinks(_LocalPaths(tables, settings.lake_bucket, folder), settings)


def _json(tables: StreamTableEnvironment, folder: Path) -> Any:
    """Flink's own parser on the same lines into nothing: what the engine does where we do nothing."""
    fields = "shop_id event_id event_type user_id anonymous_id session_id item_id occurred_at received_at currency"
    columns = ", ".join(f"{name} STRING" for name in fields.split())
    tables.execute_sql(
        f"""
        CREATE TEMPORARY TABLE json_lines ({columns}, quantity BIGINT, price DOUBLE)
        WITH ('connector' = 'filesystem', 'path' = '{folder.as_uri()}', 'format' = 'json',
              'json.ignore-parse-errors' = 'true')
        """
    )
    tables.execute_sql(
        "CREATE TEMPORARY TABLE nothing WITH ('connector' = 'blackhole') LIKE json_lines (EXCLUDING ALL)"
    )
    statements = tables.create_statement_set()
    statements.add_insert_sql("INSERT INTO nothing SELECT * FROM json_lines")
    return statements


def _features(tables: StreamTableEnvironment, settings: Settings, source: Any) -> Any:
    """For each feature a running value of its own, beside one without any: the difference is what the feature costs."""
    build_until(tables, settings, "events", source=source)  # for its views
    statements = tables.create_statement_set()
    for entity, key, features in (("item", "item_id", ITEM_FEATURES), ("user", "subject", USER_FEATURES)):
        for name, chosen in [("none", ()), ("all", features), *((feature.name, (feature,)) for feature in features)]:
            statements.add_insert_sql(_running(tables, f"{entity}_{name}", key, chosen))
    return statements


def _running(tables: StreamTableEnvironment, name: str, key: str, features: tuple[BucketFeature, ...]) -> str:
    over = (
        f"(PARTITION BY shop_id, {key}, bucket_ms ORDER BY proctime ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)"
    )
    values = [f"{f.aggregate}({f.expression}) OVER {over} AS `{f.name}`" for f in features]
    values = values or [f"SUM(CAST(0 AS DOUBLE)) OVER {over} AS nothing"]
    names = [feature.name for feature in features] or ["nothing"]
    tables.execute_sql(
        f"""
        CREATE TEMPORARY TABLE {name} (event_id STRING, {", ".join(f"`{n}` DOUBLE" for n in names)})
        WITH ('connector' = 'blackhole')
        """
    )
    bucket = "occurred_ms - MOD(occurred_ms, 300000) AS bucket_ms"
    return f"INSERT INTO {name} SELECT event_id, {', '.join(values)} FROM (SELECT *, {bucket} FROM events)"


def main() -> None:
    """Build and submit the part of the job that the command line names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--part", choices=PARTS, default="whole")
    parser.add_argument("--folder", type=Path, required=True, help="the records' files")
    parser.add_argument("--every-s", type=float, default=0.0)
    parser.add_argument("--clocks", type=Path, help="where Python workers write where their time goes")
    parser.add_argument("--option", action="append", default=[], metavar="KEY=VALUE", help="of this job alone")
    parser.add_argument("--sink", type=Path, help="a local folder instead of S3")
    given = parser.parse_args()
    settings = load()
    if given.clocks:
        vars(streaming.job)["serve_function"] = partial(clocked_serve, folder=str(given.clocks))
    tables = environment(settings)
    for option in given.option:
        tables.get_config().set(*option.split("=", 1))
    source = partial(create_files, folder=given.folder, every_s=given.every_s)
    if given.part == "whole":
        sinks = partial(_local_sinks, folder=given.sink) if given.sink else create_sinks
        statements = build(tables, settings, source=source, sinks=sinks)
    elif given.part == "json":
        statements = _json(tables, given.folder)
    elif given.part == "features":
        statements = _features(tables, settings, source)
    else:
        statements = build_until(tables, settings, given.part, source=source)
    if given.part in ("json", "features"):
        statements.execute()
    else:
        submit(tables, statements)


if __name__ == "__main__":
    main()
