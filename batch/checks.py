"""Whether the newest days look like those before them: checks of what was counted, before anything is trained on it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from batch.days import day_number, midnight_ms
from batch.log import Log
from batch.rules import CheckRule
from batch.units import DAY_MS
from contracts.events import ACTION_TYPES

__all__ = ["CHECKS", "CheckRule", "DayFacts", "Finding", "check_days", "checks_report", "facts_of"]

CHECKS: Final = (
    "volume",
    "unit_size",
    "malformed",
    "too_late",
    "duplicates",
    "bots",
    "top_item",
    "top_person",
    "stale",
)
"""The names of the checks; ``volume.<event type>`` looks at the actions of one type alone."""

_WEEK: Final = 7
_FEW: Final = 20
_MUCH: Final = 200

Doubles = npt.NDArray[np.float64]
Longs = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something odd. ``day`` is None where it concerns no single day.

    ``sentence`` says what happened, the value, what was expected, and what to do. ``severity`` "refuse" keeps the live
    model unless the check is accepted, see :func:`batch.gate.decide`.
    """

    check: str
    day: date | None
    value: float
    expected: str
    severity: Literal["refuse", "warn"]
    sentence: str

    @property
    def name(self) -> str:
        """What ``--accept`` takes: the check, and the day where there is one."""
        return f"{self.check}:{self.day}" if self.day else self.check


@dataclass(frozen=True, slots=True)
class DayFacts:
    """What the checks need to know of a day. Without ``types`` and ``top`` the checks that need them are silent.

    ``counts`` as in :class:`batch.partition.DayPartition`; ``types``: actions by event type; ``top``: the largest
    number of actions on one item and of one person, each with its id.
    """

    day: date
    counts: Mapping[str, int]
    types: Mapping[str, int] = field(default_factory=dict)
    top: Mapping[str, tuple[str, int]] = field(default_factory=dict)


def facts_of(
    counts: Mapping[date, Mapping[str, int]], log: Log, items: Sequence[str], newest: int = 120
) -> list[DayFacts]:
    """The facts of the ``newest`` days, by their counts and by the log (whose ``item`` are places in ``items``).

    More than eight weeks, because a live model may be weeks old, and the days since are all judged.
    """
    if not counts:
        return []
    last = max(counts)
    known = [day for day in sorted(counts) if (last - day).days < newest]
    base = day_number(last) - newest + 1
    rows = np.flatnonzero((log.ms >= base * DAY_MS) & (log.ms < (base + newest) * DAY_MS))
    day = log.ms[rows] // DAY_MS - base
    width = len(ACTION_TYPES)
    types = np.bincount(day * width + log.type[rows], minlength=newest * width).reshape(newest, width)
    person = np.searchsorted(log.offsets, rows, side="right") - 1
    tops = {"top_item": _largest(day, log.item[rows], items), "top_person": _largest(day, person, log.subjects)}
    facts = []
    for one in known:
        at = day_number(one) - base
        by_type = {name: int(number) for name, number in zip(ACTION_TYPES, types[at], strict=True)}
        facts.append(DayFacts(one, counts[one], by_type, {name: top[at] for name, top in tops.items() if at in top}))
    return facts


