"""The single process computes the same model as the product's kernels, whatever the settings."""

from typing import Any

import numpy as np
import pytest

from batch.merge import open_totals
from batch.moments import Units
from batch.recipe import Recipe
from batch.rows import count_units, index_units, row_blocks, sum_rows, write_rows
from batch.solve import build_system, keep_strongest, second_hop, solve_targets
from benchmarks.reference import reference_model
from benchmarks.synthetic import Shop
from benchmarks.train import PINNED

ITEMS = 60


def ours(folder: Any, units: Units, age_d: Any, recipe: Recipe) -> Any:
    """B by :mod:`batch.rows` and :mod:`batch.solve`, in this process, the rows cut in small blocks."""
    half = recipe.window.half_life_d
    weight = 0.5 ** (age_d / half) if half else np.ones(len(units))
    index = index_units(units, ITEMS)
    blocks = row_blocks(index, units, 500)
    assert len(blocks) > 3
    rows: Any = (sum_rows(units, index, weight, block, recipe.moments) for block in blocks)
    names = [str(item) for item in range(ITEMS)]
    write_rows(folder, "t", names, count_units(units, index, weight), rows)
    found = solve_targets(build_system(open_totals(folder, "t"), recipe.solve), np.arange(ITEMS), recipe.solve)
    matrix = keep_strongest(found, ITEMS, recipe.solve.keep)
    if recipe.solve.hop:
        matrix = second_hop(matrix, (0, ITEMS), recipe.solve.hop, recipe.solve.hop_width, recipe.solve.keep)
    return matrix


@pytest.mark.parametrize(
    "options",
    [
        ["moments.gram_exponent=0.3", "moments.cross_exponent=0.3", "moments.ordered=false", "solve.a=1"],
        [],
        ["solve.own=0", "solve.hop=0"],
        ["window.half_life_d=20"],
        ["solve.ridge_by=units", "solve.selectivity=0.8", "solve.candidates=9", "solve.keep=7"],
    ],
    ids=["one matrix", "the whole formula", "no own weight, no hop", "decay", "few candidates"],
)
def test_the_reference_is_the_model_of_the_products_kernels(tmp_path: Any, options: list[str]) -> None:
    recipe = PINNED.with_options(["solve.candidates=30", "solve.keep=25", *options])
    units, age_d = Shop(items=ITEMS, group=10).units(3000)
    wanted = reference_model(units.offsets, units.items, age_d, ITEMS, recipe)
    found = ours(tmp_path, units, age_d, recipe)
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_array_equal(found[1], wanted[1])
    np.testing.assert_allclose(found[2], wanted[2], rtol=1e-5, atol=1e-6)
    assert len(found[2]) > 5 * ITEMS
