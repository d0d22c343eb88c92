"""Live lists for many people at once: their recent actions and batch lists against one snapshot."""

import logging
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from contracts.errors import ContractError
from contracts.lists import Action, BasedOn, Reason, RecommendationList
from contracts.ranker import NAMES, POOL, ItemValues, Requests, coefficients_of, compute, rerank
from contracts.scoring import BATCH_REASON, NO_REASON, REASONS, action_weights, explained_rows
from contracts.snapshot import Manifest, ModelSettings, Snapshot
from streaming.columns import SOURCES, TYPE_LETTERS, Histories, Listed, Ranked, histories_of
from streaming.shelf_filling import LIVE, Fallback, filled

__all__ = ["Trends", "live_arrays", "live_features", "live_lists", "warm_up"]

Trends = Callable[[Sequence[str]], npt.NDArray[np.float64]]
"""Item ids, the most important first → ``(n, 2)``: their weighted actions in the last hour and the last day."""

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]

_log = logging.getLogger(__name__)


class Stage(NamedTuple):
    """What orders the lists: as :class:`streaming.columns.Ranked`, in places of the snapshot."""

    items: Ints
    scores: Floats
    reasons: Ints
    shares: Floats


def live_arrays(
    snapshot: Snapshot,
    histories: Histories,
    listed: Listed,
    size: int,
    now_ms: int,
    trends: Trends | None = None,
    fallback: Fallback | None = None,
) -> Ranked:
    """Score every person's candidates, see :mod:`contracts.scoring`, and fill short lists with popular items.

    Where the snapshot's θ is above 0, the best candidates are ordered anew by the ranker (:mod:`contracts.ranker`);
    reasons stay those of stage one.

    Args:
        histories: each person's newest actions; of each the newest L that the snapshot's settings name are used.
        listed: each person's list of the last training, of the same model version.
        size: N, the length of a list.
        now_ms: the instant of the ranker's features.
        trends: asked once, and only where θ is above 0; without it nothing trends.
        fallback: asked once, and only for people with no candidate at all; without it they are shown what is popular.
    """
    model = snapshot.manifest.model
    histories = _newest(histories, model.history)
    rows = snapshot.rows(histories.items) if histories.rows is None else histories.rows
    own = (histories.offsets, rows, _weights(histories, model))
    beta = _ranker(snapshot)
    wide = size if beta is None else max(size, POOL)
    stage = Stage(*explained_rows(snapshot.matrix, own, listed, model.blend, wide))
    if beta is not None:
        times = (histories.offsets, rows, histories.times)
        requests = Requests(np.full(len(stage.items), now_ms, np.int64), stage.items, stage.scores, times, listed)
        order, final = rerank(live_features(snapshot, requests, trends), stage.items >= 0, beta, model.theta)
        stage = _in_order(stage, order[:, :size], final[:, :size])
    sources = np.full(len(stage.items), LIVE, np.uint8)
    ranked = Ranked(snapshot.items, stage.items, stage.scores, sources, stage.reasons, stage.shares)
    return filled(ranked, histories, rows, snapshot, fallback)


