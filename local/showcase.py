"""``python -m local.showcase``: a small shop on the real stream, without a training; to look at pages, and for tests.

Sixty products, two hand-made model versions, twelve customers with a list. It is up in a fraction of the demo's time.
"""

import sys
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from batch.publish import Entry, ListWriter, Stores, mend_mirrors, switch, upload_snapshot
from contracts.items import Item, encode_catalogue
from contracts.lake import catalogue_path, visitors_path
from contracts.ranker import NAMES
from contracts.settings import Settings
from contracts.snapshot import Manifest, ModelSettings, write_snapshot
from local.stack import Stack
from stores.objects import Objects

__all__ = ["ITEMS", "SHOP", "VERSIONS", "publish", "seed"]

SHOP: Final = "default"
_TODAY: Final = datetime.now(UTC)
VERSIONS: Final = tuple(f"{_TODAY - timedelta(days=age):%Y%m%dT%H%M%SZ}-hand0{2 - age}" for age in (2, 1))
CUSTOMERS: Final = [str(n) for n in range(101, 113)]
_GROCERIES: Final = {
    "Yogurt": ("Greek Yogurt, 16 oz", "Strawberry Yogurt, 6 oz", "Vanilla Yogurt, own brand, 32 oz", "Skyr, 5 oz"),
    "Cheese": ("Cheddar, 8 oz", "Mozzarella, own brand, 12 oz", "Goat Cheese, 4 oz", "Parmesan, 7 oz"),
    "Baked Bread": ("Sourdough Bread, 24 oz", "Hamburger Buns, own brand, 12 oz", "Bagels, 6 ct", "Rye Bread, 20 oz"),
    "Berries": ("Strawberries, 16 oz", "Blueberries, 6 oz", "Raspberries, 6 oz", "Blackberries, 6 oz"),
    "Tropical Fruit": ("Bananas, 1 lb", "Mangoes, 1 ct", "Pineapple, 1 ct", "Kiwi, 1 lb"),
    "Coffee": ("Espresso Beans, 12 oz", "Filter Coffee, own brand, 24 oz", "Decaf Coffee, 10 oz", "Cold Brew, 32 oz"),
    "Cookies": ("Oat Cookies, 14 oz", "Chocolate Chip Cookies, 13 oz", "Shortbread, 8 oz", "Ginger Snaps, 10 oz"),
    "Pasta Sauce": ("Tomato Sauce, own brand, 24 oz", "Basil Pesto, 8 oz", "Arrabbiata, 24 oz", "Alfredo Sauce, 15 oz"),
    "Dry Noodles/Pasta": ("Spaghetti, 16 oz", "Penne, own brand, 16 oz", "Fusilli, 16 oz", "Egg Noodles, 12 oz"),
    "Seafood": ("Salmon Fillet, 1 lb", "Shrimp, 12 oz", "Cod, 1 lb", "Tuna Steak, 8 oz"),
    "Salad Mix": ("Spring Mix, 5 oz", "Caesar Kit, 11 oz", "Romaine Hearts, 3 ct", "Arugula, 5 oz"),
    "Ice Cream": ("Vanilla Ice Cream, 48 oz", "Mint Chip, own brand, 48 oz", "Lemon Sorbet, 16 oz", "Gelato, 16 oz"),
}
_KITCHEN: Final = ("Espresso Maker", "Cast-Iron Skillet", "Pasta Pot", "Salad Spinner", "Bread Knife", "Tea Kettle")


def _items() -> list[Item]:
    made = [
        Item(
            item_id=f"{place}{at}",
            title=title,
            category=category,
            price=round(1.29 + 0.85 * at + 0.4 * (place % 5), 2),
            repeatable=True,
        )
        for place, (category, titles) in enumerate(_GROCERIES.items(), 10)
        for at, title in enumerate(titles)
    ]
    made += [
        Item(item_id=f"k{at}", title=title, category="Cookware & Bakeware", price=19.9 + 7 * at)
        for at, title in enumerate(_KITCHEN)
    ]
    made.append(Item(item_id="gone", title="Picnic Basket", category="Cookware & Bakeware", price=39.0, in_stock=False))
    return made


ITEMS: Final = _items()


def seed(settings: Settings) -> None:
    """The catalogue, the customers one can look through, and both versions; the second one is live."""
    objects = Objects.from_settings(settings)
    objects.put(catalogue_path(SHOP), encode_catalogue(ITEMS))
    objects.put(visitors_path(SHOP), msgspec.json.encode(CUSTOMERS))
    for age, version in zip((2, 1), VERSIONS, strict=True):
        publish(settings, version, _TODAY - timedelta(days=age))


