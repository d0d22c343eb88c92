"""The sufficient statistics of least squares: sums over units of behaviour, per day, and their sum over days.

For units r (a session, a basket, a person's day) with the 0/1 indicator X (unit × item) and len = items of a unit:

    gram  = Xᵀ · diag(len^-gram_exponent) · X
    cross = Xᵀ · diag(len^-cross_exponent) · X
    order = Σ over positions s < t of a unit's actions:  exp(−(t−s−1)/tau) at (i_s, i_t),
            and ``both`` times that at (i_t, i_s)

Everything is a sum over units, so the sum of day partitions is the full rebuild, whatever the days are cut into.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt
from scipy import sparse

from batch.recipe import MomentRecipe

__all__ = ["Moments", "Pairs", "Totals", "Units", "add_moments", "day_moments", "merge_rows", "spread", "sum_moments"]

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

_FAR: Final = 10
"""Ordered pairs more than ``10·tau`` apart weigh under 5e-5 and are left out."""

_FOLD: Final = 1 << 24
"""So many entries of days are held side by side before they are added up: about 200 MB."""


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
    """One day, or a weighted sum of days. Items are places in ``items`` (ids, sorted).

    ``seen[i]``: units with item i; ``units[i]``: the same, weighted; ``events[i]``: actions on it; ``sources[i]``:
    actions on it that another action of the unit followed. ``pairs`` is the upper triangle of (gram, cross); ``order``
    is T (empty unless the recipe asks for it), not symmetric. Only ``seen`` is never weighted: a day has weight 1, so
    there ``units`` equals it.
    """

    items: list[str]
    seen: Ints
    units: npt.NDArray[Any]
    events: npt.NDArray[Any]
    sources: npt.NDArray[Any]
    pairs: Pairs
    order: Pairs

    @property
    def entries(self) -> int:
        """Stored entries of all matrices: what it costs to add."""
        return len(self.pairs.cols) + len(self.order.cols)


@dataclass(frozen=True, slots=True)
class Totals:
    """The weighted sum of days over one item index: one symmetric pattern, columns sorted within a row, no gaps.

    The diagonal is always in the pattern. ``gram[p]`` and ``cross[p]`` lie at (j, i) = (i, j), where p is in row j and
    column i, and are the same array where the recipe's exponents are equal; ``order[p]`` is T[i, j], what followed on
    i as the row of target j needs it, and None without T. The arrays may be memory-mapped: do not write to them.
    """

    items: list[str]
    units: Doubles
    events: Doubles
    sources: Doubles
    indptr: Longs
    cols: Ints
    gram: Doubles
    cross: Doubles
    order: Doubles | None


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
    seen = np.bincount(item, minlength=count).astype(np.int32)
    followed = np.ones(len(units.items), bool)
    followed[units.offsets[1:][np.diff(units.offsets) > 0] - 1] = False
    return Moments(
        list(items),
        seen,
        seen,
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


def sum_moments(days: Sequence[Moments], min_units: int = 1, weights: Sequence[float] | None = None) -> Totals:
    """The sum of days over the sorted union of their items; those in fewer than ``min_units`` units are left out.

    Args:
        days: days, or sums of days.
        min_units: counted in units as they happened, whatever their weight.
        weights: of each day (default: 1), see :func:`batch.rollup.day_weight`.

    >>> one = Units(np.array([0, 2]), np.array([0, 1], np.int32))
    >>> days = [day_moments(one, [a, b], MomentRecipe(gram_exponent=0)) for a, b in ("mt", "jm")]
    >>> total = sum_moments(days)
    >>> total.items, total.units.tolist(), total.gram.tolist()
    (['j', 'm', 't'], [1.0, 2.0, 1.0], [1.0, 1.0, 1.0, 2.0, 1.0, 1.0, 1.0])
    """
    total = add_moments(zip(days, weights or [1.0] * len(days), strict=True))
    return spread(total, total.seen >= min_units)


def add_moments(parts: Iterable[tuple[Moments, float]]) -> Moments:
    """The weighted sum over the sorted union of the items. Takes the parts one by one and holds few at a time."""
    held: list[tuple[Moments, float]] = []
    entries = limit = 0
    for part, weight in parts:
        held.append((part, weight))
        entries += part.entries
        if entries > max(_FOLD, limit) and len(held) > 1:
            held = [(_add_all(held), 1.0)]
            entries = held[0][0].entries
            limit = 2 * entries
    return _add_all(held)


def _add_all(parts: Sequence[tuple[Moments, float]]) -> Moments:
    items = sorted(set().union(*(part.items for part, _ in parts)))
    place = {item: at for at, item in enumerate(items)}
    maps = [np.fromiter((place[i] for i in part.items), np.int32, len(part.items)) for part, _ in parts]
    seen, counts = np.zeros(len(items), np.int32), np.zeros((3, len(items)))
    for (part, weight), to in zip(parts, maps, strict=True):
        seen[to] += part.seen
        counts[:, to] += weight * np.stack([part.units, part.events, part.sources])
    weights = [weight for _, weight in parts]
    pairs = _add([part.pairs for part, _ in parts], maps, weights, len(items), upper=True)
    order = _add([part.order for part, _ in parts], maps, weights, len(items), upper=False)
    return Moments(items, seen, counts[0], counts[1], counts[2], pairs, order)


def spread(total: Moments, kept: npt.NDArray[np.bool_] | None = None) -> Totals:
    """Both triangles and T on one pattern, of the items where ``kept`` (default: all)."""
    kept = np.ones(len(total.items), bool) if kept is None else kept
    to = np.where(kept, np.cumsum(kept) - 1, -1).astype(np.int32)
    count = int(kept.sum())
    pairs, order = total.pairs, total.order
    sizes = np.zeros(count + 1, np.int64)
    _count_rows(pairs.indptr, pairs.cols, to, sizes)
    indptr = np.cumsum(sizes)
    cols, values = np.empty(indptr[-1], np.int32), np.empty((len(pairs.values), indptr[-1]))
    _mirror(pairs.indptr, pairs.cols, pairs.values, to, indptr[:-1].copy(), cols, values)
    followed = None
    if len(order.cols):
        followed = np.zeros(indptr[-1])
        _lay(order.indptr, order.cols, order.values[0], to, indptr[:-1].copy(), cols, followed)
    units, events, sources = (np.asarray(column, float)[kept] for column in (total.units, total.events, total.sources))
    items = [total.items[at] for at in np.flatnonzero(kept)]
    gram = values[0]
    cross = values[1] if len(values) > 1 else gram
    return Totals(items, units, events, sources, indptr, cols, gram, cross, followed)


def _add(parts: Sequence[Pairs], maps: Sequence[Ints], weights: Sequence[float], count: int, *, upper: bool) -> Pairs:
    """Sum matrices given over local indices: a counting sort by row, then equal columns of a row are added."""
    matrices = max((len(part.values) for part in parts), default=1)
    sizes = np.zeros(count + 1, np.int64)
    for part, to in zip(parts, maps, strict=True):
        _count(part.indptr, part.cols, to, upper, sizes)
    starts = np.cumsum(sizes)
    cols, values = np.empty(starts[-1], np.int32), np.empty((matrices, starts[-1]))
    free = starts[:-1].copy()
    for part, to, weight in zip(parts, maps, weights, strict=True):
        _scatter(part.indptr, part.cols, part.values, to, weight, upper, free, cols, values)
    indptr = merge_rows(starts, cols, values, np.zeros(count, np.int64), np.zeros((matrices, count)))
    return Pairs(indptr, cols[: indptr[-1]].copy(), values[:, : indptr[-1]].copy())


@numba.njit(cache=True, nogil=True)
def _count(indptr: Any, cols: Any, to: Any, upper: bool, sizes: Any) -> None:
    for i in range(len(indptr) - 1):
        for at in range(indptr[i], indptr[i + 1]):
            row = to[i]
            if upper and to[cols[at]] < row:
                row = to[cols[at]]
            sizes[row + 1] += 1


@numba.njit(cache=True, nogil=True)
def _scatter(
    indptr: Any, cols: Any, values: Any, to: Any, weight: float, upper: bool, free: Any, out: Any, sums: Any
) -> None:
    for i in range(len(indptr) - 1):
        for at in range(indptr[i], indptr[i + 1]):
            row, col = to[i], to[cols[at]]
            if upper and col < row:
                row, col = col, row
            out[free[row]] = col
            for m in range(len(sums)):
                sums[m, free[row]] = weight * values[m, at]
            free[row] += 1


@numba.njit(cache=True, nogil=True)
def merge_rows(starts: Any, cols: Any, values: Any, seen: Any, sums: Any) -> Any:
    """Add up equal columns of each row, sort them, and close the gaps; returns the new row pointers.

    ``seen`` (zeros) and ``sums`` are room for one row over all columns.
    """
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


@numba.njit(cache=True, nogil=True)
def _count_rows(indptr: Any, cols: Any, to: Any, sizes: Any) -> None:
    for i in range(len(indptr) - 1):
        if to[i] < 0:
            continue
        for at in range(indptr[i], indptr[i + 1]):
            if to[cols[at]] < 0:
                continue
            sizes[to[i] + 1] += 1
            if cols[at] != i:
                sizes[to[cols[at]] + 1] += 1


@numba.njit(cache=True, nogil=True)
def _mirror(indptr: Any, cols: Any, values: Any, to: Any, free: Any, out: Any, sums: Any) -> None:
    """Both triangles; as rows are taken in order, a row gets its lower columns first, and all of them sorted."""
    for i in range(len(indptr) - 1):
        for at in range(indptr[i], indptr[i + 1]):
            row, col = to[i], to[cols[at]]
            if row < 0 or col < 0:
                continue
            out[free[row]] = col
            for m in range(len(sums)):
                sums[m, free[row]] = values[m, at]
            free[row] += 1
            if row != col:
                out[free[col]] = row
                for m in range(len(sums)):
                    sums[m, free[col]] = values[m, at]
                free[col] += 1


@numba.njit(cache=True, nogil=True)
def _lay(indptr: Any, cols: Any, values: Any, to: Any, at: Any, pattern: Any, out: Any) -> None:
    """T[i, j] to row j, column i of the pattern, which has it because ordered items share a unit."""
    for i in range(len(indptr) - 1):
        for p in range(indptr[i], indptr[i + 1]):
            source, target = to[i], to[cols[p]]
            if source < 0 or target < 0:
                continue
            while pattern[at[target]] < source:
                at[target] += 1
            out[at[target]] = values[p]
