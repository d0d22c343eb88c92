"""The catalogue of an own log: what its own columns say of the items, and what an items file adds."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from contracts.errors import SettingsError
from contracts.ids import is_id
from contracts.items import Item
from local.eventlog_map import FIELDS, Given, plain
from local.eventlog_read import Bad, open_log
from local.eventlog_rows import DESCRIBING, decimal_sign, numbers, texts

__all__ = ["Catalogue", "read_items"]

_FLAGS: Final = {"instock": "in_stock", "available": "in_stock", "repeatable": "repeatable"}
_NO: Final = frozenset(("0", "false", "no", "n", "f"))
_MOST_ATTRIBUTES: Final = 8
_LONGEST: Final = 300


class Catalogue:
    """Items as they turn up in events; the newest row that says something of an item is believed."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self._said: dict[str, dict[str, Any]] = {name: {} for name in (*DESCRIBING, "price")}

    def add(self, frame: pd.DataFrame) -> None:
        """Count the items of clean rows, and keep what the rows say of them."""
        for item, count in frame["item"].value_counts(sort=False).items():
            self.counts[item] = self.counts.get(item, 0) + int(count)
        for name, said in self._said.items():
            known = frame[frame[name].notna()]
            if len(known):
                said.update(zip(known["item"], known[name], strict=True))

    def items(self, described: dict[str, dict[str, Any]], *, repeatable: bool) -> list[Item]:
        """The items, those with most events first; those that only the items file knows come last.

        Args:
            described: fields by item id, see :func:`read_items`; they come before what the events say.
            repeatable: for items that nothing is said of.
        """
        order = sorted(self.counts, key=lambda item: (-self.counts[item], item))
        order += [item for item in described if item not in self.counts]
        return [self._item(item, described.get(item, {}), repeatable) for item in order]

    def _item(self, item: str, about: dict[str, Any], repeatable: bool) -> Item:
        def said(name: str) -> Any:
            own = about.get(name)
            return self._said[name].get(item) if own is None else own

        price = said("price")
        return Item(
            item_id=item,
            title=str(said("title") or item)[:_LONGEST],
            category=str(said("category") or "")[:_LONGEST],
            price=None if price is None else round(float(price), 4),
            image=said("image"),
            in_stock=about.get("in_stock", True),
            repeatable=about.get("repeatable", repeatable),
            attributes=about.get("attributes", {}),
        )


def read_items(path: Path) -> tuple[dict[str, dict[str, Any]], list[Bad], list[str]]:
    """Fields by item id, the rows that cannot be used, and what the columns were taken for.

    Raises:
        SettingsError: there is no such file, or no column of item ids.
    """
    log = open_log(path, Given())
    columns = _columns(log.columns, path)
    extra = [name for name in log.columns if name not in columns.values()][:_MOST_ATTRIBUTES]
    found: dict[str, dict[str, Any]] = {}
    bad: list[Bad] = []
    for chunk in log.chunks():
        bad += chunk.bad
        ids = texts(chunk.columns[columns["item_id"]])
        saying = [name for name in (*DESCRIBING, *_FLAGS.values()) if name in columns]
        told: Told = {name: texts(chunk.columns[columns[name]]) for name in saying}
        more = {name: texts(chunk.columns[name]) for name in extra}
        prices = _prices(chunk.columns.get(columns.get("price", ""), []), len(ids))
        for at, item in enumerate(ids):
            if item is None or not is_id(item):
                bad.append(Bad(int(chunk.lines[at]), "bad_id", f"items file: item_id is {item!r}"))
            else:
                found[item] = _about(at, told, more, prices[at])
    said = ", ".join(f"{name} = {column}" for name, column in columns.items())
    return found, bad, [f"items file {path}: {len(found):,} items; {said}"]


def _columns(names: Sequence[str], path: Path) -> dict[str, str]:
    free = {plain(name): name for name in names}
    found = {}
    for name in ("item_id", *DESCRIBING, "price"):
        words: Iterable[str] = (*FIELDS[name], "id") if name == "item_id" else FIELDS[name]
        if column := next((free[word] for word in words if word in free), None):
            found[name] = column
    found |= {flag: free[word] for word, flag in _FLAGS.items() if word in free}
    if "item_id" not in found:
        message = (
            f"the items file {path} has no column of item ids (item_id, product_id, sku, …); "
            f"columns found: {', '.join(names)}"
        )
        raise SettingsError(message)
    return found


def _prices(values: Sequence[Any], count: int) -> list[float | None]:
    """Prices of a chunk; what cannot be read is left out, because the item is worth more than its price."""
    if not values:
        return [None] * count
    read, _ = numbers(values, decimal_sign([str(value) for value in values]))
    return [float(value) if np.isfinite(value) and value >= 0 else None for value in read]


Told = dict[str, list[str | None]]


def _about(at: int, told: Told, more: Told, price: float | None) -> dict[str, Any]:
    about: dict[str, Any] = {name: values[at] for name, values in told.items() if values[at] is not None}
    for flag in set(_FLAGS.values()):
        if flag in about:
            about[flag] = about[flag].lower() not in _NO
    about["price"] = price
    about["attributes"] = {name: str(values[at])[:_LONGEST] for name, values in more.items() if values[at] is not None}
    return about