def _largest(day: Longs, which: npt.NDArray[Any], names: Sequence[str]) -> dict[int, tuple[str, int]]:
    """The commonest of each day and how often it occurs."""
    keys, number = np.unique(day * max(len(names), 1) + which, return_counts=True)
    order = np.lexsort((number, keys // max(len(names), 1)))
    of_day = keys[order] // max(len(names), 1)
    ends = order[np.flatnonzero(np.diff(of_day, append=-1))]
    return {int(keys[at] // len(names)): (names[int(keys[at] % len(names))], int(number[at])) for at in ends}


def check_days(
    facts: Sequence[DayFacts], now_ms: int, rule: CheckRule | None = None, *, judge_from: date | None = None
) -> list[Finding]:
    """Everything odd about the days from ``judge_from`` on, oldest first.

    How much there is can be told of complete days only; shares (of bots, malformed records, one item) of any day.

    Args:
        facts: any days; one that is missing between the first and the newest had no action.
        now_ms: days that ended less than ``rule.grace_minutes`` ago are not complete.
        judge_from: the day on which the live model's data end (default: the newest eight days). What a model that is
            already live was trained on is not judged again.

    The days after the newest action are not judged one by one; ``stale`` warns of them once.
    """
    rule = rule or CheckRule()
    active = [fact.day for fact in facts if fact.counts.get("actions")]
    if not active:
        return []
    table = _Table.of(facts, max(active))
    findings: list[Finding] = []
    for at, day in enumerate(table.days):
        if day < (judge_from or table.days[-1] - timedelta(days=_WEEK)):
            continue
        complete = midnight_ms(day + timedelta(days=1)) + rule.grace_minutes * 60_000 <= now_ms
        for check in (*_AMOUNTS, *_SHARES) if complete else _SHARES:
            findings += check(table, at, rule)
    return findings + _stale(max(active), now_ms, rule)


@dataclass(frozen=True, slots=True)
class _Table:
    """Consecutive days, and the counts by name as one array each."""

    days: list[date]
    facts: list[DayFacts]
    counts: dict[str, Doubles]

    @classmethod
    def of(cls, facts: Sequence[DayFacts], last: date) -> "_Table":
        known = {fact.day: fact for fact in facts}
        first = min(known)
        days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
        rows = [known.get(day, DayFacts(day, {})) for day in days]
        counts = {name: np.array([row.counts.get(name, 0) for row in rows], float) for name in ("actions", "units")}
        bad = [sum(n for name, n in row.counts.items() if name.startswith("malformed.")) for row in rows]
        counts["malformed"] = np.array(bad, float)
        for name in ("too_late", "duplicates", "bots", "bot_actions"):
            counts[name] = np.array([row.counts.get(name, 0) for row in rows], float)
        ignored = [sum(n for name, n in row.counts.items() if name.startswith("ignored.")) for row in rows]
        kept = counts["actions"] + counts["bot_actions"] + counts["duplicates"] + counts["too_late"]
        counts["records"] = kept + counts["malformed"] + np.array(ignored, float)
        typed = all(row.types for row in rows if row.counts.get("actions"))
        for name in ACTION_TYPES:  # half a history would look like a type that came into use
            counts[f"volume.{name}"] = np.array([row.types.get(name, 0) if typed else 0 for row in rows], float)
        return cls(days, rows, counts)

    def share(self, part: str, whole: str) -> Doubles:
        """One count as a share of another, 0 where there is nothing."""
        found: Doubles = self.counts[part] / np.maximum(self.counts[whole], 1)
        return found


@dataclass(frozen=True, slots=True)
class _Usual:
    """The median of the reference, the spread of its logarithms, and what the reference is."""

    middle: float
    spread: float
    words: str


def _usual(values: Doubles, units: Doubles, at: int, day: date, rule: CheckRule) -> _Usual | None:
    """What to expect of ``values[at]`` from the days before it; None where nothing can be said."""
    past = values[:at][::-1][: rule.weeks * _WEEK]  # newest first
    weekly = len(past) >= rule.least_weeks * _WEEK
    alike = slice(_WEEK - 1, None, _WEEK) if weekly else slice(None)
    sample = units[:at][::-1][: rule.weeks * _WEEK][alike]
    if len(past) < _WEEK or np.median(sample) < rule.least_units:
        return None
    middle = float(np.median(past[alike]))
    if middle <= 0:
        return None
    words = (
        f"the median of the last {len(sample)} {day:%A}s" if weekly else f"the median of the {len(past)} days before"
    )
    groups = [past[shift::_WEEK] for shift in range(_WEEK)] if weekly else [past]
    apart = np.concatenate([np.log((group + 1) / (np.median(group) + 1)) for group in groups])
    deviation = 1.4826 * float(np.median(np.abs(apart)))  # which is the standard deviation, were the law normal
    spread = float(np.hypot(max(deviation, rule.noise), 1 / np.sqrt(np.median(sample))))
    return _Usual(middle, spread, words)


def _level(
    table: _Table, values: Doubles, at: int, rule: CheckRule, check: str, noun: str, hint: str
) -> Iterator[Finding]:
    """Too little is refused, too much is worth a word."""
    day, value = table.days[at], float(values[at])
    usual = _usual(values, table.counts["units"], at, day, rule)
    if usual is None:
        return
    away = np.log((value + 1) / (usual.middle + 1)) / usual.spread
    low = min(rule.least_share, float(np.exp(-rule.deviations * usual.spread))) * usual.middle
    about = f"{_told(value)} {noun} on {day:%A} {day}; expected about {_told(usual.middle)}, {usual.words}"
    if value < rule.least_share * usual.middle and away < -rule.deviations:
        expected = f"{_told(low)} or more"
        yield Finding(
            check, day, value, expected, "refuse", f"{about}, and at least {_told(low)}: {hint} {_or(check, day)}"
        )
    elif value > usual.middle / rule.least_share and away > rule.deviations:
        expected = f"about {_told(usual.middle)}"
        yield Finding(check, day, value, expected, "warn", f"{about}. A campaign, or a test against the live shop?")


def _volume(table: _Table, at: int, rule: CheckRule) -> Iterator[Finding]:
    day = table.days[at]
    folder = f"events/year={day:%Y}/month={day:%m}/day={day:%d}/"
    hint = "events are missing. Look for gaps at the collector, the stream and Firehose, and in "
    hint += f"{folder}; then train again"
    if whole := list(_level(table, table.counts["actions"], at, rule, "volume", "actions", hint)):
        yield from whole
        return  # the types would say the same again
    for name in ACTION_TYPES:
        check = f"volume.{name}"
        why = f"only events of type {name} are missing. Look at what the shop's page sends; then train again"
        yield from _level(table, table.counts[check], at, rule, check, f"{name} actions", why)


def _unit_size(table: _Table, at: int, rule: CheckRule) -> Iterator[Finding]:
    """Single events lost at random thin out the units, also on a day busy enough to hide that in the total."""
    hint = "single events of the visits are missing. Look for dropped or throttled records; then train again"
    if table.counts["units"][at] >= rule.least_units:
        noun = "actions a unit (a session, or a person's day)"
        yield from _level(table, table.share("actions", "units"), at, rule, "unit_size", noun, hint)


def _shares(
    shares: Doubles, table: _Table, at: int, limits: tuple[float, float], check: str, what: str, hint: str
) -> Iterator[Finding]:
    """A share of the day that is too large in itself and three times the usual."""
    day, share = table.days[at], float(shares[at])
    before = shares[:at][-8 * _WEEK :]
    usual = float(np.median(before)) if len(before) else 0.0
    if share <= max(limits[0], 3 * usual):
        return
    refuse = share > limits[1]
    limit = max(limits[1 if refuse else 0], 3 * usual)
    told = f"{share:.1%} of {what} on {day:%A} {day}; expected at most {limit:.1%}, usual are {usual:.1%}: {hint}"
    told += f" {_or(check, day)}" if refuse else "."
    yield Finding(check, day, round(share, 6), f"{limit:.1%} or less", "refuse" if refuse else "warn", told)


def _bad(table: _Table, at: int, rule: CheckRule) -> Iterator[Finding]:
    limits = (rule.bad_warn, rule.bad_refuse)
    if table.counts["malformed"][at] >= _FEW:
        reasons = {n: c for n, c in table.facts[at].counts.items() if n.startswith("malformed.")}
        most = max(reasons, key=lambda name: reasons[name])
        hint = f"mostly {most.removeprefix('malformed.')!r}. Look in dead-letter/ and at what was deployed; "
        hint += "then train again"
        shares = table.share("malformed", "records")
        yield from _shares(shares, table, at, limits, "malformed", "the records were malformed", hint)
    if table.counts["too_late"][at] >= _FEW:
        hint = "their days are closed. Raise moments.late_days to read them, which makes every day anew"
        shares = table.share("too_late", "records")
        yield from _shares(shares, table, at, limits, "too_late", "the records came days too late", hint)
    if table.counts["duplicates"][at] >= _FEW:
        hint = "they count once, so the model is right, but somebody sends everything again"
        shares, once = table.share("duplicates", "records"), (rule.duplicates_warn, 1.0)
        yield from _shares(shares, table, at, once, "duplicates", "the records were repeats", hint)


def _bots(table: _Table, at: int, rule: CheckRule) -> Iterator[Finding]:
    day, bots, done = table.days[at], int(table.counts["bots"][at]), int(table.counts["bot_actions"][at])
    if not bots:
        return
    share = done / (done + table.counts["actions"][at])
    told = f"{bots} bot-like visitor{'s' * (bots > 1)} did {done:,} actions on {day:%A} {day}, {share:.0%} of the day; "
    told += f"expected at most {rule.bots_refuse:.0%}. They are left out of the model"
    refuse = share > rule.bots_refuse and done >= _MUCH
    told += f", but look who it is and block them; then train again {_or('bots', day)}" if refuse else "."
    yield Finding("bots", day, done, f"{rule.bots_refuse:.0%} of the day or less", "refuse" if refuse else "warn", told)


def _top(table: _Table, at: int, rule: CheckRule) -> Iterator[Finding]:
    actions = table.counts["actions"]
    if actions[at] < _MUCH or table.counts["units"][at] < rule.least_units:
        return
    for check, what in (("top_item", "item"), ("top_person", "person")):
        most = np.array([fact.top.get(check, ("", 0))[1] for fact in table.facts], float)
        who = table.facts[at].top.get(check, ("", 0))[0]
        hint = f"{what} {who!r}. Look whether a script or a broken page sends it; then train again"
        shares = most / np.maximum(actions, 1)
        noun = "the actions were on one item" if check == "top_item" else "the actions were one person's"
        yield from _shares(shares, table, at, (rule.top_warn, rule.top_refuse), check, noun, hint)


def _stale(newest: date, now_ms: int, rule: CheckRule) -> list[Finding]:
    today = datetime.fromtimestamp((now_ms - rule.grace_minutes * 60_000) / 1000, UTC).date()
    missing = (today - newest).days - 1
    if missing < 1:
        return []
    told = f"the newest action is of {newest}; the {missing} complete day{'s' * (missing > 1)} after it held none. "
    told += "Expected actions up to yesterday: is the stream delivering to the lake?"
    return [Finding("stale", None, missing, "0 days without an action", "warn", told)]


_Check = Callable[[_Table, int, CheckRule], Iterator[Finding]]
_AMOUNTS: Final[tuple[_Check, ...]] = (_volume, _unit_size)
_SHARES: Final[tuple[_Check, ...]] = (_bad, _bots, _top)


def _told(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"


def _or(check: str, day: date) -> str:
    return f"(to train on the day as it is: --accept {check}:{day})."


def checks_report(findings: Sequence[Finding]) -> dict[str, Any]:
    """The manifest's ``checks``: every check with what it found, or that it found nothing."""
    rows: list[dict[str, Any]] = []
    for check in CHECKS:
        found = [one for one in findings if one.check.partition(".")[0] == check]
        rows += [
            {
                "check": one.check,
                "day": one.day.isoformat() if one.day else None,
                "value": one.value,
                "expected": one.expected,
                "level": one.severity,
                "sentence": one.sentence,
            }
            for one in found
        ] or [{"check": check, "level": "ok"}]
    return {"checks": rows}
