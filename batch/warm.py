"""Compile the kernels while something else is waited for, so that Spark's Python workers find them in Numba's cache."""

import tempfile
from pathlib import Path

import numpy as np

from batch.exchange import Exchange
from batch.merge import Addends, Block, add_block
from batch.moments import Units, day_moments, sum_moments
from batch.recipe import MomentRecipe, SolveRecipe
from batch.rows import count_units, index_units, row_blocks, sum_rows
from batch.solve import build_system, keep_strongest, satiate, second_hop, solve_targets
from contracts.scoring import score_rows
from contracts.settings import Settings

__all__ = ["compile_kernels"]

_UNITS = Units(np.array([0, 2, 4]), np.array([0, 1, 1, 2], np.int32))


def compile_kernels() -> None:
    """Run each kernel once on next to nothing, with the argument types that the training uses."""
    recipe = SolveRecipe(candidates=1)
    system = build_system(sum_moments([day_moments(_UNITS, ["a", "b", "c"], MomentRecipe())]), recipe)
    model = keep_strongest(solve_targets(system, np.arange(3), recipe), 3, 1)
    satiate(second_hop(model, (0, 3), 0.5, 1, 1), 1.0)
    matrix = (np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    score_rows(matrix, matrix, matrix, 1.0, 1)
    _compile_sums()


def _compile_sums() -> None:
    """Those of the search, which sums by rows, and of the merge, which adds parts by blocks of rows."""
    index = index_units(_UNITS, 3)
    count_units(_UNITS, index, np.ones(2))
    for block in row_blocks(index, _UNITS):
        sum_rows(_UNITS, index, np.ones(2), block, MomentRecipe())
    with tempfile.TemporaryDirectory(prefix="liveshelf-warm-") as folder:
        exchange = Exchange(Settings(), Path(folder), "")
        exchange.put("part-indptr", np.array([0, 1]))
        exchange.put("part-cols", np.zeros(1, np.int32))
        exchange.put("part-gram", np.ones(1))
        exchange.put("total-map-part", np.zeros(1, np.int32))
        add_block(exchange, Addends("total", ["part"], [1.0], ["gram"], 1), Block("total-0", 0, 1))
