"""The scoring formula: a live score is a sum over what the visitor just did; one compiled kernel for stream and batch.

For a person with recent actions d = 0, 1, … (newest first) on items i_d of type e_d, and a candidate j:

    live(j)  = Σ_d  exp(−d / p) · weight[e_d] · B[i_d, j]
    score(j) = live(j) / max live  +  blend · batch(j) / max|batch|

B is the sparse item-to-item matrix of the snapshot (CSR), ``batch`` the person's list of the last training. Both are
scaled by their own maximum, so ``blend`` is a ratio and does not depend on how much the visitor did. The live part's is
its largest *positive* value: what a visitor just took has a strongly negative one (satiation), and as a scale it would
drown what they are shown next.

A score is explained by its largest terms. All terms of one item that the visitor acted on, however often, are one term
of the explanation ("because you viewed it", with the weight of all of it), and the batch list is another. A negative
term, which speaks against a candidate, is never a reason; a reason's weight is its share of all that speaks for it.
"""

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

__all__ = ["BATCH_REASON", "NO_REASON", "REASONS", "action_weights", "explained_rows", "score_rows"]

NO_REASON: Final = -1
BATCH_REASON: Final = -2
REASONS: Final = 3
"""How many terms explain one score."""

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Ragged = tuple[npt.NDArray[np.int64], Ints, Floats]

_UNTOUCHED: Final = np.finfo(np.float32).min
_LOW: Final = np.uint64(0xFFFFFFFF)
_SHIFT: Final = np.uint64(32)


def action_weights(event_types: Sequence[str], weights: Mapping[str, float], p: float) -> list[float]:
    """Weights of actions given newest first: ``exp(−d/p) · weight[type]``; ``p`` ≤ 0 means no decay.

    >>> action_weights(["purchase", "view"], {"view": 1.0, "purchase": 2.0}, p=1.0)
    [2.0, 0.3678794411714424]
    """
    decay = [float(np.exp(-d / p)) if p > 0 else 1.0 for d in range(len(event_types))]
    return [w * weights.get(t, 0.0) for w, t in zip(decay, event_types, strict=True)]


def score_rows(matrix: Ragged, history: Ragged, batch: Ragged, blend: float, top_n: int) -> tuple[Ints, Floats]:
    """Score many people at once and keep each one's ``top_n`` best items.

    Args:
        matrix: B as CSR ``(indptr (I+1,), indices (nnz,), data (nnz,))``.
        history: ``(offsets (R+1,), items (h,), weights (h,))``: row r's actions are ``offsets[r]:offsets[r+1]``; −1 is
            an item that the model does not know.
        batch: the same layout: each row's batch recommendations and their scores.
        blend: weight of the batch part, ≥ 0.
        top_n: N, the list length.

    Returns:
        ``items (R, N)`` (−1 where a row has fewer) and ``scores (R, N)``, the best first; ties by place in the index.

    >>> B = (np.array([0, 2, 2, 2]), np.array([1, 2], np.int32), np.array([.5, 1.], np.float32))
    >>> none = (np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    >>> seen = (np.array([0, 1]), np.array([0], np.int32), np.ones(1, np.float32))
    >>> items, scores = score_rows(B, seen, none, 0., 3)
    >>> items.tolist(), scores.tolist()
    ([[2, 1, -1]], [[1.0, 0.5, 0.0]])
    """
    return _scored(matrix, history, batch, blend, top_n, 0)[:2]


def explained_rows(
    matrix: Ragged, history: Ragged, batch: Ragged, blend: float, top_n: int
) -> tuple[Ints, Floats, Ints, Floats]:
    """:func:`score_rows`, and of each score its largest terms.

    Returns:
        ``items (R, N)`` and ``scores (R, N)``, equal to those of :func:`score_rows` to the last bit;
        ``reasons (R, N, 3)``: the place in the row's history of the newest action on the item whose term it is,
        :data:`BATCH_REASON`, or :data:`NO_REASON`; ``shares (R, N, 3)``: of the sum of the positive terms, the largest
        first (ties: the newer action first, the batch list last).

    >>> B = (np.array([0, 1, 3]), np.array([1, 0, 1], np.int32), np.array([1., 1., -.5], np.float32))
    >>> none = (np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    >>> seen = (np.array([0, 3]), np.array([0, 1, 0], np.int32), np.array([1., 1., 2.], np.float32))
    >>> items, scores, why, shares = explained_rows(B, seen, none, 0., 2)
    >>> items.tolist(), scores.tolist(), why.tolist(), shares[..., 0].tolist()
    ([[1, 0]], [[1.0, 0.4000000059604645]], [[[0, -1, -1], [1, -1, -1]]], [[1.0, 1.0]])
    """
    return _scored(matrix, history, batch, blend, top_n, REASONS)


