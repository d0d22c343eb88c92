"""Requests as they would have been made on some days: candidates, features as of that moment, and what was wanted."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from batch.days import day_of
from batch.evaluate import Case
from batch.lists import Lists
from batch.log import Log
from batch.ranker import Block, RequestMoments, block_moments
from batch.units import DAY_MS
from contracts.errors import TrainingError
from contracts.events import ACTION_TYPES
from contracts.features import BUCKET_MS
from contracts.items import Item
from contracts.items import price_positions as positions_of
from contracts.lake import moments_prefix
from contracts.ranker import NAMES, TREND_WINDOWS_MS, TYPE_WEIGHTS, ItemValues, Requests, compute, rerank

__all__ = [
    "BASE_DAYS",
    "Trends",
    "daily_actions",
    "decode_moments",
    "encode_moments",
    "moments_by_day",
    "next_action_cases",
    "price_positions",
    "ranked_lists",
    "request_block",
    "request_moments_path",
]

BASE_DAYS: Final = 28
"""The newest days before the training that an item's daily mean is taken over."""

_FORMAT: Final = 1
_WEIGHTS: Final = np.array([TYPE_WEIGHTS.get(name, 0.0) for name in ACTION_TYPES])

Longs = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]


def daily_actions(log: Log, items: int, end_ms: int) -> npt.NDArray[np.float32]:
    """Each item's mean weighted actions a day over the :data:`BASE_DAYS` before ``end_ms``, or since the log began.

    Weights are those of the trend (:data:`contracts.ranker.TYPE_WEIGHTS`); ``log.item`` are places among ``items``.
    """
    began = int(log.ms.min()) if len(log.ms) else end_ms
    days = min(float(BASE_DAYS), max((end_ms - began) / DAY_MS, 1.0))
    chosen = (log.item >= 0) & (log.ms < end_ms) & (log.ms >= end_ms - BASE_DAYS * DAY_MS)
    total = np.bincount(log.item[chosen], _WEIGHTS[log.type[chosen]], minlength=items)
    return (total / days).astype(np.float32)


def price_positions(catalogue: Mapping[str, Item], items: Sequence[str]) -> npt.NDArray[np.float32]:
    """Each item's :func:`contracts.items.price_positions`, in the middle where it has none."""
    positions = positions_of(catalogue.values())
    return np.array([positions.get(item_id, 0.5) for item_id in items], np.float32)


class Trends:
    """Weighted actions of every item in the hour and the day before any instant, from the log.

    Exactly what :func:`contracts.ranker.trend_sums` makes of the live buckets at that instant, but for late events:
    the log does not tell them apart, the stream leaves them out.
    """

    def __init__(self, log: Log, items: int) -> None:
        """Sort the log once; ``log.item`` are places among ``items``, negative ones are left out."""
        known = log.item >= 0
        item, ms = log.item[known].astype(np.int64), log.ms[known]
        self._base = int(ms.min()) if len(ms) else 0
        self._span = (int(ms.max()) - self._base if len(ms) else 0) + 2
        keys = item * self._span + (ms - self._base)
        order = np.argsort(keys, kind="stable")
        self._keys = keys[order]
        self._sums = np.concatenate(([0.0], np.cumsum(_WEIGHTS[log.type[known]][order])))
        self._items = items

    def at(self, now_ms: Longs, candidates: npt.NDArray[Any], withheld: tuple[Any, Any, Any, Any]) -> Doubles:
        """``(R, N, 2)``: the sums at ``now_ms (R,)`` without the ``withheld`` actions; 0 where there is no candidate.

        Args:
            withheld: parallel ``(row, item, ms, weight)`` of the actions that row must not know of.
        """
        item = np.maximum(candidates, 0).astype(np.int64) * self._span
        last = self._before(item, now_ms + 1)
        out = np.zeros((*candidates.shape, 2))
        for at, window in enumerate(TREND_WINDOWS_MS):
            begins = now_ms - window - (now_ms - window) % BUCKET_MS
            sums = last - self._before(item, begins)
            sums -= self._hidden(candidates, withheld, begins, now_ms)
            out[..., at] = np.where(candidates >= 0, np.maximum(sums, 0.0), 0.0)
        return out

    def _before(self, item: Longs, ms: Longs) -> Doubles:
        """Each item's sum of all that was done before ``ms (R,)``, up to a constant of the item."""
        since = np.clip(ms - self._base, 0, self._span - 1)[:, None]
        sums: Doubles = self._sums[np.searchsorted(self._keys, item + since)]
        return sums

    def _hidden(
        self, candidates: npt.NDArray[Any], withheld: tuple[Any, Any, Any, Any], begins: Longs, now_ms: Longs
    ) -> Doubles:
        row, item, ms, weight = withheld
        chosen = (item >= 0) & (ms >= begins[row]) & (ms <= now_ms[row])
        if not chosen.any():
            return np.zeros(candidates.shape)
        keys, which = np.unique(row[chosen].astype(np.int64) * self._items + item[chosen], return_inverse=True)
        total = np.bincount(which, weight[chosen])
        wanted = np.arange(len(candidates))[:, None] * self._items + np.maximum(candidates, 0)
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[at] == wanted, total[at], 0.0)


