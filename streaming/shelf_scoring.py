"""Live lists for many people at once: their recent actions and batch lists against one snapshot."""

import logging
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from contracts.errors import ContractError
from contracts.lists import Action, BasedOn, Reason, RecommendationList
from contracts.ranker import POOL, ItemValues, Requests, coefficients_of, compute, rerank
from contracts.scoring import BATCH_REASON, action_weights, score_rows
from contracts.snapshot import Snapshot

__all__ = ["Trends", "live_features", "live_lists"]

Trends = Callable[[Sequence[str]], npt.NDArray[np.float64]]
"""Item ids, the most important first → ``(n, 2)``: their weighted actions in the last hour and the last day."""

_log = logging.getLogger(__name__)


def live_lists(
    snapshot: Snapshot,
    histories: Sequence[Sequence[Action]],
    batch_lists: Sequence[RecommendationList | None],
    size: int,
    now_ms: int,
    trends: Trends | None = None,
) -> list[RecommendationList]:
    """Score every person's candidates, see :mod:`contracts.scoring`, and fill short lists with popular items.

    Where the snapshot's θ is above 0, the best candidates are ordered anew by the ranker (:mod:`contracts.ranker`);
    reasons stay those of stage one.

    Args:
        histories: each person's recent actions, oldest first; the newest L that the snapshot's settings name are used.
        batch_lists: each person's list of the last training, of the same model version, or ``None``.
        size: N, the length of a list.
        now_ms: written into the lists; the instant of the ranker's features.
        trends: asked once, and only where θ is above 0; without it nothing trends.
    """
    model = snapshot.manifest.model
    recent = [list(reversed(history[-model.history :])) for history in histories]
    items = [[snapshot.row(action.item_id) for action in actions] for actions in recent]
    weights = [action_weights([a.event_type for a in actions], model.event_weights, model.decay) for actions in recent]
    batch_items = [[snapshot.row(item) for item in batch.items] if batch else [] for batch in batch_lists]
    batch_scores = [batch.scores if batch else [] for batch in batch_lists]
    history, listed = _flat(items, weights), _flat(batch_items, batch_scores)
    ranker = _ranker(snapshot)
    if ranker is None:
        stage = score_rows(snapshot.matrix, history, listed, model.blend, size)
        return [_list(snapshot, row, actions, stage, stage[1], size, now_ms) for row, actions in enumerate(recent)]
    stage = score_rows(snapshot.matrix, history, listed, model.blend, max(size, POOL))
    times = np.array([action.occurred_ms for actions in recent for action in actions], np.int64)
    own = (history[0], history[1], times)
    requests = Requests(np.full(len(recent), now_ms, np.int64), stage[0], stage[1], own, listed)
    order, final = rerank(live_features(snapshot, requests, trends), stage[0] >= 0, ranker, model.theta)
    order = order[:, :size]
    ranked = tuple(np.take_along_axis(part, order, 1) for part in stage)
    return [_list(snapshot, row, actions, ranked, final, size, now_ms) for row, actions in enumerate(recent)]


def _list(
    snapshot: Snapshot,
    row: int,
    actions: Sequence[Action],
    stage: tuple[npt.NDArray[Any], ...],
    values: npt.NDArray[Any],
    size: int,
    now_ms: int,
) -> RecommendationList:
    """One person's list from row ``row`` of stage one (items, scores, reasons, terms) and of the values that rank it.

    A reason's weight is its share of the stage-one score.
    """
    found, scores, why, terms = (part[row] for part in stage)
    kept = int((found >= 0).sum())
    sources = [_source(actions, int(w)) for w in why[:kept]]
    shares = (terms[:kept] / scores[:kept]).tolist()
    ids = [snapshot.items[i] for i in found[:kept]]
    reasons = [[Reason(item, round(share, 3))] for item, share in zip(sources, shares, strict=True)]
    fill = _fill(snapshot, ids, size)
    newest = actions[0] if actions else None
    return RecommendationList(
        source="live" if ids else "popular",
        model_version=snapshot.version,
        based_on=BasedOn(newest.occurred_ms, newest.event_id) if newest else None,
        written_at=now_ms,
        items=ids + fill,
        scores=[round(float(value), 5) for value in values[row, :kept]] + [0.0] * len(fill),
        reasons=reasons + [[] for _ in fill],
    )


Flat = tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float32]]


def _ranker(snapshot: Snapshot) -> npt.NDArray[np.float64] | None:
    """β where the snapshot has a ranker that is in use."""
    manifest = snapshot.manifest
    if manifest.model.theta <= 0 or not manifest.coefficients:
        return None
    return _coefficients(snapshot.version, tuple(manifest.feature_names), tuple(manifest.coefficients))


@lru_cache(maxsize=8)
def _coefficients(version: str, names: tuple[str, ...], values: tuple[float, ...]) -> npt.NDArray[np.float64] | None:
    """β, read once a model; ``None``, said once, where this code does not know its features: stage one still serves."""
    try:
        return coefficients_of(names, values)
    except ContractError as exc:
        _log.warning("model %s is used without its ranker: %s", version, exc)
        return None


def live_features(snapshot: Snapshot, requests: Requests, trends: Trends | None) -> npt.NDArray[np.float64]:
    """The ranker's features ``(R, N, F)`` of requests over the snapshot's items; trends are asked for once a batch."""
    found = requests.candidates
    sums = np.zeros((*found.shape, 2))
    if trends is not None:
        by_rank = found.T.ravel()
        places, first, which = np.unique(by_rank, return_index=True, return_inverse=True)
        order = np.argsort(first, kind="stable")  # everybody's best candidates come before anybody's last
        order = order[places[order] >= 0]
        known = np.zeros((len(places), 2))
        if len(order):
            known[order] = trends([snapshot.items[at] for at in places[order]])
        sums = known[which].reshape(*found.T.shape, 2).transpose(1, 0, 2)
    values = ItemValues(snapshot.popularity, snapshot.extras.get("daily"), snapshot.extras.get("price"))
    return compute(requests, values, sums)


def _flat(rows: Sequence[Sequence[int]], values: Sequence[Sequence[float]]) -> Flat:
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    flat_rows = np.fromiter(chain.from_iterable(rows), np.int32, count=offsets[-1])
    return offsets, flat_rows, np.fromiter(chain.from_iterable(values), np.float32, count=offsets[-1])


def _source(actions: Sequence[Action], why: int) -> str:
    return "*" if why == BATCH_REASON else actions[why].item_id


def _fill(snapshot: Snapshot, ids: Sequence[str], size: int) -> list[str]:
    if len(ids) >= size:
        return []
    known = set(ids)
    return [item for item in snapshot.popular if item not in known][: size - len(ids)]
