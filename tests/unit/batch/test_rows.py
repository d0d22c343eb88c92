"""Sums made by rows from the units are those of day partitions, whatever the exponents, the order and the weights."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from batch.merge import open_totals
from batch.moments import Totals, Units, day_moments, sum_moments
from batch.recipe import MomentRecipe
from batch.rows import count_units, index_units, row_blocks, sum_rows, write_rows

ITEMS = [f"i{at:02}" for at in range(40)]


def days_of(seed: int) -> tuple[list[Units], list[float]]:
    """Some days of units with repeats, and their weights. Some units are empty, and some items nobody wants."""
    rng = np.random.default_rng(seed)
    days = []
    for _ in range(4):
        lengths = np.append(rng.integers(0, 30, 25), [0, 1])
        items = rng.zipf(1.5, lengths.sum()) % (len(ITEMS) - 3)
        days.append(Units(np.concatenate(([0], np.cumsum(lengths))), items.astype(np.int32)))
    return days, [0.5 ** (age / 3) for age in range(4)]


def by_rows(folder: Path, units: Units, weight: np.ndarray, recipe: MomentRecipe, most: int) -> Totals:
    index = index_units(units, len(ITEMS))
    blocks = row_blocks(index, units, most)
    assert [begin for begin, _ in blocks] == [0, *(end for _, end in blocks[:-1])]
    assert blocks[-1][1] == len(ITEMS)
    made = (sum_rows(units, index, weight, rows, recipe) for rows in blocks)
    write_rows(folder, "some", ITEMS, count_units(units, index, weight), made)
    return open_totals(folder, "some")


@pytest.mark.parametrize(
    "recipe",
    [
        MomentRecipe(),
        MomentRecipe(gram_exponent=2.0, cross_exponent=1.0),
        MomentRecipe(gram_exponent=0.0, cross_exponent=0.0, ordered=True, tau=1.0, both=0.0),
        MomentRecipe(gram_exponent=1.5, cross_exponent=0.5, ordered=True, tau=2.5, both=0.6),
    ],
    ids=["equal", "two exponents", "order", "all"],
)
@pytest.mark.parametrize("most", [1, 200, 1 << 23], ids=["a row a block", "some blocks", "one block"])
def test_sums_by_rows_are_the_weighted_sum_of_the_days(tmp_path: Path, recipe: MomentRecipe, most: int) -> None:
    days, weights = days_of(seed=int(10 * recipe.gram_exponent))
    expected = sum_moments([day_moments(day, ITEMS, recipe) for day in days], 0, weights)
    offsets = np.concatenate(([0], np.cumsum(np.concatenate([np.diff(day.offsets) for day in days]))))
    units = Units(offsets, np.concatenate([day.items for day in days]))
    found = by_rows(tmp_path, units, np.repeat(weights, [len(day) for day in days]), recipe, most)
    assert (found.order is None, found.cross is found.gram) == (
        not recipe.ordered,
        recipe.gram_exponent == recipe.cross_exponent,
    )
    for field in fields(Totals):
        mine, theirs = getattr(found, field.name), getattr(expected, field.name)
        if isinstance(theirs, np.ndarray) and theirs.dtype.kind == "f":
            np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-15, err_msg=field.name)
        elif isinstance(theirs, np.ndarray):
            np.testing.assert_array_equal(mine, theirs, err_msg=field.name)
        else:
            assert mine == theirs


def test_blocks_of_rows_visit_about_alike_many_actions() -> None:
    days, _ = days_of(seed=1)
    index = index_units(days[0], len(ITEMS))
    lengths = np.diff(days[0].offsets)
    starts = index.starts

    def visits(begin: int, end: int) -> int:
        return int(lengths[index.unit[starts[begin] : starts[end]]].sum())

    found = [visits(*block) for block in row_blocks(index, days[0], 900)]
    assert len(found) > 3
    assert max(found) <= max(900, *(visits(at, at + 1) for at in range(len(ITEMS))))
