"""The package ``implicit``: ALS, BM25 and cosine item-item models, tuned on the validation part for equal seconds."""

import itertools
import multiprocessing
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import sparse
from threadpoolctl import threadpool_limits

from batch.metrics import METRICS, case_metrics
from batch.trial import METRIC, Problem
from benchmarks.memory import PeakMemory

__all__ = ["NAMES", "Tuned", "popularity_rows", "tuned"]

_SEED: Final = 17
_BATCH: Final = 2048

_DECAYS: Final = (0.0, 1.0, 2.0, 4.0)
"""The history of a case is weighted by exp(−d/p) for them as for us; 0 for no decay."""

_GRIDS: Final[dict[str, dict[str, tuple[Any, ...]]]] = {
    "als": {
        "factors": (64, 128, 256),
        "regularization": (0.01, 0.1, 1.0, 10.0),
        "alpha": (1.0, 5.0, 20.0, 60.0),
        "iterations": (10, 20),
        "decay": _DECAYS,
    },
    "bm25": {
        "K": (20, 50, 100, 200, 400),
        "K1": (0.2, 0.5, 1.2, 3.0, 10.0),
        "B": (0.1, 0.3, 0.6, 0.9),
        "decay": _DECAYS,
    },
    "cosine": {"K": (20, 50, 100, 200, 400), "decay": _DECAYS},
}
NAMES: Final = tuple(_GRIDS)


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a model reached on the test cases with the settings that were best on the validation cases."""

    values: npt.NDArray[np.float64]
    settings: dict[str, Any]
    trials: int
    train_seconds: float
    search_seconds: float
    peak_mib: int


def tuned(name: str, folder: Path, seconds: float) -> Tuned:
    """Tune one model for ``seconds`` and test it, in a process of its own, so that its memory is its own.

    Args:
        folder: holds the problems ``validation`` and ``test``, see :meth:`batch.trial.Problem.save`.
    """
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        found: Tuned = pool.apply(_tuned, (name, str(folder), seconds))
    return found


def _tuned(name: str, folder: str, seconds: float) -> Tuned:
    warnings.filterwarnings("ignore", message="Method expects CSR input")  # the package says so of its own matrices
    with threadpool_limits(1, "blas"), PeakMemory() as memory:  # as the package asks for: it has its own threads
        began = time.monotonic()
        problem = Problem.open(Path(folder) / "validation")
        best, best_value, trials = dict[str, Any](), -1.0, 0
        for settings in _tries(name):
            if trials and time.monotonic() - began > seconds:
                break
            model = _fit(name, problem, settings)
            value = float(_values(model, problem, settings)[:, METRICS.index(METRIC)].mean())
            trials += 1
            if value > best_value:
                best, best_value = settings, value
        spent = time.monotonic() - began
        test = Problem.open(Path(folder) / "test")
        began = time.monotonic()
        model = _fit(name, test, best)
        trained = time.monotonic() - began
        values = _values(model, test, best)
    return Tuned(values, best, trials, round(trained, 2), round(spent, 1), memory.mib)


def _tries(name: str) -> Iterator[dict[str, Any]]:
    """The grid in a random order, the same each time."""
    grid = _GRIDS[name]
    every = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    yield from (every[at] for at in np.random.default_rng(_SEED).permutation(len(every)))


def _fit(name: str, problem: Problem, settings: dict[str, Any]) -> Any:
    from implicit.als import AlternatingLeastSquares
    from implicit.nearest_neighbours import BM25Recommender, CosineRecommender

    makers: dict[str, Callable[..., Any]] = {
        "als": lambda **s: AlternatingLeastSquares(random_state=1, **s),
        "bm25": BM25Recommender,
        "cosine": CosineRecommender,
    }
    model = makers[name](**{key: value for key, value in settings.items() if key != "decay"})
    rows = np.repeat(np.arange(len(problem.offsets) - 1), np.diff(problem.offsets))
    ones = np.ones(len(problem.items), np.float32)
    shape = (len(problem.offsets) - 1, problem.count)
    units = sparse.coo_matrix((ones, (rows, problem.items)), shape=shape).tocsr()
    model.fit(units, show_progress=False)
    return model


def _values(model: Any, problem: Problem, settings: dict[str, Any]) -> npt.NDArray[np.float64]:
    """:data:`batch.metrics.METRICS` by case."""
    lengths = np.diff(problem.seen_offsets)
    age = np.repeat(problem.seen_offsets[1:], lengths) - 1 - np.arange(problem.seen_offsets[-1])
    weight = np.exp(-age / settings["decay"]) if settings["decay"] else np.ones(len(age))
    known = problem.seen >= 0
    case = np.repeat(np.arange(problem.cases), lengths)
    place = (case[known], problem.seen[known])
    histories = sparse.coo_matrix(
        (weight[known].astype(np.float32), place), shape=(problem.cases, problem.count)
    ).tocsr()
    rows = np.full((problem.cases, 20), -1, np.int32)
    more = {"recalculate_user": True} if hasattr(model, "factors") else {}
    for first in range(0, problem.cases, _BATCH):
        part = histories[first : first + _BATCH]
        ids = np.arange(part.shape[0])
        found, _ = model.recommend(ids, part, N=20, filter_already_liked_items=problem.new_only, **more)
        rows[first : first + len(found), : found.shape[1]] = found
    return case_metrics(rows, [problem.wanted_of(at) for at in range(problem.cases)])


def popularity_rows(problem: Problem) -> npt.NDArray[np.int32]:
    """The best sellers, for each case those it has not seen where only new items are asked for."""
    order = np.argsort(-np.bincount(problem.items, minlength=problem.count), kind="stable").astype(np.int32)
    if not problem.new_only:
        return np.broadcast_to(order[:20], (problem.cases, 20))
    rows = np.full((problem.cases, 20), -1, np.int32)
    for case in range(problem.cases):
        seen = problem.seen[problem.seen_offsets[case] : problem.seen_offsets[case + 1]]
        top = order[: 20 + len(seen)]
        rows[case] = top[~np.isin(top, seen)][:20]
    return rows
