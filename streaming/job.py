"""The job graph: source, parse, de-duplicate, running buckets, serve; windows and rejected records to S3."""

from collections.abc import Callable
from typing import Final, Literal

from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import Schema, StatementSet, StreamTableEnvironment, Table, TableDescriptor

from contracts.features import ITEM_FEATURES, USER_FEATURES
from contracts.settings import Settings
from streaming import sql
from streaming.parsing import PARSED, parse_function
from streaming.serve import SERVE_ARGUMENTS, serve_function
from streaming.sinks import create_sinks
from streaming.source import RECORDS, create_source

__all__ = ["JOB_NAME", "STAGES", "Create", "Stage", "build", "build_until", "environment"]

JOB_NAME = "liveshelf"

Stage = Literal["parsed", "events", "windows", "bucketed", "served"]
STAGES: Final[tuple[Stage, ...]] = ("parsed", "events", "windows", "bucketed", "served")
"""Where :func:`build_until` can cut the job, in the order of the work."""

Create = Callable[[StreamTableEnvironment, Settings], None]
"""Creates tables: ``records`` as :func:`streaming.source.create_source` has it, or those of the sinks."""


def environment(settings: Settings) -> StreamTableEnvironment:
    """The table environment. State backend, checkpoints and parallelism are the cluster's business, not the code's."""
    config = Configuration()
    config.set_string("table.local-time-zone", "UTC")
    config.set_string("table.exec.state.ttl", f"{settings.streaming.dedup_horizon_s} s")
    config.set_string("table.exec.source.idle-timeout", f"{settings.streaming.idle_timeout_s} s")
    config.set_string("pipeline.name", JOB_NAME)
    return StreamTableEnvironment.create(StreamExecutionEnvironment.get_execution_environment(config))


def build(
    tables: StreamTableEnvironment,
    settings: Settings,
    *,
    source: Create = create_source,
    sinks: Create = create_sinks,
) -> StatementSet:
    """All inserts of the job as one statement set, so that the source is read and each record parsed once."""
    _views(tables, settings, source)
    sinks(tables, settings)
    statements = tables.create_statement_set()
    statements.add_insert_sql(f"INSERT INTO served {sql.served_rows('scored')}")
    statements.add_insert_sql(f"INSERT INTO dead_letter {sql.rejected_rows('parsed')}")
    for entity, column, features in _ENTITIES:
        statements.add_insert_sql(f"INSERT INTO {entity}_features {sql.windows('events', entity, column, features)}")
    return statements


def build_until(tables: StreamTableEnvironment, settings: Settings, stage: Stage, *, source: Create) -> StatementSet:
    """The job up to a stage, whose rows go nowhere: what a part costs is the difference of two such jobs.

    ``windows`` is the two event-time windows without the running sums, ``bucketed`` the running sums without windows,
    and ``served`` everything but the files of the windows and of the rejected records.
    """
    _views(tables, settings, source)
    statements = tables.create_statement_set()
    nothing = TableDescriptor.for_connector("blackhole").build()
    if stage == "windows":
        for entity, column, features in _ENTITIES:
            rows = tables.sql_query(sql.windows("events", entity, column, features))
            statements.add_insert(nothing, rows)
    elif stage == "served":
        statements.add_insert(nothing, tables.sql_query(sql.served_rows("scored")))
    else:
        statements.add_insert(nothing, tables.from_path(stage))
    return statements


_ENTITIES: Final = (("item", "item_id", ITEM_FEATURES), ("user", "subject", USER_FEATURES))


def _views(tables: StreamTableEnvironment, settings: Settings, source: Create) -> None:
    source(tables, settings)
    tables.create_temporary_view("parsed", _parsed(tables, settings))
    tables.create_temporary_view("events", tables.sql_query(sql.distinct_events("parsed")))
    tables.create_temporary_view("bucketed", tables.sql_query(sql.bucket_values("events")))
    tables.create_temporary_system_function("serve", serve_function(settings))
    arguments = ", ".join(SERVE_ARGUMENTS)
    tables.create_temporary_view("scored", tables.sql_query(f"SELECT *, serve({arguments}) AS served FROM bucketed"))


def _parsed(tables: StreamTableEnvironment, settings: Settings) -> Table:
    """The parsed records with event time and watermark.

    The detour over a DataStream stays inside the JVM. It is where a watermark can be declared on a parsed column, and a
    boundary that the planner cannot cross: the Python parser runs once, whatever reads from it.
    """
    arrived_ms = "1000 * UNIX_TIMESTAMP(CAST(arrived AS STRING)) AS arrived_ms"
    raw = tables.sql_query(f"SELECT data, shard_id, sequence_number, {arrived_ms} FROM {RECORDS}")
    stream = tables.to_data_stream(raw.map(parse_function()).alias(*PARSED))
    minutes, seconds = divmod(settings.streaming.window_delay_s, 60)
    schema = (
        Schema.new_builder()
        .column_by_expression("rowtime", "TO_TIMESTAMP_LTZ(occurred_ms, 3)")
        .column_by_expression("proctime", "PROCTIME()")
        .watermark("rowtime", f"rowtime - INTERVAL '{minutes}:{seconds:02}' MINUTE TO SECOND")
        .build()
    )
    return tables.from_data_stream(stream, schema)
