"""The job graph: source, parse, de-duplicate, running buckets, serve; windows and rejected records to S3."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from pyflink.common import Configuration
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway
from pyflink.table import Schema, StatementSet, StreamTableEnvironment, Table, TableDescriptor

from contracts.features import ITEM_FEATURES, USER_FEATURES
from contracts.settings import Settings
from streaming import sql
from streaming.operators import name_operators
from streaming.parsing import PARSED, parse_function
from streaming.serve import SERVE_ARGUMENTS, serve_function
from streaming.sinks import create_sinks
from streaming.source import RECORDS, create_source
from streaming.stages import Stage

__all__ = [
    "JOB_NAME",
    "Create",
    "build",
    "build_until",
    "environment",
    "flink_options",
    "graph",
    "submit",
]

JOB_NAME = "liveshelf"

Create = Callable[[StreamTableEnvironment, Settings], None]
"""Creates tables: ``records`` as :func:`streaming.source.create_source` has it, or those of the sinks."""


def environment(settings: Settings) -> StreamTableEnvironment:
    """The table environment. State backend, checkpoints and parallelism are the cluster's business, not the code's.

    How long rows wait for company is the job's own: the managed service has no place to set it, and with Flink's
    defaults (bundles of a second, buffers of 100 ms) a list follows a click after two seconds.
    """
    config, streaming = Configuration(), settings.streaming
    config.set_string("python.fn-execution.bundle.time", str(streaming.bundle_time_ms))
    config.set_string("python.fn-execution.bundle.size", str(streaming.bundle_rows))
    config.set_string("python.fn-execution.arrow.batch.size", str(streaming.bundle_rows))
    config.set_string("execution.buffer-timeout.interval", f"{streaming.buffer_timeout_ms} ms")
    config.set_string("table.local-time-zone", "UTC")
    config.set_string("table.exec.source.idle-timeout", f"{streaming.idle_timeout_s} s")
    config.set_string("pipeline.name", JOB_NAME)
    # Rows are not copied from one operator to the next of a chain: none of them changes a row it was given.
    config.set_string("pipeline.object-reuse", "true")
    return StreamTableEnvironment.create(StreamExecutionEnvironment.get_execution_environment(config))


def build(
    tables: StreamTableEnvironment,
    settings: Settings,
    *,
    source: Create = create_source,
    sinks: Create = create_sinks,
) -> StatementSet:
    """All inserts of the job as one statement set, so that the source is read and each record parsed once."""
    _views(tables, settings, source, "served")
    sinks(tables, settings)
    statements = tables.create_statement_set()
    statements.add_insert_sql(f"INSERT INTO served {sql.served_rows('scored')}")
    statements.add_insert_sql("INSERT INTO dead_letter SELECT * FROM rejected")
    for entity, column, features in _ENTITIES:
        statements.add_insert_sql(f"INSERT INTO {entity}_features {sql.windows('events', entity, column, features)}")
    return statements


def build_until(tables: StreamTableEnvironment, settings: Settings, stage: Stage, *, source: Create) -> StatementSet:
    """The job up to a stage (:mod:`streaming.stages`), whose rows go nowhere."""
    _views(tables, settings, source, stage)
    statements = tables.create_statement_set()
    nothing = TableDescriptor.for_connector("blackhole").build()
    if stage in ("windows", "counted"):
        for entity, column, features in _ENTITIES:
            rows = tables.sql_query(sql.windows("events", entity, column, features))
            statements.add_insert(nothing, rows)
    if stage == "served":
        statements.add_insert(nothing, tables.sql_query(sql.served_rows("scored")))
    elif stage != "windows":
        statements.add_insert(nothing, tables.from_path("bucketed" if stage == "counted" else stage))
    return statements


def submit(tables: StreamTableEnvironment, statements: StatementSet) -> str:
    """Translate the statements, give each operator its name and uid, start the job, and return its id."""
    return str(tables._j_tenv.execEnv().executeAsync(graph(tables, statements)).getJobID())


def flink_options(tables: StreamTableEnvironment, keys: Iterable[str]) -> dict[str, str | None]:
    """What the options are in this environment: set in code, else the cluster's; ``None`` where neither says."""
    options = tables._j_tenv.execEnv().getConfiguration().toMap()
    return {key: options.get(key) for key in keys}