def publish(settings: Settings, version: str, trained_at: datetime) -> None:
    """Publish a version by the steps of a training. In the second one a category's neighbours weigh more."""
    stores = Stores.open(settings)
    try:
        parent = mend_mirrors(stores, SHOP)
        writer = ListWriter(SHOP, version, int(trained_at.timestamp() * 1000), settings.training.list_ttl_s)
        entries = list(_lists())
        writer.write(settings, entries)
        made = _manifest(version, parent.version if parent else None, trained_at, entries)
        matrix = _matrix(near=1.0 if version == VERSIONS[0] else 1.4)
        popularity = np.arange(len(ITEMS), 0, -1)
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / version
            sealed = write_snapshot(folder, made, [item.item_id for item in ITEMS], matrix, popularity)
            people = [f"u.{customer}" for customer in CUSTOMERS]
            upload_snapshot(stores.objects, folder, sealed, Path(scratch) / "read-back", people)
            switch(stores, SHOP, sealed, datetime.now(UTC))
    finally:
        stores.cluster.close()


def _scores(at: int, near: float = 1.0) -> dict[int, float]:
    """Item places → weight: those of the category first, then every seventh of the others."""
    own = ITEMS[at].category
    found = {to: near - 0.05 * abs(to - at) for to, item in enumerate(ITEMS) if item.category == own and to != at}
    rest = ((at + step) % len(ITEMS) for step in range(7, 50, 7))
    return {to: 0.3 - 0.01 * order for order, to in enumerate(rest) if to != at} | found


def _matrix(near: float) -> tuple[Any, Any, Any]:
    rows = [sorted(_scores(at, near).items()) for at in range(len(ITEMS))]
    pairs = [pair for row in rows for pair in row]
    pointers = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    return pointers, np.array([to for to, _ in pairs]), np.array([weight for _, weight in pairs])


def _lists() -> Iterable[Entry]:
    ids = [item.item_id for item in ITEMS]
    for at, item_id in enumerate(ids):
        best = sorted(_scores(at).items(), key=lambda pair: -pair[1])
        yield Entry("similar", item_id, [ids[to] for to, _ in best], [weight for _, weight in best])
        others = [to for to, _ in best if ITEMS[to].category != ITEMS[at].category]
        yield Entry("together", item_id, [ids[to] for to in others], [1 - 0.1 * place for place in range(len(others))])
    for number, customer in enumerate(CUSTOMERS):
        turned = ids[4 * number % len(ids) :] + ids[: 4 * number % len(ids)]
        yield Entry("person", f"u.{customer}", turned[:30], [1 - 0.02 * at for at in range(30)])
    yield Entry("popular", "", ids, [1 - 0.01 * at for at in range(len(ids))])


def _manifest(version: str, parent: str | None, trained_at: datetime, entries: list[Entry]) -> Manifest:
    better = 0.012 * VERSIONS.index(version)
    coefficients = [0.42 + better, 0.31, -0.08, 0.055, 0.12, 0.02, -0.034][: len(NAMES)]
    errors = [0.011, 0.014, 0.009, 0.02, 0.031, 0.004, 0.016][: len(NAMES)]
    coefficients += [0.01] * (len(NAMES) - len(coefficients))
    errors += [0.008] * (len(NAMES) - len(errors))
    kinds = [entry.kind for entry in entries]
    return Manifest(
        shop_id=SHOP,
        version=version,
        parent=parent,
        trained_at=trained_at,
        window_start=trained_at - timedelta(days=28),
        window_end=trained_at,
        model=ModelSettings(),
        training={"solve": {"l0": 3.0}},
        feature_names=list(NAMES),
        coefficients=coefficients,
        metrics={
            "live": {"HR@20": 0.291 + better, "MRR@20": 0.121 + better / 2},
            "batch": {"HR@20": 0.262, "MRR@20": 0.102},
            "popularity": {"HR@20": 0.113, "MRR@20": 0.041},
        },
        rows={"person_lists": kinds.count("person"), "similar_lists": kinds.count("similar")}
        | {"together_lists": kinds.count("together"), "popular_lists": 1},
        gate={"decision": "publish", "sentences": ["a hand-made version of the showcase: no data was judged"]},
        ranker={
            "names": list(NAMES),
            "coefficients": coefficients,
            "standard_errors": errors,
            "t": [value / error for value, error in zip(coefficients, errors, strict=True)],
            "r_squared": 0.18,
            "theta": 0.0,
        },
    )


def main() -> int:
    """Start it, print the addresses, and wait for Ctrl-C."""
    with Stack() as stack:
        stack.stage("toolchain", stack.fetch_jars)
        stack.stage("stores", stack.start_stores)
        seed(stack.settings)
        stack.stage("flink", stack.start_flink)
        stack.stage("job", stack.submit)
        url = stack.stage("serving", stack.start_serving)
        print(f"\n  storefront    {url}/\n  control room  {url}/control\n\nCtrl-C ends it", flush=True)
        try:
            while True:
                stack.supervisor.wait(3600)
        except KeyboardInterrupt:
            return 0


if __name__ == "__main__":
    sys.exit(main())
