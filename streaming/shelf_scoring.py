"""Live lists for many people at once: their recent actions and batch lists against one snapshot."""

from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from contracts.lists import Action, BasedOn, Reason, RecommendationList
from contracts.scoring import BATCH_REASON, action_weights, score_rows
from contracts.snapshot import Snapshot

__all__ = ["live_lists"]


def live_lists(
    snapshot: Snapshot,
    histories: Sequence[Sequence[Action]],
    batch_lists: Sequence[RecommendationList | None],
    size: int,
    now_ms: int,
) -> list[RecommendationList]:
    """Score every person's candidates, see :mod:`contracts.scoring`, and fill short lists with popular items.

    Args:
        histories: each person's recent actions, oldest first; the newest L that the snapshot's settings name are used.
        batch_lists: each person's list of the last training, of the same model version, or ``None``.
        size: N, the length of a list.
        now_ms: written into the lists.
    """
    model = snapshot.manifest.model
    recent = [list(reversed(history[-model.history :])) for history in histories]
    items = [[snapshot.row(action.item_id) for action in actions] for actions in recent]
    weights = [action_weights([a.event_type for a in actions], model.event_weights, model.decay) for actions in recent]
    batch_items = [[snapshot.row(item) for item in batch.items] if batch else [] for batch in batch_lists]
    batch_scores = [batch.scores if batch else [] for batch in batch_lists]
    found, scores, why, terms = score_rows(
        snapshot.matrix, _flat(items, weights), _flat(batch_items, batch_scores), model.blend, size
    )
    lists = []
    for row, actions in enumerate(recent):
        kept = int((found[row] >= 0).sum())
        sources = [_source(actions, int(w)) for w in why[row, :kept]]
        shares = (terms[row, :kept] / scores[row, :kept]).tolist()
        ids = [snapshot.items[i] for i in found[row, :kept]]
        values = [round(float(score), 5) for score in scores[row, :kept]]
        reasons = [[Reason(item, round(share, 3))] for item, share in zip(sources, shares, strict=True)]
        fill = _fill(snapshot, ids, size)
        newest = actions[0] if actions else None
        lists.append(
            RecommendationList(
                source="live" if ids else "popular",
                model_version=snapshot.version,
                based_on=BasedOn(newest.occurred_ms, newest.event_id) if newest else None,
                written_at=now_ms,
                items=ids + fill,
                scores=values + [0.0] * len(fill),
                reasons=reasons + [[] for _ in fill],
            )
        )
    return lists


Flat = tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float32]]


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
