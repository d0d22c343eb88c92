"""The sums of :mod:`batch.moments` made row by row from the units themselves: for settings that are tried, not stored.

A day partition is made once with one set of exponents. A search wants many sets over the same units, soon forgotten;
made by rows, nothing is sorted or merged, and blocks of rows are independent tasks.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from batch.moments import Units
from batch.recipe import MomentRecipe

__all__ = [
    "Counts",
    "Rows",
    "UnitIndex",
    "count_units",
    "decay_weights",
    "index_units",
    "open_index",
    "row_blocks",
    "save_index",
    "sum_rows",
    "write_rows",
]

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

_FAR: Final = 10
"""As in :mod:`batch.moments`: ordered pairs more than ``10·tau`` apart are left out."""

_INDEX: Final = "index"
_COPIED: Final = 1 << 23


class UnitIndex(NamedTuple):
    """Where each item occurs: the actions on item j are ``unit[starts[j]:starts[j + 1]]`` at ``place`` in the units."""

    starts: Longs
    unit: Ints
    place: Longs


class Rows(NamedTuple):
    """A block of rows of the totals, see :class:`batch.moments.Totals`; ``cross`` and ``order`` are empty if unused."""

    lengths: Longs
    cols: Ints
    gram: Doubles
    cross: Doubles
    order: Doubles


@dataclass(frozen=True, slots=True)
class Counts:
    """Per item, weighted: units with it, actions on it, actions on it that another of the unit followed."""

    units: Doubles
    events: Doubles
    sources: Doubles


def decay_weights(age_d: Doubles, half_life_d: float) -> Doubles:
    """What units of some ages in days weigh: ``2^(−age / half-life)``, and 1 each at half-life 0.

    >>> decay_weights(np.array([0.0, 30.0]), 30.0).tolist(), decay_weights(np.array([0.0, 30.0]), 0.0).tolist()
    ([1.0, 0.5], [1.0, 1.0])
    """
    weights: Doubles = 0.5 ** (age_d / half_life_d) if half_life_d else np.ones(len(age_d))
    return weights


def index_units(units: Units, count: int) -> UnitIndex:
    """The index of some units over ``count`` items; actions on an item in the order of the units.

    >>> index = index_units(Units(np.array([0, 2, 4]), np.array([0, 1, 1, 0], np.int32)), 2)
    >>> index.starts.tolist(), index.unit.tolist(), index.place.tolist()
    ([0, 2, 4], [0, 1, 0, 1], [0, 3, 1, 2])
    """
    starts = np.concatenate(([0], np.cumsum(np.bincount(units.items, minlength=count)))).astype(np.int64)
    unit, place = np.empty(len(units.items), np.int32), np.empty(len(units.items), np.int64)
    _index(units.offsets, units.items, starts[:-1].copy(), unit, place)
    return UnitIndex(starts, unit, place)


def save_index(folder: Path, index: UnitIndex) -> None:
    """Write the index into ``folder``, so that tasks need not make it again."""
    for what, values in index._asdict().items():
        np.save(folder / f"{_INDEX}-{what}.npy", values)


def open_index(folder: Path) -> UnitIndex:
    """Map what :func:`save_index` wrote; copy-on-write, never written, so processes share the pages."""
    return UnitIndex(*(np.load(folder / f"{_INDEX}-{what}.npy", mmap_mode="c") for what in UnitIndex._fields))


def count_units(units: Units, index: UnitIndex, weight: Doubles) -> Counts:
    """The counts, each unit with its weight ``(R,)``."""
    out = np.zeros((3, len(index.starts) - 1))
    _counts(units.offsets, tuple(index), weight, out)
    return Counts(*out)


def sum_rows(units: Units, index: UnitIndex, weight: Doubles, rows: tuple[int, int], recipe: MomentRecipe) -> Rows:
    """The rows from ``rows[0]`` to ``rows[1]`` (excluded) of gram, cross and order, each unit with its weight ``(R,)``.

    >>> units = Units(np.array([0, 2, 4]), np.array([0, 1, 1, 0], np.int32))
    >>> recipe = MomentRecipe(gram_exponent=1, cross_exponent=1, ordered=True, tau=2, both=0.5)
    >>> found = sum_rows(units, index_units(units, 2), np.ones(2), (0, 2), recipe)
    >>> found.cols.tolist(), found.gram.tolist(), found.order.tolist()
    ([0, 1, 0, 1], [1.0, 1.0, 1.0, 1.0], [0.0, 1.5, 1.5, 0.0])
    """
    distinct = np.zeros(len(units))
    _distinct(units.offsets, units.items, np.zeros(len(index.starts) - 1, np.int64), distinct)
    distinct = np.maximum(distinct, 1.0)
    gram = weight * distinct**-recipe.gram_exponent
    cross = weight * distinct**-recipe.cross_exponent if recipe.cross_exponent != recipe.gram_exponent else gram[:0]
    far = int(_FAR * recipe.tau) if recipe.ordered else 0
    decay = np.exp(-np.arange(max(far, 1)) / recipe.tau)
    weights = (gram, cross, weight, decay, recipe.both, far)
    return Rows(*_rows((units.offsets, units.items), tuple(index), weights, rows[0], rows[1]))


def row_blocks(index: UnitIndex, units: Units, most: int = 1 << 23) -> list[tuple[int, int]]:
    """Runs of rows that visit about ``most`` actions each, so that blocks cost alike."""
    ends = np.zeros(len(index.starts) - 1, np.int64)
    _visits(units.offsets, index.starts, index.unit, ends)
    ends = np.cumsum(ends)
    blocks, first, count = [], 0, len(ends)
    while first < count:
        before = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, before + most, "right")))
        blocks.append((first, min(last, count)))
        first = last
    return blocks


def write_rows(folder: Path, name: str, items: Sequence[str], counts: Counts, blocks: Iterator[Rows]) -> None:
    """Blocks of rows, in order, as the files that :func:`batch.merge.open_totals` maps; a block is held at a time."""
    files: dict[str, Any] = {}
    lengths, sizes = [np.zeros(1, np.int64)], dict.fromkeys(("cols", "gram", "cross", "order"), 0)
    kinds = {"cols": np.dtype(np.int32)} | dict.fromkeys(("gram", "cross", "order"), np.dtype(np.float64))
    for block in blocks:
        lengths.append(block.lengths)
        for what in sizes:
            values = getattr(block, what)
            if what not in files and (len(values) or what in ("cols", "gram")):
                files[what] = (folder / f"{name}-{what}.npy").open("wb")
                _head(files[what], kinds[what], 0)
            if what in files:
                plain = np.ascontiguousarray(values, kinds[what])
                for at in range(0, len(plain), _COPIED):  # in pieces, so that a mapped block is not read whole
                    files[what].write(plain[at : at + _COPIED].data)
                sizes[what] += len(values)
    for what, file in files.items():
        file.seek(0)
        _head(file, kinds[what], sizes[what])
        file.close()
    np.save(folder / f"{name}-indptr.npy", np.cumsum(np.concatenate(lengths)))
    for what in ("units", "events", "sources"):
        np.save(folder / f"{name}-{what}.npy", getattr(counts, what))
    (folder / f"{name}-items.json").write_text(json.dumps(list(items)))


def _head(file: Any, kind: np.dtype[Any], count: int) -> None:
    """The header of an ``.npy`` file: NumPy pads it to 128 bytes whatever the count, so it can be set at the end."""
    header = {"descr": kind.str, "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(file, header)  # type: ignore[no-untyped-call]
    if file.tell() != 128:
        message = f"the header of an .npy file has {file.tell()} bytes; expected 128 for any count"
        raise ValueError(message)


@numba.njit(cache=True, nogil=True)
def _index(offsets: Any, items: Any, free: Any, unit: Any, place: Any) -> None:
    """A counting sort."""
    for r in range(len(offsets) - 1):
        for s in range(offsets[r], offsets[r + 1]):
            at = free[items[s]]
            free[items[s]] = at + 1
            unit[at], place[at] = r, s


@numba.njit(cache=True, nogil=True)
def _counts(offsets: Any, index: Any, weight: Any, out: Any) -> None:
    starts, unit, place = index
    for j in range(len(starts) - 1):
        before = -1
        for e in range(starts[j], starts[j + 1]):
            r = unit[e]
            if r != before:
                before = r
                out[0, j] += weight[r]
            out[1, j] += weight[r]
            if place[e] + 1 < offsets[r + 1]:
                out[2, j] += weight[r]


@numba.njit(cache=True, nogil=True)
def _visits(offsets: Any, starts: Any, unit: Any, out: Any) -> None:
    for j in range(len(out)):
        for e in range(starts[j], starts[j + 1]):
            out[j] += offsets[unit[e] + 1] - offsets[unit[e]]


@numba.njit(cache=True, nogil=True)
def _distinct(offsets: Any, items: Any, seen: Any, out: Any) -> None:
    for r in range(len(offsets) - 1):
        for s in range(offsets[r], offsets[r + 1]):
            if seen[items[s]] != r + 1:
                seen[items[s]] = r + 1
                out[r] += 1


@numba.njit(cache=True, nogil=True)
def _visit(items: Any, begin: int, end: int, mark: int, seen: Any, add: Any, row: Any, rows: Any, sums: Any) -> Any:
    """Add one unit to a row of gram (and cross); returns how many columns the row has reached."""
    reached, stamp, cols = rows
    for s in range(begin, end):
        i = items[s]
        if seen[i] == mark:
            continue
        seen[i] = mark
        if stamp[i] != row:
            stamp[i] = row
            cols[reached] = i
            reached += 1
            for m in range(len(sums)):
                sums[m, i] = 0.0
        sums[0, i] += add[0]
        sums[1, i] += add[1]
    return reached


@numba.njit(cache=True, nogil=True)
def _follow(items: Any, span: Any, at: int, weight: float, decay: Any, both: float, far: int, order: Any) -> None:
    """Add what lies around one action on the target to the target's row of T."""
    for s in range(max(span[0], at - far), at):
        order[items[s]] += weight * decay[at - s - 1]
    for s in range(at + 1, min(span[1], at + far + 1)):
        order[items[s]] += weight * both * decay[s - at - 1]


