"""Lists made once a training: per person, per item, and for everybody."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from batch.log import Log
from batch.recipe import ListRecipe
from batch.units import DAY_MS
from contracts.events import ACTION_TYPES
from contracts.scoring import score_rows

__all__ = ["Lists", "person_lists", "popular_items", "similar_items"]

Matrix = tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float32]]
Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

PURCHASE: Final = ACTION_TYPES.index("purchase")


@dataclass(frozen=True, slots=True)
class Lists:
    """Ranked items of many rows: ``items (R, N)``, −1 where a row has fewer, and their ``scores (R, N)``."""

    items: Ints
    scores: Floats

    def row(self, at: int, ids: Sequence[str]) -> tuple[list[str], list[float]]:
        """Ids and scores of one row, best first."""
        known = self.items[at] >= 0
        scores = [round(float(score), 6) for score in self.scores[at][known]]
        return [ids[item] for item in self.items[at][known]], scores

    def take(self, rows: npt.NDArray[Any]) -> "Lists":
        """The lists of the given rows, in that order."""
        return Lists(self.items[rows], self.scores[rows])


def person_lists(
    matrix: Matrix,
    log: Log,
    people: tuple[int, int],
    now_ms: int,
    repeatable: npt.NDArray[np.bool_],
    event_weights: Mapping[str, float],
    recipe: ListRecipe,
    size: int,
) -> Lists:
    """The lists of the people from ``people[0]`` to ``people[1]`` (excluded), as of ``now_ms``.

    A person's list is what they buy again plus what B makes of everything they did, each scaled by its maximum:

        repeats(j) = Σ over own purchases of j             0.5^(age / repeat_half_life_d),    where j is repeatable
        taste(j)   = Σ over own actions on i, weight[type] · 0.5^(age / taste_half_life_d) · B[i, j],    i ≠ j
        list(j)    = repeats(j) / max repeats + taste · taste(j) / max |taste|

    What was bought and is not repeatable is left out. Repeats are about half of what grocery customers buy, and B
    cannot say them: its units are single baskets, in which nothing is bought twice.
    """
    begin, end = log.offsets[people[0]], log.offsets[people[1]]
    place = np.repeat(np.arange(people[1] - people[0]), np.diff(log.offsets[people[0] : people[1] + 1]))
    item, kind, ms = log.item[begin:end], log.type[begin:end], log.ms[begin:end]
    known = item >= 0
    place, item, kind, age_d = place[known], item[known], kind[known], (now_ms - ms[known]) / DAY_MS
    weights = np.array([event_weights.get(name, 0.0) for name in ACTION_TYPES])[kind]
    rows, count = people[1] - people[0], len(matrix[0]) - 1
    history = _summed(place, item, weights * 0.5 ** (age_d / recipe.taste_half_life_d), rows, count)
    bought = kind == PURCHASE
    again = bought & repeatable[item]
    repeats = _summed(place[again], item[again], 0.5 ** (age_d[again] / recipe.repeat_half_life_d), rows, count)
    # The kernel computes taste / max + blend · repeats / max, which ranks as the formula does.
    blend = 1.0 / max(recipe.taste, 1e-6)
    once = bought & ~repeatable[item]
    spare = int(np.bincount(place[once], minlength=1).max()) if once.any() else 0
    items, scores = score_rows(_without_diagonal(matrix), history, repeats, blend, size + spare)
    if spare:
        items, scores = _leave_out(items, scores, place[once], item[once], count)
    return Lists(items[:, :size], (scores[:, :size] * max(recipe.taste, 1e-6)).astype(np.float32))


def _summed(place: Any, item: Any, weight: Any, rows: int, count: int) -> Matrix:
    """Weights added up per person and item, ragged."""
    keys, which = np.unique(place.astype(np.int64) * count + item, return_inverse=True)
    total = np.bincount(which, weight, minlength=len(keys)).astype(np.float32)
    offsets = np.searchsorted(keys // count, np.arange(rows + 1)).astype(np.int64)
    return offsets, (keys % count).astype(np.int32), total


def _without_diagonal(matrix: Matrix) -> Matrix:
    """B without what an item says of itself, which holds for one visit only."""
    indptr, cols, data = matrix
    rows = np.repeat(np.arange(len(indptr) - 1, dtype=np.int32), np.diff(indptr))
    return indptr, cols, np.where(rows == cols, np.float32(0), data)


def _leave_out(items: Ints, scores: Floats, place: Any, item: Any, count: int) -> tuple[Ints, Floats]:
    """Strike (place, item) pairs from the lists and close the gaps."""
    keys = np.arange(len(items))[:, None] * count + items
    struck = np.isin(keys, place.astype(np.int64) * count + item) | (items < 0)
    order = np.argsort(struck, axis=1, kind="stable")
    items = np.where(struck, -1, items)
    return np.take_along_axis(items, order, 1), np.take_along_axis(np.where(struck, 0, scores), order, 1)


def similar_items(matrix: Matrix, rows: tuple[int, int], size: int) -> Lists:
    """The strongest positive entries of the rows of B from ``rows[0]`` to ``rows[1]`` (excluded).

    >>> B = (np.array([0, 2, 2]), np.array([0, 1], np.int32), np.array([-1., .5], np.float32))
    >>> similar_items(B, (0, 2), 2).items.tolist()
    [[1, -1], [-1, -1]]
    """
    count = rows[1] - rows[0]
    one = (np.arange(count + 1), np.arange(rows[0], rows[1], dtype=np.int32), np.ones(count, np.float32))
    none = (np.zeros(count + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    items, scores = score_rows(matrix, one, none, 0.0, size)
    return Lists(items, scores)


def popular_items(popularity: npt.NDArray[Any], size: int) -> Lists:
    """The most popular items, as shares of the first; ties by place.

    >>> popular_items(np.array([1, 4, 2]), 2).items.tolist()
    [[1, 2]]
    """
    order = np.argsort(-popularity, kind="stable")[:size].astype(np.int32)
    top = max(float(popularity.max(initial=0.0)), 1e-12)
    return Lists(order[None, :], (popularity[order] / top).astype(np.float32)[None, :])
