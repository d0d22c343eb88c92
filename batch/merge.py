"""The sum of days made by the executors: parts are summed, then blocks of rows over all parts, and the driver maps it.

The driver holds the item ids and a few numbers an item, never a matrix: parts and blocks are arrays in the exchange,
which end up in one file an array (``<name>-gram.npy`` and so on) that is memory-mapped.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from batch.exchange import Exchange, objects_of, packed, unpacked
from batch.moments import Moments, Totals, add_moments, merge_rows, spread
from batch.partition import decode_moments
from batch.rollup import Part, day_weight, decode_rollup, encode_rollup
from contracts.errors import TrainingError
from stores.objects import NotFound, Objects

__all__ = ["Addends", "Block", "Runner", "add_block", "merge_parts", "open_totals"]

Runner = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]
"""``run(work, inputs)``: the results in order, one task an input; :func:`batch.job.run_tasks` or ``map``."""

_BLOCK: Final = 1 << 22
"""Entries before equal columns are added that a block of rows is cut to: about 150 MB a task."""

_BLOCKS: Final = 4
"""About so many blocks at least: work for every core, and no more tasks than that (each costs a tenth of a second)."""

_TOGETHER: Final = 1 << 29
"""Months of more bytes than that (about 80 million entries, 5 GB to sum) stay apart: then there is no base."""

_MATRICES: Final = ("gram", "cross", "order")
_KINDS: Final = {"indptr": np.int64, "cols": np.int32, "seen": np.int64, "counts": np.float64} | dict.fromkeys(
    _MATRICES, np.float64
)
_COPIED: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Block:
    """Rows ``first`` to ``last`` (excluded) of the total."""

    name: str
    first: int
    last: int


def merge_parts(
    run: Runner,
    exchange: Exchange,
    folder: Path,
    parts: Sequence[Part],
    name: str,
    *,
    min_units: int = 1,
    newest: date | None = None,
) -> Totals:
    """The total of ``parts``, equal to :func:`batch.moments.sum_moments` of all their days.

    Args:
        folder: where the driver keeps the arrays of the total, as ``<name>-<field>.npy``.
        min_units: items in fewer units, as they happened, are left out.
        newest: the day of weight 1 (default: the newest of the parts).

    Parts that the exchange holds from an earlier merge of this run are not summed again.
    """
    reference = newest or max(part.days[-1][0] for part in parts)
    parts = [each for part in parts for each in _bounded(run, exchange, part)]
    made = run(_summer(exchange), parts)
    factors = [day_weight(part.reference, reference, part.half_life_d) for part in parts]
    items, counts, sizes = _index(exchange, parts, factors, name, min_units)
    matrices = tuple(what for what in _MATRICES if any(what in found for found in made))
    blocks = [Block(f"{name}-{at}", *rows) for at, rows in enumerate(_cut(sizes))]
    addends = Addends(name, [part.key for part in parts], factors, matrices, len(items))
    lengths = run(_adder(exchange, addends), blocks)
    indptr = np.concatenate([[0], np.cumsum(np.concatenate([*lengths, np.zeros(0, np.int64)]))])
    np.save(folder / f"{name}-indptr.npy", indptr)
    for what in ("cols", *matrices):
        _join(exchange, [f"{block.name}-{what}" for block in blocks], folder / f"{name}-{what}.npy", what, indptr[-1])
    (folder / f"{name}-items.json").write_text(json.dumps(items))
    for what, column in zip(("units", "events", "sources"), counts, strict=True):
        np.save(folder / f"{name}-{what}.npy", column)
    exchange.drop(f"{name}-")
    return open_totals(folder, name)


def open_totals(folder: Path, name: str) -> Totals:
    """The totals whose arrays lie in ``folder`` as ``<name>-<field>.npy``, mapped.

    Copy-on-write, so that nobody changes the files, and kernels compiled for plain arrays fit.
    ``cross`` has a file only where it is not ``gram``, ``order`` only where there is T.
    """
    files = {field.name: folder / f"{name}-{field.name}.npy" for field in fields(Totals)}
    found: dict[str, Any] = {what: _mapped(file) for what, file in files.items() if file.exists()}
    items = json.loads((folder / f"{name}-items.json").read_text())
    return Totals(**{"items": items, "cross": found["gram"], "order": None} | found)


def _mapped(file: Path) -> npt.NDArray[Any]:
    try:
        return np.load(file, mmap_mode="c")  # type: ignore[no-any-return]
    except ValueError:  # nothing cannot be mapped
        return np.load(file)  # type: ignore[no-any-return]


def _bounded(run: Runner, exchange: Exchange, part: Part) -> Sequence[Part]:
    """The part, or its months where they are too much for one task; months that are missing are made and stored."""
    if part.stored or not part.months or exchange.has(f"{part.key}-done"):
        return [part]
    return [part] if sum(run(_keeper(exchange), part.months)) <= _TOGETHER else part.months


def _keeper(exchange: Exchange) -> Callable[[Part], int]:
    """What a task does with a month that is to be stored: sum it and store it, or see it there; returns its bytes."""

    def work(month: Part) -> int:
        objects = objects_of(exchange.settings)
        assert month.path is not None
        try:
            return len(objects.get(month.path))
        except NotFound:
            _read(month, objects)
            return len(objects.get(month.path))

    return work


def _summer(exchange: Exchange) -> Callable[[Part], tuple[str, ...]]:
    """What a task does with a part: sum it, and leave both triangles in the exchange; returns which matrices it has."""

    def work(part: Part) -> tuple[str, ...]:
        done = f"{part.key}-done"
        if exchange.has(done):
            return tuple(unpacked(exchange.get(done, np.uint8)).to_pylist())
        total = _read(part, objects_of(exchange.settings))
        full = spread(total)
        arrays: dict[str, npt.NDArray[Any]] = {"indptr": full.indptr, "cols": full.cols, "gram": full.gram}
        arrays |= {} if full.cross is full.gram else {"cross": full.cross}
        arrays |= {} if full.order is None else {"order": full.order}
        arrays["seen"] = total.seen.astype(np.int64)
        arrays["counts"] = np.concatenate([full.units, full.events, full.sources])
        for what, values in arrays.items():
            exchange.put(f"{part.key}-{what}", values)
        exchange.put(f"{part.key}-items", packed(total.items))
        matrices = tuple(what for what in _MATRICES if what in arrays)
        exchange.put(done, packed(list(matrices)))
        return matrices

    return work


def _read(part: Part, objects: Objects) -> Moments:
    """The sum of a part: as it is stored, else of its months or its days, and stored if it is to be kept."""
    if part.path is not None:
        try:  # a month was perhaps made a moment ago, so it is tried whatever the plan said
            if part.stored or part.months == ():
                return decode_rollup(objects.get(part.path))
        except NotFound:
            pass
        except TrainingError as exc:
            print(f"train: {part.path} is made again: {exc}", flush=True)
    if part.months:
        weights = [day_weight(month.reference, part.reference, part.half_life_d) for month in part.months]
        total = add_moments(zip((_read(month, objects) for month in part.months), weights, strict=True))
    else:
        weights = [day_weight(day, part.reference, part.half_life_d) for day, _ in part.days]
        days = (decode_moments(objects.get(path)) for _, path in part.days)
        total = add_moments(zip(days, weights, strict=True))
    if part.path is not None:
        objects.put(part.path, encode_rollup(total, part))
    return total


def _index(
    exchange: Exchange, parts: Sequence[Part], factors: Sequence[float], name: str, min_units: int
) -> tuple[list[str], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """The items of the total, their counts (3, I), and an upper bound of the entries of each row.

    Leaves for each part where its items are in the total (−1: left out).
    """
    union = pa.array([], pa.string())
    for part in parts:
        union = pc.unique(pa.concat_arrays([union, unpacked(exchange.get(f"{part.key}-items", np.uint8))]))
    union = union.take(pc.sort_indices(union))
    seen, counts = np.zeros(len(union), np.int64), np.zeros((3, len(union)))
    maps = []
    for part, factor in zip(parts, factors, strict=True):
        local = unpacked(exchange.get(f"{part.key}-items", np.uint8))
        maps.append(pc.index_in(local, value_set=union).to_numpy(zero_copy_only=False).astype(np.int32))
        seen[maps[-1]] += exchange.get(f"{part.key}-seen", np.int64)
        counts[:, maps[-1]] += factor * exchange.get(f"{part.key}-counts", np.float64).reshape(3, -1)
    kept = seen >= min_units
    renumber = np.where(kept, np.cumsum(kept) - 1, -1).astype(np.int32)
    sizes = np.zeros(int(kept.sum()), np.int64)
    for part, to in zip(parts, maps, strict=True):
        place = renumber[to]
        exchange.put(f"{name}-map-{part.key}", place)
        sizes[place[place >= 0]] += np.diff(exchange.get(f"{part.key}-indptr", np.int64))[place >= 0]
    return union.filter(pa.array(kept)).to_pylist(), counts[:, kept], sizes


def _cut(sizes: npt.NDArray[np.int64], most: int | None = None) -> Iterator[tuple[int, int]]:
    """Runs of rows of about ``most`` entries, at least one row each.

    >>> list(_cut(np.array([3, 3, 9, 1, 1]), 6))
    [(0, 2), (2, 3), (3, 5)]
    """
    ends = np.cumsum(sizes)
    most = most or min(_BLOCK, int(sizes.sum()) // _BLOCKS + 1)
    first = 0
    while first < len(sizes):
        before = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + most, "right")))
        yield first, last
        first = last


@dataclass(frozen=True, slots=True)
class Addends:
    """The parts of a total: their keys in the exchange, their factors, and the matrices and items of the total."""

    name: str
    keys: Sequence[str]
    factors: Sequence[float]
    matrices: Sequence[str]
    items: int


def _adder(exchange: Exchange, addends: Addends) -> Callable[[Block], npt.NDArray[np.int64]]:
    """What a task does with a block of rows.

    The trap: what is defined here travels to the task by value, and with it every kernel that it names, which would be
    compiled there for each task. So it names none.
    """

    def work(block: Block) -> npt.NDArray[np.int64]:
        return add_block(exchange, addends, block)

    return work


def add_block(exchange: Exchange, addends: Addends, block: Block) -> npt.NDArray[np.int64]:
    """Add the rows of a block over all parts; returns the length of each row."""
    matrices, count = addends.matrices, addends.items
    slices = [_slice(exchange, key, addends.name, block, matrices) for key in addends.keys]
    sizes = np.zeros(block.last - block.first + 1, np.int64)
    for to, place, indptr, cols, _ in slices:
        _count(indptr, cols, to, place, sizes)
    starts = np.cumsum(sizes)
    out, sums = np.empty(starts[-1], np.int32), np.empty((len(matrices), starts[-1]))
    free = starts[:-1].copy()
    for (to, place, indptr, cols, values), factor in zip(slices, addends.factors, strict=True):
        _scatter(indptr, cols, values, to, place, factor, free, out, sums)
    indptr = merge_rows(starts, out, sums, np.zeros(count, np.int64), np.zeros((len(matrices), count)))
    exchange.put(f"{block.name}-cols", out[: indptr[-1]])
    for what, values in zip(matrices, sums, strict=True):
        exchange.put(f"{block.name}-{what}", values[: indptr[-1]])
    return np.diff(indptr)


def _slice(exchange: Exchange, key: str, name: str, block: Block, matrices: Sequence[str]) -> tuple[Any, ...]:
    """The rows of a part that lie in a block: as both are sorted by item id, they follow each other."""
    place = exchange.get(f"{name}-map-{key}", np.int32)
    inside = np.flatnonzero((place >= block.first) & (place < block.last))
    first, last = (inside[0], inside[-1] + 1) if len(inside) else (0, 0)
    indptr = exchange.get(f"{key}-indptr", np.int64, first, last + 1)
    begin, end = int(indptr[0]), int(indptr[-1])
    cols = exchange.get(f"{key}-cols", np.int32, begin, end)
    values = np.zeros((len(matrices), end - begin))
    for at, what in enumerate(matrices):
        if exchange.has(f"{key}-{what}"):
            values[at] = exchange.get(f"{key}-{what}", np.float64, begin, end)
        elif what == "cross":
            values[at] = values[0]
    return place[first:last] - np.where(place[first:last] >= 0, block.first, 0), place, indptr - begin, cols, values


@numba.njit(cache=True, nogil=True)
def _count(indptr: Any, cols: Any, row: Any, place: Any, sizes: Any) -> None:
    for i in range(len(row)):
        if row[i] >= 0:
            for at in range(indptr[i], indptr[i + 1]):
                sizes[row[i] + 1] += place[cols[at]] >= 0


@numba.njit(cache=True, nogil=True)
def _scatter(
    indptr: Any, cols: Any, values: Any, row: Any, place: Any, factor: float, free: Any, out: Any, sums: Any
) -> None:
    for i in range(len(row)):
        if row[i] < 0:
            continue
        at = free[row[i]]
        for p in range(indptr[i], indptr[i + 1]):
            if place[cols[p]] >= 0:
                out[at] = place[cols[p]]
                for m in range(len(sums)):
                    sums[m, at] = factor * values[m, p]
                at += 1
        free[row[i]] = at


def _join(exchange: Exchange, names: Sequence[str], file: Path, what: str, count: int) -> None:
    """Blocks one after the other in one ``.npy`` file; a block passes through memory piece by piece."""
    kind = np.dtype(_KINDS[what])
    with file.open("wb") as out:
        header = {"descr": kind.str, "fortran_order": False, "shape": (int(count),)}
        np.lib.format.write_array_header_1_0(out, header)  # type: ignore[no-untyped-call]
        for name in names:
            if exchange.folder is None:
                out.write(exchange.get(name, kind).tobytes())
                continue
            with (exchange.folder / name).open("rb") as block:
                shutil.copyfileobj(block, out, _COPIED)
