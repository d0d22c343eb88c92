"""The file contract of a day's sufficient statistics: one Parquet object that holds all a retrain needs of that day.

``shop=<id>/moments/day=YYYY-MM-DD/<key>.parquet`` has one row; every column is a list, so that arrays of different
lengths travel together, compressed, and any Parquet reader can open them:

==================  =========================================================================================
items               item ids of the day, sorted; every other column names an item by its place here
units, events,      per item: units with it, actions on it, actions on it that another action of the unit
sources             followed
pair_indptr,        upper triangle with diagonal of gram and cross (:mod:`batch.moments`) as CSR; cross is empty
pair_cols, gram,    where the recipe's exponents are equal, because then it is gram
cross
order_indptr,       T as CSR; empty unless the recipe is ``ordered``
order_cols, order
subjects            people of the day, sorted (``u.<user>`` or ``a.<anonymous>``)
unit_offsets        unit r holds the actions ``unit_offsets[r]:unit_offsets[r + 1]``, oldest first; the unit that
                    began first is the first one
action_subject,     the day's de-duplicated actions: person, item, place in ``ACTION_TYPES``, epoch ms
action_item,
action_type,
action_ms
alias_from,         ``identify`` events of the day: anonymous id, user id
alias_to
==================  =========================================================================================

The Parquet key-value metadata hold ``liveshelf.format``, ``liveshelf.counts``, ``liveshelf.recipe`` and
``liveshelf.inputs`` (JSON). The object's name ``<key>`` is a digest of the moment recipe and of the inputs (path, size
and ETag of every lake object that can hold a record of the day): a day whose inputs did not change keeps its name and
is not made again, one listing tells which days are stale, and one PUT seals the whole. Columns may be added; a reader
ignores those it does not know. A change of meaning raises the format, which is part of the key.
"""

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from batch.moments import Moments, Pairs
from batch.recipe import MomentRecipe
from contracts.errors import TrainingError
from contracts.lake import moments_prefix

__all__ = [
    "FORMAT",
    "Actions",
    "DayPartition",
    "Input",
    "decode",
    "decode_actions",
    "decode_moments",
    "encode",
    "moment_columns",
    "moments_from",
    "partition_key",
    "partition_path",
    "read_row",
    "write_row",
]

FORMAT: Final = 2

Longs = npt.NDArray[np.int64]
Ints = npt.NDArray[np.int32]


class Input(msgspec.Struct, frozen=True, array_like=True, order=True):
    """One lake object that a day was made from."""

    path: str
    bytes: int
    etag: str


@dataclass(frozen=True, slots=True)
class Actions:
    """De-duplicated actions in units: places in ``subjects`` and in the items of the moments, types, epoch ms."""

    subjects: list[str]
    unit_offsets: Longs
    subject: Ints
    item: Ints
    type: npt.NDArray[np.int8]
    ms: Longs
    aliases: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class DayPartition:
    """A day as it is stored. ``counts`` says what was read and left out, by reason."""

    day: date
    moments: Moments
    actions: Actions
    counts: dict[str, int]


def partition_key(recipe: MomentRecipe, inputs: Sequence[Input]) -> str:
    """Names what a day is made from; the order of the inputs does not matter.

    >>> a, b = Input("events/a.gz", 1, "x"), Input("events/b.gz", 1, "x")
    >>> partition_key(MomentRecipe(), [a, b]) == partition_key(MomentRecipe(), [b, a])
    True
    >>> partition_key(MomentRecipe(), [a, b]) == partition_key(MomentRecipe(), [a])
    False
    """
    parts = msgspec.json.encode((FORMAT, recipe, sorted(inputs)))
    return hashlib.sha256(parts).hexdigest()[:24]


def partition_path(shop: str, day: date, key: str) -> str:
    """The object of a day.

    >>> partition_path("default", date(2026, 1, 5), "ab12")
    'shop=default/moments/day=2026-01-05/ab12.parquet'
    """
    return f"{moments_prefix(shop, day)}{key}.parquet"


def encode(partition: DayPartition, recipe: MomentRecipe, inputs: Sequence[Input]) -> bytes:
    """The object's bytes."""
    actions = partition.actions
    columns: dict[str, Any] = moment_columns(partition.moments) | {
        "subjects": actions.subjects,
        "unit_offsets": actions.unit_offsets,
        "action_subject": actions.subject,
        "action_item": actions.item,
        "action_type": actions.type,
        "action_ms": actions.ms,
        "alias_from": [pair[0] for pair in actions.aliases],
        "alias_to": [pair[1] for pair in actions.aliases],
    }
    metadata = {
        "liveshelf.format": str(FORMAT),
        "liveshelf.day": partition.day.isoformat(),
        "liveshelf.counts": json.dumps(partition.counts, sort_keys=True),
        "liveshelf.recipe": msgspec.json.encode(recipe),
        "liveshelf.inputs": msgspec.json.encode(sorted(inputs)),
    }
    return write_row(columns, metadata)


