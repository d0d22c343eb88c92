"""The model B from summed moments: one small ridge regression a target item, then the strongest entries of each row."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from batch.moments import Totals
from batch.recipe import SolveRecipe
from batch.solve_kernels import diagonal_of, hop_rows, merge_columns, solve_columns, with_diagonal

__all__ = [
    "System",
    "Triples",
    "build_system",
    "keep_strongest",
    "replace_columns",
    "satiate",
    "second_hop",
    "solve_targets",
]

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]
Matrix = tuple[Longs, Ints, Floats]


@dataclass(frozen=True, slots=True)
class System:
    """The normal equations, read off the totals where they lie: nothing of their size is copied.

    ``diagonal`` is G_ii, ``ridge`` what is added to it, ``preference`` what C_ij is multiplied with to choose
    candidates; all ``(I,)``.
    """

    totals: Totals
    diagonal: Doubles
    ridge: Doubles
    preference: Doubles

    def __len__(self) -> int:
        return len(self.diagonal)


@dataclass(frozen=True, slots=True)
class Triples:
    """Entries of B: ``weights[k]`` at (``items[k]``, ``targets[k]``)."""

    items: Ints
    targets: Ints
    weights: Floats


def build_system(totals: Totals, recipe: SolveRecipe) -> System:
    """``G = a·gram + (1−a)·diag(sources)`` with its ridge; ``C = a·cross + (1−a)·T`` is formed where it is read."""
    diagonal = np.zeros(len(totals.units))
    diagonal_of(totals.indptr, totals.cols, totals.gram, diagonal)
    diagonal = recipe.a * diagonal + (1 - recipe.a) * totals.sources
    size = diagonal if recipe.ridge_by == "gram" else totals.units
    ridge = recipe.l0 + recipe.l1 * size
    return System(totals, diagonal, ridge, (diagonal + recipe.l0) ** -recipe.selectivity)


def solve_targets(system: System, targets: npt.NDArray[Any], recipe: SolveRecipe) -> Triples:
    """The columns ``targets`` of B, before :func:`keep_strongest`.

    For a target j: S = the M items with the largest ``C_ij / (G_ii + l0)^selectivity``; then

        b = (G_SS + diag(l0 + l1·g))⁻¹ C_Sj,    B[S, j] = b · n_j^(−popularity)

    With ``own`` 0, j is no candidate of its own, and where M is at least the number of co-occurring items this is the
    exact ridge solution with a zero diagonal (EASE, Steck 2019). Otherwise j is one, its weight multiplied by ``own``:
    that says how likely the same item comes next, as it does where people look at a thing twice (the relaxed diagonal
    of Moon et al. 2023 and Choi et al. 2021).
    """
    totals, a = system.totals, recipe.a
    found = np.zeros(len(targets), np.int64)
    items = np.zeros((len(targets), recipe.candidates), np.int32)
    weights = np.zeros((len(targets), recipe.candidates), np.float32)
    order = totals.order if totals.order is not None and a < 1 else np.zeros(0)
    pattern = (totals.indptr, totals.cols, totals.gram, totals.cross, order)
    of_items = (system.diagonal, system.ridge, system.preference)
    solve_columns(pattern, of_items, a, recipe.own, np.asarray(targets, np.int64), found, items, weights)
    weights *= np.maximum(totals.units[targets, None], 1.0) ** -recipe.popularity
    filled = np.arange(recipe.candidates) < found[:, None]
    return Triples(items[filled], np.repeat(np.asarray(targets, np.int32), found), weights[filled])


def keep_strongest(triples: Triples, count: int, keep: int, first: int = 0) -> Matrix:
    """The rows ``first`` to ``first + count`` of B as CSR with at most ``keep`` entries each, by absolute weight.

    Negative entries stay; a row is sorted by column.

    >>> weights = np.array([-3, 1, 2], np.float32)
    >>> entries = Triples(np.array([0, 0, 0], np.int32), np.array([2, 1, 0], np.int32), weights)
    >>> [part.tolist() for part in keep_strongest(entries, count=2, keep=2)]
    [[0, 2, 2], [0, 2], [2.0, -3.0]]
    """
    order = np.lexsort((triples.targets, -np.abs(triples.weights), triples.items))
    item = triples.items[order]
    starts = np.searchsorted(item, np.arange(first, first + count))
    kept = order[np.arange(len(item)) - starts[item - first] < keep] if len(item) else order
    kept = kept[np.lexsort((triples.targets[kept], triples.items[kept]))]
    indptr = np.searchsorted(triples.items[kept], np.arange(first, first + count + 1)).astype(np.int64)
    return indptr, triples.targets[kept], triples.weights[kept].astype(np.float32)


def replace_columns(old: Matrix, targets: npt.NDArray[Any], new: Matrix, recipe: SolveRecipe) -> Matrix:
    """``old`` with the columns ``targets`` of ``new``, and of each row the strongest ``recipe.keep`` entries.

    The diagonal of ``old`` is left out where :func:`satiate` had set it.

    >>> old = (np.array([0, 2, 3]), np.array([0, 1, 0], np.int32), np.array([5, 2, 3], np.float32))
    >>> new = (np.array([0, 1, 1]), np.array([1], np.int32), np.array([4], np.float32))
    >>> [part.tolist() for part in replace_columns(old, np.array([1]), new, SolveRecipe(satiation=0))]
    [[0, 2, 3], [0, 1, 0], [5.0, 4.0, 3.0]]
    """
    count = len(old[0]) - 1
    solved = np.zeros(count, bool)
    solved[targets] = True
    lengths = np.zeros(count, np.int64)
    items, values = np.empty((count, recipe.keep), np.int32), np.empty((count, recipe.keep), np.float32)
    merge_columns(old, new, solved, recipe.satiation == 0, lengths, items, values)
    filled = np.arange(recipe.keep) < lengths[:, None]
    return np.concatenate(([0], np.cumsum(lengths))), items[filled], values[filled]


def second_hop(
    matrix: Matrix, rows: tuple[int, int], strength: float, width: int, keep: int, onto: Matrix | None = None
) -> Matrix:
    """The rows from ``rows[0]`` to ``rows[1]`` (excluded) of ``topK(B + strength · P · B)``.

    Args:
        onto: the second B of the formula where it is not the first, over the same items: columns of the first that it
            has nothing of stay as they are.

    P holds of each row of B its ``width`` largest positive entries, the item itself left out, scaled to sum to one:
    what goes with the things that go with an item goes with it as well, where they were rarely seen together.

    >>> B = (np.array([0, 1, 2, 2]), np.array([1, 2], np.int32), np.array([2, 4], np.float32))
    >>> [part.tolist() for part in second_hop(B, (0, 3), 0.5, 2, 9)]
    [[0, 2, 3, 3], [1, 2, 2], [2.0, 2.0, 4.0]]
    """
    lengths = np.zeros(rows[1] - rows[0], np.int64)
    out = np.zeros((len(lengths), keep), np.int32)
    values = np.zeros((len(lengths), keep), np.float32)
    hop_rows(matrix, onto or matrix, rows[0], np.float32(strength), width, lengths, out, values)
    filled = np.arange(keep) < lengths[:, None]
    return np.concatenate(([0], np.cumsum(lengths))), out[filled], values[filled]


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
    starts = np.zeros(count + 1, np.int64)
    room = len(data) + count
    columns, values = np.empty(room, np.int32), np.empty(room, np.float32)
    with_diagonal(indptr, cols, data, float(-strength * np.median(largest)), starts, columns, values)
    return starts, columns[: starts[-1]], values[: starts[-1]]
