"""The model in one process, without Spark or the product's stages: what training is timed and checked against.

The same formula: G = a·XᵀW_GX + (1−a)·diag(sources), C = a·XᵀW_CX + (1−a)·T, for each target the M items with the
largest C_ij / (G_ii + l0)^selectivity and a ridge solve, the strongest K entries of a row, the second hop. SciPy makes
the products, Numba the solves on all cores (:func:`numba.prange`).
"""

from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from scipy import sparse

from batch.recipe import Recipe

__all__ = ["reference_model"]

Matrix = tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float32]]


def reference_model(
    offsets: npt.NDArray[np.int64],
    items: npt.NDArray[np.int32],
    age_d: npt.NDArray[np.float64],
    count: int,
    recipe: Recipe,
) -> Matrix:
    """B of units (as in :class:`batch.trial.Problem`) over ``count`` items."""
    moments, solve = recipe.moments, recipe.solve
    units, a = len(offsets) - 1, solve.a
    weight = 0.5 ** (age_d / recipe.window.half_life_d) if recipe.window.half_life_d else np.ones(units)
    row = np.repeat(np.arange(units), np.diff(offsets))
    key = np.unique(row * np.int64(count) + items)
    unit, item = key // count, (key % count).astype(np.int32)
    length = np.bincount(unit, minlength=units).astype(float)
    ends = np.concatenate(([0], np.cumsum(length))).astype(np.int64)
    one = sparse.csr_matrix((np.ones(len(item)), item, ends), shape=(units, count))
    gram = _product(one, weight * np.maximum(length, 1) ** -moments.gram_exponent, unit)
    cross = gram
    if moments.cross_exponent != moments.gram_exponent:
        cross = _product(one, weight * np.maximum(length, 1) ** -moments.cross_exponent, unit)
    times = np.bincount(item, weight[unit], count)
    followed = np.ones(len(items), bool)
    followed[offsets[1:][np.diff(offsets) > 0] - 1] = False
    sources = np.bincount(items[followed], weight[row[followed]], count)
    order = np.zeros(0)
    if moments.ordered and a < 1:
        order = _on_pattern(gram, _order(offsets, items, row, weight, count, moments))
    diagonal = a * gram.diagonal() + (1 - a) * sources
    ridge = solve.l0 + solve.l1 * (diagonal if solve.ridge_by == "gram" else times)
    found = np.zeros(count, np.int64)
    chosen = np.zeros((count, solve.candidates), np.int32)
    values = np.zeros((count, solve.candidates), np.float32)
    arrays = (gram.indptr.astype(np.int64), gram.indices, gram.data, cross.data, order)
    _solve(*arrays, diagonal, ridge, (diagonal + solve.l0) ** -solve.selectivity, a, solve.own, found, chosen, values)
    values *= np.maximum(times[:, None], 1) ** -solve.popularity
    kept = np.arange(solve.candidates) < found[:, None]
    columns = np.repeat(np.arange(count, dtype=np.int32), found)
    return _hop(_strongest(chosen[kept], columns, values[kept], count, solve.keep), count, recipe)


def _product(one: Any, weight: Any, unit: Any) -> Any:
    weighted = one.copy()
    weighted.data = weight[unit]
    found = (one.T.tocsr() @ weighted).tocsr()
    found.sort_indices()
    return found


def _order(offsets: Any, items: Any, row: Any, weight: Any, count: int, recipe: Any) -> Any:
    """T transposed: row j holds what came before j."""
    end = np.repeat(offsets[1:], np.diff(offsets))
    before, after, values = [], [], []
    for gap in range(1, int(10 * recipe.tau) + 1):
        first = np.flatnonzero(np.arange(len(items)) + gap < end)
        if not len(first):
            break
        each = weight[row[first]] * np.exp(-(gap - 1) / recipe.tau)
        before += [items[first], items[first + gap]]
        after += [items[first + gap], items[first]]
        values += [each, recipe.both * each]
    place = (np.concatenate(after), np.concatenate(before))
    found = sparse.coo_matrix((np.concatenate(values), place), shape=(count, count)).tocsr()
    found.sort_indices()
    return found


