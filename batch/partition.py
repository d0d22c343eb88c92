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
unit_offsets        unit r holds the actions ``unit_offsets[r]:unit_offsets[r + 1]``, oldest first
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

__all__ = ["FORMAT", "Actions", "DayPartition", "Input", "decode", "encode", "partition_key", "partition_path"]

FORMAT: Final = 1

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
    moments, actions = partition.moments, partition.actions
    columns: dict[str, Any] = {
        "items": moments.items,
        "units": moments.units,
        "events": moments.events,
        "sources": moments.sources,
        "pair_indptr": moments.pairs.indptr,
        "pair_cols": moments.pairs.cols,
        "gram": moments.pairs.values[0],
        "cross": moments.pairs.values[1] if len(moments.pairs.values) > 1 else np.zeros(0),
        "order_indptr": moments.order.indptr,
        "order_cols": moments.order.cols,
        "order": moments.order.values[0],
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
        "liveshelf.counts": json.dumps(partition.counts),
        "liveshelf.recipe": msgspec.json.encode(recipe),
        "liveshelf.inputs": msgspec.json.encode(sorted(inputs)),
    }
    arrays = {name: _one_row(values) for name, values in columns.items()}
    table = pa.table(arrays).replace_schema_metadata(metadata)
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def _one_row(values: Any) -> pa.Array:
    flat = pa.array(values, pa.string()) if isinstance(values, list) else pa.array(values)
    return pa.ListArray.from_arrays(pa.array([0, len(flat)], pa.int32()), flat)


def decode(data: bytes) -> DayPartition:
    """Read the object's bytes.

    Raises:
        TrainingError: they are not a day partition of this format.
    """
    try:
        table = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
        metadata = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        found = int(metadata["liveshelf.format"])
        if found != FORMAT:
            message = f"a day partition has format {found}; this code reads {FORMAT}; delete it to have it made again"
            raise TrainingError(message)
        flat = {name: table.column(name).chunk(0).flatten() for name in table.column_names}
        array = {
            name: column.to_numpy(zero_copy_only=False, writable=True)
            for name, column in flat.items()
            if not pa.types.is_string(column.type)
        }
        values = [array["gram"], array["cross"]] if len(array["cross"]) else [array["gram"]]
        moments = Moments(
            flat["items"].to_pylist(),
            array["units"],
            array["units"],
            array["events"],
            array["sources"],
            Pairs(array["pair_indptr"], array["pair_cols"], np.stack(values)),
            Pairs(array["order_indptr"], array["order_cols"], array["order"][None, :]),
        )
        actions = Actions(
            flat["subjects"].to_pylist(),
            array["unit_offsets"],
            array["action_subject"],
            array["action_item"],
            array["action_type"],
            array["action_ms"],
            list(zip(flat["alias_from"].to_pylist(), flat["alias_to"].to_pylist(), strict=True)),
        )
        day = date.fromisoformat(metadata["liveshelf.day"])
        return DayPartition(day, moments, actions, json.loads(metadata["liveshelf.counts"]))
    except (pa.ArrowException, OSError, KeyError, ValueError, IndexError) as exc:  # Arrow raises OSError on torn pages
        message = f"a day partition of {len(data)} bytes cannot be read: {exc}; delete it to have it made again"
        raise TrainingError(message) from exc
