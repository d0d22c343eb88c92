"""The exactly-once Parquet sinks on S3, below ``shop=<id>/dataset=<name>/…/year=/month=/day=/hour=/``."""

from collections.abc import Mapping, Sequence

from pyflink.table import StreamTableEnvironment

from contracts.datasets import DATASETS
from contracts.settings import Settings

__all__ = ["create_sinks"]


def create_sinks(tables: StreamTableEnvironment, settings: Settings, base: str = "") -> None:
    """Create the tables ``item_features``, ``user_features``, ``dead_letter`` and ``served``, below ``base``.

    Parquet files roll with every checkpoint and become visible when it completes, so a row is there exactly once.
    """
    base = base or f"s3a://{settings.lake_bucket}/"  # the scheme that the managed service wants of a job's file system
    for name, dataset in DATASETS.items():
        # Nearly every cell of the served log is another: dictionaries would be built and thrown away.
        more = ", 'parquet.enable.dictionary' = 'false'" if name == "served" else ""
        _create(tables, name, base, dataset.columns, dataset.partition, more)


def _create(
    tables: StreamTableEnvironment,
    name: str,
    base: str,
    columns: Mapping[str, str],
    partition: Sequence[str],
    more: str = "",
) -> None:
    fields = ", ".join(f"`{column}` {kind}" for column, kind in columns.items())
    keys = ", ".join(f"`{key}`" for key in partition)
    types = ", ".join(f"`{key}` STRING" for key in partition)
    tables.execute_sql(
        f"""
        CREATE TEMPORARY TABLE {name} ({fields}, {types}) PARTITIONED BY ({keys})
        WITH ('connector' = 'filesystem', 'path' = '{base}', 'format' = 'parquet',
              'parquet.compression' = 'SNAPPY'{more})
        """
    )
