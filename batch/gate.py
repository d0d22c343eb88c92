"""Whether a candidate goes live: only if it is not worse, by a rule written down before the figures are known."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final, Literal

import msgspec
import numpy as np

from batch.checks import CHECKS, Finding
from batch.compare import LEVEL, Paired, bootstrap
from batch.days import day_number, day_of
from batch.evaluate import Judged
from batch.rules import GateRule
from batch.units import DAY_MS
from contracts.errors import SettingsError
from contracts.events import ACTION_TYPES

__all__ = ["Decision", "GateRule", "Incumbent", "check_accepted", "decide", "opponent", "same_model"]

_SEED: Final = 11
_GATE_CHECKS: Final = ("popularity", "incumbent", "record", "labels")


@dataclass(frozen=True, slots=True, kw_only=True)
class Incumbent:
    """The model that is live, and how it takes part, see :func:`opponent`.

    ``recorded`` is its manifest's ``metrics``, ``task`` that of its evaluation; cases that began before ``since_ms``
    are not its.
    """

    version: str
    how: Literal["snapshot", "refit", "same"]
    since_ms: int = 0
    recorded: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    task: str | None = None


def opponent(
    version: str,
    window_end_ms: int,
    cut_ms: int,
    began_ms: Sequence[int],
    *,
    same_recipe: bool,
    rule: GateRule,
    recorded: Mapping[str, Mapping[str, float]] | None = None,
    task: str | None = None,
) -> Incumbent:
    """How to compare with the live model without giving either side the answers.

    The candidate is judged by its *twin*: the same recipe, trained only on the days before the cut.

    * ``snapshot``: the live model's data ended before the cut, or within the day that begins there, and at least
      ``rule.least_cases`` cases began after that: its own lists are compared on these cases. (Where its data go on
      after the cut, it would know days that the twin was denied, also for cases that neither has seen.)
    * ``same``: it has; but its recipe is the candidate's, so on equal days the two are one model: a tie. The data
      checks, popularity and its recorded lead decide.
    * ``refit``: the live model's recipe is trained on the twin's days, and that is compared.

    Args:
        window_end_ms: where the live model's data ended.
        cut_ms: where the twin's data ended.
        began_ms: of the cases.
        same_recipe: whether all that makes the model (moments, solve, lists, scoring, window) is equal.
    """
    fair = int((np.asarray(began_ms, np.int64) >= window_end_ms).sum())
    how: Literal["snapshot", "refit", "same"] = "same" if same_recipe else "refit"
    if window_end_ms < cut_ms + DAY_MS and fair >= rule.least_cases:
        how = "snapshot"
    since = window_end_ms if how == "snapshot" else 0
    return Incumbent(version=version, how=how, since_ms=since, recorded=recorded or {}, task=task)


@dataclass(frozen=True, slots=True)
class Decision:
    """What came out. ``sentences`` are for people, the refusals first; ``numbers`` for programs."""

    publish: bool
    sentences: list[str]
    numbers: dict[str, Any]
    findings: list[Finding]
    accepted: list[str]

    def plain(self, rule: GateRule) -> dict[str, Any]:
        """The manifest's ``gate``."""
        return {
            "decision": "publish" if self.publish else "refuse",
            "rule": msgspec.to_builtins(rule),
            "sentences": self.sentences,
            "numbers": self.numbers,
            "refused_by": [found.name for found in self.findings if found.severity == "refuse"],
            "accepted": self.accepted,
        }


