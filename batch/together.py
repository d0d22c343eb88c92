"""What is bought together: items that share baskets more often than their popularity explains.

    together(i, j) = n_ij / (√(n_i · n_j) + prior),    n = number of baskets with the item, with both

A basket is what one person bought without a pause of an hour. The cosine of two items' baskets, shrunk by a prior, so
that two items that met once by chance stay behind; a pair counts from two baskets on.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse

from batch.lists import PURCHASE, Lists
from batch.log import Log

__all__ = ["Baskets", "baskets_of", "together_items"]

_PAUSE_MS: Final = 3_600_000
_PRIOR: Final = 5.0
_LEAST: Final = 2
_MOST_ITEMS: Final = 200
"""Larger baskets are a warehouse's: they say little of any pair, and cost the square of their size."""


class Baskets(NamedTuple):
    """Which items each basket holds, each once: basket b's are ``items[offsets[b]:offsets[b + 1]]``."""

    offsets: npt.NDArray[np.int64]
    items: npt.NDArray[np.int32]


def baskets_of(log: Log) -> Baskets:
    """The baskets of at least two of the index's items in a log."""
    person = np.repeat(np.arange(len(log.offsets) - 1), np.diff(log.offsets))
    bought = (log.type == PURCHASE) & (log.item >= 0)
    person, item, ms = person[bought], log.item[bought], log.ms[bought]
    if not len(item):
        return Baskets(np.zeros(1, np.int64), np.zeros(0, np.int32))
    new = np.r_[True, (np.diff(person) != 0) | (np.diff(ms) > _PAUSE_MS)]
    pairs = np.unique(np.column_stack((np.cumsum(new) - 1, item)), axis=0)
    counts = np.bincount(pairs[:, 0])
    kept = ((counts > 1) & (counts <= _MOST_ITEMS))[pairs[:, 0]]
    sizes = counts[(counts > 1) & (counts <= _MOST_ITEMS)]
    return Baskets(np.concatenate(([0], np.cumsum(sizes))), pairs[kept, 1].astype(np.int32))


def together_items(baskets: Baskets, count: int, rows: tuple[int, int], size: int) -> Lists:
    """The items that are bought most together with those from ``rows[0]`` to ``rows[1]`` (excluded), of ``count``.

    >>> bought = Baskets(np.array([0, 2, 4, 6]), np.array([0, 1, 0, 1, 0, 2], np.int32))
    >>> found = together_items(bought, 3, (0, 3), 2)
    >>> found.items.tolist(), round(float(found.scores[0, 0]), 3)
    ([[1, -1], [0, -1], [-1, -1]], 0.268)
    """
    held = sparse.csr_matrix(
        (np.ones(len(baskets.items), np.float32), baskets.items, baskets.offsets),
        shape=(len(baskets.offsets) - 1, count),
    )
    often = np.asarray(held.sum(axis=0)).ravel()
    both: Any = (held[:, rows[0] : rows[1]].T @ held).tocsr()
    items = np.full((rows[1] - rows[0], size), -1, np.int32)
    scores = np.zeros((rows[1] - rows[0], size), np.float32)
    for row in range(rows[1] - rows[0]):
        begin, end = both.indptr[row], both.indptr[row + 1]
        other, met = both.indices[begin:end], both.data[begin:end]
        kept = (met >= _LEAST) & (other != rows[0] + row)
        other, met = other[kept], met[kept]
        value = met / (np.sqrt(often[rows[0] + row] * often[other]) + _PRIOR)
        best = np.lexsort((other, -value))[:size]
        items[row, : len(best)], scores[row, : len(best)] = other[best], value[best]
    return Lists(items, scores)
