"""The default data as events: what is read, what is skipped, in which order, and what the catalogue says."""

from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from local import journey

LINES = [
    # household, basket, product, quantity, sales value, week
    (1, 10, 100, 1, 2.0, 1),
    (1, 10, 101, 2, 3.0, 1),
    (1, 10, 102, 1, 1.0, 1),
    (2, 20, 100, 0, 0.0, 2),
    (2, 20, 100, 1, 4.0, 3),
    (2, 21, 103, 10_000, 25.0, 4),
    (1, 22, 101, 1, 1.5, 5),
    (1, 23, 101, 1, 1.5, 6),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    names = ["household_id", "basket_id", "product_id", "quantity", "sales_value", "week"]
    columns = dict(zip(names, map(list, zip(*LINES, strict=True)), strict=True))
    columns["transaction_timestamp"] = [datetime(2017, 1, 1 + week, 12, 30, 5) for week in columns["week"]]  # noqa: DTZ001
    pq.write_table(pa.table(columns), tmp_path / "transactions.parquet")
    products = pa.table(
        {
            "product_id": [100, 101, 103, 999],
            "manufacturer_id": [7, 69, 1, 1],
            "department": ["GROCERY", "DAIRY", "FUEL", "GROCERY"],
            "brand": ["National", "Private", "National", "National"],
            "product_category": ["COLD CEREAL", None, "FUEL", "SOUP"],
            "product_type": ["KIDS CEREAL", "FLUID MILK (WHITE", None, "SOUP"],
            "package_size": ["14.5 OZ", None, None, None],
        }
    )
    pq.write_table(products, tmp_path / "products.parquet")
    return tmp_path


def test_lines_without_a_quantity_are_skipped_and_counted(folder: Path) -> None:
    data = journey.load(folder=folder)
    assert len(data.lines) == 7
    assert data.skipped == 1


def test_the_lines_of_a_basket_are_one_second_apart_from_its_time(folder: Path) -> None:
    basket = journey.load(folder=folder).lines.query("basket == 10")
    assert basket["place"].tolist() == [0, 1, 2]
    first = int(datetime.fromisoformat("2017-01-02T12:30:05+00:00").timestamp() * 1000)
    assert basket["occurred_ms"].tolist() == [first, first + 1000, first + 2000]


def test_the_order_in_a_basket_depends_on_the_seed_alone(folder: Path) -> None:
    def order(seed: int, weeks: list[int] | None = None) -> list[int]:
        lines = journey.load(weeks, seed=seed, folder=folder).lines
        return lines.loc[lines["basket"] == 10, "product"].tolist()  # type: ignore[no-any-return]

    assert order(1) == order(1, [1])
    assert len({tuple(order(seed)) for seed in range(30)}) == 6, "every order of three lines comes up"


def test_the_last_four_weeks_are_held_out_and_the_first_two_of_them_replayed(folder: Path) -> None:
    assert journey.split(folder) == journey.Split(lake=(1, 2), replay=(3, 4), test=(5, 6))


def test_price_is_of_one_unit_and_small_units_are_not_made_free(folder: Path) -> None:
    prices = journey.load(folder=folder).lines.set_index("product")["price"]
    assert prices[103] == 0.0025
    assert prices[101].tolist() == [1.5, 1.5, 1.5]


def test_event_ids_are_distinct_and_the_same_in_every_run(folder: Path) -> None:
    ids = journey.event_ids(journey.load(folder=folder).lines)
    assert ids == journey.event_ids(journey.load(folder=folder).lines)
    assert len(set(ids)) == 7


def test_the_catalogue_holds_every_item_sold_and_nothing_else(folder: Path) -> None:
    items = {item.item_id: item for item in journey.catalogue(journey.load(folder=folder).lines, folder)}
    assert set(items) == {"100", "101", "102", "103"}
    assert (items["100"].title, items["100"].category, items["100"].price) == (
        "Kids Cereal, 14.5 oz",
        "Cold Cereal",
        3.0,
    )
    assert items["100"].attributes == {
        "department": "Grocery",
        "type": "Kids Cereal",
        "brand": "National",
        "size": "14.5 oz",
        "maker": "7",
    }
    assert (items["101"].title, items["101"].category) == ("Fluid Milk, own brand", "Dairy")
    assert (items["102"].title, items["102"].category) == ("Item 102", "Other"), (
        "a product the package does not describe"
    )
    assert items["103"].price is None, "below a cent"
    assert all(item.repeatable and item.in_stock for item in items.values())


def test_sample_visitors_are_seeded_and_have_the_longest_histories_where_all_are_short(folder: Path) -> None:
    lines = journey.load(folder=folder).lines
    assert sorted(journey.sample_visitors(lines, 2)) == ["1", "2"]
    assert journey.sample_visitors(lines, 1) == ["1"]
    many = journey.sample_visitors(lines, 2, least=1)
    assert many == journey.sample_visitors(lines, 2, least=1)


def test_the_package_holds_what_the_documentation_says() -> None:
    """Lake, replay and test are what the demo promises: 50,000 events at least are replayed."""
    parts = journey.split()
    assert (parts.lake[0], parts.lake[-1], parts.replay, parts.test) == (1, 49, (50, 51), (52, 53))
    replayed = journey.load(parts.replay)
    assert len(replayed.lines) == 55_874
    assert replayed.lines["quantity"].between(1, 100_000).all()
