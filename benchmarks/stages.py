"""The trainer's Spark stages on units that lie in arrays: what is timed, without lake, search and publishing."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from batch.recipe import Recipe
from batch.rows import (
    Rows,
    count_units,
    decay_weights,
    index_units,
    open_index,
    row_blocks,
    save_index,
    sum_rows,
    write_rows,
)
from batch.solve import Matrix
from batch.trial import Problem

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["TOTALS", "Trained", "train_stages"]

TOTALS: Final = "train"
"""What the files of the totals are named by, see :func:`batch.merge.open_totals`."""


@dataclass(frozen=True, slots=True)
class Trained:
    """B, and the seconds of each stage: ``index`` (driver), ``rows`` (tasks), ``join`` (driver), ``solve`` (tasks)."""

    matrix: Matrix
    seconds: dict[str, float] = field(default_factory=dict)


def train_stages(spark: "SparkSession", scratch: Path, folder: Path, recipe: Recipe) -> Trained:
    """B by the product's Spark stages: rows of the sums as tasks, targets as tasks, the second hop as tasks.

    Args:
        scratch: where the totals are left as :data:`TOTALS`; tasks find files here, so this runs on one machine.
        folder: of a saved :class:`batch.trial.Problem`; its units, their index and the totals are mapped by every task.
    """
    from batch.job import solve_model
    from batch.lake import runner

    seconds, began = dict[str, float](), time.monotonic()

    def lap(stage: str) -> None:
        nonlocal began
        seconds[stage] = round(time.monotonic() - began, 3)
        began = time.monotonic()

    problem = Problem.open(folder)
    index = index_units(problem.units, problem.count)
    save_index(folder, index)
    blocks = row_blocks(index, problem.units)
    counts = count_units(problem.units, index, decay_weights(problem.age_d, recipe.window.half_life_d))
    del index
    lap("index")
    parts = runner(spark)(_Block(str(folder), str(scratch), recipe), list(enumerate(blocks)))
    lap("rows")
    write_rows(scratch, TOTALS, [str(at) for at in range(problem.count)], counts, _stored(parts))
    lap("join")
    matrix = solve_model(spark, scratch, TOTALS, recipe.solve)
    lap("solve")
    return Trained(matrix, seconds)


@dataclass(frozen=True, slots=True)
class _Block:
    """The work of a task: one block of rows, as ``.npy`` files whose common beginning is returned."""

    folder: str
    out: str
    recipe: Recipe

    def __call__(self, block: tuple[int, tuple[int, int]]) -> str:
        found = Problem.open(Path(self.folder))
        weights, index = decay_weights(found.age_d, self.recipe.window.half_life_d), open_index(Path(self.folder))
        rows = sum_rows(found.units, index, weights, block[1], self.recipe.moments)
        start = f"{self.out}/rows-{block[0]}"
        for what, values in rows._asdict().items():
            np.save(f"{start}-{what}.npy", values)
        return start


def _stored(parts: Sequence[str]) -> Iterator[Rows]:
    """The blocks, mapped one after the other and then deleted."""
    for start in parts:
        files = [Path(f"{start}-{what}.npy") for what in Rows._fields]
        yield Rows(*(_mapped(file) for file in files))
        for file in files:
            file.unlink()


def _mapped(file: Path) -> Any:
    try:
        return np.load(file, mmap_mode="r")
    except ValueError:  # nothing cannot be mapped
        return np.load(file)
