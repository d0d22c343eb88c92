"""From the sums over an experiment's units to what is told of it: pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from batch.experiment_statistics import (
    Difference,
    Sums,
    compare,
    fixed_interval,
    needed_units,
    sample_ratio,
)
from contracts.experiment_results import (
    Comparison,
    ExperimentResults,
    Interval,
    MetricResult,
    SampleRatio,
    VariantResult,
)
from contracts.experiments import METRICS, Experiment, Metric

__all__ = ["ALPHA", "ArmSums", "results_of", "unit_sums_sql"]

ALPHA: Final = 0.05
_RATIO_ALARM: Final = 0.001
_COUNTS: Final = ("units", "impressions", "clicks", "purchases", "revenue", "total_revenue")
_SQUARES: Final = {
    "buyers": "SUM(IF(purchases > 0, 1, 0))",
    "impressions_2": "SUM(impressions * impressions)",
    "clicks_2": "SUM(clicks * clicks)",
    "clicks_impressions": "SUM(clicks * impressions)",
    "revenue_2": "SUM(revenue * revenue)",
    "total_revenue_2": "SUM(total_revenue * total_revenue)",
}


@dataclass(frozen=True, slots=True)
class ArmSums:
    """The sums over the units of one variant, as :func:`unit_sums_sql` gives them."""

    values: Mapping[str, float]

    def metric(self, metric: Metric) -> Sums:
        """The sums of a metric."""
        v = self.values
        n = float(v["units"])
        if metric == "click_through":
            counts = (v["clicks"], v["impressions"], v["clicks_2"], v["impressions_2"], v["clicks_impressions"])
            return Sums(int(n), *map(float, counts))
        y, yy = {
            "conversion": (v["buyers"], v["buyers"]),
            "revenue_per_unit": (v["revenue"], v["revenue_2"]),
            "total_revenue_per_unit": (v["total_revenue"], v["total_revenue_2"]),
        }[metric]
        return Sums(int(n), float(y), n, float(yy), n, float(y))

    def result(self, variant: str) -> VariantResult:
        """The totals."""
        v = self.values
        counts: dict[str, Any] = {name: int(v[name]) for name in _COUNTS[:4]}
        money: dict[str, Any] = {name: round(float(v[name]), 2) for name in _COUNTS[4:]}
        return VariantResult(variant=variant, **counts, **money)


NOTHING: Final = ArmSums(dict.fromkeys((*_COUNTS, *_SQUARES), 0.0))


def unit_sums_sql(table: str) -> str:
    """SQL: one row an experiment and variant, from the daily rows of ``units``.

    A unit counts from the day of its first impression on; who bought something and was never shown anything is no part
    of the experiment.
    """
    counts = [f"SUM({name}) AS {name}" for name in _COUNTS[1:]]
    sums = ", ".join(counts + [f"{expression} AS {name}" for name, expression in _SQUARES.items()])
    return f"""
        WITH begun AS (
            SELECT *, MIN(IF(impressions > 0, day, NULL)) OVER (PARTITION BY experiment, variant, unit) AS first
            FROM {table}
        ), whole AS (
            SELECT experiment, variant, unit, SUM(impressions) AS impressions, SUM(clicks) AS clicks,
                   SUM(purchases) AS purchases, SUM(revenue) AS revenue, SUM(total_revenue) AS total_revenue
            FROM begun WHERE day >= first GROUP BY experiment, variant, unit
        )
        SELECT experiment, variant, COUNT(*) AS units, {sums} FROM whole GROUP BY experiment, variant
    """


def results_of(
    experiment: Experiment,
    arms: Mapping[str, ArmSums],
    *,
    shop: str,
    made_at: datetime,
    days: tuple[str, str],
    dropped: int = 0,
    alpha: float = ALPHA,
) -> ExperimentResults:
    """All that is told of an experiment; a variant without a row has nothing yet."""
    control = experiment.control.name
    found = {variant.name: arms.get(variant.name, NOTHING) for variant in experiment.variants}
    others = [name for name in found if name != control]
    ratio = _ratio(experiment, {name: int(arm.values["units"]) for name, arm in found.items()})
    return ExperimentResults(
        experiment_id=experiment.id,
        shop=shop,
        made_at=made_at,
        first_day=days[0],
        last_day=days[1],
        alpha=alpha,
        primary=experiment.metric,
        control=control,
        variants=[arm.result(name) for name, arm in found.items()],
        metrics=[_estimate(metric, name, arm, alpha) for metric in METRICS for name, arm in found.items()],
        comparisons=[
            _comparison(experiment, metric, name, found[control], found[name], alpha)
            for metric in METRICS
            for name in others
        ],
        sample_ratio=ratio,
        dropped=dropped,
        notes=_notes(experiment, ratio, others),
    )


def _estimate(metric: Metric, name: str, arm: ArmSums, alpha: float) -> MetricResult:
    sums = arm.metric(metric)
    return MetricResult(
        metric=metric,
        variant=name,
        estimate=Interval(sums.value, *(fixed_interval(sums.value, sums.variance, alpha) if sums.units > 1 else ())),
    )


def _comparison(
    experiment: Experiment, metric: Metric, name: str, control: ArmSums, other: ArmSums, alpha: float
) -> Comparison:
    base, arm = control.metric(metric), other.metric(metric)
    planned = experiment.baseline if metric == experiment.metric and experiment.baseline else base.value
    effect = experiment.minimum_effect * planned
    needed = needed_units(base.unit_variance, effect) if effect and base.unit_variance else None
    found = compare(base, arm, effect or 1.0, alpha)
    told: dict[str, Any] = {"metric": metric, "variant": name, "needed_units": needed}
    if not (found.enough and effect):
        unsure = Interval(found.value)
        return Comparison(difference=unsure, fixed=unsure, relative=None, p_value=1.0, decided="open", **told)
    return Comparison(
        difference=Interval(found.value, *found.valid),
        fixed=Interval(found.value, *found.fixed),
        relative=Interval(*found.relative) if found.relative else None,
        p_value=found.p,
        decided=_decided(found),
        **told,
    )


def _decided(found: Difference) -> Any:
    return "better" if found.valid[0] > 0 else "worse" if found.valid[1] < 0 else "open"


def _ratio(experiment: Experiment, units: dict[str, int]) -> SampleRatio:
    weights = {variant.name: variant.weight for variant in experiment.variants}
    total = sum(weights.values())
    p = sample_ratio(units, weights)
    return SampleRatio(
        expected={name: round(weight / total, 6) for name, weight in weights.items()},
        observed=units,
        p_value=p,
        ok=p >= _RATIO_ALARM,
    )


def _notes(experiment: Experiment, ratio: SampleRatio, others: Sequence[str]) -> list[str]:
    notes = []
    if not ratio.ok:
        notes.append(
            f"the variants do not have the units that their weights ask for (p = {ratio.p_value:.2g}): something drops "
            "people of one variant; find it before you believe any other number"
        )
    if len(others) > 1:
        notes.append(f"{len(others)} variants are compared with the control, each at its own {ALPHA:.0%}")
    if experiment.baseline is None:
        notes.append("no baseline was planned: the sequential test is tuned to the control's present value")
    return notes
