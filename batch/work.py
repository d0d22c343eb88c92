"""What the stages of one run hand to each other: the options, the shop's data, the place where arrays lie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from batch.log import Log
from batch.recipe import Recipe
from batch.solve import Matrix
from batch.sums import Sums
from contracts.items import Item

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["Data", "Options", "Work"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What one run does.

    ``since`` None means all days that the lake holds; with ``full`` none of the stored sums is used. ``holdout_days`` 0
    means no evaluation, and no gate. ``pinned`` are settings from a file, ``sets`` single ones, see
    :meth:`batch.recipe.Recipe.with_options`. ``search`` "auto" searches where nothing is pinned and the live model's
    settings were not chosen in the last 28 days. ``targets`` "touched" solves only the items of units that are new
    since the live model. ``accept`` names checks that may not refuse.
    """

    shop: str
    until: date
    since: date | None = None
    full: bool = False
    holdout_days: int = 7
    cases: int = 2000
    publish: bool = True
    dry_run: bool = False
    pinned: Recipe | None = None
    sets: Sequence[str] = ()
    search: Literal["auto", "always", "never"] = "auto"
    targets: Literal["all", "touched"] = "all"
    accept: Sequence[str] = ()
    master: str = "local[2]"
    driver_memory: str = "1g"
    scratch: Path | None = None


@dataclass(frozen=True, slots=True)
class Data:
    """The actions of the window, what each day counts, and the catalogue."""

    counts: dict[date, dict[str, int]]
    log: Log
    items: list[str]
    catalogue: Mapping[str, Item]

    @property
    def last_day(self) -> date:
        """The newest day with actions."""
        return max(day for day, counts in self.counts.items() if counts.get("actions"))

    @property
    def first_day(self) -> date:
        """The oldest day with actions."""
        return min(day for day, counts in self.counts.items() if counts.get("actions"))

    def repeatable(self, items: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Which of the items the catalogue calls repeatable: ``(I,)``."""
        known = (self.catalogue.get(item) for item in items)
        return np.fromiter((item is not None and item.repeatable for item in known), bool, len(items))


@dataclass(frozen=True, slots=True)
class Work:
    """One run: the session, the sums and the data of its window, and ``scratch`` for arrays that tasks share."""

    spark: "SparkSession"
    sums: Sums
    data: Data
    recipe: Recipe
    options: Options
    scratch: Path
    list_size: int

    def solve(self, name: str) -> Matrix:
        """B of the totals that lie in ``scratch`` under ``name``, by this run's recipe."""
        from batch.job import solve_model

        return solve_model(self.spark, self.scratch, name, self.recipe.solve)
