"""Whether the ranker pays: θ from a grid that holds 0, judged on more than one newest window by HR@20 and MRR@20."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from batch.ranker import Block, Regression, RequestMoments, block_moments, solve_ranker, sum_moments
from contracts.errors import TrainingError

__all__ = ["STRENGTHS", "Scored", "ThetaChoice", "ThetaPoint", "choose_theta", "cross_fit"]

STRENGTHS: Final = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""The grid, as the spread of θ · x·β within a request in units of the spread of the stage-one share."""
_CUT: Final = 20
_NOISE: Final = 2.0

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scored:
    """One window's requests: ``stage (R, N)`` is s₁/max, ``ranker (R, N)`` is x·β, ``wanted`` and ``present (R, N)``.

    β must not have been fitted on these very requests. Requests whose wanted items are no candidates belong in it: they
    are misses at any θ.
    """

    stage: Doubles
    ranker: Doubles
    wanted: npt.NDArray[np.bool_]
    present: npt.NDArray[np.bool_]


class ThetaPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One θ of the curve: ``hr20`` and ``mrr20`` by window; ``z`` are the mean rises over θ = 0 by standard errors."""

    strength: float
    theta: float
    hr20: list[float]
    mrr20: list[float]
    z_hr20: float
    z_mrr20: float
    allowed: bool


class ThetaChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The choice, why, and the whole curve."""

    theta: float
    reason: str
    requests: list[int]
    curve: list[ThetaPoint]


def choose_theta(windows: Sequence[Scored], strengths: Sequence[float] = STRENGTHS) -> ThetaChoice:
    """Choose θ by this rule, fixed beforehand:

    1. At least two windows with requests, or θ = 0.
    2. A θ > 0 is allowed where neither HR@20 nor MRR@20 is below θ = 0's on any window, and the mean rise of at least
       one of them over all requests is more than two standard errors of the paired differences.
    3. Of the allowed, the one with the largest relative rise of both together (the smaller θ where equal); else 0.

    θ of a strength g is ``g · spread(s₁/max) / spread(x·β)``, the medians over requests of standard deviations over
    candidates, so that one grid fits coefficients of any size.

    Args:
        windows: oldest first.
    """
    windows = [window for window in windows if len(window.stage)]
    requests = [len(window.stage) for window in windows]
    if len(windows) < 2:
        reason = f"{len(windows)} window with requests; expected at least 2 to tell a gain from chance"
        return ThetaChoice(theta=0.0, reason=reason, requests=requests, curve=[])
    unit = _unit(windows)
    if unit <= 0:
        reason = "the ranker says the same of every candidate"
        return ThetaChoice(theta=0.0, reason=reason, requests=requests, curve=[])
    thetas = sorted({0.0, *(float(f"{g * unit:.4g}") for g in strengths if g > 0)})
    ranks = {theta: [_first_ranks(window, theta) for window in windows] for theta in thetas}
    curve = [_point(theta, theta / unit, ranks[theta], ranks[0.0]) for theta in thetas]
    allowed = [point for point in curve if point.allowed]
    if not allowed:
        reason = "no θ above 0 is as good on every window by HR@20 and MRR@20 and better by more than chance in one"
        return ThetaChoice(theta=0.0, reason=reason, requests=requests, curve=curve)
    best = max(allowed, key=lambda point: _rise(point, curve[0]))
    reason = (
        f"HR@20 {np.mean(curve[0].hr20):.4f} → {np.mean(best.hr20):.4f} (z {best.z_hr20:.1f}), "
        f"MRR@20 {np.mean(curve[0].mrr20):.4f} → {np.mean(best.mrr20):.4f} (z {best.z_mrr20:.1f}), "
        f"neither worse on any of {len(windows)} windows"
    )
    return ThetaChoice(theta=best.theta, reason=reason, requests=requests, curve=curve)


def _unit(windows: Sequence[Scored]) -> float:
    stage = np.concatenate([_deviations(window.stage, window.present) for window in windows])
    ranker = np.concatenate([_deviations(window.ranker, window.present) for window in windows])
    of_stage, of_ranker = float(np.median(stage)), float(np.median(ranker))
    return of_stage / of_ranker if of_ranker > 1e-12 else 0.0


