"""How sure the figures are: bootstrap intervals, and whether one model is better than another on the same cases.

One person's cases resemble each other, so people are drawn and not cases (a cluster bootstrap: Cameron, Gelbach &
Miller 2008, "Bootstrap-based improvements for inference with clustered errors"). A mean over cases is then a ratio of
sums over people, Σ_p w_p S_p / Σ_p w_p n_p, with w_p how often person p was drawn, S_p and n_p their values' sum and
number of cases.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

__all__ = ["LEVEL", "RESAMPLES", "Paired", "bootstrap", "intervals", "paired"]

RESAMPLES: Final = 1000
LEVEL: Final = 0.95
_CELLS: Final = 4_000_000
"""Weights held at once (32 MB), whatever the number of people."""

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Paired:
    """First model minus second on the same cases: mean, its interval, and the two-sided p-value of no difference."""

    difference: float
    low: float
    high: float
    p: float


def bootstrap(values: npt.NDArray[Any], person: npt.NDArray[Any], seed: int, resamples: int = RESAMPLES) -> Doubles:
    """Means of ``values (C, K)`` over the cases of resampled people: ``(resamples, K)``.

    Args:
        person: ``(C,)`` whose case each is, any code.

    The same people, resamples and seed draw alike, so that means of two calls over the same cases are paired.
    """
    sums, sizes = _by_person(values, person)
    rng = np.random.default_rng(seed)
    both = np.column_stack([sums, sizes])
    means = np.empty((resamples, sums.shape[1]))
    step = max(1, _CELLS // len(sizes))
    for begin in range(0, resamples, step):
        rows = min(step, resamples - begin)
        drawn = rng.integers(len(sizes), size=(rows, len(sizes))) + np.arange(rows)[:, None] * len(sizes)
        weights = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        total = weights.astype(float) @ both
        means[begin : begin + rows] = total[:, :-1] / total[:, -1:]
    return means


def _by_person(values: npt.NDArray[Any], person: npt.NDArray[Any]) -> tuple[Doubles, Doubles]:
    people, at = np.unique(person, return_inverse=True)
    columns = [np.bincount(at, column, minlength=len(people)) for column in np.asarray(values, float).T]
    return np.stack(columns, axis=1), np.bincount(at, minlength=len(people)).astype(float)


def intervals(means: npt.NDArray[Any], level: float = LEVEL) -> Doubles:
    """Percentile intervals of resampled means, ``(2, K)`` (Efron & Tibshirani 1993, "An introduction to the bootstrap",
    chapter 13).

    >>> intervals(np.arange(101.0)[:, None], 0.9).round(9).ravel().tolist()
    [5.0, 95.0]
    """
    tail = (1 - level) / 2
    found: Doubles = np.quantile(means, [tail, 1 - tail], axis=0)
    return found


def paired(
    first: npt.NDArray[Any],
    second: npt.NDArray[Any],
    person: npt.NDArray[Any],
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Paired:
    """Compare two models by their values ``(C,)`` of one metric on the same cases.

    The interval is the bootstrap's. The p-value is that of Fisher's randomisation test, which Smucker, Allan &
    Carterette 2007 ("A comparison of statistical significance tests for information retrieval evaluation") recommend
    for ranked lists: were the models alike, which of them gave which list would not matter, so the sign of each
    person's summed difference is drawn at random; p = (1 + draws at least as far from 0) / (1 + draws).

    >>> paired(np.ones(50), np.zeros(50), np.arange(50), seed=1, resamples=99)
    Paired(difference=1.0, low=1.0, high=1.0, p=0.01)
    """
    difference = np.asarray(first, float) - np.asarray(second, float)
    low, high = intervals(bootstrap(difference[:, None], person, seed, resamples), level)[:, 0]
    sums = _by_person(difference[:, None], person)[0][:, 0]
    sums = sums[sums != 0]
    rng = np.random.default_rng(seed + 1)
    far = 0
    step = max(1, _CELLS // max(len(sums), 1))
    for begin in range(0, resamples, step):
        signs = 2.0 * rng.integers(0, 2, (min(step, resamples - begin), len(sums)), dtype=np.int8) - 1
        far += int((np.abs(signs @ sums) >= abs(sums.sum()) - 1e-9).sum())
    mean = float(difference.mean())
    return Paired(*(round(float(v), 6) for v in (mean, low, high, (1 + far) / (1 + resamples))))
