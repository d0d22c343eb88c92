"""What is left of one S3 object without a person, by the kind of the object: pure, bytes in and bytes out."""

import gzip
import io
from typing import Final, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from batch.forget_lines import People
from batch.partition import read_row
from contracts.errors import TrainingError
from contracts.forgetting import Deletion
from contracts.ids import subject_of
from contracts.lake import ERRORS_PREFIX, EVENTS_PREFIX, UNKNOWN_SHOP, dataset_prefix

__all__ = ["DELETE", "Cleaned", "clean", "kind_of", "prefixes_of"]

DELETE: Final = b""
"""Content of an object that is to be deleted."""

_SUBJECTS: Final = ("subject", "entity_id", "unit", "unit_id", "person", "visitor")
_IDS: Final = ("user_id", "anonymous_id")
_RECORDS: Final = ("data", "record")
_FORM: Final = "liveshelf.format"


class Cleaned(NamedTuple):
    """New content (``None``: it stays as it is), what was removed and how much of it, and visitors that were found."""

    data: bytes | None = None
    what: str = ""
    number: int = 0
    found: frozenset[str] = frozenset()


def prefixes_of(shop: str) -> list[str]:
    """Where in the bucket a person can be; in this order, because events may tell of further visitors."""
    return [EVENTS_PREFIX, ERRORS_PREFIX, f"shop={shop}/", dataset_prefix(UNKNOWN_SHOP, "dead-letter")]


def kind_of(path: str) -> str:
    """What to do with an object: ``lines``, ``table``, ``day``, ``people``, or nothing.

    >>> [kind_of(p) for p in ("events/year=2026/a.gz", "shop=a/dataset=served/x.parquet", "shop=a/dataset=served/p-1",
    ...  "shop=a/moments/day=2026-01-01/k.parquet", "shop=a/models/v/people.json.gz", "shop=a/models/v/data.npy")]
    ['lines', 'table', 'table', 'day', 'people', '']
    """
    if path.startswith((EVENTS_PREFIX, ERRORS_PREFIX)):
        return "lines"
    _, _, below = path.partition("/")
    if below.startswith("dataset="):
        return "table"
    if below.startswith("moments/day=") and path.endswith(".parquet"):
        return "day"
    if below.startswith("models/") and path.endswith("/people.json.gz"):
        return "people"
    return "people" if below == "catalogue/visitors.json" else ""


def clean(path: str, data: bytes, deletion: Deletion, people: People) -> Cleaned:
    """An object without the person.

    Raises:
        ValueError: it cannot be read as what it should be.
    """
    kind = kind_of(path)
    if kind == "lines":
        return _lines(data, people)
    if kind == "table":
        try:
            return _table(data, deletion, people)
        except (pa.ArrowException, NotImplementedError) as exc:  # not all of Arrow's are a ValueError
            message = f"the table cannot be read: {exc}"
            raise ValueError(message) from exc
    if kind == "day":
        return _day(data, set(deletion.subjects))
    if kind == "people":
        return _people(data, {*deletion.subjects, *([deletion.user_id] if path.endswith("visitors.json") else ())})
    return Cleaned()


def _lines(data: bytes, people: People) -> Cleaned:
    packed = data[:2] == b"\x1f\x8b"
    plain = _unpacked(data) if packed else data
    if not people.touches(plain):
        return Cleaned()
    sifted = people.sift(plain.split(b"\n"))
    if not sifted.removed:
        return Cleaned(found=sifted.found)
    rest = b"\n".join(sifted.kept)
    left = gzip.compress(rest, 6, mtime=0) if packed else rest
    return Cleaned(left if rest.strip() else DELETE, "events", sifted.removed, sifted.found)


def _unpacked(data: bytes) -> bytes:
    """As much as can be read: of a torn object the lines before the tear are all there is."""
    parts = bytearray()
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
        try:
            while piece := file.read1(1 << 20):
                parts += piece
        except (EOFError, OSError):
            pass
    return bytes(parts)


def _table(data: bytes, deletion: Deletion, people: People) -> Cleaned:
    if data[:4] != b"PAR1":
        return Cleaned()  # a marker of Spark or Flink, without rows
    table = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
    if not len(table):
        return Cleaned()
    gone = pa.array([False] * len(table))
    wanted = dict.fromkeys(_SUBJECTS, deletion.subjects) | dict.fromkeys(_IDS, deletion.ids)
    for name in table.column_names:
        column = table.column(name)
        if name in wanted and (pa.types.is_string(column.type) or pa.types.is_dictionary(column.type)):
            named = pc.is_in(column.cast(pa.string()), value_set=pa.array(wanted[name], pa.string()))
            gone = pc.or_(gone, named.combine_chunks())
        elif name in _RECORDS and pa.types.is_binary(column.type):
            gone = pc.or_(gone, pa.array([bool(people.sift([row or b""]).removed) for row in column.to_pylist()]))
    gone = pc.and_(gone, _until(table, people))
    count = pc.sum(gone).as_py() or 0
    if not count:
        return Cleaned()
    if count == len(table):
        return Cleaned(DELETE, "rows", count)
    sink = io.BytesIO()
    pq.write_table(table.filter(pc.invert(gone)), sink, compression="zstd")  # its footer's metadata come along
    return Cleaned(sink.getvalue(), "rows", count)


def _until(table: pa.Table, people: People) -> pa.Array:
    """Which rows are of the time that is forgotten; all, where a table does not say when."""
    rows, names = len(table), set(table.column_names)
    if {"occurred_ms", "received_ms"} <= names:
        first = pc.min_element_wise(table.column("occurred_ms"), table.column("received_ms"))
        return pc.less_equal(first, int(people.until.timestamp() * 1000)).combine_chunks()
    if "window_start" in names and pa.types.is_timestamp(table.column("window_start").type):
        starts = table.column("window_start").cast(pa.timestamp("us"))
        return pc.less_equal(starts, pa.scalar(people.until.replace(tzinfo=None), pa.timestamp("us"))).combine_chunks()
    return pa.array([True] * rows)


def _day(data: bytes, subjects: set[str]) -> Cleaned:
    """A day's sums hold the person's share, so the whole day goes: the next training makes it from what is left."""
    try:
        columns, _ = read_row(data, "day partition", _format_of(data), ["subjects", "alias_from", "alias_to"])
    except (TrainingError, OSError, ValueError):
        return Cleaned(DELETE, "days of sums that could not be read", 1)  # it would be made again anyway
    aliases = {subject_of(None, name) for name in columns["alias_from"]}
    aliases |= {subject_of(name, None) for name in columns["alias_to"]}
    named = subjects & {*columns["subjects"], *aliases}
    return Cleaned(DELETE, "days of sums, to be made anew", 1) if named else Cleaned()


def _format_of(data: bytes) -> int:
    metadata = pq.read_schema(pa.BufferReader(data)).metadata or {}
    return int(metadata.get(_FORM.encode(), b"0"))


def _people(data: bytes, names: set[str]) -> Cleaned:
    packed = data[:2] == b"\x1f\x8b"
    listed = msgspec.json.decode(gzip.decompress(data) if packed else data, type=list[str])
    kept = [name for name in listed if name not in names]
    if len(kept) == len(listed):
        return Cleaned()
    left = msgspec.json.encode(kept)
    return Cleaned(gzip.compress(left, 6, mtime=0) if packed else left, "names", len(listed) - len(kept))
