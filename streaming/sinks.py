"""The exactly-once Parquet sinks on S3, below ``shop=<id>/dataset=<name>/…/year=/month=/day=/hour=/``."""

from collections.abc import Mapping, Sequence
from typing import Final

from pyflink.table import StreamTableEnvironment

from contracts.features import ITEM_FEATURES, USER_FEATURES, BucketFeature
from contracts.settings import Settings

__all__ = ["create_sinks"]

_TIME: Final = ("year", "month", "day", "hour")


def _features(features: Sequence[BucketFeature]) -> dict[str, str]:
    columns = {"entity_id": "STRING", "window_start": "TIMESTAMP(3)", "window_end": "TIMESTAMP(3)"}
    return columns | {feature.name: "DOUBLE" for feature in features}


_DEAD: Final = {
    "reason": "STRING",
    "detail": "STRING",
    "shard_id": "STRING",
    "sequence_number": "STRING",
    "arrived_ms": "BIGINT",
    "data": "BYTES",
}
_SERVED: Final = {
    "event_id": "STRING",
    "subject": "STRING",
    "event_type": "STRING",
    "item_id": "STRING",
    "occurred_ms": "BIGINT",
    "received_ms": "BIGINT",
    "late": "BOOLEAN",
    "outcome": "STRING",
    "model_version": "STRING",
    "items": "STRING",
}


def create_sinks(tables: StreamTableEnvironment, settings: Settings, base: str = "") -> None:
    """Create the tables ``item_features``, ``user_features``, ``dead_letter`` and ``served``, below ``base``.

    Parquet files roll with every checkpoint and become visible when it completes, so a row is there exactly once.
    """
    base = base or f"s3a://{settings.lake_bucket}/"  # the scheme that the managed service wants of a job's file system
    _create(tables, "item_features", base, _features(ITEM_FEATURES), ("shop", "dataset", "entity", *_TIME))
    _create(tables, "user_features", base, _features(USER_FEATURES), ("shop", "dataset", "entity", *_TIME))
    _create(tables, "dead_letter", base, _DEAD, ("shop", "dataset", *_TIME))
    _create(tables, "served", base, _SERVED, ("shop", "dataset", *_TIME))


def _create(
    tables: StreamTableEnvironment, name: str, base: str, columns: Mapping[str, str], partition: Sequence[str]
) -> None:
    fields = ", ".join(f"`{column}` {kind}" for column, kind in columns.items())
    keys = ", ".join(f"`{key}`" for key in partition)
    types = ", ".join(f"`{key}` STRING" for key in partition)
    tables.execute_sql(
        f"""
        CREATE TEMPORARY TABLE {name} ({fields}, {types}) PARTITIONED BY ({keys})
        WITH ('connector' = 'filesystem', 'path' = '{base}', 'format' = 'parquet', 'parquet.compression' = 'SNAPPY')
        """
    )
