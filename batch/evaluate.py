"""How good models are on units of behaviour that they have not seen: cases, lists, and what the lists are worth."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from batch.compare import LEVEL, RESAMPLES, Paired, bootstrap, intervals, paired
from batch.days import day_of
from batch.lists import Lists
from batch.log import Log
from batch.metrics import CUT, METRICS, case_metrics, top_rows
from batch.units import DAY_MS, REACH_DAYS
from contracts.events import ACTION_TYPES
from contracts.scoring import action_weights, score_rows
from contracts.snapshot import ModelSettings

__all__ = [
    "CUT",
    "Case",
    "Judged",
    "Task",
    "evaluation",
    "held_out_cases",
    "judge",
    "list_metrics",
    "live_lists",
    "task_of",
    "translate",
]

_LEAST: Final = 4
_WIDE_ENOUGH: Final = 0.5

Matrix = tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float32]]
Longs = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]

Task = Literal["completion", "next"]
"""What is asked of a model: the other half of a unit, or, where units are short, the item that ends it."""


@dataclass(frozen=True, slots=True)
class Case:
    """One held-out unit of ``person``: what was seen (oldest first), and the items to be found.

    ``actions`` are places in the log: the person's earlier actions and the given part of the unit, oldest first.
    ``wanted`` holds items unknown to the model as −2, −3, …: they cannot be found, and count. ``began_ms`` is when the
    unit began.
    """

    person: int
    actions: npt.NDArray[np.int64]
    wanted: npt.NDArray[np.int64]
    began_ms: int = 0


@dataclass(frozen=True, slots=True)
class _Recent:
    """Rows of the log in units: unit u is ``rows[offsets[u]:offsets[u + 1]]``, oldest first."""

    rows: Longs
    offsets: Longs
    distinct: Longs
    """How many different items each unit has."""

    def of(self, unit: int) -> Longs:
        return self.rows[self.offsets[unit] : self.offsets[unit + 1]]


def task_of(log: Log, first_ms: int) -> Task:
    """The question that fits the units that began at ``first_ms`` or later, of those with at least two distinct items.

    Where at least half of them have four distinct items, a half is worth giving: ``"completion"``. Where most are
    shorter, as in a shop that people click through, ``"next"``. The shop's own data decide, without a setting.
    """
    distinct = _recent_units(log, first_ms).distinct
    distinct = distinct[distinct >= 2]
    return "completion" if not len(distinct) or (distinct >= _LEAST).mean() >= _WIDE_ENOUGH else "next"


def _recent_units(log: Log, first_ms: int) -> _Recent:
    """A unit is what one person did in it: a session shared by two people is two units here."""
    person = np.repeat(np.arange(len(log.subjects)), np.diff(log.offsets))
    near = np.flatnonzero(log.ms >= first_ms - (REACH_DAYS + 1) * DAY_MS)  # a unit that began before is seen beginning
    rows = near[np.lexsort((near, person[near], log.unit[near]))]
    pairs = log.unit[rows].astype(np.int64) * len(log.subjects) + person[rows]
    new = np.diff(pairs, prepend=pairs[:1] - 1) != 0
    begun = np.repeat(log.ms[rows[new]] >= first_ms, np.diff(np.flatnonzero(np.append(new, True))))
    rows, new = rows[begun], new[begun]
    unit = np.cumsum(new) - 1
    order = np.lexsort((log.item[rows], unit))
    unit, item = unit[order], log.item[rows][order]
    other = new | (np.diff(item, prepend=item[:1]) != 0)  # a unit's first row stays its first in either order
    count = int(new.sum())
    return _Recent(rows, np.flatnonzero(np.append(new, True)), np.bincount(unit[other], minlength=count))


def held_out_cases(
    log: Log, first_ms: int, *, seed: int, most: int, history: int, task: Task | None = None
) -> list[Case]:
    """Cases from the units that began at ``first_ms`` or later; which question they ask, :func:`task_of` decides.

    * ``"completion"``: units with at least four distinct items; a half, drawn at random, is given, the rest is wanted.
    * ``"next"``: units with at least two distinct items; wanted is the item of the last action, given is all before it
      but for the actions on that item which led up to it (a view, then the same item into the cart, would give itself
      away).

    ``log.item`` must tell unknown items apart by negative numbers, see :class:`Case`. At most ``most`` cases, drawn
    with ``seed``, each with the newest ``history`` actions.
    """
    task = task or task_of(log, first_ms)
    rng = np.random.default_rng(seed)
    recent = _recent_units(log, first_ms)
    units = np.flatnonzero(recent.distinct >= (_LEAST if task == "completion" else 2))
    if len(units) > most:
        units = units[np.sort(rng.choice(len(units), most, replace=False))]
    person = np.searchsorted(log.offsets, recent.rows[recent.offsets[units]], side="right") - 1
    cases = []
    for unit, who in zip(units, person, strict=True):
        group = recent.of(unit)
        given, wanted = _halves(log, group, rng) if task == "completion" else _ending(log, group)
        before = np.arange(log.offsets[who], group[0])[-history:] if history else np.zeros(0, np.int64)
        cases.append(Case(int(who), np.concatenate([before, given])[-history:], wanted, int(log.ms[group[0]])))
    return cases


def _halves(log: Log, group: Longs, rng: np.random.Generator) -> tuple[Longs, Any]:
    _, firsts = np.unique(log.item[group], return_index=True)
    distinct = group[np.sort(firsts)]
    drawn = rng.permutation(len(distinct))
    given = np.sort(distinct[drawn[: len(distinct) // 2]])
    return given, log.item[distinct[drawn[len(distinct) // 2 :]]]


def _ending(log: Log, group: Longs) -> tuple[Longs, Any]:
    item = log.item[group]
    other = int(np.flatnonzero(item != item[-1])[-1])
    return group[: other + 1], item[-1:]


def live_lists(matrix: Matrix, log: Log, cases: list[Case], batch: Lists, model: ModelSettings, size: int) -> Lists:
    """What the stream would have shown: the last L actions through B, and the person's batch list (one row a case)."""
    offsets, items, weights = [0], [], []
    for case in cases:
        newest = case.actions[::-1][: model.history]
        items.append(np.maximum(log.item[newest], -1).astype(np.int32))
        types = [ACTION_TYPES[kind] for kind in log.type[newest]]
        weights.append(np.array(action_weights(types, model.event_weights, model.decay), np.float32))
        offsets.append(offsets[-1] + len(newest))
    history = (np.array(offsets), np.concatenate(items), np.concatenate(weights))
    rows, wide = batch.items.shape
    listed = (np.arange(rows + 1) * wide, batch.items.ravel(), batch.scores.ravel())
    found, scores = score_rows(matrix, history, listed, model.blend, size)
    return Lists(found, scores)