def _scored(
    matrix: Ragged, history: Ragged, batch: Ragged, blend: float, top_n: int, reasons: int
) -> tuple[Ints, Floats, Ints, Floats]:
    rows = len(history[0]) - 1
    out = (
        np.full((rows, top_n), -1, np.int32),
        np.zeros((rows, top_n), np.float32),
        np.full((rows, top_n if reasons else 0, reasons), NO_REASON, np.int32),
        np.zeros((rows, top_n if reasons else 0, reasons), np.float32),
    )
    # Plain tuples: a named one is another type to Numba, and would be compiled for anew.
    _kernel(tuple(matrix), tuple(history), tuple(batch), np.float32(blend), _scratch(len(matrix[0]) - 1), out)
    return out


class _Scratch(threading.local):
    """Working arrays of a thread, kept between calls: a few people against a million items must not cost a million.

    The kernel leaves ``live`` as it found it, untouched everywhere.
    """

    live = np.zeros(0, np.float32)
    touched = np.zeros(0, np.int32)


_kept = _Scratch()


def _scratch(size: int) -> tuple[Floats, Ints]:
    if len(_kept.live) < size or not len(_kept.touched):
        _kept.live = np.full(size, _UNTOUCHED, np.float32)
        _kept.touched = np.zeros(size + 1, np.int32)
    return _kept.live, _kept.touched


@numba.njit(cache=True, nogil=True)
def _kernel(matrix: Any, history: Any, batch: Any, blend: Any, scratch: Any, out: Any) -> None:
    h_offsets, h_items, h_weights = history
    b_offsets, b_items, b_scores = batch
    out_items, out_scores, out_why, out_shares = out
    explained = out_why.shape[2] > 0
    live, touched = scratch
    best = np.zeros(out_items.shape[1] + 1, np.uint64)
    room = _room(out_items.shape[1], _longest(h_offsets))
    for r in range(len(h_offsets) - 1):
        h0, h1, b0, b1 = h_offsets[r], h_offsets[r + 1], b_offsets[r], b_offsets[r + 1]
        count, top = _accumulate(matrix, h_items[h0:h1], h_weights[h0:h1], live, touched)
        largest = 0.0
        if blend > 0:
            for b in range(b0, b1):
                largest = max(largest, abs(b_scores[b]))
        if largest > 0:
            count = _add_batch(b_items[b0:b1], b_scores[b0:b1], blend, largest, count, top, live, touched)
        kept = _keep_best(live, touched, count, top if largest == 0 else 0.0, best)
        for place in range(kept):
            out_items[r, place] = np.int32(_LOW - (best[place] & _LOW))
            out_scores[r, place] = _score(best[place] >> _SHIFT)
        if explained:
            own = (h_items[h0:h1], h_weights[h0:h1], top)
            listed = (b_items[b0:b1], b_scores[b0:b1], largest, blend)
            _explain(matrix, own, listed, room, live, out_items[r, :kept], out_why[r], out_shares[r])


@numba.njit(cache=True, nogil=True)
def _room(top_n: int, longest: int) -> Any:
    """Room for one row: weights by item, one source's terms, and of each kept item their sum and the three largest."""
    merged, term, total = np.zeros(longest), np.zeros(top_n + 8, np.float32), np.zeros(top_n, np.float32)
    return merged, term, total, np.zeros(top_n, np.int64), np.zeros(top_n, np.int64), np.zeros(top_n, np.int64)


@numba.njit(cache=True, nogil=True)
def _longest(offsets: Any) -> int:
    longest = 0
    for r in range(len(offsets) - 1):
        longest = max(longest, offsets[r + 1] - offsets[r])
    return longest


@numba.njit(cache=True, nogil=True)
def _accumulate(matrix: Any, items: Any, weights: Any, live: Any, touched: Any) -> tuple[int, float]:
    """Add up one row's live terms; return how many items they touch, and the largest live value."""
    indptr, indices, data = matrix
    count = 0
    for h in range(len(items)):
        w = weights[h]
        if items[h] < 0 or w == 0:
            continue
        for at in range(indptr[items[h]], indptr[items[h] + 1]):
            j = indices[at]
            before = live[j]
            first = before == _UNTOUCHED
            touched[count] = j
            count += first
            live[j] = w * data[at] + (np.float32(0) if first else before)
    top = 0.0
    for t in range(count):
        top = max(top, live[touched[t]])
    return count, top


@numba.njit(cache=True, nogil=True)
def _add_batch(
    items: Any, scores: Any, blend: Any, largest: Any, count: int, top: float, live: Any, touched: Any
) -> int:
    """Scale the live part and add the batch part; return how many items both touch."""
    if top > 0:
        for t in range(count):
            live[touched[t]] /= top
    for b in range(len(items)):
        j = items[b]
        if j < 0:
            continue
        value = blend * scores[b] / largest
        if live[j] == _UNTOUCHED:
            live[j] = value
            touched[count] = j
            count += 1
        else:
            live[j] += value
    return count


