"""Arrays for a report's plots: who gets the exposure, and whether the ranker's predictions come true."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["calibration", "popularity_bias"]


def popularity_bias(
    popularity: npt.NDArray[Any], shown: Mapping[str, npt.NDArray[Any]], parts: int = 10
) -> dict[str, Any]:
    """How actions and exposure spread over equally many items, from the least to the most popular.

    Args:
        popularity: ``(I,)`` actions on each item in the training days.
        shown: by model, any shape of item places, −1 where there is none.

    Returns:
        ``items`` in each part, ``events`` (share of the actions) and ``exposure`` (by model, share of the places).

    >>> popularity_bias(np.array([1, 8, 1, 2]), {"live": np.array([[1, 0], [1, -1]])}, parts=2)
    {'items': [2, 2], 'events': [0.166667, 0.833333], 'exposure': {'live': [0.333333, 0.666667]}}
    """
    count = len(popularity)
    part = np.empty(count, np.int64)
    part[np.argsort(popularity, kind="stable")] = np.arange(count) * parts // max(count, 1)
    exposure = {}
    for model, places in shown.items():
        seen = np.asarray(places).ravel()
        exposure[model] = _shares(np.bincount(part[seen[seen >= 0]], minlength=parts))
    events = _shares(np.bincount(part, np.asarray(popularity, float), minlength=parts))
    return {"items": np.bincount(part, minlength=parts).tolist(), "events": events, "exposure": exposure}


def _shares(sums: npt.NDArray[Any]) -> list[float]:
    total = float(sums.sum())
    return [round(float(value) / total, 6) if total else 0.0 for value in sums]


def calibration(
    predicted: npt.NDArray[Any], observed: npt.NDArray[Any], present: npt.NDArray[Any], bins: int = 10
) -> list[dict[str, float]]:
    """Mean prediction against mean outcome, each less its request's mean, in equally large bins of the predictions.

    Args:
        predicted: ``(R, N)`` x·β of the candidates, of a fit that has not seen these requests.
        observed: ``(R, N)`` whether the candidate was wanted.
        present: ``(R, N)`` where there is a candidate.

    Returns:
        For each bin that holds anything ``predicted``, ``observed``, ``error`` (standard error of ``observed``) and
        ``count``.

    >>> x, y = np.array([[0.3, 0.1, 9.0]]), np.array([[1, 0, 1]])
    >>> calibration(x, y, np.array([[True, True, False]]), bins=2)[1]
    {'predicted': 0.1, 'observed': 0.5, 'error': 0.0, 'count': 1}
    """
    x, y = _within(predicted, present), _within(observed, present)
    order = np.argsort(x, kind="stable")
    rows = []
    for places in np.array_split(order, min(bins, len(order)) or 1):
        if not len(places):
            continue
        error = float(np.std(y[places], ddof=1)) / len(places) ** 0.5 if len(places) > 1 else 0.0
        means = {"predicted": x[places].mean(), "observed": y[places].mean(), "error": error}
        rows.append({name: round(float(value), 8) for name, value in means.items()} | {"count": len(places)})
    return rows


def _within(values: npt.NDArray[Any], present: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """``(n,)``: what is present, less the mean of its row."""
    kept = np.where(present, values, 0.0)
    means = kept.sum(axis=1, keepdims=True) / np.maximum(present.sum(axis=1, keepdims=True), 1)
    found: npt.NDArray[np.float64] = (kept - means)[present]
    return found
