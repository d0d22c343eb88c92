"""The search on a shop's own log: cases cut out of its newest days, trials as Spark tasks, the batch list last."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from batch.evaluate import Case, held_out_cases, live_lists, task_of
from batch.lists import Lists, person_lists
from batch.log import Log
from batch.metrics import METRICS, case_metrics
from batch.recipe import Recipe
from batch.search import Choice, Step, search, with_values
from batch.trial import METRIC, Problem, Trials
from batch.units import DAY_MS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["HISTORY", "SEARCH_BASE", "Sample", "choose_blend", "choose_recipe", "sample_of", "units_of"]

SEARCH_BASE: Final = {"solve.candidates": 64}
"""Trials solve smaller systems than the model does: the order of settings is the same, at a tenth of the cost."""

_SEED: Final = 5
HISTORY: Final = 20
"""The longest history that a search may choose for a shop: the stream scores so many actions at every event, and keeps
twice as many with each person. Longer ones are a little better and dearer: ``--set model.history=50``."""
_NOISE: Final = 0.14
"""Over √cases: a paired difference of so small a share of the metric is chance (0.1 % on 20,000 cases)."""
_LISTED: Final = 100
_BLENDS: Final = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 4.0)


def units_of(log: Log, rows: Any, place: Any, longest: int) -> tuple[Any, Any, Any]:
    """The units of some rows of a log over an item index: offsets, items, and when each began (epoch ms).

    Args:
        rows: places in the log.
        place: ``(items of the log,)`` where each item is in the wanted index, −1 where it is not.
        longest: of a unit only the newest so many actions stay.

    The units come in the order of their beginning.
    """
    rows = rows[place[log.item[rows]] >= 0]
    rows = rows[np.lexsort((rows, log.unit[rows]))]
    unit = log.unit[rows]
    starts = np.flatnonzero(np.diff(unit, prepend=unit[:1] - 1))
    lengths = np.diff(np.append(starts, len(rows)))
    left = np.repeat(starts + lengths, lengths) - np.arange(len(rows))
    began = log.ms[rows[starts]]
    order = np.argsort(began, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    kept = left <= longest
    rows, number = rows[kept], np.repeat(rank, lengths)[kept]
    rows = rows[np.argsort(number, kind="stable")]
    offsets = np.concatenate(([0], np.cumsum(np.minimum(lengths, longest)[order])))
    return offsets.astype(np.int64), place[log.item[rows]].astype(np.int32), began[order]


@dataclass(frozen=True, slots=True)
class Sample:
    """A search's cut of a shop's log: the problem, and what the batch lists of its people need.

    ``log`` holds what happened before the window's end, over the problem's items (others −2, −3, …); ``cases`` are
    places in it. Learning stops at ``first_ms``.
    """

    problem: Problem
    log: Log
    cases: list[Case]
    first_ms: int
    place: npt.NDArray[np.int64]

    def places(self) -> npt.NDArray[np.int64]:
        """The problem's items as places in the log they were cut from."""
        return np.flatnonzero(self.place >= 0)


