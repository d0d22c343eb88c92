"""The search as a stage of a run: on the days before those that judge the candidate."""

from datetime import timedelta
from typing import TYPE_CHECKING

from batch.choose import HISTORY, SEARCH_BASE, choose_blend, choose_recipe, sample_of
from batch.days import midnight_ms
from batch.search import Choice, Step, with_values
from batch.trial import Trials
from batch.work import Work

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["searched"]


def searched(work: Work, spark: "SparkSession") -> Choice | None:
    """The best settings for the two weeks before the one that judges; None where there is too little to choose by."""
    days = max(work.options.holdout_days, 1)
    cut = work.data.last_day - timedelta(days=days - 1)
    first_ms, cut_ms = midnight_ms(cut - timedelta(days=2 * days)), midnight_ms(cut)
    sample = sample_of(work.data.log, first_ms, cut_ms, work.recipe, work.data.repeatable(work.data.items))
    if sample is None:
        return None
    choice = choose_recipe(spark, sample.problem, work.recipe, work.scratch, _say, {"model.history": HISTORY})
    names = [work.data.items[at] for at in sample.places()]
    trials = Trials(work.scratch, work.scratch / "trials")
    last = choose_blend(trials, with_values(choice.recipe, SEARCH_BASE), sample, work.data.repeatable(names))
    for step in last.curve:
        _say(step)
    blend = {"model.blend": last.recipe.model.blend}
    return Choice(with_values(choice.recipe, blend), last.value, [*choice.curve, *last.curve])


def _say(step: Step) -> None:
    changed = ", ".join(f"{name} {value}" for name, value in step.settings.items())
    told = "a starting point" if step.coordinate == "start" else changed
    print(f"train: search     {step.value:.4f}  {step.coordinate}: {told}", flush=True)
