"""The ranker's features, defined once: what the trainer regresses on is what the stream computes of the same situation.

A *request* is a person at an instant with the candidates of stage one (:mod:`contracts.scoring`). The ranker orders the
candidates of one request anew:

    final(j) = s₁(j) / max s₁  +  θ · Σ_f β_f · x_f(j)

β comes from an ordinary least squares of "wanted or not" on the features, both demeaned within each request, so only
differences between candidates of one request count (:mod:`batch.ranker`). Everything is known live: the person's value
and batch list, arrays of the model snapshot, and the items' 5-minute buckets.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from contracts.errors import ContractError
from contracts.trends import TREND_PRIOR, TREND_WINDOWS_MS, TYPE_WEIGHTS, trend_sums

__all__ = [
    "FEATURES",
    "NAMES",
    "POOL",
    "TREND_PRIOR",
    "TREND_WINDOWS_MS",
    "TYPE_WEIGHTS",
    "ItemValues",
    "RankerFeature",
    "Requests",
    "coefficients_of",
    "compute",
    "rerank",
    "trend_sums",
]

POOL: Final = 100
"""How many candidates of stage one are ordered anew (more where a longer list is wanted)."""

_HOUR_MS: Final = 60 * 60 * 1000
_NOW_HALF_LIFE_MS: Final = _HOUR_MS
_MONTH_HALF_LIFE_MS: Final = 30 * 24 * _HOUR_MS
_NEUTRAL_PRICE: Final = 0.5


class RankerFeature(NamedTuple):
    """One feature of a (request, candidate) pair; ``default`` is its value where nothing is known."""

    name: str
    meaning: str
    unit: str
    window: str
    default: float


FEATURES: Final = (
    RankerFeature("score", "stage-one score", "share of the request's best", "the last L actions", 0.0),
    RankerFeature("listed", "score in the person's batch list", "share of the list's best", "the training", 0.0),
    RankerFeature("repeats", "own actions on the item", "log(1 + actions)", "the last L actions", 0.0),
    RankerFeature("just_now", "own newest action on the item", "0.5^(age / 1 h)", "the last L actions", 0.0),
    RankerFeature("this_month", "own newest action on the item", "0.5^(age / 30 d)", "the last L actions", 0.0),
    RankerFeature("trend_1h", "actions of all against the day's hourly mean", "log ratio with a prior", "1 h", 0.0),
    RankerFeature(
        "trend_24h", "actions of all against the training's daily mean", "log ratio with a prior", "24 h", 0.0
    ),
    RankerFeature("popularity", "actions of all", "log(1 + actions)", "the training", 0.0),
    RankerFeature("price", "price among the items of its category", "share that is cheaper", "catalogue", 0.5),
    RankerFeature("price_gap", "distance to the own mean price position", "share", "the last L actions", 0.0),
)
NAMES: Final = tuple(feature.name for feature in FEATURES)

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Requests:
    """R requests with up to N candidates each, as places in one item index.

    ``now_ms (R,)``; ``candidates (R, N)``, −1 where a request has fewer, best first, with stage-one ``scores (R, N)``.
    Row r's own newest L actions are ``own[0][r]:own[0][r + 1]`` of items and times ``own[1:]``, in any order, −1 where
    the model does not know the item; its batch list likewise in ``listed``, with scores.
    """

    now_ms: Longs
    candidates: Ints
    scores: npt.NDArray[np.float32]
    own: tuple[Longs, Ints, Longs]
    listed: tuple[Longs, Ints, npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class ItemValues:
    """What the snapshot says of each item: ``popularity``, and of :data:`contracts.snapshot.ITEM_ARRAYS` what it has.

    ``daily`` is the mean weighted actions a day before the training, ``price`` the position in the category, 0 to 1.
    """

    popularity: npt.NDArray[Any]
    daily: npt.NDArray[Any] | None = None
    price: npt.NDArray[Any] | None = None


def compute(requests: Requests, items: ItemValues, trends: npt.NDArray[Any]) -> Doubles:
    """The features ``(R, N, F)`` in the order of :data:`FEATURES`; 0 where there is no candidate.

    Args:
        trends: ``(R, N, 2)``, each candidate's weighted actions in the last hour and the last 24 hours at ``now_ms``,
            see :func:`trend_sums`.

    >>> none = (np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    >>> own = (np.array([0, 1]), np.array([1], np.int32), np.array([0]))
    >>> asked = Requests(np.array([0]), np.array([[0, 1]], np.int32), np.array([[2., 1.]], np.float32), own, none)
    >>> x = compute(asked, ItemValues(np.zeros(2)), np.zeros((1, 2, 2)))
    >>> dict(zip(NAMES, x[0, 1].round(3).tolist()))
    {'score': 0.5, 'listed': 0.0, 'repeats': 0.693, 'just_now': 1.0, 'this_month': 1.0,
     'trend_1h': 0.0, 'trend_24h': 0.0, 'popularity': 0.0, 'price': 0.5, 'price_gap': 0.0}
    """
    present = requests.candidates >= 0
    at = np.where(present, requests.candidates, 0)
    out = np.zeros((*at.shape, len(FEATURES)))
    if not at.size:
        return out
    out[..., 0] = _shares(requests.scores, present)
    count, newest, listed = np.zeros(at.shape), np.zeros(at.shape, np.int64), np.zeros(at.shape)
    _match(np.ascontiguousarray(requests.candidates), *requests.own, *requests.listed, count, newest, listed)
    out[..., 1] = listed
    age = np.maximum(requests.now_ms[:, None] - newest, 0)
    out[..., 2] = np.log1p(count)
    own = count > 0  # few are: powers are dear
    out[..., 3][own] = 0.5 ** (age[own] / _NOW_HALF_LIFE_MS)
    out[..., 4][own] = 0.5 ** (age[own] / _MONTH_HALF_LIFE_MS)
    hour, day = trends[..., 0], trends[..., 1]
    daily = 0.0 if items.daily is None else items.daily[at].astype(np.float64)
    out[..., 5] = np.log((hour + TREND_PRIOR) / (day / 24 + TREND_PRIOR))
    out[..., 6] = np.log((day + TREND_PRIOR) / (daily + TREND_PRIOR))
    out[..., 7] = np.log1p(np.maximum(items.popularity[at].astype(np.float64), 0.0))
    out[..., 8], out[..., 9] = _prices(requests, items, at)
    out[~present] = 0.0
    return out


def _shares(scores: npt.NDArray[Any], present: npt.NDArray[np.bool_]) -> Doubles:
    """Scores as shares of each row's largest positive one."""
    scores = np.where(present, scores.astype(np.float64), 0.0)
    top = scores.max(axis=1, initial=0.0, keepdims=True)
    return np.divide(scores, top, out=np.zeros_like(scores), where=top > 0)


def _prices(requests: Requests, items: ItemValues, at: npt.NDArray[Any]) -> tuple[Doubles, Doubles]:
    """Price positions, and their distance to the mean position of the own actions (0 without any)."""
    if items.price is None:
        return np.full(at.shape, _NEUTRAL_PRICE), np.zeros(at.shape)
    price = items.price[at].astype(np.float64)
    offsets, own, _ = requests.own
    row = np.repeat(np.arange(len(at)), np.diff(offsets))[own >= 0]
    known = own[own >= 0]
    number = np.bincount(row, minlength=len(at))
    total = np.bincount(row, items.price[known].astype(np.float64), minlength=len(at))
    mean = (total / np.maximum(number, 1))[:, None]
    return price, np.where(number[:, None] > 0, np.abs(price - mean), 0.0)


@numba.njit(cache=True, nogil=True)
def _match(
    candidates: Any,
    own_offsets: Any,
    own_items: Any,
    own_ms: Any,
    list_offsets: Any,
    list_items: Any,
    list_scores: Any,
    count: Any,
    newest: Any,
    listed: Any,
) -> None:
    """Of every candidate: own actions, the time of the newest, and its share in the batch list."""
    for r in range(candidates.shape[0]):
        top = 0.0
        for b in range(list_offsets[r], list_offsets[r + 1]):
            top = max(top, list_scores[b])
        for n in range(candidates.shape[1]):
            item = candidates[r, n]
            if item < 0:
                continue
            for h in range(own_offsets[r], own_offsets[r + 1]):
                if own_items[h] == item:
                    if count[r, n] == 0 or own_ms[h] > newest[r, n]:
                        newest[r, n] = own_ms[h]
                    count[r, n] += 1
            if top > 0:
                for b in range(list_offsets[r], list_offsets[r + 1]):
                    if list_items[b] == item:
                        listed[r, n] = list_scores[b] / top
                        break


def rerank(
    features: npt.NDArray[Any], present: npt.NDArray[np.bool_], coefficients: npt.NDArray[Any], theta: float
) -> tuple[Longs, Doubles]:
    """Order the candidates of each request by ``final``.

    Args:
        features: ``(R, N, F)`` of :func:`compute`; ``present (R, N)`` tells candidates from padding.
        coefficients: β ``(F,)``.

    Returns:
        ``order (R, N)``, places of candidates, best first (ties as stage one has them, padding last), and ``final``
        ``(R, N)`` in that order, −inf for padding. A constant of the request is added, which orders nothing, so that
        the last candidate has the smallest share of stage one and all scores stay above 0.

    >>> x = np.zeros((1, 3, 2)); x[0, :, 0] = [1., .5, 0.]; x[0, :, 1] = [0., 1., 0.]
    >>> order, final = rerank(x, np.array([[True, True, False]]), np.array([0., 2.]), 0.5)
    >>> order.tolist(), final.tolist()
    ([[1, 0, 2]], [[1.0, 0.5, -inf]])
    """
    share = features[..., 0]
    final = np.where(present, share + theta * (features @ coefficients), -np.inf)
    order = np.argsort(-final, axis=1, kind="stable")
    final += _lowest(share, present) - _lowest(final, present)
    return order, np.take_along_axis(final, order, 1)


def _lowest(values: npt.NDArray[Any], present: npt.NDArray[np.bool_]) -> Doubles:
    lowest = np.where(present, values, np.inf).min(axis=1, initial=np.inf, keepdims=True)
    return np.where(np.isinf(lowest), 0.0, lowest)


def coefficients_of(names: Sequence[str], values: Sequence[float]) -> Doubles:
    """β in the order of :data:`FEATURES` from a manifest's names and coefficients; 0 for features it does not name.

    >>> coefficients_of(["popularity"], [2.0])[NAMES.index("popularity")]
    2.0

    Raises:
        ContractError: a name is unknown here (a newer trainer's), or the lengths differ.
    """
    unknown = [name for name in names if name not in NAMES]
    if unknown or len(names) != len(values):
        message = (
            f"a ranker names {list(names)} with {len(values)} coefficients; expected one each, of {', '.join(NAMES)}; "
            "upgrade the reader, or train again"
        )
        raise ContractError(message)
    given = dict(zip(names, values, strict=True))
    return np.array([given.get(name, 0.0) for name in NAMES])