@dataclass(frozen=True, slots=True)
class Judged:
    """Some models on the same cases: ``values (M, C, 4)`` with :data:`batch.metrics.METRICS` as columns.

    ``person (C,)`` and ``began_ms (C,)`` are those of the cases.
    """

    models: tuple[str, ...]
    values: Doubles
    person: Longs
    began_ms: Longs

    def __len__(self) -> int:
        return len(self.person)

    @property
    def day(self) -> Longs:
        """``(C,)`` the UTC day of each case, days since the epoch."""
        return self.began_ms // DAY_MS

    def of(self, model: str, metric: str) -> Doubles:
        """``(C,)`` what each case gave one model."""
        found: Doubles = self.values[self.models.index(model), :, METRICS.index(metric)]
        return found

    def only(self, chosen: npt.NDArray[np.bool_]) -> "Judged":
        """The chosen cases."""
        return Judged(self.models, self.values[:, chosen], self.person[chosen], self.began_ms[chosen])

    def without(self, model: str) -> "Judged":
        """The same cases without one model, which need not be there."""
        kept = [at for at, name in enumerate(self.models) if name != model]
        return Judged(tuple(self.models[at] for at in kept), self.values[kept], self.person, self.began_ms)

    def means(self) -> dict[str, dict[str, float]]:
        """The manifest's ``metrics``: ``{model: {metric: mean over the cases}}``; 0 without cases."""
        totals = self.values.sum(1) / max(len(self), 1)
        return {
            model: {metric: round(float(value), 6) for metric, value in zip(METRICS, row, strict=True)}
            for model, row in zip(self.models, totals, strict=True)
        }

    def compare(self, first: str, second: str, metric: str, seed: int) -> Paired:
        """:func:`batch.compare.paired` of two of the models."""
        return paired(self.of(first, metric), self.of(second, metric), self.person, seed)


