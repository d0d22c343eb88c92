"""The job's own graph on files: raw lines in, Parquet out, with a serving step that only tells what it was given.

``python files_job.py <folder>``. ``VERSION`` in the environment stands for changed Python code, ``FEATURE=1`` for a
feature more: the definitions are changed before the job's modules read them, as an edit of the file would.
"""

import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from pyflink.table import DataTypes, StreamTableEnvironment
from pyflink.table.udf import udf

from contracts import features
from contracts.settings import Settings

if os.environ.get("FEATURE"):
    added = features.BucketFeature("impressions", ("impression",), "count", "times the item was shown")
    features.ITEM_FEATURES = (*features.ITEM_FEATURES, added)  # type: ignore[misc]

from streaming import job
from streaming.serve import SERVE_ARGUMENTS
from streaming.sinks import create_sinks

VERSION = os.environ.get("VERSION", "v1")
TELL = [SERVE_ARGUMENTS.index("item_views"), SERVE_ARGUMENTS.index("user_views")]
_SERVED = DataTypes.ROW([DataTypes.FIELD(name, DataTypes.STRING()) for name in ("outcome", "model_version", "items")])


def served(version: str) -> Any:
    """In place of the step that recommends: the version of the code, and the running sums of the row."""

    def tell(*columns: Any) -> pd.DataFrame:
        items, people = (columns[at].astype(int).astype(str) for at in TELL)
        return pd.DataFrame({"outcome": "told", "model_version": version, "items": items + "," + people})

    return udf(tell, result_type=_SERVED, func_type="pandas", deterministic=False)


def create_source(tables: StreamTableEnvironment, settings: Settings, folder: Path) -> None:
    """Lines of the files that are in the folder ``in`` and those that come."""
    tables.execute_sql(
        f"""CREATE TEMPORARY TABLE files (data BYTES, `file.name` STRING METADATA) WITH ('connector' = 'filesystem',
        'path' = '{(folder / "in").as_uri()}', 'format' = 'raw', 'source.monitor-interval' = '500 ms')"""
    )
    tables.execute_sql(
        """CREATE TEMPORARY VIEW records AS SELECT data, `file.name` AS shard_id, `file.name` AS sequence_number,
        CURRENT_ROW_TIMESTAMP() AS arrived FROM files"""
    )


def main(folder: Path) -> None:
    """Submit."""
    settings = Settings()
    job.serve_function = lambda settings: served(VERSION)
    tables = job.environment(settings)
    sinks = partial(create_sinks, base=f"{(folder / 'out').as_uri()}/")
    job.submit(tables, job.build(tables, settings, source=partial(create_source, folder=folder), sinks=sinks))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