def _on_pattern(gram: Any, order: Any) -> Any:
    count = gram.shape[0]
    keys = np.repeat(np.arange(count), np.diff(gram.indptr)) * np.int64(count) + gram.indices
    wanted = np.repeat(np.arange(count), np.diff(order.indptr)) * np.int64(count) + order.indices
    out = np.zeros(len(keys))
    out[np.searchsorted(keys, wanted)] = order.data
    return out


@numba.njit(cache=True, parallel=True, fastmath={"reassoc", "contract", "nsz"})
def _solve(
    indptr: Any, cols: Any, gram: Any, cross: Any, order: Any, diagonal: Any, ridge: Any, prefer: Any, a: float,
    own: float, found: Any, chosen: Any, values: Any,
) -> None:  # fmt: skip
    most = chosen.shape[1]
    for j in numba.prange(len(found)):  # type: ignore[no-untyped-call,attr-defined]
        begin, end = indptr[j], indptr[j + 1]
        c = a * cross[begin:end]
        if len(order):
            c = c + (1 - a) * order[begin:end]
        score = c * prefer[cols[begin:end]]
        if own == 0:
            for p in range(end - begin):
                if cols[begin + p] == j:
                    score[p] = 0.0
        best = np.argsort(-score)[:most]
        best = np.sort(best[score[best] > 0])
        size = len(best)
        s = cols[begin + best]
        matrix, rhs = np.zeros((size, size)), c[best]
        for x in range(size):
            row = cols[indptr[s[x]] : indptr[s[x] + 1]]
            at = np.searchsorted(row, s[:x])
            for y in range(x):
                if at[y] < len(row) and row[at[y]] == s[y]:
                    matrix[x, y] = a * gram[indptr[s[x]] + at[y]]
            matrix[x, x] = diagonal[s[x]] + ridge[s[x]]
        for x in range(size):
            for y in range(x + 1):
                total = 0.0
                for k in range(y):
                    total += matrix[x, k] * matrix[y, k]
                matrix[x, y] = np.sqrt(matrix[x, x] - total) if x == y else (matrix[x, y] - total) / matrix[y, y]
        for x in range(size):
            total = 0.0
            for k in range(x):
                total += matrix[x, k] * rhs[k]
            rhs[x] = (rhs[x] - total) / matrix[x, x]
        for x in range(size - 1, -1, -1):
            rhs[x] /= matrix[x, x]
            for k in range(x):
                rhs[k] -= matrix[x, k] * rhs[x]
        for x in range(size):
            chosen[j, x] = s[x]
            values[j, x] = rhs[x] * own if s[x] == j else rhs[x]
        found[j] = size


def _strongest(rows: Any, cols: Any, values: Any, count: int, keep: int) -> Any:
    order = np.lexsort((cols, -np.abs(values), rows))
    starts = np.searchsorted(rows[order], np.arange(count))
    kept = order[np.arange(len(order)) - starts[rows[order]] < keep]
    found = sparse.coo_matrix((values[kept], (rows[kept], cols[kept])), shape=(count, count)).tocsr()
    found.sort_indices()
    return found


def _hop(matrix: Any, count: int, recipe: Recipe) -> Matrix:
    solve = recipe.solve
    if solve.hop:
        rows = np.repeat(np.arange(count, dtype=np.int32), np.diff(matrix.indptr))
        forward = (matrix.data > 0) & (matrix.indices != rows)
        step = _strongest(rows[forward], matrix.indices[forward], matrix.data[forward], count, solve.hop_width)
        scale = np.asarray(step.sum(1)).ravel()
        step = sparse.diags(solve.hop / np.where(scale > 0, scale, 1)) @ step
        far = (matrix + step @ matrix).tocoo()
        matrix = _strongest(far.row, far.col, far.data, count, solve.keep)
    return matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32), matrix.data.astype(np.float32)