def request_block(
    log: Log,
    cases: Sequence[Case],
    candidates: Lists,
    batch: Lists,
    values: ItemValues,
    trends: Trends,
    history: int,
    task: Literal["completion", "next"] = "completion",
) -> Block:
    """The features and labels of cases, as the stream would have computed them at the time of the newest action shown.

    Nothing of after that time is looked at, and of the case's own unit only what is shown: the wanted half of a basket
    may lie before the newest action of the given half.

    Args:
        log: all actions of all people, after the model's training as well, over the model's items.
        candidates: stage one's best :data:`contracts.ranker.POOL` of each case, with a model of earlier days.
        batch: each case's batch list of that training.
        values: arrays of that model's items.
        trends: of ``log``.
        history: L; a case's newest L actions are the person's own ones.
        task: what the cases ask. In ``"next"`` the part of a unit before the newest L actions was seen as well; in
            ``"completion"`` it may hold what is wanted, so it is left out of the trends.
    """
    shown = [case.actions[-history:] if history else case.actions[:0] for case in cases]
    offsets = np.concatenate(([0], np.cumsum([len(actions) for actions in shown]))).astype(np.int64)
    rows = np.concatenate([*shown, np.zeros(0, np.int64)]).astype(np.int64)
    now_ms = np.array([int(log.ms[case.actions[-1]]) if len(case.actions) else 0 for case in cases], np.int64)
    own = (offsets, np.maximum(log.item[rows], -1).astype(np.int32), log.ms[rows])
    wide = batch.items.shape[1]
    listed = (np.arange(len(cases) + 1) * wide, batch.items.ravel(), batch.scores.ravel())
    requests = Requests(now_ms, candidates.items, candidates.scores, own, listed)
    sums = trends.at(now_ms, candidates.items, _withheld(log, cases, task))
    present = candidates.items >= 0
    return Block(compute(requests, values, sums), _wanted(cases, candidates.items) & present, present, now_ms)


def _withheld(log: Log, cases: Sequence[Case], task: str) -> tuple[Any, Any, Any, Any]:
    """The actions of each case's own unit that it does not show."""
    rows, places = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for at, case in enumerate(cases):
        if not len(case.actions):
            continue
        begin, end = log.offsets[case.person], log.offsets[case.person + 1]
        unit = begin + np.flatnonzero(log.unit[begin:end] == log.unit[case.actions[-1]])
        hidden = np.setdiff1d(unit, case.actions, assume_unique=True)
        if task == "next":
            hidden = hidden[hidden > case.actions[0]]
        rows.append(np.full(len(hidden), at))
        places.append(hidden)
    row, place = np.concatenate(rows), np.concatenate(places)
    return row, log.item[place], log.ms[place], _WEIGHTS[log.type[place]]


