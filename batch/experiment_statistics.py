"""How sure an experiment is: estimates by unit, a test that may be looked at at any time, sample ratio, sample size.

The unit of the assignment (a person) is the unit of the arithmetic. Impressions of one person resemble each other, so
an interval that took each impression for a trial of its own would be too narrow, and would find differences in nothing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import stats

__all__ = [
    "LEAST_UNITS",
    "SCALES",
    "Difference",
    "Sums",
    "always_valid",
    "compare",
    "fixed_interval",
    "needed_units",
    "power",
    "sample_ratio",
]

LEAST_UNITS: Final = 100
"""Below so many units of a variant nothing is decided: the test leans on the central limit theorem."""

SCALES: Final = (1.0, 4.0, 16.0)
"""Sizes of difference that the sequential test looks out for, in planned ones."""

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Sums:
    """The sums over a variant's units of a metric Σy / Σx; for a mean by unit, x is 1 everywhere.

    They add up, so tasks and days can be put together.

    >>> Sums.of(np.array([1.0, 0.0]), np.array([2.0, 2.0])).value
    0.25
    """

    units: int
    y: float
    x: float
    yy: float
    xx: float
    xy: float

    @classmethod
    def of(cls, y: Array, x: Array | None = None) -> "Sums":
        """The sums of some units' values."""
        x = np.ones(len(y)) if x is None else x
        return cls(len(y), float(y.sum()), float(x.sum()), float(y @ y), float(x @ x), float(x @ y))

    @property
    def value(self) -> float:
        """The estimate; 0 where nothing was counted."""
        return self.y / self.x if self.x else 0.0

    @property
    def unit_variance(self) -> float:
        """The variance that one unit contributes: the variance of the estimate times the units.

        By the delta method for a ratio of means (Deng, Knoblich & Lu 2018, "Applying the delta method in metric
        analytics", eq. 3): Var(y − R·x) / mean(x)², with R the estimate. For a mean it is the sample variance.
        """
        if self.units < 2 or not self.x:
            return 0.0
        ratio, mean = self.value, self.x / self.units
        squares = self.yy - 2 * ratio * self.xy + ratio * ratio * self.xx  # the residuals' mean is 0 by construction
        return max(squares, 0.0) / (self.units - 1) / mean**2

    @property
    def variance(self) -> float:
        """Of the estimate."""
        return self.unit_variance / self.units if self.units else 0.0


def fixed_interval(value: float, variance: float, alpha: float) -> tuple[float, float]:
    """The normal interval of 1 − alpha, for one look at a time that was chosen beforehand.

    >>> [round(edge, 3) for edge in fixed_interval(1.0, 0.01, 0.05)]
    [0.804, 1.196]
    """
    half = NormalDist().inv_cdf(1 - alpha / 2) * math.sqrt(variance)
    return value - half, value + half


def always_valid(value: float, variance: float, tau: float, alpha: float) -> tuple[float, float, float]:
    """The p-value and the interval (p, low, high) that hold however often, and whenever, one looks.

    The mixture sequential probability ratio test for a normal mean, against N(0, τ²) (Robbins 1970, "Statistical
    methods related to the law of the iterated logarithm"; Johari, Koomen, Pekelis & Walsh 2022, "Always valid
    inference: continuous monitoring of A/B tests", section 4):

        Λ(δ, τ) = √(V / (V + τ²)) · exp(τ² δ² / (2 V (V + τ²))),    p = min(1, 1 / Λ)

    Under no difference Λ is a martingale of mean 1 as V falls, so it ever reaches 1/α with a probability of at most α.
    So is a mean of several: Λ is that over τ, 4 τ and 16 τ, and a difference much larger than planned is found early
    too, for a little power at the planned one. The interval holds the differences d with Λ(δ − d) < 1/α. The p-value
    of a whole course is the smallest so far; this is that of the present look.

    Args:
        value: δ, the difference of two variants.
        variance: V, of δ.
        tau: the size of difference that is worth finding; a wrong one costs power, never validity, as long as it is
            not chosen by the data.
    """
    if variance <= 0:
        return 1.0, -math.inf, math.inf
    wanted, low, high = math.log(1 / alpha), 0.0, math.sqrt(variance)
    while _log_ratio(high, variance, tau) < wanted:
        low, high = high, 2 * high
    for _ in range(60):  # Λ rises with the distance
        middle = (low + high) / 2
        low, high = (middle, high) if _log_ratio(middle, variance, tau) < wanted else (low, middle)
    return min(1.0, math.exp(-min(_log_ratio(value, variance, tau), 700.0))), value - high, value + high


