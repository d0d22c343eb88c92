"""Moments are sums over units: cut into days they add up to the full rebuild, and each has the value of its formula."""

from collections.abc import Sequence

import numpy as np
import pytest

from batch.moments import Moments, Totals, Units, day_moments, sum_moments
from batch.recipe import MomentRecipe

ORDERED = MomentRecipe(gram_exponent=2.0, cross_exponent=1.0, ordered=True)
PLAIN = MomentRecipe()


def random_units(seed: int, count: int, items: int) -> list[list[int]]:
    """Units of 1 to 8 actions, popular items more often, repeats included."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, items + 1)
    return [rng.choice(items, rng.integers(1, 9), p=share / share.sum()).tolist() for _ in range(count)]


def moments_of(units: Sequence[Sequence[str]], recipe: MomentRecipe) -> Moments:
    """A day's moments, over the items of the day only."""
    items = sorted({item for unit in units for item in unit})
    place = {item: at for at, item in enumerate(items)}
    offsets = np.cumsum([0, *(len(unit) for unit in units)])
    return day_moments(Units(offsets, np.array([place[i] for u in units for i in u], np.int32)), items, recipe)


def dense(total: Totals, values: np.ndarray) -> np.ndarray:
    count = len(total.items)
    out = np.zeros((count, count))
    out[np.repeat(np.arange(count), np.diff(total.indptr)), total.cols] = values
    return out


def by_formula(units: Sequence[Sequence[str]], items: list[str], recipe: MomentRecipe) -> dict[str, np.ndarray]:
    """The definitions of the module, written out unit by unit."""
    at = {item: n for n, item in enumerate(items)}
    gram, cross, order = (np.zeros((len(items), len(items))) for _ in range(3))
    for unit in units:
        x = np.zeros(len(items))
        x[[at[i] for i in unit]] = 1
        gram += np.outer(x, x) * x.sum() ** -recipe.gram_exponent
        cross += np.outer(x, x) * x.sum() ** -recipe.cross_exponent
        for s in range(len(unit)):
            for t in range(s + 1, len(unit)):
                weight = np.exp(-(t - s - 1) / recipe.tau)
                order[at[unit[s]], at[unit[t]]] += weight
                order[at[unit[t]], at[unit[s]]] += recipe.both * weight
    return {"gram": gram, "cross": cross, "order": order}


def assert_equal(left: Totals, right: Totals) -> None:
    assert left.items == right.items
    for name in ("units", "events", "sources", "indptr", "cols"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))
    for name in ("gram", "cross", "order"):
        one, other = getattr(left, name), getattr(right, name)
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=1e-9)


@pytest.fixture(scope="module")
def units() -> list[list[str]]:
    return [[f"i{item:02}" for item in unit] for unit in random_units(seed=1, count=300, items=40)]


@pytest.mark.parametrize("recipe", [PLAIN, ORDERED], ids=["baskets", "ordered sessions"])
def test_the_sum_of_days_is_the_full_rebuild_in_any_order(units: list[list[str]], recipe: MomentRecipe) -> None:
    days = [moments_of(units[begin : begin + 37], recipe) for begin in range(0, len(units), 37)]
    whole = sum_moments([moments_of(units, recipe)])
    assert_equal(sum_moments(days), whole)
    assert_equal(sum_moments(days[::-1]), whole)


def test_each_moment_has_the_value_of_its_formula(units: list[list[str]]) -> None:
    total = sum_moments([moments_of(units[:150], ORDERED), moments_of(units[150:], ORDERED)])
    expected = by_formula(units, total.items, ORDERED)
    np.testing.assert_allclose(dense(total, total.gram), expected["gram"], rtol=1e-9)
    np.testing.assert_allclose(dense(total, total.cross), expected["cross"], rtol=1e-9)
    assert total.order is not None
    np.testing.assert_allclose(dense(total, total.order), expected["order"].T, rtol=1e-9)
    flat = [item for unit in units for item in unit]
    followed = [item for unit in units for item in unit[:-1]]
    assert total.units.tolist() == [sum(item in unit for unit in units) for item in total.items]
    assert total.events.tolist() == [flat.count(item) for item in total.items]
    assert total.sources.tolist() == [followed.count(item) for item in total.items]


def test_equal_exponents_store_one_matrix_because_gram_is_cross(units: list[list[str]]) -> None:
    total = sum_moments([moments_of(units, PLAIN)])
    assert total.gram is total.cross
    np.testing.assert_allclose(dense(total, total.cross), by_formula(units, total.items, PLAIN)["cross"], rtol=1e-9)


def test_a_rare_item_is_left_out_of_the_index_and_of_every_pair(units: list[list[str]]) -> None:
    days = [moments_of(units[:100], PLAIN), moments_of([*units[100:], ["i00", "rare"], ["i01", "rare"]], PLAIN)]
    total, kept = sum_moments(days, min_units=3), sum_moments([moments_of(units, PLAIN)], min_units=3)
    assert "rare" in sum_moments(days).items
    assert "rare" not in total.items
    assert total.cols.max() == len(total.items) - 1
    away = [at for at, item in enumerate(kept.items) if item not in ("i00", "i01")]
    square = np.ix_(away, away)
    np.testing.assert_allclose(dense(total, total.gram)[square], dense(kept, kept.gram)[square], rtol=1e-9)


@pytest.mark.parametrize("recipe", [PLAIN, ORDERED], ids=["baskets", "ordered sessions"])
def test_a_day_without_units_adds_nothing(units: list[list[str]], recipe: MomentRecipe) -> None:
    day, nothing = moments_of(units, recipe), moments_of([], recipe)
    assert_equal(sum_moments([nothing, day, nothing]), sum_moments([day]))
    assert sum_moments([nothing]).items == []