def graph(tables: StreamTableEnvironment, statements: StatementSet) -> Any:
    """The statements as Flink's ``StreamGraph``, each operator with its name and uid."""
    statements.attach_as_datastream()
    execution = tables._j_tenv.execEnv()
    name_operators(execution.getTransformations())
    execution.getConfig().disableAutoGeneratedUIDs()  # from here on an operator without a uid is an error
    return execution.getStreamGraph()


_ENTITIES: Final = (("item", "item_id", ITEM_FEATURES), ("user", "subject", USER_FEATURES))


def _views(tables: StreamTableEnvironment, settings: Settings, source: Create, stage: Stage) -> None:
    """The views that a stage needs, and no more: a boundary is translated even where nothing reads from it."""
    source(tables, settings)
    tables.create_temporary_system_function("parse", parse_function(settings))
    _parsed(tables, settings)
    if stage == "parsed":
        return
    _keep_state(tables, settings.streaming.dedup_horizon_s)
    _events(tables)
    _keep_state(tables, settings.streaming.sums_ttl_s)
    tables.create_temporary_view("bucketed", tables.sql_query(sql.bucket_values("events")))
    if stage == "served":
        tables.create_temporary_system_function("serve", serve_function(settings))
        arguments = ", ".join(SERVE_ARGUMENTS)
        scored = f"SELECT *, serve({arguments}) AS served FROM bucketed"
        tables.create_temporary_view("scored", tables.sql_query(scored))


def _keep_state(tables: StreamTableEnvironment, seconds: int) -> None:
    """The time to live of the state of what is translated from here on, see :func:`_translated`."""
    tables.get_config().set("table.exec.state.ttl", f"{seconds} s")


def _parsed(tables: StreamTableEnvironment, settings: Settings) -> None:
    """The views ``parsed``, with event time and watermark, and ``rejected``, which needs neither."""
    records = _translated(tables, tables.sql_query(sql.parsed_records(RECORDS)))
    minutes, seconds = divmod(settings.streaming.window_delay_s, 60)
    schema = (
        Schema.new_builder()
        .column_by_expression("rowtime", "TO_TIMESTAMP_LTZ(parsed.occurred_ms, 3)")
        .column_by_expression("proctime", "PROCTIME()")
        .watermark("rowtime", f"rowtime - INTERVAL '{minutes}:{seconds:02}' MINUTE TO SECOND")
        .build()
    )
    tables.create_temporary_view("timed", tables.from_data_stream(records, schema))
    tables.create_temporary_view("untimed", tables.from_data_stream(records))
    tables.create_temporary_view("parsed", tables.sql_query(sql.parsed_columns("timed", list(PARSED))))
    tables.create_temporary_view("rejected", tables.sql_query(sql.rejected_rows("untimed")))


def _events(tables: StreamTableEnvironment) -> None:
    """The view ``events``: the accepted ones without repetitions. Their watermarks are those of the records."""
    schema = (
        Schema.new_builder()
        .column_by_expression("rowtime", "TO_TIMESTAMP_LTZ(occurred_ms, 3)")
        .column_by_expression("proctime", "PROCTIME()")
        .watermark("rowtime", "SOURCE_WATERMARK()")
        .build()
    )
    distinct = _translated(tables, tables.sql_query(sql.distinct_events("parsed")))
    tables.create_temporary_view("events", tables.from_data_stream(distinct, schema))


def _translated(tables: StreamTableEnvironment, table: Table) -> DataStream:
    """``table`` turned into operators now, as a stream that tables can be made of again.

    A boundary that the planner cannot cross: what is before it is planned once, whatever reads from it, so that each
    record is parsed once; it gets the state's time to live that is set at this moment, so that each stage has its own;
    and behind it a watermark can be declared on a parsed column. Rows pass it in Flink's own form: that of the usual
    conversion, a Java object a field and back, would cost a few microseconds each.
    """
    jvm = get_gateway().jvm
    row_type = table._j_table.getResolvedSchema().toPhysicalRowDataType()
    internal = jvm.org.apache.flink.table.types.utils.DataTypeUtils.toInternalDataType(row_type)
    return DataStream(tables._j_tenv.toDataStream(table._j_table, internal))
