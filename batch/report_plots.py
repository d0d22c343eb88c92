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


def calibration(predicted: npt.NDArray[Any], observed: npt.NDArray[Any], bins: int = 10) -> list[dict[str, float]]:
    """Mean prediction against mean outcome in equally large bins of the predictions.

    Args:
        predicted: ``(n,)`` x·β of shown items, the request's mean taken out.
        observed: ``(n,)`` 1 where the item was wanted, else 0, the request's mean taken out.

    Returns:
        For each bin that holds anything ``predicted``, ``observed``, ``error`` (standard error of ``observed``) and
        ``count``.

    >>> calibration(np.array([0.1, 0.2, -0.3, -0.1]), np.array([1.0, 0.0, 0.0, 0.0]), bins=2)[1]
    {'predicted': 0.15, 'observed': 0.5, 'error': 0.5, 'count': 2}
    """
    order = np.argsort(predicted, kind="stable")
    rows = []
    for places in np.array_split(order, min(bins, len(order)) or 1):
        if not len(places):
            continue
        error = float(np.std(observed[places], ddof=1)) / len(places) ** 0.5 if len(places) > 1 else 0.0
        means = {"predicted": predicted[places].mean(), "observed": observed[places].mean(), "error": error}
        rows.append({name: round(float(value), 8) for name, value in means.items()} | {"count": len(places)})
    return rows
