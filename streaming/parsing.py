"""Vectorised parsing: a batch of raw records to columns, by the contract's own parser."""

from typing import Final

import pandas as pd
from pyflink.table import DataTypes
from pyflink.table.udf import udf

from contracts.records import parse_records

__all__ = ["PARSED", "parse"]

PARSED: Final = {
    "data": DataTypes.BYTES(),
    "shard_id": DataTypes.STRING(),
    "sequence_number": DataTypes.STRING(),
    "arrived_ms": DataTypes.BIGINT(),
    "reason": DataTypes.STRING(),
    "detail": DataTypes.STRING(),
    "shop_id": DataTypes.STRING(),
    "event_id": DataTypes.STRING(),
    "event_type": DataTypes.STRING(),
    "subject": DataTypes.STRING(),
    "anonymous_id": DataTypes.STRING(),
    "item_id": DataTypes.STRING(),
    "occurred_ms": DataTypes.BIGINT(),
    "received_ms": DataTypes.BIGINT(),
    "amount": DataTypes.DOUBLE(),
    "late": DataTypes.BOOLEAN(),
    "action": DataTypes.BOOLEAN(),
}
"""Columns of a parsed record; ``data`` is kept for rejected ones only."""


@udf(
    result_type=DataTypes.ROW([DataTypes.FIELD(name, kind) for name, kind in PARSED.items()]),
    func_type="pandas",
    deterministic=True,
)  # type: ignore[untyped-decorator]
def parse(batch: pd.DataFrame) -> pd.DataFrame:
    """One row out for each row in: ``(data, shard_id, sequence_number, arrived_ms)`` to the columns of ``PARSED``."""
    batch.columns = ["data", "shard_id", "sequence_number", "arrived_ms"]
    columns = parse_records(batch["data"], batch["arrived_ms"])
    parsed = {name: getattr(columns, name) for name in PARSED if name not in batch.columns}
    rejected = [data if reason else None for data, reason in zip(batch["data"], columns.reason, strict=True)]
    return pd.DataFrame({**batch, **parsed, "data": rejected}, columns=list(PARSED))
