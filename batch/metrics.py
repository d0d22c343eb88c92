"""What ranked lists are worth, case by case, and whom they leave in the dark: arithmetic on arrays of places."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["CUT", "METRICS", "case_metrics", "cold_items", "exposure_metrics", "top_rows"]

CUT: Final = 20
METRICS: Final = (f"HR@{CUT}", f"Recall@{CUT}", f"MRR@{CUT}", f"NDCG@{CUT}")
"""The columns of :func:`case_metrics`."""

Ints = npt.NDArray[np.int32]
Doubles = npt.NDArray[np.float64]


def top_rows(rows: npt.NDArray[Any]) -> Ints:
    """The first :data:`CUT` columns of ranked lists, filled up with −1: ``(C, CUT)``."""
    filled = np.full((len(rows), CUT), -1, np.int32)
    width = min(CUT, rows.shape[1])
    filled[:, :width] = rows[:, :width]
    return filled


def case_metrics(rows: npt.NDArray[Any], wanted: Sequence[npt.NDArray[Any]]) -> Doubles:
    """:data:`METRICS` of every case: ``(C, 4)``.

    Args:
        rows: ``(C, N)`` ranked items of each case, best first, no item twice, −1 where there are fewer.
        wanted: for each case the distinct items to be found. Negative ones cannot be found, and count.

    HR is 1 where anything was found; Recall the found share of the wanted; MRR 1 / (place of the first hit); NDCG as in
    Järvelin & Kekäläinen 2002, "Cumulated gain-based evaluation of IR techniques", with gain 1 for every wanted item
    and the ideal of ``min(20, wanted)`` hits.

    >>> case_metrics(np.array([[1, 5, -1]]), [np.array([5, 9])]).round(4).tolist()
    [[1.0, 0.5, 0.5, 0.3869]]
    """
    rows = top_rows(rows)
    sizes = np.fromiter((len(items) for items in wanted), np.int64, len(wanted))
    flat = np.concatenate([np.zeros(0, np.int64), *wanted]).astype(np.int64)
    span = int(max(rows.max(initial=0), flat.max(initial=0))) + 1
    known = flat >= 0
    keys = (np.repeat(np.arange(len(sizes)), sizes) * span + flat)[known]
    hits = np.isin(np.arange(len(rows))[:, None] * span + rows, keys) & (rows >= 0)
    discount = 1 / np.log2(np.arange(2, CUT + 2))
    ideal = np.concatenate(([np.inf], np.cumsum(discount)))[np.minimum(sizes, CUT)]
    found = hits.any(1)
    first = np.where(found, 1 / (hits.argmax(1) + 1), 0.0)
    return np.stack([found, hits.sum(1) / np.maximum(sizes, 1), first, hits @ discount / ideal], axis=1)


def cold_items(units: npt.NDArray[Any], fewer_than: float = 10) -> npt.NDArray[np.bool_]:
    """Items the model has hardly seen: in fewer than ``fewer_than`` units of the training days."""
    return np.asarray(units) < fewer_than


def exposure_metrics(
    rows: npt.NDArray[Any], popularity: npt.NDArray[Any], cold: npt.NDArray[np.bool_]
) -> dict[str, float]:
    """What a model shows, whether it is wanted or not, over the first 20 places of all cases.

    Args:
        rows: ``(C, N)`` as in :func:`case_metrics`.
        popularity: ``(I,)`` actions on each item in the training days, of the whole catalogue of the model.
        cold: ``(I,)`` from :func:`cold_items`.

    Returns:
        ``coverage@20``
            share of the catalogue that is shown to anybody (Ge, Delgado-Battenfeld & Jannach 2010, "Beyond accuracy").
        ``novelty@20``
            mean of −log2 pᵢ over the places, with pᵢ the item's share of all actions: bits of surprise (Zhou et al.
            2010, "Solving the apparent diversity-accuracy dilemma of recommender systems"; Vargas & Castells 2011).
            Items nobody touched count as the rarest that somebody did.
        ``gini@20``
            of how often each item of the catalogue is shown: 0 all alike, 1 − 1/I only one (Fleder & Hosanagar 2009,
            "Blockbuster culture's next rise or fall").
        ``cold@20``
            share of the places that show a cold item.

    >>> shown = np.array([[0, 1], [0, -1]])
    >>> found = exposure_metrics(shown, np.array([2, 1, 1, 0]), np.array([False, True, True, True]))
    >>> found["coverage@20"], found["novelty@20"], found["gini@20"], found["cold@20"]
    (0.5, 1.333333, 0.583333, 0.333333)
    """
    names = [f"{name}@{CUT}" for name in ("coverage", "novelty", "gini", "cold")]
    shown = top_rows(rows)
    shown = shown[shown >= 0]
    count = len(popularity)
    if not len(shown) or not count:
        return dict.fromkeys(names, 0.0)
    times = np.bincount(shown, minlength=count)
    touched = np.asarray(popularity, float)
    touched = touched if (touched > 0).any() else np.ones(count)
    surprise = -np.log2(np.maximum(touched, touched[touched > 0].min()) / touched.sum())
    ranks = 2 * np.arange(1, count + 1) - count - 1
    gini = float((ranks * np.sort(times)).sum() / (count * times.sum()))
    values = [(times > 0).mean(), surprise[shown].mean(), gini, cold[shown].mean()]
    return {name: round(float(value), 6) for name, value in zip(names, values, strict=True)}