def translate(rows: npt.NDArray[Any], items: Sequence[str], place: Mapping[str, int]) -> npt.NDArray[np.int32]:
    """Ranked lists in the places of another index, so that models with different items can be judged together.

    An item that the other index lacks becomes −1, which is never a hit, and keeps its rank.

    >>> translate(np.array([[1, 0, -1]]), ["tea", "milk"], {"milk": 7}).tolist()
    [[7, -1, -1]]
    """
    to = np.fromiter((place.get(item, -1) for item in items), np.int32, len(items))
    found: npt.NDArray[np.int32] = np.append(to, np.int32(-1))[rows]
    return found


def judge(lists: Mapping[str, npt.NDArray[Any]], cases: Sequence[Case]) -> Judged:
    """The values of each model's ranked lists: ``(C, N)``, or ``(N,)`` where everybody gets the same.

    >>> case = Case(0, np.zeros(0, np.int64), np.array([5]))
    >>> judge({"live": np.array([[1, 5]]), "popularity": np.array([7])}, [case]).means()["live"]["MRR@20"]
    0.5
    """
    wanted = [case.wanted for case in cases]
    values = np.zeros((len(lists), len(cases), len(METRICS)))
    for at, rows in enumerate(lists.values() if cases else ()):
        values[at] = case_metrics(np.broadcast_to(rows, (len(cases), rows.shape[-1])), wanted)
    person = np.array([case.person for case in cases], np.int64)
    return Judged(tuple(lists), values, person, np.array([case.began_ms for case in cases], np.int64))


def list_metrics(row_of: Callable[[int], npt.NDArray[Any]], cases: list[Case]) -> dict[str, float]:
    """HR@20 (at least one hit), Recall@20, MRR@20 (first hit) and NDCG@20, means over the cases.

    ``row_of(c)`` is the ranked list of case c, −1 where it has fewer. For many models, :func:`judge` is shorter.

    >>> case = Case(0, np.zeros(0, np.int64), np.array([5, 9]))
    >>> list_metrics(lambda _: np.array([1, 5, -1]), [case])
    {'HR@20': 1.0, 'Recall@20': 0.5, 'MRR@20': 0.5, 'NDCG@20': 0.386853}
    """
    rows = [top_rows(np.asarray(row_of(at))[None, :])[0] for at in range(len(cases))]
    return judge({"it": np.stack(rows) if rows else np.zeros((0, CUT), np.int32)}, cases).means()["it"]


def evaluation(
    judged: Judged,
    exposure: Mapping[str, Mapping[str, float]],
    *,
    task: Task,
    seed: int,
    first: str = "live",
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """The manifest's ``evaluation``: every figure with its interval, ``first`` against each other model, and by day.

    Args:
        exposure: by model, :func:`batch.metrics.exposure_metrics`; models without it are fine.

    Returns, in plain values::

        {"task", "cases", "people", "seed", "resamples", "level", "first_day", "last_day",
         "intervals": {model: {metric: [low, high]}},
         "paired": [{"model", "against", "metric", "difference", "low", "high", "p"}, …],
         "beyond": {model: {"coverage@20": value, …}},
         "per_day": {"2026-01-31": {"cases": n, model: {metric: mean}}, …}}

    Without cases the last six are not there.
    """
    head: dict[str, Any] = {"task": task, "cases": len(judged), "people": len(np.unique(judged.person)), "seed": seed}
    head |= {"resamples": resamples, "level": LEVEL}
    if not len(judged):
        return head
    flat = judged.values.transpose(1, 0, 2).reshape(len(judged), -1)
    bounds = intervals(bootstrap(flat, judged.person, seed, resamples)).T.reshape(len(judged.models), -1, 2)
    others = [model for model in judged.models if model != first] if first in judged.models else []
    days = _by_day(judged)
    return head | {
        "first_day": min(days),
        "last_day": max(days),
        "intervals": {
            model: {metric: ends.round(6).tolist() for metric, ends in zip(METRICS, part, strict=True)}
            for model, part in zip(judged.models, bounds, strict=True)
        },
        "paired": [
            {"model": first, "against": other, "metric": metric} | _plain(judged.compare(first, other, metric, seed))
            for other in others
            for metric in METRICS
        ],
        "beyond": {model: dict(values) for model, values in exposure.items()},
        "per_day": days,
    }


def _plain(test: Paired) -> dict[str, float]:
    return {"difference": test.difference, "low": test.low, "high": test.high, "p": test.p}


def _by_day(judged: Judged) -> dict[str, dict[str, Any]]:
    days: dict[str, dict[str, Any]] = {}
    for day in np.unique(judged.day):
        here = judged.only(judged.day == day)
        days[day_of(day).isoformat()] = {"cases": len(here), **here.means()}
    return days