def sample_of(
    log: Log, first_ms: int, cut_ms: int, recipe: Recipe, repeatable: npt.NDArray[np.bool_], *, most: int = 4000
) -> Sample | None:
    """What a search works on: the log before ``first_ms`` to learn from, cases from there to ``cut_ms``.

    The question is the one that evaluation asks (:func:`batch.evaluate.held_out_cases`). None where there are no cases,
    or nothing to learn from.

    Args:
        repeatable: ``(items of the log,)``.
    """
    rows = np.flatnonzero(log.ms < first_ms)
    count = len(repeatable)
    in_unit = np.unique(log.unit[rows] * np.int64(max(count, 1)) + log.item[rows]) % max(count, 1)
    known = np.bincount(in_unit, minlength=count) >= recipe.solve.min_units
    place = np.where(known, np.cumsum(known) - 1, -2 - np.arange(count))
    before = log.until(cut_ms)
    before = replace(before, item=place[before.item].astype(np.int32))
    task = task_of(before, first_ms)
    cases = held_out_cases(before, first_ms, seed=_SEED, most=most, history=HISTORY, task=task)
    if not cases or known.sum() < 2:
        return None
    offsets, items, began = units_of(log, rows, place, recipe.moments.longest)
    repeats = _repeats(before, cases, first_ms, repeatable[known], recipe)
    seen = np.concatenate([case.actions for case in cases])
    problem = Problem(
        int(known.sum()),
        offsets,
        items,
        (first_ms - began) / DAY_MS,
        np.concatenate(([0], np.cumsum([len(case.actions) for case in cases]))),
        np.maximum(before.item[seen], -1),
        before.type[seen],
        np.concatenate(([0], np.cumsum([len(case.wanted) for case in cases]))),
        np.concatenate([case.wanted for case in cases]).astype(np.int64),
        repeats.items,
        repeats.scores,
    )
    return Sample(problem, before, cases, first_ms, place)


def _repeats(
    log: Log, cases: Sequence[Case], first_ms: int, repeatable: npt.NDArray[np.bool_], recipe: Recipe
) -> Lists:
    """Each case's batch list without what a model adds: what its person buys again. No column where nobody does."""
    people, person = np.unique([case.person for case in cases], return_inverse=True)
    nothing = (np.zeros(len(repeatable) + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    known, span = log.until(first_ms).only(people), (0, len(people))
    lists = person_lists(nothing, known, span, first_ms, repeatable, {}, recipe.lists, _LISTED).take(person)
    wide = int((lists.items >= 0).any(axis=0).sum())
    return Lists(lists.items[:, :wide], lists.scores[:, :wide])


def choose_recipe(
    spark: "SparkSession",
    problem: Problem,
    start: Recipe,
    scratch: Path,
    say: Callable[[Step], None],
    limit: Mapping[str, float] | None = None,
) -> Choice:
    """Search from ``start`` with one Spark task a trial; ``limit`` as in :func:`batch.search.search`."""
    from batch.job import try_recipes

    problem.save(scratch)

    def score(recipes: Sequence[Recipe], sampled: bool) -> list[float]:
        return try_recipes(spark, scratch, recipes, sampled)

    skip = ["event weights"] if len(np.unique(problem.seen_type)) < 2 else []
    skip += ["half-life"] if np.ptp(problem.age_d) < 14 else []
    skip += [] if problem.listed.shape[1] else ["blend"]
    return search(start, score, base=SEARCH_BASE, skip=skip, limit=limit, gain=_NOISE / problem.cases**0.5, say=say)


def choose_blend(trials: Trials, recipe: Recipe, sample: Sample, repeatable: npt.NDArray[np.bool_]) -> Choice:
    """The weight of a person's batch list in the live score, on the same cases: the last coordinate.

    Args:
        repeatable: ``(items,)`` over the problem's items.
    """
    matrix, weights = trials.model(recipe), recipe.model.event_weights
    people, person = np.unique([case.person for case in sample.cases], return_inverse=True)
    known = sample.log.until(sample.first_ms).only(people)
    span = (0, len(people))
    listed = person_lists(matrix, known, span, sample.first_ms, repeatable, weights, recipe.lists, _LISTED)
    batch, wanted = listed.take(person), [case.wanted for case in sample.cases]
    steps = []
    for blend in _BLENDS:
        model = msgspec.structs.replace(recipe.model, blend=blend)
        rows = live_lists(matrix, sample.log, sample.cases, batch, model, 20).items
        value = float(case_metrics(rows, wanted)[:, METRICS.index(METRIC)].mean())
        steps.append(Step(coordinate="blend", settings={"model.blend": blend}, value=round(value, 6), sampled=False))
    best = max(steps, key=lambda step: step.value)
    return Choice(with_values(recipe, best.settings), best.value, steps)
