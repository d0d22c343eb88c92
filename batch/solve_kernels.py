"""The compiled loops of :mod:`batch.solve`: candidates, Cholesky solves, the second hop."""

from typing import Any

import numba
import numpy as np

__all__ = ["diagonal_of", "hop_rows", "merge_columns", "solve_columns", "with_diagonal"]


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


@numba.njit(cache=True, nogil=True)
def _seek(cols: Any, at: int, stop: int, wanted: int) -> int:
    """:func:`_find` by growing steps from ``at``: what is looked for in rising order is mostly near the last place."""
    step = 1
    while at + step < stop and cols[at + step] < wanted:
        at += step
        step *= 2
    return _find(cols, at, min(at + step, stop), wanted)


@numba.njit(cache=True, nogil=True)
def diagonal_of(indptr: Any, cols: Any, gram: Any, out: Any) -> None:
    """``out[i] = gram`` at (i, i)."""
    for i in range(len(out)):
        at = _find(cols, indptr[i], indptr[i + 1], i)
        if at < indptr[i + 1] and cols[at] == i:
            out[i] = gram[at]


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
def _strongest(scores: Any, most: int, out: Any) -> int:
    """The places of the ``most`` largest positive scores into ``out``, rising; returns how many. Ties: lowest first."""
    floor, spare = 0.0, 0
    if len(scores) > most:
        floor = max(0.0, _nth_largest(scores.copy(), most))
        spare = most
        for at in range(len(scores)):
            if scores[at] > floor:
                spare -= 1
    count = 0
    for at in range(len(scores)):
        if scores[at] > floor or (floor > 0 and scores[at] == floor and spare > 0):
            if scores[at] == floor:
                spare -= 1
            out[count] = at
            count += 1
    return count


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _cholesky(m: Any, size: int) -> None:
    """The lower triangle in place; four columns of a row at a time, so that the row is read once for all four.

    Sums may be reordered, so that they run on vector registers; the same machine gives the same result.
    """
    for i in range(size):
        j = 0
        while j + 4 <= i:
            s0, s1, s2, s3 = 0.0, 0.0, 0.0, 0.0
            for k in range(j):
                value = m[i, k]
                s0 += value * m[j, k]
                s1 += value * m[j + 1, k]
                s2 += value * m[j + 2, k]
                s3 += value * m[j + 3, k]
            x0 = (m[i, j] - s0) / m[j, j]
            x1 = (m[i, j + 1] - s1 - x0 * m[j + 1, j]) / m[j + 1, j + 1]
            x2 = (m[i, j + 2] - s2 - x0 * m[j + 2, j] - x1 * m[j + 2, j + 1]) / m[j + 2, j + 2]
            x3 = m[i, j + 3] - s3 - x0 * m[j + 3, j] - x1 * m[j + 3, j + 1] - x2 * m[j + 3, j + 2]
            m[i, j], m[i, j + 1], m[i, j + 2], m[i, j + 3] = x0, x1, x2, x3 / m[j + 3, j + 3]
            j += 4
        while j <= i:
            total = 0.0
            for k in range(j):
                total += m[i, k] * m[j, k]
            m[i, j] = np.sqrt(m[i, i] - total) if i == j else (m[i, j] - total) / m[j, j]
            j += 1


@numba.njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _cholesky_solve(matrix: Any, rhs: Any, size: int) -> None:
    """Solve ``matrix · x = rhs`` in place from the lower triangle; the ridge keeps it positive definite."""
    _cholesky(matrix, size)
    for i in range(size):
        total = 0.0
        for k in range(i):
            total += matrix[i, k] * rhs[k]
        rhs[i] = (rhs[i] - total) / matrix[i, i]
    for i in range(size - 1, -1, -1):
        rhs[i] /= matrix[i, i]
        for k in range(i):
            rhs[k] -= matrix[i, k] * rhs[i]


@numba.njit(cache=True, nogil=True)
def _equations(pattern: Any, of_items: Any, a: float, chosen: Any, size: int, matrix: Any) -> None:
    """The lower triangle of ``G_SS + diag(ridge)`` for the items ``chosen[:size]``, which rise."""
    indptr, cols, gram = pattern[0], pattern[1], pattern[2]
    diagonal, ridge = of_items[0], of_items[1]
    for s in range(size):
        i = chosen[s]
        at, stop = indptr[i], indptr[i + 1]
        for r in range(s):
            at = _seek(cols, at, stop, chosen[r])
            matrix[s, r] = a * gram[at] if at < stop and cols[at] == chosen[r] else 0.0
        matrix[s, s] = diagonal[i] + ridge[i]


