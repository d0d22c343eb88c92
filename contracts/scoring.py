"""The scoring formula: a live score is a sum over what the visitor just did; one compiled kernel for stream and batch.

For a person with recent actions d = 0, 1, … (newest first) on items i_d of type e_d, and a candidate j:

    live(j)  = Σ_d  exp(−d / p) · weight[e_d] · B[i_d, j]
    score(j) = live(j) / max live  +  blend · batch(j) / max|batch|

B is the sparse item-to-item matrix of the snapshot (CSR), ``batch`` the person's list of the last training. Both are
scaled by their own maximum, so ``blend`` is a ratio and does not depend on how much the visitor did. The live part's is
its largest *positive* value: what a visitor just took has a strongly negative one (satiation), and as a scale it would
drown what they are shown next.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["BATCH_REASON", "NO_REASON", "action_weights", "score_rows"]

NO_REASON: Final = -1
BATCH_REASON: Final = -2

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]


def action_weights(event_types: Sequence[str], weights: Mapping[str, float], p: float) -> list[float]:
    """Weights of actions given newest first: ``exp(−d/p) · weight[type]``; ``p`` ≤ 0 means no decay.

    >>> action_weights(["purchase", "view"], {"view": 1.0, "purchase": 2.0}, p=1.0)
    [2.0, 0.3678794411714424]
    """
    decay = [float(np.exp(-d / p)) if p > 0 else 1.0 for d in range(len(event_types))]
    return [w * weights.get(t, 0.0) for w, t in zip(decay, event_types, strict=True)]


def score_rows(
    matrix: tuple[npt.NDArray[np.int64], Ints, Floats],
    history: tuple[npt.NDArray[np.int64], Ints, Floats],
    batch: tuple[npt.NDArray[np.int64], Ints, Floats],
    blend: float,
    top_n: int,
) -> tuple[Ints, Floats, Ints, Floats]:
    """Score many people at once and keep each one's ``top_n`` best items.

    Args:
        matrix: B as CSR ``(indptr (I+1,), indices (nnz,), data (nnz,))``.
        history: ``(offsets (R+1,), items (h,), weights (h,))``: row r's actions are ``offsets[r]:offsets[r+1]``.
        batch: the same layout: each row's batch recommendations and their scores.
        blend: weight of the batch part, ≥ 0.
        top_n: N, the list length.

    Returns:
        ``items (R, N)`` (−1 where a row has fewer), ``scores (R, N)``, ``reasons (R, N)`` (position in the row's
        history of the largest term, :data:`BATCH_REASON` or :data:`NO_REASON`), ``terms (R, N)`` (that term's value).

    >>> B = (np.array([0, 2, 2, 2]), np.array([1, 2], np.int32), np.array([.5, 1.], np.float32))
    >>> none = (np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    >>> seen = (np.array([0, 1]), np.array([0], np.int32), np.ones(1, np.float32))
    >>> items, scores, why, _ = score_rows(B, seen, none, 0., 3)
    >>> items.tolist(), scores.tolist(), why.tolist()
    ([[2, 1, -1]], [[1.0, 0.5, 0.0]], [[0, 0, -1]])
    """
    rows = len(history[0]) - 1
    out = (
        np.full((rows, top_n), -1, np.int32),
        np.zeros((rows, top_n), np.float32),
        np.full((rows, top_n), NO_REASON, np.int32),
        np.zeros((rows, top_n), np.float32),
    )
    _kernel(*matrix, *history, *batch, np.float32(blend), top_n, *out)
    return out


@numba.njit(cache=True, nogil=True, inline="always")
def _worse(a: int, b: int, score: Any) -> Any:
    return score[a] < score[b] or (score[a] == score[b] and a > b)


@numba.njit(cache=True, nogil=True)
def _sift(heap: Any, score: Any, at: int, size: int) -> None:
    """Restore the min-heap below ``at``; ties are broken by the item index, so lists are stable."""
    while True:
        child = 2 * at + 1
        if child >= size:
            return
        right = child + 1
        if right < size and _worse(heap[right], heap[child], score):
            child = right
        if not _worse(heap[child], heap[at], score):
            return
        heap[at], heap[child] = heap[child], heap[at]
        at = child


@numba.njit(cache=True, nogil=True)
def _accumulate(indptr: Any, indices: Any, data: Any, items: Any, weights: Any, work: Any) -> tuple[int, float]:
    """Add one row's live terms into the stamped scratch arrays; return the touched count and the largest live value."""
    stamp, mark, live, term, why, touched = work
    count = 0
    for h in range(len(items)):
        w = weights[h]
        if items[h] < 0 or w == 0:
            continue
        for at in range(indptr[items[h]], indptr[items[h] + 1]):
            j = indices[at]
            value = w * data[at]
            if stamp[j] != mark[0]:
                stamp[j] = mark[0]
                live[j], term[j], why[j] = value, value, h
                touched[count] = j
                count += 1
            else:
                live[j] += value
                if value > term[j]:
                    term[j], why[j] = value, h
    top = 0.0
    for t in range(count):
        top = max(top, live[touched[t]])
    return count, top


@numba.njit(cache=True, nogil=True)
def _kernel(
    indptr: Any,
    indices: Any,
    data: Any,
    h_offsets: Any,
    h_items: Any,
    h_weights: Any,
    b_offsets: Any,
    b_items: Any,
    b_scores: Any,
    blend: Any,
    top_n: int,
    out_items: Any,
    out_scores: Any,
    out_why: Any,
    out_terms: Any,
) -> None:
    size = len(indptr) - 1
    stamp = np.zeros(size, np.int64)
    mark = np.zeros(1, np.int64)
    live = np.zeros(size, np.float32)
    term = np.zeros(size, np.float32)
    why = np.zeros(size, np.int32)
    touched = np.zeros(size, np.int32)
    heap = np.zeros(top_n, np.int32)
    for r in range(len(h_offsets) - 1):
        mark[0] = r + 1
        h0, h1 = h_offsets[r], h_offsets[r + 1]
        work = (stamp, mark, live, term, why, touched)
        count, top = _accumulate(indptr, indices, data, h_items[h0:h1], h_weights[h0:h1], work)
        if top > 0:
            for t in range(count):
                live[touched[t]] /= top
                term[touched[t]] /= top
        b0, b1 = b_offsets[r], b_offsets[r + 1]
        largest = 0.0
        for b in range(b0, b1):
            largest = max(largest, abs(b_scores[b]))
        if largest > 0 and blend > 0:
            for b in range(b0, b1):
                j = b_items[b]
                if j < 0:
                    continue
                value = blend * b_scores[b] / largest
                if stamp[j] != mark[0]:
                    stamp[j] = mark[0]
                    live[j], term[j], why[j] = value, value, -2
                    touched[count] = j
                    count += 1
                else:
                    live[j] += value
                    if value > term[j]:
                        term[j], why[j] = value, -2
        kept = 0
        for t in range(count):
            j = touched[t]
            if live[j] <= 0:
                continue
            if kept < top_n:
                heap[kept] = j
                kept += 1
                if kept == top_n:
                    for root in range(top_n // 2 - 1, -1, -1):
                        _sift(heap, live, root, top_n)
            elif _worse(heap[0], j, live):
                heap[0] = j
                _sift(heap, live, 0, top_n)
        if kept < top_n:
            for root in range(kept // 2 - 1, -1, -1):
                _sift(heap, live, root, kept)
        for place in range(kept - 1, -1, -1):
            j = heap[0]
            out_items[r, place] = j
            out_scores[r, place] = live[j]
            out_why[r, place] = why[j]
            out_terms[r, place] = term[j]
            heap[0] = heap[place]
            _sift(heap, live, 0, place)