def _log_ratio(distance: float, variance: float, tau: float) -> float:
    """ln Λ of a distance from the value that is tested."""
    logs = []
    for scale in SCALES:
        square = (scale * tau) ** 2
        both = variance + square
        logs.append(0.5 * math.log(variance / both) + square * distance**2 / (2 * variance * both))
    most = max(logs)
    return most + math.log(sum(math.exp(each - most) for each in logs) / len(logs))


@dataclass(frozen=True, slots=True)
class Difference:
    """A variant minus the control. Intervals are (low, high); ``relative`` ones are shares of the control's value."""

    value: float
    p: float
    valid: tuple[float, float]
    fixed: tuple[float, float]
    relative: tuple[float, float, float] | None
    enough: bool


def compare(control: Sums, other: Sums, tau: float, alpha: float = 0.05) -> Difference:
    """The difference of two variants, with a test for any time and an interval for one look.

    ``tau`` is in the unit of the metric. Below :data:`LEAST_UNITS` of either, or where one has no variance yet,
    ``enough`` is false and p is 1.
    """
    value, variance = other.value - control.value, control.variance + other.variance
    enough = min(control.units, other.units) >= LEAST_UNITS and min(control.variance, other.variance) > 0
    p, *valid = always_valid(value, variance, tau, alpha)
    return Difference(
        value,
        p if enough else 1.0,
        (valid[0], valid[1]),
        fixed_interval(value, variance, alpha),
        _relative(control, other, tau, alpha),
        enough,
    )


def _relative(control: Sums, other: Sums, tau: float, alpha: float) -> tuple[float, float, float] | None:
    """The difference over the control's value: (value, low, high), valid at any time; by the delta method again."""
    base = control.value
    if base <= 0:
        return None
    variance = other.variance / base**2 + other.value**2 * control.variance / base**4
    _, low, high = always_valid(other.value / base - 1, variance, tau / base, alpha)
    return other.value / base - 1, low, high


def sample_ratio(observed: Mapping[str, int], weights: Mapping[str, float]) -> float:
    """The p-value of as many units in each variant as the weights say: Pearson's chi-square test.

    Fabijan et al. 2019 ("Diagnosing sample ratio mismatch in online controlled experiments") advise to stop and look
    for the fault where it is below 0.001, whatever the metrics say.

    >>> round(sample_ratio({"a": 1000, "b": 1100}, {"a": 1, "b": 1}), 4)
    0.0291
    """
    units, total = sum(observed.values()), sum(weights.values())
    if not units:
        return 1.0
    expected = [units * weight / total for weight in weights.values()]
    return float(stats.chisquare([observed.get(name, 0) for name in weights], expected).pvalue)


def needed_units(unit_variance: float, effect: float, alpha: float = 0.05, wanted: float = 0.8) -> int:
    """Units that each of two variants needs, so that a difference of ``effect`` is found with the ``wanted`` power.

        n = 2 σ² (z(1 − α/2) + z(power))² / effect²

    For one look at the end. The sequential test needs more for the same power, in exchange for the right to look
    earlier: it usually ends sooner where the difference is larger than planned.

    >>> needed_units(0.1 * 0.9, 0.01)
    14128
    """
    if effect == 0:
        message = f"effect is {effect}; expected the difference that is worth finding, not 0"
        raise ValueError(message)
    z = NormalDist().inv_cdf
    return math.ceil(2 * unit_variance * (z(1 - alpha / 2) + z(wanted)) ** 2 / effect**2)


def power(units: int, unit_variance: float, effect: float, alpha: float = 0.05) -> float:
    """How likely a difference of ``effect`` is found with so many units in each of two variants, at one look.

    >>> round(power(14128, 0.1 * 0.9, 0.01), 3)
    0.8
    """
    normal = NormalDist()
    shift = abs(effect) / math.sqrt(2 * unit_variance / units)
    edge = normal.inv_cdf(1 - alpha / 2)
    return normal.cdf(shift - edge) + normal.cdf(-shift - edge)