def same_model(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Whether two recipes, as plain values, make equal models of equal days: thresholds of the gate do not count.

    >>> same_model({"solve": {"l0": 20}, "gate": {"margin": 0}}, {"solve": {"l0": 20}, "settings_digest": "ab"})
    True
    """
    return all(mine.get(group) == theirs.get(group) for group in ("moments", "window", "solve", "lists", "model"))


def check_accepted(accepted: Collection[str]) -> None:
    """See that every ``CHECK`` or ``CHECK:DAY`` of ``--accept`` names a check.

    >>> check_accepted(["labels:2026-01-31", "volume.purchase"])

    Raises:
        SettingsError: one does not; the message lists the checks.
    """
    known = [*CHECKS, *(f"volume.{name}" for name in ACTION_TYPES), *_GATE_CHECKS]
    for name in accepted:
        check, _, day = name.partition(":")
        try:
            date.fromisoformat(day or "2000-01-01")
        except ValueError:
            check = ""
        if check not in known:
            message = f"--accept {name!r} names no check; expected CHECK or CHECK:YYYY-MM-DD with CHECK one of {known}"
            raise SettingsError(message)


def decide(
    judged: Judged,
    findings: Sequence[Finding],
    rule: GateRule,
    *,
    incumbent: Incumbent | None,
    task: str | None = None,
    judge_from: date | None = None,
    accepted: Collection[str] = (),
) -> Decision:
    """Publish, or keep what is live.

    Refused is a candidate of which any of these holds, unless the check is in ``accepted`` (as ``CHECK`` or
    ``CHECK:DAY``, the names of :attr:`Finding.name`):

    * a data check says "refuse" (:mod:`batch.checks`);
    * ``popularity``: its first metric is not above popularity's on the same cases;
    * ``incumbent``: on any of ``rule.metrics`` it is surely (the 95 % interval of the paired difference lies below 0)
      and noticeably (by more than ``rule.margin``) worse than the live model on the same cases;
    * ``record``: its lead over popularity is surely below ``rule.least_lead`` of the lead the live model recorded when
      it was published (other cases, hence the lead and not the figure itself, and hence so wide a bound);
    * ``labels``: on one day its lead is surely below ``rule.least_lead`` of its lead on the other days (of the recorded
      lead, where there are none): that day's people and items do not belong together.

    Without a live model only ``popularity`` can refuse: anything better than popularity is better than nothing. Below
    ``rule.least_cases`` cases the figures are not used, and clean data suffice.

    Args:
        judged: "live" (the twin's live list), "popularity", and "incumbent" unless there is none or it is the same.
        findings: of :func:`batch.checks.check_days`.
        task: what the cases ask; a record of another task is not compared.
        judge_from: days before this are not looked at alone: the live model was trained on them and is live.
    """
    enough = len(judged) >= rule.least_cases
    numbers: dict[str, Any] = {"cases": len(judged)}
    found = list(findings)
    if enough:
        found += _popularity(judged, rule, numbers)
        if incumbent:
            found += _incumbent(judged, rule, incumbent, numbers)
            found += _record(judged, rule, incumbent, task, numbers)
        usual = _recorded_lead(incumbent, rule, task)
        found += _labels(judged, rule, judge_from, usual, numbers)
    standing = [one for one in found if one.severity == "refuse" and not _is_accepted(one, accepted)]
    if enough and not incumbent:
        standing = [one for one in standing if one.check == "popularity"]
    publish = not standing
    sentences = [*(one.sentence for one in standing), _verdict(publish, enough, incumbent, rule, numbers)]
    sentences += [one.sentence for one in found if one not in standing and one.severity == "warn"]
    passed = [one for one in found if one.severity == "refuse" and one not in standing]
    for one in passed:
        why = "Accepted by --accept" if _is_accepted(one, accepted) else "Not a reason while nothing is live"
        sentences.append(f"{why}: {one.sentence}")
    return Decision(publish, sentences, numbers, standing + passed, sorted(accepted))


def _is_accepted(found: Finding, accepted: Collection[str]) -> bool:
    return not {found.name, found.check, found.check.partition(".")[0]}.isdisjoint(accepted)


def _verdict(
    publish: bool, enough: bool, incumbent: Incumbent | None, rule: GateRule, numbers: Mapping[str, Any]
) -> str:
    if not publish:
        return f"The live model {incumbent.version} stays." if incumbent else "Nothing goes live."
    if not enough:
        few = f"only {numbers['cases']} cases of at least {rule.least_cases} to judge by"
        return f"Published because the data checks are clean; {few}, so no figure was used."
    lead = numbers["popularity"]
    told = f"{rule.metrics[0]} {lead['live']:.3f} against popularity's {lead['popularity']:.3f}"
    if incumbent is None:
        return f"Published: nothing was live, and {told} on {numbers['cases']:,} cases."
    if not numbers["incumbent"]["metrics"]:
        return f"Published: {incumbent.version} trained on newer days; {told} on {numbers['cases']:,} cases."
    against = numbers["incumbent"]["metrics"][rule.metrics[0]]
    how = "" if incumbent.how == "snapshot" else ", its recipe trained on the same days"
    return (
        f"Published: not worse than {incumbent.version}{how}: {rule.metrics[0]} {against['live']:.3f} against "
        f"{against['incumbent']:.3f} on {numbers['incumbent']['cases']:,} cases, and {told}."
    )


def _plain(test: Paired) -> dict[str, float]:
    return {"difference": test.difference, "low": test.low, "high": test.high, "p": test.p}


def _popularity(judged: Judged, rule: GateRule, numbers: dict[str, Any]) -> Iterator[Finding]:
    metric = rule.metrics[0]
    test = judged.compare("live", "popularity", metric, _SEED)
    ours, theirs = (float(judged.of(model, metric).mean()) for model in ("live", "popularity"))
    numbers["popularity"] = {"metric": metric, "live": ours, "popularity": theirs} | _plain(test)
    if test.difference <= 0:
        told = (
            f"The candidate's {metric} is {ours:.3f} on {len(judged):,} cases, popularity's {theirs:.3f}; expected "
            "more than by showing everybody the same best sellers. Look whether ids of people and items changed, and "
            "at the recipe (to publish it nevertheless: --accept popularity)."
        )
        yield Finding("popularity", None, round(ours, 6), f"above {theirs:.3f}", "refuse", told)


def _incumbent(judged: Judged, rule: GateRule, incumbent: Incumbent, numbers: dict[str, Any]) -> Iterator[Finding]:
    if incumbent.how == "same" or "incumbent" not in judged.models:
        numbers["incumbent"] = {"version": incumbent.version, "how": incumbent.how, "cases": 0, "metrics": {}}
        return
    fair = judged.only(judged.began_ms >= incumbent.since_ms)
    tests = {metric: fair.compare("live", "incumbent", metric, _SEED) for metric in rule.metrics}
    means = fair.means()
    figures = {
        metric: {model: means[model][metric] for model in ("live", "incumbent")} | _plain(test)
        for metric, test in tests.items()
    }
    numbers["incumbent"] = {
        "version": incumbent.version,
        "how": incumbent.how,
        "cases": len(fair),
        "metrics": figures,
    }
    which = "" if incumbent.how == "snapshot" else " (its recipe, trained on the same days)"
    for metric, test in tests.items():
        ours, theirs = means["live"][metric], means["incumbent"][metric]
        least = (1 - rule.margin) * theirs
        if test.high < 0 and ours < least:
            told = (
                f"The candidate's {metric} is {ours:.3f} on {len(fair):,} cases, that of the live {incumbent.version}"
                f"{which} {theirs:.3f}: {test.difference:+.3f}, {LEVEL:.0%} interval {test.low:+.3f} to "
                f"{test.high:+.3f}, p = {test.p:.3f}. Expected at least {least:.3f}, or a difference that may be "
                "chance. Look at what changed in the recipe (to publish it nevertheless: --accept incumbent)."
            )
            yield Finding("incumbent", None, ours, f"{least:.3f} or more", "refuse", told)


def _recorded_lead(incumbent: Incumbent | None, rule: GateRule, task: str | None) -> float | None:
    if incumbent is None or (task and incumbent.task and task != incumbent.task):
        return None
    figures = [incumbent.recorded.get(model, {}).get(rule.metrics[0]) for model in ("live", "popularity")]
    return None if figures[0] is None or figures[1] is None else figures[0] - figures[1]


def _record(
    judged: Judged, rule: GateRule, incumbent: Incumbent, task: str | None, numbers: dict[str, Any]
) -> Iterator[Finding]:
    recorded = _recorded_lead(incumbent, rule, task)
    if recorded is None or recorded <= 0:
        return
    lead = numbers["popularity"]
    least = rule.least_lead * recorded
    numbers["record"] = {"lead": lead["difference"], "recorded": round(recorded, 6)}
    if lead["high"] < least:
        told = (
            f"The candidate leads popularity by {lead['difference']:.3f} in {rule.metrics[0]} (at most "
            f"{lead['high']:.3f}); the live {incumbent.version} did by {recorded:.3f} when it was published. Expected "
            f"at least {least:.3f}. Many days of the window may be damaged: look at the days of the report "
            "(to publish it nevertheless: --accept record)."
        )
        yield Finding("record", None, lead["difference"], f"{least:.3f} or more", "refuse", told)


def _labels(
    judged: Judged, rule: GateRule, judge_from: date | None, recorded: float | None, numbers: dict[str, Any]
) -> Iterator[Finding]:
    """Days on which knowing a person helps far less than on others.

    The lead over popularity and not the figure itself, because shuffled labels leave popularity as good as it was, and
    a strange day (a holiday) is strange to both.
    """
    metric = rule.metrics[0]
    lead = judged.of("live", metric) - judged.of("popularity", metric)
    first = day_number(judge_from) if judge_from else 0
    numbers["days"] = {}
    for number in np.unique(judged.day):
        here = judged.day == number
        if number < first or here.sum() < rule.least_day_cases:
            continue
        drawn = bootstrap(lead[here][:, None], judged.person[here], _SEED)[:, 0]
        usual, drawn_usual = recorded or 0.0, np.array([recorded or 0.0])
        if (~here).sum() >= rule.least_day_cases:
            usual = float(lead[~here].mean())
            drawn_usual = bootstrap(lead[~here][:, None], judged.person[~here], _SEED + 1)[:, 0]
        tail = (1 - rule.day_level) / 2
        day = day_of(int(number))
        numbers["days"][day.isoformat()] = {"lead": round(float(lead[here].mean()), 6), "usual": round(usual, 6)}
        if np.quantile(drawn_usual, tail) <= 0 or np.quantile(drawn - rule.least_lead * drawn_usual, 1 - tail) >= 0:
            continue
        means = judged.only(here).means()
        told = (
            f"On {day:%A} {day} the {metric} of a model of the days before is {means['live'][metric]:.3f} and "
            f"popularity's {means['popularity'][metric]:.3f}, on {int(here.sum()):,} cases: a lead of "
            f"{lead[here].mean():+.3f}, usual is {usual:+.3f}, expected at least {rule.least_lead * usual:+.3f}. The "
            "people, sessions and items of that day do not belong together: look at what the shop deployed and at the "
            "day's records; repair or remove its objects in the lake, then train again "
            f"(to train on the day as it is: --accept labels:{day})."
        )
        yield Finding("labels", day, round(float(lead[here].mean()), 6), f"{usual:.3f}", "refuse", told)