def _deviations(values: Doubles, present: npt.NDArray[np.bool_]) -> Doubles:
    number = np.maximum(present.sum(axis=1), 1)
    mean = np.where(present, values, 0.0).sum(axis=1) / number
    squares = np.where(present, (values - mean[:, None]) ** 2, 0.0).sum(axis=1)
    spread: Doubles = np.sqrt(squares / number)
    return spread


def _first_ranks(window: Scored, theta: float) -> Doubles:
    """The rank of the first wanted candidate of each request (ties as stage one has them); infinite without one."""
    final = np.where(window.present, window.stage + theta * window.ranker, -np.inf)
    wanted = window.wanted & window.present
    masked = np.where(wanted, final, -np.inf)
    at = np.argmax(masked, axis=1)
    best = masked[np.arange(len(at)), at][:, None]
    before = np.arange(final.shape[1]) < at[:, None]
    rank = 1.0 + ((final > best) | ((final == best) & before & window.present)).sum(axis=1)
    return np.where(wanted.any(axis=1), rank, np.inf)


def _point(theta: float, strength: float, ranks: Sequence[Doubles], without: Sequence[Doubles]) -> ThetaPoint:
    hits, gains = [_hit(rank) for rank in ranks], [_gain(rank) for rank in ranks]
    hits_0, gains_0 = [_hit(rank) for rank in without], [_gain(rank) for rank in without]
    pairs = [*zip(hits, hits_0, strict=True), *zip(gains, gains_0, strict=True)]
    z_hit = _z(np.concatenate(hits) - np.concatenate(hits_0))
    z_gain = _z(np.concatenate(gains) - np.concatenate(gains_0))
    kept = all(after.mean() >= before.mean() - 1e-12 for after, before in pairs)
    return ThetaPoint(
        strength=round(strength, 4),
        theta=theta,
        hr20=[round(float(hit.mean()), 6) for hit in hits],
        mrr20=[round(float(gain.mean()), 6) for gain in gains],
        z_hr20=round(z_hit, 3),
        z_mrr20=round(z_gain, 3),
        allowed=theta > 0 and kept and max(z_hit, z_gain) > _NOISE,
    )


def _hit(rank: Doubles) -> Doubles:
    return (rank <= _CUT).astype(np.float64)


def _gain(rank: Doubles) -> Doubles:
    return np.where(rank <= _CUT, 1 / rank, 0.0)


def _z(differences: Doubles) -> float:
    deviation = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    return float(differences.mean()) / (deviation / len(differences) ** 0.5) if deviation > 0 else 0.0


def _rise(point: ThetaPoint, zero: ThetaPoint) -> float:
    pairs = ((point.hr20, zero.hr20), (point.mrr20, zero.mrr20))
    return float(sum(np.mean(after) / max(float(np.mean(before)), 1e-12) for after, before in pairs))


def cross_fit(
    windows: Sequence[Block], earlier: RequestMoments | None = None
) -> tuple[Regression | None, ThetaChoice, RequestMoments]:
    """Fit on all windows, judge each with a fit on the others, choose θ.

    Moments are additive, so a fit without a window costs a subtraction's worth: no request is judged by coefficients
    that have seen it, and none is lost to either purpose.

    Args:
        windows: the newest windows, oldest first, each with the requests of its days.
        earlier: moments of days before them, as stored; they enter every fit.

    Returns:
        the regression on everything (``None`` where there is too little), the choice, and the moments of everything.
    """
    base = earlier if earlier is not None else RequestMoments.none()
    parts = [block_moments(window) for window in windows]
    total = sum_moments([base, *parts])
    try:
        scored = []
        for at, window in enumerate(windows):
            others = solve_ranker(sum_moments([base, *parts[:at], *parts[at + 1 :]]))
            scored.append(score_block(window, others))
        return solve_ranker(total), choose_theta(scored), total
    except TrainingError as exc:
        return None, ThetaChoice(theta=0.0, reason=str(exc), requests=[len(w) for w in windows], curve=[]), total


def score_block(block: Block, regression: Regression) -> Scored:
    """A window as the gate wants it."""
    ranker = np.where(block.present, block.features @ np.array(regression.coefficients), 0.0)
    return Scored(block.features[..., 0], ranker, block.wanted, block.present)
