"""Names and uids of the job's operators: what the dashboard shows, and what state is found again by after a change.

SQL operators get neither from DDL: names are the planner's, uids are made of the place in the graph and change with it.
Here they are set on the translated operators, by what each does. A uid may change for one reason only: the state kept
under it no longer fits. So those of the sums carry a digest of the features' definitions, see ADR 12.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from contracts.errors import ContractError
from contracts.features import ITEM_FEATURES, USER_FEATURES, BucketFeature

__all__ = ["Label", "digest", "label_of", "name_operators"]


class Label(NamedTuple):
    """What an operator is called: ``uid`` for its state, ``name`` for people."""

    uid: str
    name: str


def digest(features: Sequence[BucketFeature]) -> str:
    """Eight hexadecimal digits that change with what is summed, or its order.

    >>> digest(ITEM_FEATURES) == digest(ITEM_FEATURES[:-1]), len(digest(USER_FEATURES))
    (False, 8)
    """
    text = "\n".join(f"{feature.aggregate}({feature.expression})" for feature in features)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


_ITEM: Final = digest(ITEM_FEATURES)
_USER: Final = digest(USER_FEATURES)
_RULES: Final = (
    (r"TableSourceScan\(table=\[\[default_catalog\b", Label("events", "read events")),
    (r"PythonCalc\(.*\bparse\(", Label("parse", "parse and validate")),
    (r"WatermarkAssigner\(", Label("event-time", "event time")),
    (r"Deduplicate\(", Label("distinct", "drop repeated events")),
    (r"OverAggregate\(partitionBy=\[shop_id, item_id\b", Label(f"item-sums-{_ITEM}", "sum up items")),
    (r"OverAggregate\(partitionBy=\[shop_id, subject\b", Label(f"user-sums-{_USER}", "sum up visitors")),
    (r"PythonCalc\(.*\bserve\(", Label("recommend", "recommend and write to Redis")),
    (r"LocalWindow.*groupBy=\[shop_id, item_id\b", Label(f"item-windows-local-{_ITEM}", "sum windows of items")),
    (r"LocalWindow.*groupBy=\[shop_id, subject\b", Label(f"user-windows-local-{_USER}", "sum windows of visitors")),
    (r"GlobalWindow.*groupBy=\[shop_id, item_id\b", Label(f"item-windows-{_ITEM}", "close windows of items")),
    (r"GlobalWindow.*groupBy=\[shop_id, subject\b", Label(f"user-windows-{_USER}", "close windows of visitors")),
)
_SINKS: Final = {
    "recommend": ("served", "served log"),
    "parse": ("dead-letter", "dead letters"),
    f"item-windows-{_ITEM}": ("item-features", "features of items"),
    f"user-windows-{_USER}": ("user-features", "features of visitors"),
}
"""The sinks by the operator whose rows they take: uid, and what they write."""


def label_of(name: str, description: str) -> Label | None:
    """The label of an operator by what it does; ``None`` for one that only moves columns, or writes files.

    >>> label_of("Deduplicate[5]", "[5]:Deduplicate(keep=[FirstRow], key=[shop_id, event_id], order=[PROCTIME])").uid
    'distinct'
    """
    for pattern, label in _RULES:
        if re.search(pattern, name) or re.search(pattern, description):
            return label
    return None


def name_operators(operators: Iterable[Any]) -> None:
    """Set uid and name of these operators (Flink's ``Transformation``) and of all that they hang on.

    What has no label of its own is named after what it is, and its uid after the operator that it works for.

    Raises:
        ContractError: two operators would get the same uid: a rule fits more than the one operator it was written for.
    """
    given = list(operators)
    feeding = _inputs_of(given)  # boundaries inside the job stand in Flink's list as well
    named: dict[int, str] = {}
    for sink in given:
        if sink.getId() not in feeding:
            _name(sink, _sink_label(sink), named)
    twice = [uid for uid, times in Counter(named.values()).items() if times > 1]
    if twice:
        message = f"the uids {', '.join(sorted(twice))} were given twice; expected one operator for each rule"
        raise ContractError(message)


def _inputs_of(operators: Iterable[Any]) -> set[int]:
    """Ids of everything that feeds these operators, near or far."""
    found: set[int] = set()
    waiting = [before for operator in operators for before in operator.getInputs()]
    while waiting:
        operator = waiting.pop()
        if operator.getId() not in found:
            found.add(operator.getId())
            waiting.extend(operator.getInputs())
    return found


def _name(operator: Any, label: Label, named: dict[int, str]) -> None:
    if operator.getId() in named:
        return
    named[operator.getId()] = label.uid
    operator.setUid(label.uid)
    operator.setName(label.name)
    for before in operator.getInputs():
        _name(before, _own_label(before) or _helper(before, label), named)


def _own_label(operator: Any) -> Label | None:
    return label_of(operator.getName(), operator.getDescription() or "")


def _helper(operator: Any, works_for: Label) -> Label:
    """An operator that writes files for a sink, or moves columns for another operator."""
    base = works_for.uid.removesuffix("-end")
    if base != works_for.uid and operator.getName() == _WRITER:
        return Label(base, f"write {works_for.name}")
    kind = re.split(r"\W", operator.getName(), maxsplit=1)[0]
    name = _KINDS.get(kind, kind)
    return Label(f"{works_for.uid}-{name.lower()}", name)


_WRITER: Final = "StreamingFileWriter"
_KINDS: Final = {"Calc": "columns", "TableToDataSteam": "out", "": "in"}  # the last are named *anonymous_…*


def _sink_label(sink: Any) -> Label:
    """A sink is called after the labelled operator whose rows it takes."""
    operator = sink
    while (label := _own_label(operator)) is None:
        (operator,) = operator.getInputs()
    uid, name = _SINKS.get(label.uid, (f"after-{label.uid}", f"rows of {label.name}"))
    return Label(f"{uid}-end", name)
