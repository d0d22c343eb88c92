"""What a report is about: a run's manifest and plot arrays, read so that an absent or older form is no error."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from batch.report_html import Html, finite
from contracts.snapshot import Manifest

__all__ = ["LABELS", "Duel", "Missing", "Part", "Run", "Section", "first", "pair", "records"]

LABELS: Final = {
    "live": "new model",
    "batch": "its batch lists",
    "incumbent": "live before",
    "popularity": "popularity",
}
"""What a page calls the models of :attr:`Manifest.metrics`, in the order of every table and chart."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page; ``name`` is its address within the page."""

    name: str
    title: str
    lead: str
    body: Html


@dataclass(frozen=True, slots=True)
class Missing:
    """A part that this run has nothing for, and why."""

    title: str
    why: str


Part = Section | Missing


def first(values: Any, *names: str) -> Any:
    """The value under the first of the names that is there; None where none is.

    >>> first({"se": 1, "t": 2}, "standard_errors", "se")
    1
    """
    if not isinstance(values, Mapping):
        return None
    return next((values[name] for name in names if values.get(name) is not None), None)


def pair(value: Any) -> tuple[float | None, float | None]:
    """An interval as (low, high) from a pair or from a mapping with ``low`` and ``high``.

    >>> pair([0.1, 0.2]), pair({"low": 1, "high": 2}), pair(None)
    ((0.1, 0.2), (1.0, 2.0), (None, None))
    """
    if isinstance(value, Mapping):
        return finite(value.get("low")), finite(value.get("high"))
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2:
        return finite(value[0]), finite(value[1])
    return None, None


def records(value: Any) -> list[dict[str, Any]]:
    """Rows from a list of mappings, a mapping of mappings (its keys become ``name``) or one of equally long columns.

    >>> records({"a": {"x": 1}})
    [{'name': 'a', 'x': 1}]
    >>> records({"x": [1, 2], "y": [3, 4]})
    [{'x': 1, 'y': 3}, {'x': 2, 'y': 4}]
    """
    if isinstance(value, Mapping):
        if value and all(isinstance(row, Mapping) for row in value.values()):
            return [{"name": str(name), **row} for name, row in value.items()]
        columns = {name: list(column) for name, column in value.items() if _listed(column)}
        if columns and len({len(column) for column in columns.values()}) == 1:
            return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        return []
    return [dict(row) for row in value if isinstance(row, Mapping)] if _listed(value) else []


def _listed(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


@dataclass(frozen=True, slots=True)
class Duel:
    """The new model minus another in one metric, with its interval, and what the other has."""

    difference: float
    low: float | None
    high: float | None
    theirs: float | None


@dataclass(frozen=True, slots=True)
class Run:
    """A manifest and what :func:`batch.report.build_report` was given beside it."""

    manifest: Manifest
    extra: Mapping[str, Any]

    def part(self, name: str) -> Any:
        """A plot array: from what was given beside the manifest, or from where the manifest keeps such things."""
        for place in (self.extra, self.manifest.evaluation, self.manifest.ranker, self.manifest.checks):
            if place.get(name):
                return place[name]
        return None

    @property
    def parent(self) -> Manifest | None:
        """The manifest of the model that was live when this run began, where it was given."""
        found = self.extra.get("parent")
        return found if isinstance(found, Manifest) else None

    @property
    def models(self) -> list[str]:
        """The measured models in the order to show them."""
        measured = self.manifest.metrics
        return [name for name in LABELS if name in measured] + [name for name in measured if name not in LABELS]

    @property
    def measures(self) -> list[str]:
        """The metrics that any model has, in the order in which they come."""
        return list(dict.fromkeys(name for values in self.manifest.metrics.values() for name in values))

    def label(self, model: str) -> str:
        """What the page calls a model."""
        return LABELS.get(model, model)

    def tone(self, model: str) -> str:
        """The colour class of a model."""
        return model if model in LABELS else "other"

    def value(self, model: str, metric: str) -> float | None:
        """A metric of a model."""
        return finite(self.manifest.metrics.get(model, {}).get(metric))

    def interval(self, model: str, metric: str) -> tuple[float | None, float | None]:
        """The bootstrap interval of a metric, (None, None) where there is none."""
        return pair(first(first(first(self.manifest.evaluation, "intervals"), model), metric))

    @property
    def cases(self) -> float | None:
        """On how many cases the models were measured."""
        return finite(first(self.manifest.evaluation, "cases"))

    def paired(self) -> list[dict[str, Any]]:
        """Paired comparisons on the same cases: ``model, against, metric, difference, low, high, p``."""
        found = first(self.manifest.evaluation, "paired", "tests", "comparisons")
        rows = [
            row | {"metric": row["name"], "against": against}
            for against, tests in (found.items() if isinstance(found, Mapping) else ())
            for row in records(tests)
            if "name" in row
        ] or records(found)
        shaped = []
        for row in rows:
            low, high = pair(first(row, "interval", "difference_interval") or row)
            difference = finite(first(row, "difference", "mean", "value"))
            if difference is not None and row.get("against") is not None:
                about = {"model": str(row.get("model", "live")), "metric": str(row.get("metric", ""))}
                found_p = finite(first(row, "p", "p_value"))
                shaped.append(row | about | {"difference": difference, "low": low, "high": high, "p": found_p})
        return shaped

    def duel(self, other: str, metric: str) -> Duel | None:
        """The new model minus another; None where they were not compared.

        What the gate compared counts first: a model that was live is only judged on cases that it cannot have seen.
        """
        fair = first(first(first(first(self.manifest.gate, "numbers"), other), "metrics"), metric)
        difference = finite(first(fair, "difference"))
        if difference is not None:
            return Duel(difference, *pair(fair), finite(first(fair, other)))
        ours, theirs = self.value("live", metric), self.value(other, metric)
        if ours is None or theirs is None:
            return None
        for row in self.paired():
            if (row["model"], row["against"], row["metric"]) == ("live", other, metric):
                return Duel(ours - theirs, row["low"], row["high"], theirs)
        return Duel(ours - theirs, None, None, theirs)

    def settings(self) -> dict[str, Any]:
        """Every setting by its dotted name, see :func:`flat`."""
        return flat(self.manifest)


def flat(manifest: Manifest) -> dict[str, Any]:
    """The settings that a model was made with, ``group.name`` by value; the model's own ones as ``model.…``."""
    made = {name: value for name, value in manifest.training.items() if name not in ("model", "settings_digest")}
    return _flat("", made | {"model": msgspec.to_builtins(manifest.model)})


def _flat(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(f"{prefix}{name}.", value)
        else:
            found[f"{prefix}{name}"] = value
    return found