def warm_up() -> None:
    """Compile all kernels of a live list (or load them from their cache), so that no visitor waits for them.

    With the very types of a batch: a snapshot's arrays are mapped read-only, which is another type to Numba than plain
    arrays.
    """
    day = datetime(2000, 1, 1, tzinfo=UTC)
    manifest = Manifest(
        shop_id="default",
        version="",
        parent=None,
        trained_at=day,
        window_start=day,
        window_end=day,
        model=ModelSettings(theta=1.0),
        training={},
        feature_names=list(NAMES),
        coefficients=[0.0] * len(NAMES),
        metrics={},
        rows={},
    )
    matrix = (np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    popularity = np.ones(1, np.float32)
    matrix[0].flags.writeable = matrix[1].flags.writeable = matrix[2].flags.writeable = False
    popularity.flags.writeable = False
    snapshot = Snapshot(Path(), manifest, ["A"], matrix, popularity)
    live_lists(snapshot, [[Action(0, "a", "view", "A")]], [None], 1, 0, lambda items: np.zeros((len(items), 2)))


def live_lists(
    snapshot: Snapshot,
    histories: Sequence[Sequence[Action]],
    batch_lists: Sequence[RecommendationList | None],
    size: int,
    now_ms: int,
    trends: Trends | None = None,
    fallback: Fallback | None = None,
) -> list[RecommendationList]:
    """:func:`live_arrays` of and as objects: actions oldest first; each list says its newest action and ``now_ms``."""
    recent = histories_of(histories, snapshot.manifest.model.history)
    listed = [batch or _NO_LIST for batch in batch_lists]
    places = snapshot.rows([item for batch in listed for item in batch.items])
    scores = np.array([score for batch in listed for score in batch.scores], np.float32)
    ends = np.cumsum([0, *(len(batch.items) for batch in listed)])
    ranked = live_arrays(snapshot, recent, Listed(ends, places, scores), size, now_ms, trends, fallback)
    return [_list(snapshot, recent, ranked, row, actions, now_ms) for row, actions in enumerate(histories)]


_NO_LIST: Final = RecommendationList(source="batch", model_version="", based_on=None, written_at=0, items=[], scores=[])


def _list(
    snapshot: Snapshot, recent: Histories, ranked: Ranked, row: int, actions: Sequence[Action], now_ms: int
) -> RecommendationList:
    kept = int((ranked.items[row] >= 0).sum())
    begin, newest = recent.offsets[row], actions[-1] if actions else None
    terms = zip(ranked.reasons[row, :kept].tolist(), ranked.shares[row, :kept].tolist(), strict=True)
    return RecommendationList(
        source=SOURCES[ranked.sources[row]],
        model_version=snapshot.version,
        based_on=BasedOn(newest.occurred_ms, newest.event_id) if newest else None,
        written_at=now_ms,
        items=[ranked.names[place] for place in ranked.items[row, :kept]],
        scores=ranked.scores[row, :kept].astype(np.float64).round(5).tolist(),
        reasons=[
            [
                Reason("*" if place == BATCH_REASON else recent.items[begin + place], round(share, 3))
                for place, share in zip(places, shares, strict=True)
                if place != NO_REASON
            ]
            for places, shares in terms
        ],
    )


def _newest(histories: Histories, length: int) -> Histories:
    """The newest ``length`` actions of each person."""
    offsets, items, letters, times, rows = histories
    counts = np.diff(offsets)
    if counts.max(initial=0) <= length:
        return histories
    age = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
    kept = np.flatnonzero(age < length)
    ends = np.concatenate(([0], np.cumsum(np.minimum(counts, length))))
    places = None if rows is None else rows[kept]
    return Histories(ends, [items[at] for at in kept.tolist()], letters[kept], times[kept], places)


def _weights(histories: Histories, model: ModelSettings) -> Floats:
    """Weights of all actions, see :func:`contracts.scoring.action_weights`."""
    by_letter, by_age = _weight_tables(tuple(sorted(model.event_weights.items())), model.history, model.decay)
    offsets = histories.offsets
    age = np.arange(offsets[-1]) - np.repeat(offsets[:-1], np.diff(offsets))
    weights: Floats = (by_age[age] * by_letter[histories.letters]).astype(np.float32)
    return weights


@lru_cache(maxsize=8)
def _weight_tables(
    event_weights: tuple[tuple[str, float], ...], length: int, decay: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """By the letter of an event type, and by how many newer actions there are."""
    by_letter = np.zeros(256)
    for event_type, weight in event_weights:
        if event_type in TYPE_LETTERS:
            by_letter[ord(TYPE_LETTERS[event_type])] = weight
    return by_letter, np.array(action_weights(["view"] * length, {"view": 1.0}, decay))


def _in_order(stage: Stage, order: npt.NDArray[np.int64], final: npt.NDArray[np.float64]) -> Stage:
    """The candidates of stage one as the ranker orders them; reasons go with their item."""
    flat = order + np.arange(len(order))[:, None] * stage.items.shape[1]
    items = stage.items.ravel()[flat]
    reasons = stage.reasons.reshape(-1, REASONS)[flat]
    shares = stage.shares.reshape(-1, REASONS)[flat]
    return Stage(items, np.where(items >= 0, final, 0.0).astype(np.float32), reasons, shares)


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
        which = np.empty(found.shape, np.int32)
        places = _by_rank(found, _seen_of(len(snapshot.items)), which)
        known = np.zeros((len(places) + 1, 2))  # the last row is that of −1, of no candidate
        if len(places):
            known[:-1] = trends([snapshot.items[at] for at in places.tolist()])
        sums = known[which]
    values = ItemValues(snapshot.popularity, snapshot.extras.get("daily"), snapshot.extras.get("price"))
    return compute(requests, values, sums)


class _Kept(threading.local):
    """A thread's working array, −1 everywhere between calls."""

    seen = np.zeros(0, np.int32)


_kept = _Kept()


def _seen_of(items: int) -> Ints:
    if len(_kept.seen) < items:
        _kept.seen = np.full(items, -1, np.int32)
    return _kept.seen


@numba.njit(cache=True, nogil=True)
def _by_rank(candidates: Any, seen: Any, which: Any) -> Any:
    """The distinct items among the candidates, everybody's best before anybody's second.

    ``which`` tells the place of each among them, −1 where there is no candidate.
    """
    found = np.empty(min(candidates.size, len(seen)), np.int32)
    count = 0
    for n in range(candidates.shape[1]):
        for r in range(candidates.shape[0]):
            item = candidates[r, n]
            if item >= 0 and seen[item] < 0:
                seen[item] = count
                found[count] = item
                count += 1
            which[r, n] = seen[item] if item >= 0 else -1
    for place in range(count):
        seen[found[place]] = -1
    return found[:count]
