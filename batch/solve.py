"""The model B from summed moments: one small ridge regression a target item, then the strongest entries of each row."""

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from batch.moments import Totals
from batch.recipe import SolveRecipe

__all__ = ["System", "Triples", "build_system", "keep_strongest", "satiate", "solve_targets"]

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Matrix = tuple[Longs, Ints, Floats]


@dataclass(frozen=True, slots=True)
class System:
    """The normal equations on one sparse pattern (symmetric, columns sorted within a row).

    ``gram[p]`` is G at (j, i) and ``cross[p]`` is C at (i, j), where p lies in row j and column i: a row holds all that
    its target needs. ``diagonal`` is G_ii, ``ridge`` what is added to it, ``units`` n_i.
    """

    indptr: Longs
    cols: Ints
    gram: Doubles
    cross: Doubles
    diagonal: Doubles
    ridge: Doubles
    units: Doubles

    def __len__(self) -> int:
        return len(self.diagonal)


@dataclass(frozen=True, slots=True)
class Triples:
    """Entries of B: ``weights[k]`` at (``items[k]``, ``targets[k]``)."""

    items: Ints
    targets: Ints
    weights: Doubles


def build_system(totals: Totals, recipe: SolveRecipe) -> System:
    """``G = a·gram + (1−a)·diag(sources)`` and ``C = a·cross + (1−a)·T``."""
    a = recipe.a
    rows = np.repeat(np.arange(len(totals.items), dtype=np.int32), np.diff(totals.indptr))
    on_diagonal = np.flatnonzero(rows == totals.cols)
    gram, cross = totals.gram, totals.cross
    if a < 1:  # else they are used as they are: at a = 1 a copy would only cost memory
        gram, cross = a * gram, a * cross
        gram[on_diagonal] += (1 - a) * totals.sources
        if totals.order is not None:
            cross += (1 - a) * totals.order
    diagonal = gram[on_diagonal]
    size = diagonal if recipe.ridge_by == "gram" else totals.units
    ridge = recipe.l0 + recipe.l1 * size
    return System(totals.indptr, totals.cols, gram, cross, diagonal, ridge, totals.units)


def solve_targets(system: System, first: int, last: int, recipe: SolveRecipe) -> Triples:
    """The columns ``first`` to ``last`` of B (last excluded), before :func:`keep_strongest`.

    For a target j: S = the M items with the largest ``C_ij / (G_ii + l0)^selectivity``, j itself left out; then

        b = (G_SS + diag(l0 + l1·g))⁻¹ C_Sj,    B[S, j] = b · n_j^(−popularity)

    j is no candidate of its own, because within a unit an item always predicts itself (C_jj says nothing but that it
    occurred), and would take the weight of the others; that a person buys it again is in the person's batch list.
    Where M is at least the number of co-occurring items this is the exact ridge solution with a zero diagonal (EASE,
    Steck 2019).
    """
    targets = last - first
    found = np.zeros(targets, np.int64)
    items = np.zeros((targets, recipe.candidates), np.int32)
    weights = np.zeros((targets, recipe.candidates))
    preference = (system.diagonal + recipe.l0) ** -recipe.selectivity
    arrays = (system.indptr, system.cols, system.gram, system.cross, system.diagonal, system.ridge)
    _solve(*arrays, preference, first, found, items, weights)
    weights *= np.maximum(system.units[first:last, None], 1.0) ** -recipe.popularity
    filled = np.arange(recipe.candidates) < found[:, None]
    return Triples(items[filled], np.repeat(np.arange(first, last, dtype=np.int32), found), weights[filled])


def keep_strongest(triples: Triples, count: int, keep: int) -> Matrix:
    """B as CSR with at most ``keep`` entries a row, by absolute weight (negative ones stay), sorted by column.

    >>> entries = Triples(np.array([0, 0, 0], np.int32), np.array([2, 1, 0], np.int32), np.array([-3., 1., 2.]))
    >>> [part.tolist() for part in keep_strongest(entries, count=2, keep=2)]
    [[0, 2, 2], [0, 2], [2.0, -3.0]]
    """
    order = np.lexsort((triples.targets, -np.abs(triples.weights), triples.items))
    item = triples.items[order]
    starts = np.searchsorted(item, np.arange(count))
    kept = order[np.arange(len(item)) - starts[item] < keep]
    kept = kept[np.lexsort((triples.targets[kept], triples.items[kept]))]
    indptr = np.searchsorted(triples.items[kept], np.arange(count + 1)).astype(np.int64)
    return indptr, triples.targets[kept], triples.weights[kept].astype(np.float32)