def _wanted(cases: Sequence[Case], items: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    if not cases:
        return np.zeros(items.shape, bool)
    return np.stack([np.isin(row, case.wanted) for row, case in zip(items, cases, strict=True)])


def next_action_cases(log: Log, window: tuple[int, int], *, seed: int, most: int, history: int) -> list[Case]:
    """The state before each action that follows another one of its unit, inside ``window`` (epoch ms, end excluded).

    At most ``most`` cases, drawn with ``seed``; they come in the order of the log.
    """
    person = np.repeat(np.arange(len(log.subjects)), np.diff(log.offsets))
    follows = np.zeros(len(person), bool)
    follows[1:] = (person[1:] == person[:-1]) & (log.unit[1:] == log.unit[:-1])
    places = np.flatnonzero(follows & (log.ms >= window[0]) & (log.ms < window[1]))
    if len(places) > most:
        places = np.sort(np.random.default_rng(seed).choice(places, most, replace=False))
    begins = np.maximum(log.offsets[person[places]], places - history)
    return [
        Case(int(person[at]), np.arange(begin, at), log.item[at : at + 1].astype(np.int64))
        for at, begin in zip(places.tolist(), begins.tolist(), strict=True)
    ]


def moments_by_day(block: Block) -> dict[date, RequestMoments]:
    """The block's moments by the UTC day of the request."""
    days = block.now_ms // DAY_MS
    return {day_of(day): block_moments(block.take(np.flatnonzero(days == day))) for day in np.unique(days)}


def ranked_lists(block: Block, candidates: Lists, coefficients: Sequence[float], theta: float, size: int) -> Lists:
    """What the stream would show: the candidates in the order of the ranker, cut to ``size``; of θ = 0 stage one's."""
    if theta <= 0:
        return Lists(candidates.items[:, :size], candidates.scores[:, :size])
    order, final = rerank(block.features, block.present, np.array(coefficients), theta)
    items = np.take_along_axis(candidates.items, order, 1)[:, :size]
    return Lists(items, np.where(items >= 0, final[:, :size], 0).astype(np.float32))


def request_moments_path(shop: str, day: date, recipe: str, version: str) -> str:
    """Where a day's request moments lie: beside the day's partition, under a key of what else they depend on.

    Args:
        recipe: digest of the settings that decide over cases, candidates and batch lists.
        version: the model whose candidates they are, trained on days before ``day``.

    >>> request_moments_path("default", date(2026, 1, 5), "ab12", "20260105T000000Z-ab12cd")
    'shop=default/moments/day=2026-01-05/requests-2e93723afb039f33.json'
    """
    key = hashlib.sha256(json.dumps([_FORMAT, NAMES, recipe, version]).encode()).hexdigest()[:16]
    return f"{moments_prefix(shop, day)}requests-{key}.json"


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    names: list[str]
    requests: float
    pairs: float
    xx: list[list[float]]
    xy: list[float]
    yy: float


def encode_moments(moments: RequestMoments) -> bytes:
    """The stored bytes; floats come back bit by bit.

    >>> decode_moments(encode_moments(RequestMoments.none())).pairs
    0.0
    """
    return msgspec.json.encode(
        _Stored(
            format=_FORMAT,
            names=list(NAMES),
            requests=moments.requests,
            pairs=moments.pairs,
            xx=moments.xx.tolist(),
            xy=moments.xy.tolist(),
            yy=moments.yy,
        )
    )


def decode_moments(data: bytes) -> RequestMoments:
    """Read :func:`encode_moments`.

    Raises:
        TrainingError: the bytes are not moments of this format and of these features.
    """
    try:
        stored = msgspec.json.decode(data, type=_Stored)
    except msgspec.MsgspecError as exc:
        message = f"request moments cannot be read: {exc}; got {data[:60]!r}; delete them to have them made again"
        raise TrainingError(message) from exc
    if stored.format != _FORMAT or stored.names != list(NAMES) or len(stored.xx) != len(NAMES):
        message = (
            f"request moments have format {stored.format} and features {stored.names}; this code reads {_FORMAT} and "
            f"{list(NAMES)}; delete them to have them made again"
        )
        raise TrainingError(message)
    return RequestMoments(stored.requests, stored.pairs, np.array(stored.xx), np.array(stored.xy), stored.yy)