def decode(data: bytes) -> DayPartition:
    """Read the object's bytes.

    Raises:
        TrainingError: they are not a day partition of this format.
    """
    columns, metadata = read_row(data, "day partition", FORMAT)
    return DayPartition(_day(metadata), moments_from(columns), _actions(columns), counts_of(metadata))


def decode_actions(data: bytes) -> tuple[Actions, list[str], dict[str, int]]:
    """Only the actions of a day, the item ids they name by place, and the counts; the matrices are not read.

    Raises:
        TrainingError: the bytes are not a day partition of this format.
    """
    names = [
        "items", "subjects", "unit_offsets", "action_subject", "action_item", "action_type", "action_ms",
        "alias_from", "alias_to",
    ]  # fmt: skip
    columns, metadata = read_row(data, "day partition", FORMAT, names)
    return _actions(columns), columns["items"], counts_of(metadata)


def decode_moments(data: bytes) -> Moments:
    """Only the moments of a day.

    Raises:
        TrainingError: the bytes are not a day partition of this format.
    """
    return moments_from(read_row(data, "day partition", FORMAT, [*_MOMENTS, "cross"])[0])


def _actions(columns: dict[str, Any]) -> Actions:
    return Actions(
        columns["subjects"],
        columns["unit_offsets"],
        columns["action_subject"],
        columns["action_item"],
        columns["action_type"],
        columns["action_ms"],
        list(zip(columns["alias_from"], columns["alias_to"], strict=True)),
    )


def _day(metadata: dict[str, str]) -> date:
    return date.fromisoformat(metadata["liveshelf.day"])


def counts_of(metadata: dict[str, str]) -> dict[str, int]:
    """What was read and left out, by reason."""
    return dict(json.loads(metadata["liveshelf.counts"]))


_MOMENTS: Final = (
    "items", "units", "events", "sources", "pair_indptr", "pair_cols", "gram", "order_indptr", "order_cols", "order",
)  # fmt: skip


def moment_columns(moments: Moments) -> dict[str, Any]:
    """Moments as columns; ``seen`` and ``cross`` only where they say more than ``units`` and ``gram``."""
    pairs, order = moments.pairs, moments.order
    return {
        "items": moments.items,
        "units": moments.units,
        "events": moments.events,
        "sources": moments.sources,
        "pair_indptr": pairs.indptr,
        "pair_cols": pairs.cols,
        "gram": pairs.values[0],
        "cross": pairs.values[1] if len(pairs.values) > 1 else np.zeros(0),
        "order_indptr": order.indptr,
        "order_cols": order.cols,
        "order": order.values[0],
    } | ({} if moments.seen is moments.units else {"seen": moments.seen})


def moments_from(columns: dict[str, Any]) -> Moments:
    """The moments of :func:`moment_columns`."""
    values = [columns["gram"], columns["cross"]] if len(columns["cross"]) else [columns["gram"]]
    return Moments(
        columns["items"],
        columns.get("seen", columns["units"]),
        columns["units"],
        columns["events"],
        columns["sources"],
        Pairs(columns["pair_indptr"], columns["pair_cols"], np.stack(values)),
        Pairs(columns["order_indptr"], columns["order_cols"], columns["order"][None, :]),
    )


def write_row(columns: dict[str, Any], metadata: dict[str, Any]) -> bytes:
    """A Parquet object of one row whose columns are lists."""
    arrays = {name: _one_row(values) for name, values in columns.items()}
    table = pa.table(arrays).replace_schema_metadata(metadata)
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _one_row(values: Any) -> pa.Array:
    flat = pa.array(values, pa.string()) if isinstance(values, list) else pa.array(values)
    return pa.ListArray.from_arrays(pa.array([0, len(flat)], pa.int32()), flat)


def read_row(
    data: bytes, what: str, form: int, names: Sequence[str] | None = None
) -> tuple[dict[str, Any], dict[str, str]]:
    """The columns (arrays, or lists of strings) and metadata of :func:`write_row`.

    Raises:
        TrainingError: the bytes are torn, or not ``what`` in format ``form``.
    """
    try:
        table = pq.ParquetFile(pa.BufferReader(data)).read(columns=names, use_threads=False)
        metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        found = int(metadata["liveshelf.format"])
        if found != form:
            message = f"a {what} has format {found}; this code reads {form}; delete it to have it made again"
            raise TrainingError(message)
        columns: dict[str, Any] = {}
        for name in table.column_names:
            flat = table.column(name).chunk(0).flatten()
            text = pa.types.is_string(flat.type)
            columns[name] = flat.to_pylist() if text else flat.to_numpy(zero_copy_only=False, writable=True)
    except (pa.ArrowException, OSError, KeyError, ValueError, IndexError) as exc:  # Arrow raises OSError on torn pages
        message = f"a {what} of {len(data)} bytes cannot be read: {exc}; delete it to have it made again"
        raise TrainingError(message) from exc
    return columns, metadata
