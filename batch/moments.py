"""The sufficient statistics of least squares: sums over units of behaviour, per day, and their sum over days.

For units r (a session, a basket, a person's day) with the 0/1 indicator X (unit × item) and len = items of a unit:

    gram  = Xᵀ · diag(len^-gram_exponent) · X
    cross = Xᵀ · diag(len^-cross_exponent) · X
    order = Σ over positions s < t of a unit's actions:  exp(−(t−s−1)/tau) at (i_s, i_t),
            and ``both`` times that at (i_t, i_s)

Everything is a sum over units, so the sum of day partitions is the full rebuild, whatever the days are cut into.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from scipy import sparse

from batch.recipe import MomentRecipe

__all__ = ["Moments", "Pairs", "Totals", "Units", "day_moments", "sum_moments"]

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

_FAR = 10
"""Ordered pairs more than ``10·tau`` apart weigh under 5e-5 and are left out."""


@dataclass(frozen=True, slots=True)
class Units:
    """Units as a ragged array: unit r did ``items[offsets[r]:offsets[r + 1]]``, oldest first, repeats included."""

    offsets: Longs
    items: Ints

    def __len__(self) -> int:
        return len(self.offsets) - 1


@dataclass(frozen=True, slots=True)
class Pairs:
    """Sparse item × item matrices of one pattern as CSR; ``values`` has a row for each.

    For (gram, cross) it has one row where the recipe's exponents are equal, because then the two are.
    """

    indptr: Longs
    cols: Ints
    values: Doubles


@dataclass(frozen=True, slots=True)
class Moments:
    """One day. Items are places in ``items`` (ids, sorted); ``pairs`` is the upper triangle of (gram, cross).

    ``units[i]``: units with item i; ``events[i]``: actions on it; ``sources[i]``: actions on it that another action of
    the unit followed. ``order`` is T (empty unless the recipe asks for it), not symmetric.
    """

    items: list[str]
    units: Ints
    events: Ints
    sources: Ints
    pairs: Pairs
    order: Pairs


@dataclass(frozen=True, slots=True)
class Totals:
    """The sum of days over a common item index; both triangles of (gram, cross), columns sorted within a row."""

    items: list[str]
    units: Longs
    events: Longs
    sources: Longs
    pairs: Pairs
    order: Pairs


def day_moments(units: Units, items: Sequence[str], recipe: MomentRecipe) -> Moments:
    """The moments of some units whose actions are places in ``items``.

    >>> week = Units(np.array([0, 2, 3]), np.array([0, 1, 1], np.int32))
    >>> day = day_moments(week, ["tea", "milk"], MomentRecipe(gram_exponent=2, cross_exponent=1))
    >>> day.units.tolist(), day.pairs.cols.tolist(), day.pairs.values.tolist()
    ([1, 2], [0, 1, 1], [[0.25, 0.25, 1.25], [0.5, 0.5, 1.5]])
    """
    count = len(items)
    rows = np.repeat(np.arange(len(units)), np.diff(units.offsets))
    distinct = np.unique(rows * count + units.items)  # one entry a unit and item, sorted by unit
    unit, item = distinct // count, distinct % count
    length = np.bincount(unit, minlength=len(units)).astype(float)
    indptr = np.concatenate(([0], np.cumsum(length.astype(np.int64))))
    ones = sparse.csr_matrix((np.ones(len(item)), item, indptr), shape=(len(units), count))
    values = []
    for exponent in dict.fromkeys((recipe.gram_exponent, recipe.cross_exponent)):
        weighted = ones.copy()
        weighted.data = length[unit] ** -exponent
        matrix = sparse.triu(ones.T.tocsr() @ weighted, format="csr")
        matrix.sort_indices()
        values.append(matrix)
    gram = values[0]
    followed = np.ones(len(units.items), bool)
    followed[units.offsets[1:][np.diff(units.offsets) > 0] - 1] = False
    return Moments(
        list(items),
        np.bincount(item, minlength=count).astype(np.int32),
        np.bincount(units.items, minlength=count).astype(np.int32),
        np.bincount(units.items[followed], minlength=count).astype(np.int32),
        Pairs(gram.indptr.astype(np.int64), gram.indices.astype(np.int32), np.stack([part.data for part in values])),
        _order(units, count, recipe),
    )


def _order(units: Units, count: int, recipe: MomentRecipe) -> Pairs:
    """T: ordered pairs of positions, near ones weighing most."""
    empty = Pairs(np.zeros(count + 1, np.int64), np.zeros(0, np.int32), np.zeros((1, 0)))
    if not recipe.ordered or not len(units):
        return empty
    before, after, weights = [], [], []
    ends = np.repeat(units.offsets[1:], np.diff(units.offsets))
    for gap in range(1, int(_FAR * recipe.tau) + 1):
        first = np.flatnonzero(np.arange(len(units.items)) + gap < ends)
        if not len(first):
            break
        weight = np.full(len(first), np.exp(-(gap - 1) / recipe.tau))
        i, j = units.items[first], units.items[first + gap]
        before += [i, j]
        after += [j, i]
        weights += [weight, recipe.both * weight]
    if not before:
        return empty
    place = (np.concatenate(before), np.concatenate(after))
    matrix = sparse.coo_matrix((np.concatenate(weights), place), shape=(count, count)).tocsr()
    matrix.sort_indices()
    return Pairs(matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data[None, :])


def sum_moments(days: Sequence[Moments], min_units: int = 1) -> Totals:
    """The sum of days, over the sorted union of their items; items in fewer than ``min_units`` units are left out.

    >>> one = Units(np.array([0, 2]), np.array([0, 1], np.int32))
    >>> days = [day_moments(one, [a, b], MomentRecipe(gram_exponent=0)) for a, b in ("tm", "mj")]
    >>> total = sum_moments(days)
    >>> total.items, total.units.tolist(), total.pairs.values[0].tolist()
    (['j', 'm', 't'], [1, 2, 1], [1.0, 1.0, 1.0, 2.0, 1.0, 1.0, 1.0])
    """
    everything = sorted(set().union(*(day.items for day in days)))
    place = {item: at for at, item in enumerate(everything)}
    maps = [np.fromiter((place[i] for i in day.items), np.int32, len(day.items)) for day in days]
    counts = np.zeros((3, len(everything)), np.int64)
    for day, to in zip(days, maps, strict=True):
        counts[:, to] += (day.units, day.events, day.sources)
    kept = counts[0] >= min_units
    renumber = np.where(kept, np.cumsum(kept) - 1, -1).astype(np.int32)
    maps = [renumber[to] for to in maps]
    items = [everything[at] for at in np.flatnonzero(kept)]
    pairs = _add([day.pairs for day in days], maps, len(items), mirror=True)
    order = _add([day.order for day in days], maps, len(items), mirror=False)
    units, events, sources = counts[:, kept]
    return Totals(items, units, events, sources, pairs, order)


def _add(parts: Sequence[Pairs], maps: Sequence[Ints], count: int, *, mirror: bool) -> Pairs:
    """Sum matrices given over day-local indices (mapped to −1: left out): a counting sort by row, then rows merged."""
    matrices = max((len(part.values) for part in parts), default=1)
    sizes = np.zeros(count + 1, np.int64)
    for part, to in zip(parts, maps, strict=True):
        _count_rows(part.indptr, part.cols, to, mirror, sizes)
    starts = np.cumsum(sizes)
    cols = np.empty(starts[-1], np.int32)
    values = np.empty((matrices, starts[-1]))
    at = starts[:-1].copy()
    for part, to in zip(parts, maps, strict=True):
        _scatter(part.indptr, part.cols, part.values, to, mirror, at, cols, values)
    indptr = _merge_rows(starts, cols, values, np.zeros(count, np.int64), np.zeros((matrices, count)))
    return Pairs(indptr, cols[: indptr[-1]], values[:, : indptr[-1]])


@numba.njit(cache=True, nogil=True)
def _count_rows(indptr: Any, cols: Any, to: Any, mirror: bool, sizes: Any) -> None:
    for i in range(len(indptr) - 1):
        if to[i] < 0:
            continue
        for at in range(indptr[i], indptr[i + 1]):
            if to[cols[at]] < 0:
                continue
            sizes[to[i] + 1] += 1
            if mirror and cols[at] != i:
                sizes[to[cols[at]] + 1] += 1


@numba.njit(cache=True, nogil=True)
def _scatter(indptr: Any, cols: Any, values: Any, to: Any, mirror: bool, free: Any, out: Any, sums: Any) -> None:
    for i in range(len(indptr) - 1):
        for at in range(indptr[i], indptr[i + 1]):
            row, col = to[i], to[cols[at]]
            if row < 0 or col < 0:
                continue
            out[free[row]] = col
            for m in range(len(sums)):
                sums[m, free[row]] = values[m, at]
            free[row] += 1
            if mirror and row != col:
                out[free[col]] = row
                for m in range(len(sums)):
                    sums[m, free[col]] = values[m, at]
                free[col] += 1


@numba.njit(cache=True, nogil=True)
def _merge_rows(starts: Any, cols: Any, values: Any, seen: Any, sums: Any) -> Any:
    """Add up equal columns of each row, sort them, and close the gaps; returns the new row pointers."""
    rows = len(starts) - 1
    indptr = np.zeros(rows + 1, np.int64)
    end = 0
    for i in range(rows):
        begin = end
        for at in range(starts[i], starts[i + 1]):
            j = cols[at]
            if seen[j] != i + 1:
                seen[j] = i + 1
                for m in range(len(values)):
                    sums[m, j] = values[m, at]
                cols[end] = j
                end += 1
            else:
                for m in range(len(values)):
                    sums[m, j] += values[m, at]
        row = cols[begin:end]
        row.sort()
        for at in range(begin, end):
            for m in range(len(values)):
                values[m, at] = sums[m, cols[at]]
        indptr[i + 1] = end
    return indptr