@numba.njit(cache=True, nogil=True)
def solve_columns(
    pattern: Any, of_items: Any, a: float, own: float, targets: Any, found: Any, items: Any, out: Any
) -> None:
    """See :func:`batch.solve.solve_targets`; row t of ``items`` and ``out`` belongs to ``targets[t]``."""
    indptr, cols, _, cross, order = pattern
    preference = of_items[2]
    most = items.shape[1]
    matrix, rhs = np.zeros((most, most)), np.zeros(most)
    places = np.zeros(most, np.int64)
    for t in range(len(targets)):
        begin, end = indptr[targets[t]], indptr[targets[t] + 1]
        c = a * cross[begin:end]
        if len(order):
            c += (1 - a) * order[begin:end]
        scores = np.zeros(end - begin)
        for p in range(end - begin):
            if own > 0 or cols[begin + p] != targets[t]:
                scores[p] = c[p] * preference[cols[begin + p]]
        size = _strongest(scores, most, places)
        for s in range(size):
            items[t, s] = cols[begin + places[s]]
            rhs[s] = c[places[s]]
        _equations(pattern, of_items, a, items[t], size, matrix)
        _cholesky_solve(matrix, rhs, size)
        for s in range(size):
            out[t, s] = rhs[s] * own if items[t, s] == targets[t] else rhs[s]
        found[t] = size


@numba.njit(cache=True, nogil=True)
def hop_rows(
    matrix: Any, onto: Any, first: int, strength: Any, width: int, lengths: Any, items: Any, values: Any
) -> None:
    """See :func:`batch.solve.second_hop`; row r of ``items`` and ``values`` belongs to item ``first + r``."""
    indptr, cols, data = matrix
    onto_indptr, onto_cols, onto_data = onto
    count = len(indptr) - 1
    total, stamp = np.zeros(count, np.float32), np.zeros(count, np.int64)
    touched, places = np.zeros(count, np.int32), np.zeros(max(width, items.shape[1]), np.int64)
    for r in range(len(lengths)):
        i = first + r
        begin, end = indptr[i], indptr[i + 1]
        reached = 0
        for p in range(begin, end):
            stamp[cols[p]], total[cols[p]], touched[reached] = r + 1, data[p], cols[p]
            reached += 1
        forward = np.zeros(end - begin)
        for p in range(end - begin):
            forward[p] = 0.0 if cols[begin + p] == i else data[begin + p]
        wide = _strongest(forward, width, places)
        scale = 0.0
        for w in range(wide):
            scale += forward[places[w]]
        for w in range(wide):
            k, share = cols[begin + places[w]], strength * forward[places[w]] / scale
            for p in range(onto_indptr[k], onto_indptr[k + 1]):
                j = onto_cols[p]
                if stamp[j] != r + 1:
                    stamp[j], total[j], touched[reached] = r + 1, 0.0, j
                    reached += 1
                total[j] += share * onto_data[p]
        columns = np.sort(touched[:reached])
        sizes = np.zeros(reached)
        for p in range(reached):
            sizes[p] = abs(total[columns[p]])
        lengths[r] = _strongest(sizes, items.shape[1], places)
        for w in range(lengths[r]):
            items[r, w], values[r, w] = columns[places[w]], total[columns[places[w]]]


@numba.njit(cache=True, nogil=True)
def with_diagonal(indptr: Any, cols: Any, data: Any, value: float, starts: Any, columns: Any, values: Any) -> None:
    """Rows with ``value`` on the diagonal, where its column belongs."""
    end = 0
    for i in range(len(indptr) - 1):
        done = False
        for p in range(indptr[i], indptr[i + 1]):
            if not done and cols[p] >= i:
                columns[end], values[end], done = i, value, True
                end += 1
            if cols[p] != i:
                columns[end], values[end] = cols[p], data[p]
                end += 1
        if not done:
            columns[end], values[end] = i, value
            end += 1
        starts[i + 1] = end


@numba.njit(cache=True, nogil=True)
def merge_columns(old: Any, new: Any, solved: Any, own: bool, lengths: Any, items: Any, values: Any) -> None:
    """See :func:`batch.solve.replace_columns`; rows of both are sorted by column and have no column in common."""
    keep = items.shape[1]
    most = 0
    for i in range(len(lengths)):
        most = max(most, old[0][i + 1] - old[0][i] + new[0][i + 1] - new[0][i])
    cols, data, sizes = np.zeros(most, np.int32), np.zeros(most, np.float32), np.zeros(most)
    places = np.zeros(keep, np.int64)
    for i in range(len(lengths)):
        p, q, end = old[0][i], new[0][i], 0
        while p < old[0][i + 1] or q < new[0][i + 1]:
            if q == new[0][i + 1] or (p < old[0][i + 1] and old[1][p] < new[1][q]):
                if not solved[old[1][p]] and (own or old[1][p] != i):
                    cols[end], data[end] = old[1][p], old[2][p]
                    end += 1
                p += 1
            else:
                cols[end], data[end] = new[1][q], new[2][q]
                end += 1
                q += 1
        for at in range(end):
            sizes[at] = abs(data[at])
        lengths[i] = _strongest(sizes[:end], keep, places)
        for at in range(lengths[i]):
            items[i, at], values[i, at] = cols[places[at]], data[places[at]]
