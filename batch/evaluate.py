"""How good a model is: basket completion on units it has not seen, for the live list, the batch list and popularity."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from batch.lists import Lists
from batch.log import Log
from contracts.events import ACTION_TYPES
from contracts.scoring import action_weights, score_rows
from contracts.snapshot import ModelSettings

__all__ = ["CUT", "Case", "held_out_cases", "list_metrics", "live_lists"]

CUT: Final = 20
_LEAST: Final = 4

Matrix = tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Case:
    """One held-out unit of ``person``: what was seen (oldest first), and the items to be found.

    ``actions`` are places in the log: the person's earlier actions and the given half of the unit, oldest first.
    ``wanted`` holds items unknown to the model as −2, −3, …: they cannot be found, and count.
    """

    person: int
    actions: npt.NDArray[np.int64]
    wanted: npt.NDArray[np.int64]


def held_out_cases(log: Log, first_ms: int, *, seed: int, most: int, history: int) -> list[Case]:
    """Units that began at ``first_ms`` or later with at least four distinct items, half given, seeded.

    ``log.item`` must tell unknown items apart by negative numbers, see :class:`Case`. At most ``most`` cases, drawn
    with ``seed``; which half is given is drawn as well.
    """
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(len(log.subjects)), np.diff(log.offsets))
    order = np.lexsort((np.arange(len(person)), person, log.unit))
    pairs = log.unit[order] * len(log.subjects) + person[order]
    starts = np.flatnonzero(np.diff(pairs, prepend=pairs[:1] - 1))
    groups = [g for g in np.split(order, starts[1:]) if len(g) >= _LEAST and log.ms[g[0]] >= first_ms]
    groups = [g for g in groups if len(np.unique(log.item[g])) >= _LEAST]
    if len(groups) > most:
        groups = [groups[at] for at in np.sort(rng.choice(len(groups), most, replace=False))]
    return [_case(log, int(person[g[0]]), g, rng, history) for g in groups]


def _case(log: Log, person: int, group: Any, rng: np.random.Generator, history: int) -> Case:
    _, firsts = np.unique(log.item[group], return_index=True)
    distinct = group[np.sort(firsts)]
    drawn = rng.permutation(len(distinct))
    given = np.sort(distinct[drawn[: len(distinct) // 2]])
    before = np.arange(log.offsets[person], group[0])[-history:] if history else np.zeros(0, np.int64)
    return Case(person, np.concatenate([before, given])[-history:], log.item[distinct[drawn[len(distinct) // 2 :]]])


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
    found, scores, _, _ = score_rows(matrix, history, listed, model.blend, size)
    return Lists(found, scores)


def list_metrics(row_of: Callable[[int], npt.NDArray[Any]], cases: list[Case]) -> dict[str, float]:
    """HR@20 (at least one hit), Recall@20, MRR@20 (first hit) and NDCG@20, means over the cases.

    ``row_of(c)`` is the ranked list of case c, −1 where it has fewer.

    >>> case = Case(0, np.zeros(0, np.int64), np.array([5, 9]))
    >>> list_metrics(lambda _: np.array([1, 5, -1]), [case])
    {'HR@20': 1.0, 'Recall@20': 0.5, 'MRR@20': 0.5, 'NDCG@20': 0.386853}
    """
    discount = 1 / np.log2(np.arange(2, CUT + 2))
    sums = np.zeros(4)
    for at, case in enumerate(cases):
        hits = np.isin(row_of(at)[:CUT], case.wanted)
        if not hits.any():
            continue
        best = discount[: min(CUT, len(case.wanted))].sum()
        gain = discount[: len(hits)][hits].sum() / best
        sums += (1.0, hits.sum() / len(case.wanted), 1 / (int(np.argmax(hits)) + 1), gain)
    names = (f"HR@{CUT}", f"Recall@{CUT}", f"MRR@{CUT}", f"NDCG@{CUT}")
    return {name: round(float(total), 6) for name, total in zip(names, sums / max(len(cases), 1), strict=True)}
