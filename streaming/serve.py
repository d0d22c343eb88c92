"""The serving step: one vectorised function that joins live behaviour with the model and writes the result to Redis.

Contract and trap: Flink finishes a Python bundle before it lets a checkpoint barrier pass, so the writes of a batch are
done when the barrier goes by; nothing may be held over to the next call. After a failure a batch is written again:
every write here merges or is absolute, so that does no harm.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any, Final

import pandas as pd
from pyflink.table import DataTypes
from pyflink.table.udf import FunctionContext, ScalarFunction, udf

from contracts.settings import Settings
from stores.cluster import Cluster
from stores.objects import Objects
from streaming.batching import COLUMNS, Served
from streaming.catalogue import Categories
from streaming.measures import Measures
from streaming.models import Models
from streaming.unsampled import stop_sampling

__all__ = ["SERVE_ARGUMENTS", "serve_function"]

SERVE_ARGUMENTS: Final = COLUMNS
_LOOKED_AT: Final = {"occurred_ms", "received_ms"}

_SERVED: Final = DataTypes.ROW([DataTypes.FIELD(name, DataTypes.STRING()) for name in Served._fields])


class Serve(ScalarFunction):  # type: ignore[misc]
    """Writes features and live lists of a batch; returns what became of each event."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def open(self, context: FunctionContext) -> None:
        """Connect, fetch model and catalogue, and compile the kernels before the first event."""
        stop_sampling()
        streaming = self._settings.streaming
        _let_numba_find_print()
        _let_numba_keep(Path(streaming.snapshot_cache))
        from streaming.shelf_writer import ShelfWriter

        objects, shops, poll_s = Objects.from_settings(self._settings), self._settings.shops, streaming.pointer_poll_s
        self._models = Models(objects, shops, Path(streaming.snapshot_cache), poll_s)
        self._categories = Categories(objects, shops, poll_s)
        measures = Measures(context.get_metric_group())
        # Half a minute without Redis is waited for. Giving up earlier costs a restart, with new workers and a replay.
        cluster = Cluster.from_settings(self._settings, attempts=40)
        self._writer = ShelfWriter(cluster, self._models, streaming, measures, time.time_ns, self._categories.category)
        for shop in shops:
            self._models.current(shop)
            self._categories.of(shop)
        self._models.start()
        self._categories.start()
        self._writer.warm_up()

    def close(self) -> None:
        """Stop following model pointers and catalogues."""
        self._models.close()
        self._categories.close()

    def is_deterministic(self) -> bool:
        """It writes: it must be called once a row, and never be folded or moved."""
        return False

    def eval(self, *columns: Any) -> pd.DataFrame:
        """One row a row: what became of the event and, where a list was written for it, which."""
        # Lists where each cell is looked at in Python, arrays where whole columns are computed with.
        batch = {
            name: column.tolist() if column.dtype == object or name in _LOOKED_AT else column.to_numpy()
            for name, column in zip(SERVE_ARGUMENTS, columns, strict=True)
        }
        outcomes = self._writer.write_columns(batch)
        return pd.DataFrame(dict(zip(Served._fields, outcomes, strict=True)))


def _let_numba_find_print() -> None:
    """PyFlink's worker replaces ``print`` by a method that its module does not export; Numba looks it up there."""
    module = sys.modules.get(print.__module__)
    if module is not None and not hasattr(module, print.__name__):
        setattr(module, print.__name__, print)


def _let_numba_keep(cache: Path) -> None:
    """Where the code comes in a zip or a folder that is read-only, compiled kernels go below ``cache``.

    Numba would try the home folder next, and a service's user may have none. For code in a zip it looks at the second
    variable only. To be called before Numba is imported.
    """
    if not os.access(Path(__file__).parent, os.W_OK):
        os.environ.setdefault("NUMBA_CACHE_DIR", str(cache / "numba"))
        os.environ.setdefault("XDG_CACHE_HOME", str(cache))


def serve_function(settings: Settings) -> Any:
    """The function as Flink takes it."""
    return udf(Serve(settings), result_type=_SERVED, func_type="pandas", deterministic=False)
