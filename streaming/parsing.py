"""Vectorised parsing: a batch of raw records to columns, by the contract's own parser."""

from collections import Counter
from typing import Any, Final

import pandas as pd
from pyflink.table import DataTypes
from pyflink.table.udf import FunctionContext, ScalarFunction, udf

from contracts.records import parse_records
from contracts.settings import Settings
from stores.objects import Objects
from streaming.forgotten import Forgotten
from streaming.measures import count_records
from streaming.unsampled import stop_sampling

__all__ = ["PARSED", "parse_function"]

PARSED: Final = {
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
"""Columns of a parsed record. Bytes, shard and number stay in the JVM: what goes to Python and back costs each time."""


class Parse(ScalarFunction):  # type: ignore[misc]
    """``parse(data, arrived_ms)``: one row of ``PARSED`` a record, with the counters of :data:`measures.PARSING`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def open(self, context: FunctionContext) -> None:
        """Register the counters, and read who is forgotten before the first record."""
        stop_sampling()
        self._count = count_records(context.get_metric_group())
        poll_s = self._settings.streaming.pointer_poll_s
        self._forgotten = Forgotten(Objects.from_settings(self._settings), self._settings.shops, poll_s)
        self._forgotten.start()

    def close(self) -> None:
        """Stop following the tombstones."""
        self._forgotten.close()

    def eval(self, data: Any, arrived_ms: Any) -> pd.DataFrame:
        """Parse a batch."""
        columns = parse_records(data, arrived_ms.tolist())
        self._forgotten.leave_out(columns)
        self._count(Counter(columns.reason))
        return pd.DataFrame({name: getattr(columns, name) for name in PARSED}, copy=False)


def parse_function(settings: Settings) -> Any:
    """The function as Flink takes it."""
    row = DataTypes.ROW([DataTypes.FIELD(name, kind) for name, kind in PARSED.items()])
    return udf(Parse(settings), result_type=row, func_type="pandas", deterministic=True)
