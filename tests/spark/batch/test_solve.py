"""B from Spark's tasks, in blocks of targets and of rows, is B from one process, whatever the recipe."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession

from batch import job
from batch.job import solve_model
from batch.lake import start_spark
from batch.merge import open_totals
from batch.moments import Totals, Units
from batch.recipe import MomentRecipe, SolveRecipe
from batch.rows import count_units, index_units, row_blocks, sum_rows, write_rows
from batch.solve import Matrix, build_system, keep_strongest, satiate, second_hop, solve_targets
from contracts.settings import Settings
from local import toolchain

pytestmark = [
    pytest.mark.spark,
    # Spark runs in this process, and pyspark leaves its sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]

ITEMS = job._ROWS + 900
"""More than a block of rows, and than several blocks of targets."""

LONELY = range(job._ROWS - 5, job._ROWS + 5)
"""Items at the edge of the blocks that nobody wants: empty rows and columns."""


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAVA_HOME", str(toolchain.java_home()))
        patch.setenv("LIVESHELF_SPARK_JARS", ":".join(map(str, toolchain.jars().spark)))
        session = start_spark(Settings.from_properties({"liveshelf": {"redis.nodes": "x:1"}}), "local[2]", "512m")
        yield session
        session.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Totals of random visits under the name ``some``."""
    rng = np.random.default_rng(5)
    lengths = rng.integers(2, 9, 12_000)
    near = np.repeat(rng.integers(0, ITEMS, len(lengths)), lengths) + rng.integers(-20, 20, lengths.sum())
    items = np.where(rng.random(len(near)) < 0.2, rng.zipf(1.4, len(near)), near) % ITEMS
    items[np.isin(items, LONELY)] = 0
    units = Units(np.concatenate(([0], np.cumsum(lengths))), items.astype(np.int32))
    recipe, index = MomentRecipe(gram_exponent=1.0, cross_exponent=0.5, ordered=True), index_units(units, ITEMS)
    made = tmp_path_factory.mktemp("totals")
    weight = np.ones(len(units))
    blocks = (sum_rows(units, index, weight, rows, recipe) for rows in row_blocks(index, units))
    write_rows(made, "some", [f"i{at}" for at in range(ITEMS)], count_units(units, index, weight), blocks)
    return made


def in_one_process(totals: Totals, recipe: SolveRecipe) -> Matrix:
    count = len(totals.items)
    found = solve_targets(build_system(totals, recipe), np.arange(count), recipe)
    matrix = keep_strongest(found, count, recipe.keep)
    if recipe.hop:
        matrix = second_hop(matrix, (0, count), recipe.hop, recipe.hop_width, recipe.keep)
    return satiate(matrix, recipe.satiation)


RECIPES = {
    "baskets": SolveRecipe(candidates=30, keep=12),
    "visits": SolveRecipe(
        a=0.5, l0=3.0, ridge_by="gram", own=0.7, satiation=0.0, popularity=0.1, hop=0.6, candidates=20, keep=12
    ),
    "narrow": SolveRecipe(candidates=20, keep=4, satiation=0.0, hop=1.0, hop_width=2),
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_the_tasks_make_what_one_process_makes(spark: SparkSession, folder: Path, recipe: SolveRecipe) -> None:
    found, expected = solve_model(spark, folder, "some", recipe), in_one_process(open_totals(folder, "some"), recipe)
    assert np.diff(expected[0]).max() in (recipe.keep, recipe.keep + 1)
    if not recipe.satiation:
        assert not np.diff(expected[0])[list(LONELY)].any()
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.dtype == theirs.dtype
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    np.testing.assert_allclose(found[2], expected[2], rtol=1e-6)


@pytest.mark.parametrize("recipe", [RECIPES["baskets"], SolveRecipe(a=0.5, own=0.7, satiation=0.0, keep=12)])
def test_solving_some_targets_of_unchanged_sums_again_changes_nothing(
    spark: SparkSession, folder: Path, recipe: SolveRecipe
) -> None:
    """Also the diagonal stays, whether it is solved for or set."""
    whole = in_one_process(open_totals(folder, "some"), recipe)
    for targets in (np.arange(0, ITEMS, 7), np.zeros(0, np.int64)):
        found = solve_model(spark, folder, "some", recipe, again=(targets, whole))
        np.testing.assert_array_equal(found[0], whole[0])
        np.testing.assert_array_equal(found[1], whole[1])
        np.testing.assert_allclose(found[2], whole[2], rtol=1e-6)
