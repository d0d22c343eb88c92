"""Many small Parquet files of bucket values made one: rows unique by entity and window, sorted, in bounded memory."""

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.errors import ContractError

__all__ = ["KEYS", "Merged", "digest_of", "merge_files", "sources_of"]

KEYS: Final = ("entity_id", "window_start", "window_end")
_TIME: Final = pa.timestamp("ms", tz="UTC")
_SOURCES: Final = b"liveshelf.sources"
_ROWS_A_GROUP: Final = 131_072
_MOST_ROWS: Final = 4_000_000
"""Rows in memory at a time, about 100 bytes each and twice that while they are sorted."""

_WINDOW: Final = timedelta(minutes=5)
_WINDOWS: Final = 12


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge wrote: ``rows``, and how many rows it was given that another one of the same window stood for."""

    rows: int
    doubled: int


def digest_of(name: str) -> str:
    """What a file is remembered by: names of the stream's files are unique and their content never changes.

    >>> digest_of("part-1f2e-0-7")
    '1737cac2fe6d'
    """
    return hashlib.sha256(name.encode()).hexdigest()[:12]


def sources_of(file: BinaryIO) -> frozenset[str]:
    """The digests of the files that a merged file holds, from its footer."""
    found = (pq.read_metadata(file).metadata or {}).get(_SOURCES)
    if found is None:
        message = "a compacted file does not say what it was made of; delete it, and compact its hour again"
        raise ContractError(message)
    return frozenset(json.loads(found))


def merge_files(
    files: Sequence[Path], hour: datetime, sources: Collection[str], out: Path, most_rows: int = _MOST_ROWS
) -> Merged:
    """Write the rows of ``files`` to ``out``, sorted by (window, entity), each (entity, window) once.

    Where a window stands in several rows the largest of each value counts, as everywhere: bucket values only grow, so
    a smaller one is that of a job which had lost its state or had not seen all. A value that older files do not have
    is 0.

    Args:
        files: Parquet, of the windows that began within ``hour``.
        hour: its start, UTC.
        sources: digests that ``out`` will give as its :func:`sources_of`.
        most_rows: rows in memory at a time; more are done in passes over the hour's windows.

    Raises:
        ContractError: a file cannot be read as such; the message names it.
    """
    given = sum(_read(file, lambda path: pq.read_metadata(path).num_rows) for file in files)
    schema = _schema(files, sources)
    passes = min(_WINDOWS, max(1, -(-given // most_rows)))
    bounds = [hour + _WINDOW * (_WINDOWS * at // passes) for at in range(passes + 1)]
    rows = seen = 0
    with pq.ParquetWriter(out, schema, compression="zstd") as writer:
        for begin, end in pairwise(bounds):
            table = _union((_rows(file, schema) for file in files), begin, end)
            merged = _merged(table).cast(schema)
            writer.write_table(merged, row_group_size=_ROWS_A_GROUP)
            rows, seen = rows + merged.num_rows, seen + table.num_rows
    if seen != given:
        message = f"{given - seen} of {given} rows are of no window of {hour:%Y-%m-%d %H}h; the hour is left as it was"
        raise ContractError(message)
    return Merged(rows, given - rows)


def _schema(files: Iterable[Path], sources: Collection[str]) -> pa.Schema:
    """Keys, then every value that any of the files has, in the order in which they first appear."""
    names = dict.fromkeys(name for file in files for name in _read(file, pq.read_schema).names if name not in KEYS)
    fields = [(KEYS[0], pa.string()), (KEYS[1], _TIME), (KEYS[2], _TIME), *((name, pa.float64()) for name in names)]
    return pa.schema(fields, metadata={_SOURCES: json.dumps(sorted(sources)).encode()})


def _read(file: Path, read: Any) -> Any:
    try:
        return read(file)
    except (pa.ArrowException, OSError) as exc:
        message = f"{file.name} cannot be read as bucket values: {exc}; look at it, and remove it from the data set"
        raise ContractError(message) from exc


def _rows(file: Path, schema: pa.Schema) -> pa.Table:
    """The rows in the common form; Flink's times are INT96 without a zone, which means UTC."""
    table = _read(file, lambda path: pq.ParquetFile(path, coerce_int96_timestamp_unit="ms").read())
    missing = [name for name in KEYS if name not in table.column_names]
    if missing:
        message = f"{file.name} has no column {', '.join(missing)}; expected bucket values of entities and windows"
        raise ContractError(message)
    return _read(file, lambda _: pa.table([_column(table, field) for field in schema], schema=schema))


def _column(table: pa.Table, field: pa.Field) -> Any:
    if field.name not in table.column_names:
        return pa.array([0.0] * table.num_rows, pa.float64())
    column = table.column(field.name).cast(field.type)
    return column if field.name in KEYS else pc.fill_null(column, 0.0)


def _union(tables: Iterable[pa.Table], begin: datetime, end: datetime) -> pa.Table:
    first, last = pa.scalar(begin, _TIME), pa.scalar(end, _TIME)
    chosen = []
    for table in tables:
        starts = table.column("window_start")
        chosen.append(table.filter(pc.and_(pc.greater_equal(starts, first), pc.less(starts, last))))
    return pa.concat_tables(chosen)


def _merged(table: pa.Table) -> pa.Table:
    names = [name for name in table.column_names if name not in KEYS]
    grouped = table.group_by(list(KEYS)).aggregate([(name, "max") for name in names])
    ordered = grouped.select([*KEYS, *(f"{name}_max" for name in names)]).rename_columns([*KEYS, *names])
    return ordered.sort_by([("window_start", "ascending"), ("entity_id", "ascending")])
