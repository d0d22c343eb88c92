"""What an experiment has shown so far: written by the batch, answered by ``GET /v1/admin/experiments/{id}/results``."""

from datetime import datetime
from typing import Literal

import msgspec

from contracts.errors import ContractError
from contracts.experiments import Metric

__all__ = [
    "Comparison",
    "ExperimentResults",
    "Interval",
    "MetricResult",
    "SampleRatio",
    "VariantResult",
    "decode_results",
    "encode_results",
]


class Interval(msgspec.Struct, frozen=True):
    """An estimate with its two-sided interval of ``1 − alpha``; no bounds where too little is known yet."""

    value: float
    low: float | None = None
    high: float | None = None


class VariantResult(msgspec.Struct, frozen=True, kw_only=True):
    """One variant's totals. ``units`` are people, or visitors, as the experiment's ``unit`` says.

    ``purchases`` and ``revenue`` are credited to its impressions (:mod:`batch.attribution` has the rule);
    ``total_revenue`` is all that its units bought from their first impression on, credited or not.
    """

    variant: str
    units: int
    impressions: int
    clicks: int
    purchases: int
    revenue: float
    total_revenue: float


class MetricResult(msgspec.Struct, frozen=True, kw_only=True):
    """A metric of one variant, with an interval for a single look at its value."""

    metric: Metric
    variant: str
    estimate: Interval


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """A variant against the control in one metric.

    ``difference`` has an interval that holds at *any* time, however often one looks, and ``p_value`` is as safe;
    ``fixed`` is the narrower interval of an experiment that is looked at once, at its planned end. ``relative`` is
    ``difference`` as a share of the control's value (absent where that is 0). ``decided`` says whether the
    always-valid interval excludes 0; nothing is decided while a variant has less than 100 units. ``needed_units`` is
    what each variant needs for the planned effect (power 0.8).
    """

    metric: Metric
    variant: str
    difference: Interval
    fixed: Interval
    relative: Interval | None
    p_value: float
    decided: Literal["better", "worse", "open"]
    needed_units: int | None


class SampleRatio(msgspec.Struct, frozen=True, kw_only=True):
    """Whether as many units are in each variant as the weights say. ``ok`` is false below p = 0.001: then something
    drops people of one variant, and no other number of the experiment can be trusted."""

    expected: dict[str, float]
    observed: dict[str, int]
    p_value: float
    ok: bool


class ExperimentResults(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. ``first_day`` to ``last_day`` (UTC, ISO dates) are the days counted; days whose purchases may still
    come are in it. ``dropped`` counts impressions whose variant does not fit the assignment."""

    experiment_id: str
    shop: str
    made_at: datetime
    first_day: str
    last_day: str
    alpha: float
    primary: Metric
    control: str
    variants: list[VariantResult]
    metrics: list[MetricResult]
    comparisons: list[Comparison]
    sample_ratio: SampleRatio
    dropped: int = 0
    notes: list[str] = []


_decode = msgspec.json.Decoder(ExperimentResults)


def encode_results(results: ExperimentResults) -> bytes:
    """The stored bytes."""
    return msgspec.json.encode(results)


def decode_results(data: bytes) -> ExperimentResults:
    """Read them.

    Raises:
        ContractError: the bytes are not such results.
    """
    try:
        return _decode.decode(data)
    except msgspec.MsgspecError as exc:
        message = f"experiment results cannot be read: {exc}; expected the JSON that batch.attribution writes"
        raise ContractError(message) from exc