@numba.njit(cache=True, nogil=True)
def _keep_best(live: Any, touched: Any, count: int, top: float, best: Any) -> int:
    """Sort the best positive scores into ``best``, return how many there are, and leave ``live`` untouched.

    A score and its item are one number: the bits of a positive float32 order as the float does, and below them stands
    the item, the smaller the better. So ties are broken by the item's place, and lists are stable.
    """
    room = len(best) - 1
    kept = 0
    for t in range(count):
        j = touched[t]
        score = live[j] / top if top > 0 else np.float64(live[j])
        live[j] = _UNTOUCHED
        if not np.float32(score) > 0:
            continue
        key = _key(score, j)
        if kept < room:
            best[kept] = key
            kept += 1
            if kept == room:
                for root in range(kept // 2 - 1, -1, -1):
                    _sift(best, root, kept)
        elif key > best[0]:
            best[0] = key
            _sift(best, 0, kept)
    if kept < room:
        for root in range(kept // 2 - 1, -1, -1):
            _sift(best, root, kept)
    for place in range(kept - 1, 0, -1):
        best[0], best[place] = best[place], best[0]
        _sift(best, 0, place)
    return kept


@numba.njit(cache=True, nogil=True)
def _key(score: Any, item: Any) -> Any:
    return (np.uint64(np.float32(score).view(np.uint32)) << _SHIFT) | (_LOW - np.uint64(item))


@numba.njit(cache=True, nogil=True)
def _score(bits: Any) -> Any:
    return np.uint32(bits).view(np.float32)


@numba.njit(cache=True, nogil=True)
def _sift(heap: Any, at: int, size: int) -> None:
    """Restore the min-heap below ``at``; one cell beyond ``size`` is read."""
    key = heap[at]
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        child += (child + 1 < size) & (heap[child + 1] < heap[child])
        if heap[child] >= key:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = key


@numba.njit(cache=True, nogil=True)
def _explain(
    matrix: Any, own: Any, listed: Any, room: Any, live: Any, kept: Any, out_why: Any, out_shares: Any
) -> None:
    """The largest terms of the kept items: the row's terms again, source by source.

    ``live`` holds the places of the kept items meanwhile. What meets none of them is added to places that nobody reads:
    that costs less than a branch that nobody can predict.
    """
    indptr, indices, data = matrix
    items, weights, top = own
    b_items, b_scores, largest, blend = listed
    merged, term, total, first, second, third = room
    count = len(kept)
    _merge(items, weights, live, merged)
    for place in range(count):
        live[kept[place]] = place
        total[place] = 0
        first[place] = second[place] = third[place] = 0
    for h in range(len(items)):
        w = merged[h] / (top if top > 0 else 1.0)
        if w == 0:
            continue
        term[:count].fill(0)
        for at in range(indptr[items[h]], indptr[items[h] + 1]):
            met = live[indices[at]]
            term[np.uint32(met) if met >= 0 else np.uint32(count + (at & 7))] += w * data[at]
        _rank_terms(count, term, h, total, first, second, third)
    if largest > 0:
        term[:count].fill(0)
        for b in range(len(b_items)):
            met = live[b_items[b]] if b_items[b] >= 0 else _UNTOUCHED
            term[np.uint32(met) if met >= 0 else np.uint32(count)] += blend * b_scores[b] / largest
        _rank_terms(count, term, len(items), total, first, second, third)
    for place in range(count):
        live[kept[place]] = _UNTOUCHED
        for n, key in enumerate((first[place], second[place], third[place])):
            value, source = _score(key >> 32), 0xFFFFFFFF - (key & 0xFFFFFFFF)
            if value > 0:
                out_why[place, n] = BATCH_REASON if source == len(items) else source
                out_shares[place, n] = value / total[place]


@numba.njit(cache=True, nogil=True)
def _merge(items: Any, weights: Any, live: Any, merged: Any) -> None:
    """Sum the weights of the actions on one item, at its newest action; 0 elsewhere and for unknown items.

    ``live`` is untouched before and after.
    """
    for h in range(len(items)):
        merged[h] = 0
        if items[h] < 0:
            continue
        if live[items[h]] == _UNTOUCHED:
            live[items[h]] = h
        merged[np.uint32(live[items[h]])] += weights[h]
    for h in range(len(items)):
        if items[h] >= 0:
            live[items[h]] = _UNTOUCHED


@numba.njit(cache=True, nogil=True)
def _rank_terms(count: int, term: Any, source: int, total: Any, first: Any, second: Any, third: Any) -> None:
    """Put each place's term among its three largest, if it is positive; without branches, many places at a time."""
    low = np.int64(0xFFFFFFFF - source)
    for place in range(count):
        total[place] += max(term[place], np.float32(0))
    for place in range(count):
        key = (np.int64(np.float32(max(term[place], np.float32(0))).view(np.int32)) << 32) | low
        a, b, c = first[place], second[place], third[place]
        first[place] = max(a, key)
        key = min(a, key)
        second[place] = max(b, key)
        third[place] = max(c, min(b, key))
