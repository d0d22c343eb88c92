"""Which impression a click and a purchase are credited to: pure, on the events of whole people.

The rule, in this order:

1. One *touch* is one item on one answer to one person, by ``request_id`` and item. However often it is reported, it is
   one impression, at its first report; and at most one click. A click whose impression was lost counts as both.
2. A purchase of an item is credited once: to the person's last click on that item in the 7 days before it; else to
   the last impression of it in the 24 hours before. A purchase with neither is nobody's.
3. A touch counts on the UTC day of its impression, whenever the purchase came.
4. Touches of a request id that is not the product's, or that claims a variant which the assignment denies, are dropped
   and counted. So are people with more than :data:`MOST_TOUCHES` touches a day: programs.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd

from contracts.assignment import assign
from contracts.attribution import AFTER_CLICK_MS, AFTER_VIEW_MS
from contracts.experiments import Experiment
from contracts.request_ids import explored, read_request_id

__all__ = ["MOST_TOUCHES", "Credited", "Owners", "credit"]

MOST_TOUCHES: Final = 5_000
_DAY_MS: Final = 24 * 3_600_000
_NOBODY: Final = ("", 0)
_KEY: Final = ["person", "item_id", "request_id"]


Owners = Mapping[str, tuple[str, int]]
"""Visitor (``a.…``) → the user it turned out to be (``u.…``), and since when, epoch ms."""


class Credited(NamedTuple):
    """``touches``: one row each, with ``day`` (since the epoch), facts, ``units`` (experiment → (variant, unit)) and
    what it led to. ``purchases``: one row each, with ``day``, ``revenue``, and both ids it may count for."""

    touches: pd.DataFrame
    purchases: pd.DataFrame
    dropped: dict[int, int]


def credit(events: pd.DataFrame, owners: Owners, experiments: Mapping[str, Experiment]) -> Credited:
    """Apply the rule.

    Args:
        events: distinct events of whole people: ``event_type``, ``subject``, ``anonymous_id``, ``person`` (the subject
            after an alias was followed), ``item_id``, ``request_id`` ('' for none), ``occurred_ms``, ``amount``.
        owners: who turned out to be whom.
        experiments: by id.
    """
    shown = events[events["event_type"].isin(["impression", "click"]) & (events["request_id"] != "")]
    touches = _touches(shown)
    touches, dropped = _known(touches, owners, experiments)
    bought = events[events["event_type"] == "purchase"].sort_values(["occurred_ms", "event_id"], kind="stable")
    touches = _credited(touches, shown, bought)
    return Credited(touches, _purchases(bought, owners), dropped)


def _touches(shown: pd.DataFrame) -> pd.DataFrame:
    """One row a touch, in the order of time: when, by whom, and whether it was clicked."""
    ordered = shown.sort_values(["occurred_ms", "event_id"], kind="stable")
    ordered = ordered.assign(clicked=(ordered["event_type"] == "click").astype(np.int64))
    first = ordered.groupby(_KEY, sort=False).agg(
        ms=("occurred_ms", "first"),
        subject=("subject", "first"),
        anonymous_id=("anonymous_id", "first"),
        clicks=("clicked", "max"),
    )
    found = first.reset_index()
    found["day"] = found["ms"] // _DAY_MS
    found["impressions"] = 1
    return found


def _known(
    touches: pd.DataFrame, owners: Owners, experiments: Mapping[str, Experiment]
) -> tuple[pd.DataFrame, dict[int, int]]:
    """The touches whose request id can be believed, with its facts; and how many could not, by day."""
    columns = [touches[name] for name in ("request_id", "item_id", "subject", "anonymous_id")]
    rows = [_facts(r, i, s, a, owners, experiments) for r, i, s, a in zip(*columns, strict=True)]
    foreign = np.array([row is None for row in rows], bool)
    busy = touches.groupby(["person", "day"])["ms"].transform("size") > MOST_TOUCHES
    refused = np.array([row is not None and row[0] == "" for row in rows], bool) | (busy.to_numpy(bool) & ~foreign)
    dropped = touches["day"][refused].value_counts()
    kept = ~(foreign | refused)
    names = ["kind", "placement", "model_version", "variant", "new", "units"]
    facts = pd.DataFrame([row for row, keep in zip(rows, kept, strict=True) if keep], columns=names)
    found = pd.concat([touches[kept].reset_index(drop=True), facts], axis=1)
    return found, {int(str(day)): int(count) for day, count in dropped.items()}


def _facts(
    request_id: str,
    item_id: str,
    subject: str,
    anonymous_id: str,
    owners: Owners,
    experiments: Mapping[str, Experiment],
) -> tuple[Any, ...] | None:
    """Kind, placement, version, variant, new, units; ``None`` for a foreign id, a kind of '' where it cannot be so.

    An experiment that is not known any more is left out of the variant; the rest of the touch counts.
    """
    facts = read_request_id(request_id)
    if facts is None:
        return None
    visitor = f"a.{anonymous_id}" if anonymous_id else ""
    person = subject if subject.startswith("u.") else owners.get(subject, _NOBODY)[0]
    if facts.via == "visitor":
        person = visitor
    elif facts.via == "user":
        visitor = person
    units = {}
    for label in facts.variants:
        name, _, variant = label.partition(":")
        if (experiment := experiments.get(name)) is None:
            continue
        unit = person if experiment.unit == "person" else visitor
        assigned = assign(experiment, unit) if unit else None
        if assigned is None or assigned.name != variant:
            return ("",) * 6
        units[name] = (variant, unit)
    variant = ",".join(f"{name}:{variant}" for name, (variant, _) in units.items())
    return (facts.kind, facts.placement, facts.model_version, variant, explored(facts, item_id), units)


def _credited(touches: pd.DataFrame, shown: pd.DataFrame, bought: pd.DataFrame) -> pd.DataFrame:
    """The touches with the purchases that are credited to them."""
    place = touches[_KEY].assign(touch=np.arange(len(touches)))
    reports = shown[[*_KEY, "occurred_ms", "event_id", "event_type"]].merge(place, on=_KEY)
    reports = reports.sort_values(["occurred_ms", "event_id"], kind="stable")
    clicks = reports[reports["event_type"] == "click"]
    wanted = bought[["person", "item_id", "occurred_ms", "amount"]]
    by_click = _last(wanted, clicks, AFTER_CLICK_MS)
    by_view = _last(wanted, reports, AFTER_VIEW_MS)
    touch = np.where(by_click >= 0, by_click, by_view)
    credited, count = touch >= 0, len(touches)
    amounts = wanted["amount"].to_numpy(float)
    return touches.assign(
        purchases=np.bincount(touch[credited], minlength=count)[:count],
        purchases_after_click=np.bincount(by_click[by_click >= 0], minlength=count)[:count],
        revenue=np.bincount(touch[credited], amounts[credited], minlength=count)[:count],
    )


def _last(bought: pd.DataFrame, reports: pd.DataFrame, within_ms: int) -> Any:
    """For each purchase the touch of the last report of that person and item before it; −1 for none."""
    if bought.empty or reports.empty:
        return np.full(len(bought), -1)
    found = pd.merge_asof(
        bought[["person", "item_id", "occurred_ms"]],
        reports[["person", "item_id", "occurred_ms", "touch"]],
        on="occurred_ms",
        by=["person", "item_id"],
        tolerance=within_ms,
    )
    return found["touch"].fillna(-1).to_numpy(np.int64)


def _purchases(bought: pd.DataFrame, owners: Owners) -> pd.DataFrame:
    """Whose each purchase is: of the person, and of the visitor's id where the event has one.

    What a visitor bought before it was known who they are stays the visitor's: they were shown what visitors are shown.
    """
    visitor = np.where(bought["anonymous_id"] != "", "a." + bought["anonymous_id"], bought["subject"])
    known = [owners.get(subject, _NOBODY) for subject in bought["subject"]]
    person = [
        owner if owner and ms >= since else subject
        for (owner, since), subject, ms in zip(known, bought["subject"], bought["occurred_ms"], strict=True)
    ]
    return pd.DataFrame(
        {
            "day": (bought["occurred_ms"] // _DAY_MS).to_numpy(np.int64),
            "person": person,
            "visitor": visitor,
            "revenue": bought["amount"].to_numpy(float),
        }
    )
