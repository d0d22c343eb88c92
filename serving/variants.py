"""Experiments at work on an answer: which variants it is made with, what they change, and the id that says so."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar

import msgspec

from contracts.assignment import Assigned, assignments, label, merged
from contracts.errors import ContractError
from contracts.experiments import Changes, Experiments
from contracts.merchandise import NONE_OF_THEM, Active
from contracts.request_ids import Via, make_request_id
from serving.answers import ListAnswer, Shelf

__all__ = ["Treatment", "sealed", "treat", "varied"]


Answer = TypeVar("Answer", Shelf, ListAnswer)


class Treatment(NamedTuple):
    """How one person's answer is made: their variants, and what these change together."""

    subject: str
    via: Via
    placement: str
    assigned: Sequence[Assigned] = ()
    changes: Changes = Changes()


def treat(document: Experiments, *, asked: str, subject: str, placement: str, now_ms: int) -> Treatment:
    """The treatment of a person who asked as ``asked`` and is known as ``subject`` (both as in ``u.42``, ``a.42``)."""
    via: Via = "user" if asked.startswith("u.") else "visitor" if asked == subject else "alias"
    if not document.experiments:
        return Treatment(subject, via, placement)
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    found = assignments(document.experiments, now, person=subject, visitor=asked, placement=placement)
    return Treatment(subject, via, placement, found, merged(found))


def varied(active: Active, changes: Changes) -> Active:
    """The shop's rules as a variant has them: without ``rules`` nothing is pinned, moved or capped.

    What is hidden stays hidden, and what was bought stays out: no experiment shows what must not be shown.

    >>> found = varied(Active(pinned=("A",), per_category=3, bought_days=9), Changes(rules=False, max_per_category=2))
    >>> found.pinned, found.per_category, found.bought_days
    ((), 2, 9)
    """
    if changes.rules is False:
        active = replace(
            active, pinned=(), boosts={}, category_boosts={}, buried=NONE_OF_THEM, caps=(), per_category=None
        )
    if changes.max_per_category is not None:
        active = replace(active, per_category=changes.max_per_category or None)
    return active


def sealed(shelf: Answer, treatment: Treatment, now_ms: int) -> Answer:
    """The answer with its request id and the names of its variants; without an id where the facts do not fit into one.

    Impressions and clicks carry both back, see :mod:`contracts.request_ids`.
    """
    variants = [each.label for each in treatment.assigned]
    try:
        request_id = make_request_id(
            shelf.source,
            via=treatment.via,
            subject=treatment.subject,
            items=[row.item_id for row in shelf.items],
            now_ms=now_ms,
            placement=treatment.placement,
            model_version=shelf.model_version or "",
            variants=variants,
            new_items={row.item_id for row in shelf.items if row.new},
        )
    except ContractError:
        request_id = None
    return msgspec.structs.replace(shelf, request_id=request_id, variant=label(treatment.assigned))
