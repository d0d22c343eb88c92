"""Judging a candidate before it is made: its twin without the newest days, the live model, popularity; equal cases."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from batch.checks import Finding
from batch.days import midnight_ms
from batch.evaluate import Case, evaluation, held_out_cases, judge, task_of, translate
from batch.gate import Decision, decide
from batch.lists import popular_items
from batch.metrics import cold_items, exposure_metrics
from batch.opponent import Opponent
from batch.ranker import Regression, RequestMoments
from batch.report_plots import calibration, popularity_bias
from batch.requests import moments_by_day
from batch.shown import Model, Shown, show
from batch.theta import ThetaChoice, cross_fit, score_block
from batch.work import Work

__all__ = ["Judgement", "Ranker", "judge_candidate"]

_SEED: Final = 7
_WINDOWS: Final = 3
"""The newest days are cut in so many windows of cases: θ has to hold on each."""


@dataclass(frozen=True, slots=True)
class Ranker:
    """The regression and θ; ``moments`` are those of the judged days, to be kept for later runs."""

    regression: Regression | None
    choice: ThetaChoice
    moments: Mapping[date, RequestMoments]

    @property
    def weights(self) -> dict[str, float]:
        """Coefficients by feature; empty without a regression."""
        found = self.regression
        return dict(zip(found.names, found.coefficients, strict=True)) if found else {}

    def plain(self) -> dict[str, Any]:
        """The manifest's ``ranker``."""
        fitted = {"regression": msgspec.to_builtins(self.regression)} if self.regression else {}
        return fitted | {"choice": msgspec.to_builtins(self.choice)}


@dataclass(frozen=True, slots=True)
class Judgement:
    """What came out: the manifest's ``metrics`` and ``evaluation``, the ranker, the gate, and the report's arrays."""

    decision: Decision
    metrics: dict[str, dict[str, float]]
    evaluation: dict[str, Any]
    ranker: Ranker
    extra: dict[str, Any]


def judge_candidate(
    work: Work, findings: Sequence[Finding], opponent: Opponent | None, earlier: RequestMoments, judge_from: date | None
) -> Judgement | None:
    """Train without the newest days, show lists to the people of those days, and decide.

    Args:
        findings: of the data checks.
        opponent: the live model.
        earlier: request moments of the days before, from earlier runs.
        judge_from: days before this are not looked at alone.

    Returns:
        None where there is nothing to learn from before the newest days.
    """
    data, recipe, options = work.data, work.recipe, work.options
    cut = data.last_day - timedelta(days=options.holdout_days - 1)
    if data.first_day >= cut:
        print(f"train: no actions before {cut}, so nothing to evaluate with", flush=True)
        return None
    cut_ms = midnight_ms(cut)
    task = task_of(data.log, cut_ms)
    cases = held_out_cases(data.log, cut_ms, seed=_SEED, most=options.cases, history=recipe.model.history, task=task)
    totals = work.sums.total("twin", min_units=recipe.solve.min_units, before=cut)
    lists: dict[str, npt.NDArray[Any]] = {}
    exposure: dict[str, dict[str, float]] = {}
    extra: dict[str, Any] = {}
    ranker = Ranker(None, ThetaChoice(theta=0.0, reason="no cases", requests=[], curve=[]), {})
    against = None
    if cases:
        model = Model(totals.items, work.solve("twin"), totals.events, recipe.lists, recipe.model, {})
        shown = show(model, data, cases, cut_ms, work.list_size, task)
        ranker, extra = _fit(shown, cases, earlier)
        rows = _rows(shown, ranker, totals.events)
        lists = {name: _placed(work, found, totals.items) for name, found in rows.items()}
        cold = cold_items(totals.units)
        wide = {name: np.broadcast_to(found, (len(cases), found.shape[-1])) for name, found in rows.items()}
        exposure = {name: exposure_metrics(found, totals.events, cold) for name, found in wide.items()}
        extra["popularity_bias"] = popularity_bias(totals.events, wide)
        if opponent:
            against, theirs = opponent.lists(work, cases, cut_ms, task)
            lists |= {} if theirs is None else {"incumbent": theirs}
    judged = judge(lists, cases)
    decision = decide(
        judged, findings, recipe.gate, incumbent=against, task=task, judge_from=judge_from, accepted=options.accept
    )
    found = evaluation(judged, exposure, task=task, seed=_SEED)
    return Judgement(decision, judged.means(), found, ranker, extra)


def _fit(shown: Shown, cases: Sequence[Case], earlier: RequestMoments) -> tuple[Ranker, dict[str, Any]]:
    """The ranker on windows of the cases, in the order of time."""
    block = shown.block
    assert block is not None
    order = np.argsort([case.began_ms for case in cases], kind="stable")
    windows = [block.take(part) for part in np.array_split(order, _WINDOWS) if len(part)]
    regression, choice, _ = cross_fit(windows, earlier)
    extra = {}
    if regression:
        scored = score_block(block, regression)
        extra["calibration"] = calibration(scored.ranker, scored.wanted, scored.present)
    return Ranker(regression, choice, moments_by_day(block)), extra


def _rows(shown: Shown, ranker: Ranker, events: Any) -> dict[str, npt.NDArray[Any]]:
    """Ranked items by model: 20 a case, or one list for all."""
    coefficients = ranker.regression.coefficients if ranker.regression else []
    return {
        "live": shown.live(coefficients, ranker.choice.theta).items,
        "batch": shown.batch.items[:, :20],
        "popularity": popular_items(events, 20).items[0],
    }


def _placed(work: Work, rows: npt.NDArray[Any], items: Sequence[str]) -> npt.NDArray[np.int32]:
    """Rows over all items of the window, so that no model's unknown items favour another."""
    return translate(rows, items, {item: at for at, item in enumerate(work.data.items)})