def satiate(matrix: Matrix, strength: float) -> Matrix:
    """Set the diagonal of B to ``−strength ×`` the median over items of an item's largest weight.

    An item just acted on is not the next one wanted: within a visit it sinks below what B recommends, and it comes back
    from the person's batch list as the action moves down the history. Without this the batch list's repeats fill the
    shelf with what already lies in the basket.

    >>> B = (np.array([0, 1, 2]), np.array([1, 0], np.int32), np.array([.5, .5], np.float32))
    >>> [part.tolist() for part in satiate(B, 2.0)]
    [[0, 2, 4], [0, 1, 0, 1], [-1.0, 0.5, 0.5, -1.0]]
    """
    indptr, cols, data = matrix
    count = len(indptr) - 1
    if strength == 0 or not len(data):
        return matrix
    filled = np.flatnonzero(np.diff(indptr))
    largest = np.maximum.reduceat(np.abs(data), indptr[filled])
    rows = np.concatenate([np.repeat(np.arange(count), np.diff(indptr)), np.arange(count)])
    cols = np.concatenate([cols, np.arange(count, dtype=np.int32)])
    data = np.concatenate([data, np.full(count, -strength * np.median(largest), np.float32)])
    order = np.lexsort((cols, rows))
    return indptr + np.arange(count + 1), cols[order], data[order]


@numba.njit(cache=True, nogil=True)
def _nth_largest(values: Any, n: int) -> float:
    """The n-th largest value (quickselect, in place); np.partition takes Numba seconds to compile."""
    low, high, wanted = 0, len(values) - 1, n - 1
    while low < high:
        pivot = values[(low + high) >> 1]
        i, j = low, high
        while i <= j:
            while values[i] > pivot:
                i += 1
            while values[j] < pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if wanted <= j:
            high = j
        elif wanted >= i:
            low = i
        else:
            break
    return float(values[wanted])


@numba.njit(cache=True, nogil=True)
def _choose(cols: Any, cross: Any, preference: Any, target: int, most: int, out: Any) -> int:
    """The best candidates of a target into ``out``, by rising index; returns how many. Ties: lowest first."""
    scores = np.zeros(len(cols))
    for at in range(len(cols)):
        if cols[at] != target:
            scores[at] = cross[at] * preference[cols[at]]
    floor, spare = 0.0, 0
    if len(cols) > most:
        floor = max(0.0, _nth_largest(scores.copy(), most))
        spare = most
        for at in range(len(cols)):
            if scores[at] > floor:
                spare -= 1
    count = 0
    for at in range(len(cols)):
        if scores[at] > floor or (floor > 0 and scores[at] == floor and spare > 0):
            if scores[at] == floor:
                spare -= 1
            out[count] = at
            count += 1
    return count


@numba.njit(cache=True, nogil=True)
def _find(cols: Any, low: int, high: int, wanted: int) -> int:
    """First place in ``cols[low:high]`` (sorted) that is not below ``wanted``."""
    while low < high:
        middle = (low + high) >> 1
        if cols[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low


@numba.njit(cache=True, nogil=True, fastmath=True)
def _cholesky_solve(matrix: Any, rhs: Any, size: int) -> None:
    """Solve ``matrix · x = rhs`` in place from the lower triangle; the ridge keeps it positive definite."""
    for i in range(size):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            if i == j:
                matrix[i, i] = np.sqrt(total)
            else:
                matrix[i, j] = total / matrix[j, j]
    for i in range(size):
        total = rhs[i]
        for k in range(i):
            total -= matrix[i, k] * rhs[k]
        rhs[i] = total / matrix[i, i]
    for i in range(size - 1, -1, -1):
        rhs[i] /= matrix[i, i]
        for k in range(i):
            rhs[k] -= matrix[i, k] * rhs[i]


@numba.njit(cache=True, nogil=True)
def _solve(
    indptr: Any,
    cols: Any,
    gram: Any,
    cross: Any,
    diagonal: Any,
    ridge: Any,
    preference: Any,
    first: int,
    found: Any,
    items: Any,
    weights: Any,
) -> None:
    most = items.shape[1]
    matrix = np.zeros((most, most))
    chosen = np.zeros(most, np.int64)
    for t in range(len(found)):
        target = first + t
        begin, end = indptr[target], indptr[target + 1]
        size = _choose(cols[begin:end], cross[begin:end], preference, target, most, chosen)
        for s in range(size):
            items[t, s] = cols[begin + chosen[s]]
            weights[t, s] = cross[begin + chosen[s]]
        for s in range(size):
            i = items[t, s]
            at, stop = indptr[i], indptr[i + 1]
            for r in range(s):
                at = _find(cols, at, stop, items[t, r])
                matrix[s, r] = gram[at] if at < stop and cols[at] == items[t, r] else 0.0
            matrix[s, s] = diagonal[i] + ridge[i]
        _cholesky_solve(matrix, weights[t], size)
        found[t] = size
