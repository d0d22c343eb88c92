"""The second regression: candidates of a request, wanted or not, on the ranker's features, from additive moments.

Features x and label y are demeaned within each request (one fixed effect a request), so that the sums over requests

    S = Σ (x − x̄)(x − x̄)ᵀ,   c = Σ (x − x̄)(y − ȳ),   v = Σ (y − ȳ)²

give β = S⁻¹ c, the residual variance (v − βᵀc) / (pairs − requests − features) and from it standard errors, t and the
within R²: a least squares with request dummies (Frisch–Waugh–Lovell), which never sees the rows again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import msgspec
import numpy as np
import numpy.typing as npt

from contracts.errors import TrainingError
from contracts.ranker import NAMES

__all__ = ["Block", "Regression", "RequestMoments", "block_moments", "solve_ranker", "sum_moments"]

_SEPARATE: Final = 1e-8
"""A feature stays if at least this share of its variance is its own; else it is constant or said by the others."""
_TOGETHER: Final = 4096

Doubles = npt.NDArray[np.float64]
Truths = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Block:
    """Some requests: ``features (R, N, F)``, ``wanted (R, N)``, ``present (R, N)`` (else padding), ``now_ms (R,)``."""

    features: Doubles
    wanted: Truths
    present: Truths
    now_ms: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.wanted)

    def take(self, rows: npt.NDArray[Any]) -> "Block":
        """The given requests."""
        return Block(self.features[rows], self.wanted[rows], self.present[rows], self.now_ms[rows])


@dataclass(frozen=True, slots=True)
class RequestMoments:
    """Sums over requests. After :meth:`scaled` the numbers are effective ones (a request of weight ½ counts half)."""

    requests: float
    pairs: float
    xx: Doubles
    xy: Doubles
    yy: float

    @classmethod
    def none(cls, features: int = len(NAMES)) -> Self:
        """The sums of no requests."""
        return cls(0.0, 0.0, np.zeros((features, features)), np.zeros(features), 0.0)

    def __add__(self, other: "RequestMoments") -> "RequestMoments":
        return RequestMoments(
            self.requests + other.requests,
            self.pairs + other.pairs,
            self.xx + other.xx,
            self.xy + other.xy,
            self.yy + other.yy,
        )

    def scaled(self, weight: float) -> "RequestMoments":
        """All of it times ``weight``: how an old day counts less."""
        return RequestMoments(
            self.requests * weight, self.pairs * weight, self.xx * weight, self.xy * weight, self.yy * weight
        )


def block_moments(block: Block) -> RequestMoments:
    """The moments of a block.

    A request counts where some of its candidates are wanted and some are not: the others say nothing of an order
    (as in a conditional logit), they would only shrink β.
    """
    numbers, hits = block.present.sum(axis=1), (block.wanted & block.present).sum(axis=1)
    rows = np.flatnonzero((hits > 0) & (hits < numbers))
    total = RequestMoments.none(block.features.shape[2])
    for start in range(0, len(rows), _TOGETHER):
        total = total + _sums(block.take(rows[start : start + _TOGETHER]))
    return total


def _sums(block: Block) -> RequestMoments:
    number = block.present.sum(axis=1)
    present = block.present[..., None]
    x = np.where(present, block.features, 0.0)
    x = np.where(present, x - (x.sum(axis=1) / number[:, None])[:, None, :], 0.0).reshape(-1, x.shape[2])
    y = (block.wanted & block.present).astype(np.float64)
    y = np.where(block.present, y - (y.sum(axis=1) / number)[:, None], 0.0).ravel()
    return RequestMoments(float(len(block)), float(number.sum()), x.T @ x, x.T @ y, float(y @ y))


class Regression(msgspec.Struct, frozen=True, kw_only=True):
    """What the regression found; lists run parallel to ``names``. A dropped feature has coefficient 0 and no error.

    ``condition`` is that of the Gram matrix scaled to a unit diagonal (2-norm, kept features): 1 where no feature says
    what another says. ``r_squared`` is within requests. Errors hold for independent requests of equal variance.
    """

    names: list[str]
    coefficients: list[float]
    standard_errors: list[float]
    t: list[float]
    r_squared: float
    condition: float
    residual_deviation: float
    requests: float
    pairs: float
    dropped: list[str]


def solve_ranker(moments: RequestMoments, names: Sequence[str] = NAMES) -> Regression:
    """Ordinary least squares from moments.

    A feature that does not vary within requests, or is a linear combination of those before it, is dropped and named.

    Raises:
        TrainingError: there are too few pairs for the features, or no request found anything that was wanted.
    """
    freedom = moments.pairs - moments.requests - len(names)
    if moments.yy <= 0 or freedom <= 0:
        message = (
            f"{moments.requests:g} requests with {moments.pairs:g} candidates leave {freedom:g} degrees of freedom for "
            f"{len(names)} features; expected some, and requests with wanted candidates among others; use more days"
        )
        raise TrainingError(message)
    scale = np.sqrt(np.maximum(np.diag(moments.xx), 0.0))
    kept = _independent(moments.xx, scale, moments.pairs)
    beta, errors = np.zeros(len(names)), np.zeros(len(names))
    residual, condition = moments.yy, 1.0
    freedom = moments.pairs - moments.requests - len(kept)
    if kept:
        scaled = moments.xx[np.ix_(kept, kept)] / np.outer(scale[kept], scale[kept])
        inverse = np.linalg.inv(scaled)
        beta[kept] = inverse @ (moments.xy[kept] / scale[kept]) / scale[kept]
        residual = max(moments.yy - float(beta @ moments.xy), 0.0)
        errors[kept] = np.sqrt(residual / freedom * np.diag(inverse)) / scale[kept]
        condition = float(np.linalg.cond(scaled))
    t = np.divide(beta, errors, out=np.zeros_like(beta), where=errors > 0)
    return Regression(
        names=list(names),
        coefficients=beta.tolist(),
        standard_errors=errors.tolist(),
        t=t.tolist(),
        r_squared=1 - residual / moments.yy,
        condition=condition,
        residual_deviation=float(np.sqrt(residual / freedom)),
        requests=moments.requests,
        pairs=moments.pairs,
        dropped=[name for at, name in enumerate(names) if at not in kept],
    )


def _independent(gram: Doubles, scale: Doubles, pairs: float) -> list[int]:
    """Features, in order, whose variance is not said by those kept before them."""
    kept: list[int] = []
    for at in range(len(gram)):
        if gram[at, at] <= 1e-12 * pairs:
            continue
        if kept:
            within = gram[np.ix_(kept, kept)] / np.outer(scale[kept], scale[kept])
            across = gram[kept, at] / (scale[kept] * scale[at])
            if 1 - across @ np.linalg.solve(within, across) < _SEPARATE:
                continue
        kept.append(at)
    return kept


def sum_moments(parts: Iterable[RequestMoments], features: int = len(NAMES)) -> RequestMoments:
    """The sum of any number of moments."""
    return sum(parts, RequestMoments.none(features))
