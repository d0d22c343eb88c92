"""What is told of an experiment follows from the sums over its units, and too little is told as too little."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from batch.experiment_results import ArmSums, results_of
from batch.experiment_statistics import Sums
from batch.plan_experiment import main as plan_experiment
from contracts.errors import ContractError
from contracts.experiment_results import Comparison, ExperimentResults, decode_results, encode_results
from contracts.experiments import METRICS, Experiment, Variant

AT = datetime(2026, 1, 9, tzinfo=UTC)
EXPERIMENT = Experiment(
    id="e", status="running", start=AT, variants=(Variant(name="a"), Variant(name="b"), Variant(name="c", weight=2.0))
)


def arm(rng: Any, units: int, buys: float = 0.2) -> tuple[ArmSums, dict[str, Any]]:
    """A variant's sums, and the people they are of."""
    impressions = 1 + rng.poisson(5, units)
    clicks = rng.binomial(impressions, 0.1)
    bought = rng.random(units) < buys
    revenue = np.where(bought, rng.gamma(2, 10, units), 0.0)
    total = revenue + rng.gamma(1, 5, units)
    people = {
        "x": impressions.astype(float),
        "y": clicks.astype(float),
        "bought": bought * 1.0,
        "r": revenue,
        "t": total,
    }
    values = {
        "units": units, "impressions": impressions.sum(), "clicks": clicks.sum(), "purchases": bought.sum(),
        "revenue": revenue.sum(), "total_revenue": total.sum(), "buyers": bought.sum(),
        "impressions_2": (impressions**2).sum(), "clicks_2": (clicks**2).sum(),
        "clicks_impressions": (clicks * impressions).sum(), "revenue_2": (revenue**2).sum(),
        "total_revenue_2": (total**2).sum(),
    }  # fmt: skip
    return ArmSums({name: float(value) for name, value in values.items()}), people


def told(arms: dict[str, ArmSums]) -> ExperimentResults:
    return results_of(EXPERIMENT, arms, shop="default", made_at=AT, days=("2026-01-09", "2026-01-12"))


def comparison(found: ExperimentResults, metric: str, variant: str) -> Comparison:
    (one,) = (each for each in found.comparisons if (each.metric, each.variant) == (metric, variant))
    return one


def test_sums_of_the_daily_tables_are_those_of_the_people() -> None:
    sums, people = arm(np.random.default_rng(1), 500)
    expected = {
        "click_through": Sums.of(people["y"], people["x"]),
        "conversion": Sums.of(people["bought"]),
        "revenue_per_unit": Sums.of(people["r"]),
        "total_revenue_per_unit": Sums.of(people["t"]),
    }
    for metric in METRICS:
        found = sums.metric(metric)
        assert (found.value, found.variance) == pytest.approx((expected[metric].value, expected[metric].variance))


def test_every_metric_of_every_variant_is_told_and_comes_back_from_json() -> None:
    rng = np.random.default_rng(2)
    found = told({"a": arm(rng, 2000)[0], "b": arm(rng, 2000, 0.4)[0], "c": arm(rng, 4000)[0]})
    assert decode_results(encode_results(found)) == found
    assert len(found.metrics) == 3 * len(METRICS) and len(found.comparisons) == 2 * len(METRICS)
    better, same = comparison(found, "conversion", "b"), comparison(found, "conversion", "c")
    assert (better.decided, same.decided) == ("better", "open")
    assert better.difference.low is not None and better.fixed.low is not None
    assert 0 < better.difference.low < better.fixed.low < better.fixed.value
    assert better.relative is not None and better.relative.value == pytest.approx(1.0, abs=0.2)
    assert found.sample_ratio.ok and found.sample_ratio.expected == {"a": 0.25, "b": 0.25, "c": 0.5}
    with pytest.raises(ContractError, match=r"batch\.attribution"):
        decode_results(b"[]")


def test_the_worse_variant_is_called_worse() -> None:
    rng = np.random.default_rng(3)
    found = told({"a": arm(rng, 3000, 0.4)[0], "b": arm(rng, 3000, 0.2)[0], "c": arm(rng, 6000, 0.4)[0]})
    assert comparison(found, "conversion", "b").decided == "worse"


def test_a_variant_that_lost_its_people_is_told_before_all_else() -> None:
    rng = np.random.default_rng(4)
    found = told({"a": arm(rng, 2000)[0], "b": arm(rng, 2000)[0], "c": arm(rng, 2000)[0]})
    assert not found.sample_ratio.ok and found.notes[0].startswith("the variants do not have the units")


@pytest.mark.parametrize("units", [0, 1, 30])
def test_too_few_people_are_told_without_a_verdict(units: int) -> None:
    arms = {name: arm(np.random.default_rng(5), units)[0] for name in ("a", "b")} if units else {}
    found = told(arms)
    assert {each.decided for each in found.comparisons} == {"open"}
    assert {each.p_value for each in found.comparisons} == {1.0}
    assert all(each.difference.low is None for each in found.comparisons)
    assert decode_results(encode_results(found)) == found  # no infinity and no NaN, which JSON does not know


@pytest.mark.parametrize(
    "wrong", [["--rate", "1.5"], ["--mean", "3"], ["--rate", "x"], ["--rate", "0.1", "--power", "2"]]
)
def test_a_plan_without_sense_is_refused(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        plan_experiment([*wrong, "--effect", "0.1"])
    assert refused.value.code == 2


def test_a_plan_tells_people_and_days(capsys: pytest.CaptureFixture[str]) -> None:
    assert plan_experiment(["--mean", "10", "--sd", "20", "--effect", "0.1", "--people-a-day", "1000"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("6,280 people for each of 2 variants") and told[1] == "13 days at 1,000 people a day"
