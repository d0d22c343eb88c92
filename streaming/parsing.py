"""Vectorised parsing: a batch of raw records to columns, by the contract's own parser."""

from collections import Counter
from typing import Any, Final

import pandas as pd
from pyflink.table import DataTypes
from pyflink.table.udf import FunctionContext, ScalarFunction, udf

from contracts.events import REASONS
from contracts.records import parse_records
from streaming.measures import GROUP

__all__ = ["PARSED", "parse_function"]

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


class Parse(ScalarFunction):  # type: ignore[misc]
    """One row out for each row in: ``(data, shard_id, sequence_number, arrived_ms)`` to the columns of ``PARSED``.

    Counts the records by outcome: ``accepted``, and ``rejected_<reason>`` for each reason of the contract.
    """

    def open(self, context: FunctionContext) -> None:
        """Register the counters."""
        group = context.get_metric_group().add_group(GROUP)
        self._accepted = group.counter("accepted")
        self._rejected = {reason: group.counter(f"rejected_{reason}") for reason in REASONS}

    def eval(self, batch: pd.DataFrame) -> pd.DataFrame:
        """Parse a batch."""
        batch.columns = ["data", "shard_id", "sequence_number", "arrived_ms"]
        columns = parse_records(batch["data"], batch["arrived_ms"])
        parsed = {name: getattr(columns, name) for name in PARSED if name not in batch.columns}
        rejected = [data if reason else None for data, reason in zip(batch["data"], columns.reason, strict=True)]
        for reason, count in Counter(columns.reason).items():
            (self._rejected[reason] if reason else self._accepted).inc(count)
        return pd.DataFrame({**batch, **parsed, "data": rejected}, columns=list(PARSED))


def parse_function() -> Any:
    """The function as Flink takes it."""
    row = DataTypes.ROW([DataTypes.FIELD(name, kind) for name, kind in PARSED.items()])
    return udf(Parse(), result_type=row, func_type="pandas", deterministic=True)
