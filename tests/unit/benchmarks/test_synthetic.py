"""Equal shops make equal data, and the shop knows how many pairs its events bring together."""

import json

import numpy as np
import pytest
from scipy import sparse

from benchmarks.synthetic import Shop, lake_objects


def test_equal_shops_make_equal_units_and_other_seeds_others() -> None:
    first, second = (Shop(items=200).units(5000) for _ in range(2))
    other = Shop(items=200, seed=2).units(5000)
    np.testing.assert_array_equal(first[0].items, second[0].items)
    np.testing.assert_array_equal(first[0].offsets, second[0].offsets)
    np.testing.assert_array_equal(first[1], second[1])
    assert not np.array_equal(first[0].items, other[0].items)


def test_units_are_as_many_events_as_asked_and_none_is_empty() -> None:
    units, age_d = Shop(items=50).units(1234)
    assert len(units.items) == units.offsets[-1] == 1234
    assert np.diff(units.offsets).min() >= 1
    assert len(age_d) == len(units)
    assert age_d.min() >= 0
    assert units.items.min() >= 0
    assert units.items.max() < 50


def test_popular_items_are_popular_and_groups_go_together() -> None:
    shop = Shop(items=1000)
    units, _ = shop.units(50_000)
    counts = np.bincount(units.items, minlength=1000)
    assert counts[:20].sum() > 10 * counts[500:520].sum()
    pairs = np.flatnonzero(np.diff(units.items) != 0)
    together = units.items[pairs] % 20 == units.items[pairs + 1] % 20  # 20 groups of 50
    assert together.mean() > 3 / 20


def test_a_lake_grown_by_a_day_is_the_longer_lake() -> None:
    shop = Shop(items=100, events_a_day=200, late=0.1)
    whole = dict(lake_objects(shop, 0, 4))
    grown = dict(lake_objects(shop, 0, 3)) | dict(lake_objects(shop, 4, 4))
    assert whole == grown


def test_every_line_of_the_lake_is_an_event() -> None:
    _, line = Shop(events_a_day=50).day(1)[0]
    assert {"event_id", "event_type", "user_id", "item_id", "occurred_at", "received_at"} <= json.loads(line).keys()


@pytest.mark.parametrize(("events", "items"), [(20_000, 500), (100_000, 5_000)])
def test_the_expected_entries_are_near_the_entries(events: int, items: int) -> None:
    """A little above them: that some pairs come twice in one visit is not in the formula."""
    shop = Shop(items=items)
    units, _ = shop.units(events)
    rows = np.repeat(np.arange(len(units)), np.diff(units.offsets))
    one = sparse.csr_matrix((np.ones(events, np.int32), (rows, units.items)), shape=(len(units), items))
    found = (one.T @ one).nnz
    assert 0.95 * found < shop.entries(events) < 1.3 * found
