"""What became of each event, counted in the ``served`` rows that the job left on S3 or in local files."""

import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

from contracts.ids import DEFAULT_SHOP
from contracts.lake import dataset_prefix
from local.stack import Stack
from stores.objects import Objects

__all__ = ["outcomes"]


def outcomes(stack: Stack, folder: Path | None = None) -> dict[str, int]:
    """Events by outcome, see :class:`streaming.batching.Served`; the sum is what the stream counted."""
    counted: Counter[str] = Counter()
    for source in _files(stack, folder):
        column = pq.ParquetFile(source).read(columns=["outcome"], use_threads=False).column("outcome")
        counted.update({row["values"]: row["counts"] for row in column.value_counts().to_pylist()})
    return dict(counted.most_common())


def _files(stack: Stack, folder: Path | None) -> Iterator[io.BytesIO | Path]:
    prefix = dataset_prefix(DEFAULT_SHOP, "served")
    if folder is not None:
        yield from (p for p in sorted((folder / prefix).rglob("*")) if p.is_file() and p.name[0] not in "._")
        return
    objects = Objects.from_settings(stack.settings)
    for path in objects.list(prefix):
        if path.rpartition("/")[2][0] not in "._":
            yield io.BytesIO(objects.get(path))