@numba.njit(cache=True, nogil=True)
def _rows(units: Any, index: Any, weights: Any, first: int, last: int) -> Any:
    offsets, items = units
    starts, unit, place = index
    gram_w, cross_w, plain_w, decay, both, far = weights
    count = len(starts) - 1
    two = len(cross_w) > 0
    sums, stamp = np.zeros((3, count)), np.zeros(count, np.int64)
    seen, touched = np.zeros(count, np.int64), np.zeros(count, np.int32)
    lengths = np.zeros(last - first, np.int64)
    room = 1 << 16
    cols, gram = np.zeros(room, np.int32), np.zeros(room)
    cross, order = np.zeros(room if two else 0), np.zeros(room if far else 0)
    end, mark = 0, 0
    for j in range(first, last):
        reached, before = 0, -1
        for e in range(starts[j], starts[j + 1]):
            r = unit[e]
            if r != before:
                before, mark = r, mark + 1
                add = (gram_w[r], cross_w[r] if two else 0.0)
                state = (reached, stamp, touched)
                reached = _visit(items, offsets[r], offsets[r + 1], mark, seen, add, j + 1, state, sums)
            if far:
                _follow(items, (offsets[r], offsets[r + 1]), place[e], plain_w[r], decay, both, far, sums[2])
        if end + reached > room:
            room = max(2 * room, end + reached)
            cols, gram = _grown(cols, room), _grown(gram, room)
            cross = _grown(cross, room) if two else cross
            order = _grown(order, room) if far else order
        columns = np.sort(touched[:reached])
        for c in range(reached):
            cols[end + c], gram[end + c] = columns[c], sums[0, columns[c]]
            if two:
                cross[end + c] = sums[1, columns[c]]
            if far:
                order[end + c] = sums[2, columns[c]]
        lengths[j - first] = reached
        end += reached
    return lengths, cols[:end], gram[:end], cross[: end if two else 0], order[: end if far else 0]


@numba.njit(cache=True, nogil=True)
def _grown(values: Any, room: int) -> Any:
    out = np.zeros(room, values.dtype)
    out[: len(values)] = values
    return out
