"""Compile the kernels while something else is waited for, so that Spark's Python workers find them in Numba's cache."""

import numpy as np

from batch.moments import Units, day_moments, sum_moments
from batch.recipe import MomentRecipe, SolveRecipe
from batch.solve import build_system, solve_targets
from contracts.scoring import score_rows

__all__ = ["compile_kernels"]


def compile_kernels() -> None:
    """Run each kernel once on next to nothing, with the argument types that the training uses."""
    units = Units(np.array([0, 2, 4]), np.array([0, 1, 1, 2], np.int32))
    recipe = SolveRecipe(candidates=1)
    system = build_system(sum_moments([day_moments(units, ["a", "b", "c"], MomentRecipe())]), recipe)
    solve_targets(system, np.arange(3), recipe)
    matrix = (np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    score_rows(matrix, matrix, matrix, 1.0, 1)
