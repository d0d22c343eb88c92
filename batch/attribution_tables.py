"""From credited touches to the rows of the attribution's tables, summed as far as one task can: pure."""

from collections.abc import Mapping
from typing import Any, Final

import pandas as pd

from batch.attribution_rule import Credited
from contracts.assignment import assign
from contracts.attribution import AFTER_CLICK_MS, ITEM_COLUMNS, TOTAL_COLUMNS, UNIT_COLUMNS
from contracts.events import to_ms
from contracts.experiments import Experiment

__all__ = ["KEYS", "ROW_DDL", "SUMS", "TABLES", "rows_of"]

TABLES: Final = {"totals": TOTAL_COLUMNS, "units": UNIT_COLUMNS, "items": ITEM_COLUMNS}
_DAY_MS: Final = 24 * 3_600_000
SUMS: Final = ("impressions", "clicks", "purchases", "purchases_after_click", "revenue", "total_revenue", "dropped")
KEYS: Final = (
    "table",
    "day",
    "kind",
    "placement",
    "model_version",
    "variant",
    "new",
    "experiment",
    "unit",
    "item_id",
)
_TYPES: Final = {"day": "long", "new": "boolean", "revenue": "double", "total_revenue": "double"}
ROW_DDL: Final = ", ".join(
    [*(f"`{name}` {_TYPES.get(name, 'string')}" for name in KEYS), *(f"{n} {_TYPES.get(n, 'long')}" for n in SUMS)]
)
"""One wide row for all three tables, so that one pass over the events makes them; keys a table lacks are empty."""


def rows_of(found: Credited, experiments: Mapping[str, Experiment]) -> pd.DataFrame:
    """The rows of :data:`ROW_DDL`."""
    touches = found.touches
    totals = touches.drop(columns="item_id").assign(table="totals")
    items = touches[["day", "item_id", "impressions", "clicks"]].assign(table="items")
    lost = pd.DataFrame(list(found.dropped.items()), columns=["day", "dropped"]).assign(table="totals")
    tables = [totals, items, lost, _exposed(touches), _bought(found.purchases, experiments)]
    rows = pd.concat([_wide(table) for table in tables])
    return rows.groupby(list(KEYS), sort=False)[list(SUMS)].sum().reset_index()


def _wide(table: pd.DataFrame) -> pd.DataFrame:
    """All columns of a row, with their types; those the table lacks are empty."""
    columns: dict[str, Any] = {}
    for name in (*KEYS, *SUMS):
        kind = _KINDS[_TYPES.get(name, "long" if name in SUMS else "string")]
        columns[name] = table[name].astype(kind) if name in table else pd.Series(_EMPTY[kind], table.index, kind)
    return pd.DataFrame(columns)


_KINDS: Final = {"string": "object", "long": "int64", "double": "float64", "boolean": "bool"}
_EMPTY: Final[dict[str, Any]] = {"object": "", "int64": 0, "float64": 0.0, "bool": False}


def _exposed(touches: pd.DataFrame) -> pd.DataFrame:
    """Touches by the unit of each experiment they were part of."""
    names = ["day", *SUMS[:5]]
    rows = [
        {"experiment": name, "variant": variant, "unit": unit, **dict(zip(names, values, strict=True))}
        for units, *values in zip(touches["units"], *(touches[name] for name in names), strict=True)
        for name, (variant, unit) in units.items()
    ]
    return pd.DataFrame(rows).assign(table="units")


def _bought(purchases: pd.DataFrame, experiments: Mapping[str, Experiment]) -> pd.DataFrame:
    """All purchases, by the unit that the assignment names; whether the unit ever saw anything is decided later."""
    rows = []
    for name, experiment in experiments.items():
        inside = purchases[purchases["day"].between(*_days(experiment))]
        unit = inside["person" if experiment.unit == "person" else "visitor"]
        variants = {each: assign(experiment, each) for each in unit.unique()}
        for day, each, revenue in zip(inside["day"], unit, inside["revenue"], strict=True):
            if variant := variants[each]:
                key = {"experiment": name, "variant": variant.name, "unit": each}
                rows.append({"day": day, "total_revenue": revenue, **key})
    return pd.DataFrame(rows).assign(table="units")


def _days(experiment: Experiment) -> tuple[int, int]:
    """From its first day to the last on which a purchase may still be credited, since the epoch."""
    last = to_ms(experiment.end) + AFTER_CLICK_MS if experiment.end else 1 << 62
    return to_ms(experiment.start) // _DAY_MS, last // _DAY_MS
