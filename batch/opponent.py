"""The model that is live, as it takes part in judging a candidate: by its snapshot, by its recipe, or as an equal."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from batch.choose import units_of
from batch.evaluate import Case, Task, translate
from batch.gate import Incumbent, opponent, same_model
from batch.merge import open_totals
from batch.moments import Units
from batch.recipe import Recipe
from batch.rows import count_units, decay_weights, index_units, row_blocks, sum_rows, write_rows
from batch.shown import Model, show
from batch.units import DAY_MS
from batch.work import Work
from contracts.errors import SettingsError
from contracts.lake import model_prefix
from contracts.ranker import NAMES
from contracts.snapshot import Manifest, Snapshot
from stores.objects import Objects

__all__ = ["Opponent", "recipe_of", "same_columns"]

_REFIT: Final = "incumbent"


def recipe_of(manifest: Manifest) -> Recipe:
    """The settings that a model was made with; what it does not name is as it is here.

    Raises:
        SettingsError: a value is none that this code knows.
    """
    try:
        return msgspec.convert(manifest.training, Recipe)
    except msgspec.ValidationError as exc:
        message = (
            f"the settings of the live model {manifest.version} cannot be read: {exc}; make another version live, "
            "as in python -m batch.models activate --previous, then train again"
        )
        raise SettingsError(message) from exc


def same_columns(mine: Recipe, theirs: Recipe) -> bool:
    """Whether the columns of two models may stand in one matrix."""
    return (mine.moments, mine.window, mine.solve) == (theirs.moments, theirs.window, theirs.solve)


@dataclass(frozen=True, slots=True)
class Opponent:
    """The live model."""

    manifest: Manifest
    objects: Objects

    def lists(
        self, work: Work, cases: list[Case], cut_ms: int, task: Task
    ) -> tuple[Incumbent, npt.NDArray[np.int32] | None]:
        """How it takes part, see :func:`batch.gate.opponent`, and its live lists over all items of the window.

        None where it is the candidate's equal. A snapshot's lists hold for cases after its data only.
        """
        manifest, recipe = self.manifest, recipe_of(self.manifest)
        end_ms = int(manifest.window_end.timestamp() * 1000)
        incumbent = opponent(
            manifest.version,
            end_ms,
            cut_ms,
            [case.began_ms for case in cases],
            same_recipe=same_model(_stable(work.recipe), _stable(recipe)),
            rule=work.recipe.gate,
            recorded=manifest.metrics,
            task=manifest.evaluation.get("task"),
        )
        if incumbent.how == "same":
            return incumbent, None
        snapshot = incumbent.how == "snapshot"
        model = self._stored(work.scratch) if snapshot else self._refitted(work, cut_ms, recipe)
        theta = manifest.model.theta
        shown = show(model, work.data, cases, end_ms if snapshot else cut_ms, work.list_size, task, features=theta > 0)
        rows = shown.live([model.weights.get(name, 0.0) for name in NAMES], theta).items
        return incumbent, translate(rows, model.items, {item: at for at, item in enumerate(work.data.items)})

    def _stored(self, scratch: Path) -> Model:
        folder = scratch / f"snapshot-{self.manifest.version}"
        prefix = model_prefix(self.manifest.shop_id, self.manifest.version)
        self.objects.download_folder(prefix, ["manifest.json", *self.manifest.files], folder)
        snapshot = Snapshot.open(folder)
        events = np.asarray(snapshot.popularity, float)
        return self._model(snapshot.items, snapshot.matrix, events, recipe_of(self.manifest))

    def _refitted(self, work: Work, cut_ms: int, recipe: Recipe) -> Model:
        """The live model's settings on the twin's days; its sums may be weighted otherwise, so they are made anew."""
        from batch.job import solve_model

        log, data = work.data.log, work.data
        rows = np.flatnonzero(log.ms < cut_ms)
        in_unit = np.unique(log.unit[rows] * np.int64(len(data.items)) + log.item[rows]) % len(data.items)
        known = np.bincount(in_unit, minlength=len(data.items)) >= recipe.solve.min_units
        place = np.where(known, np.cumsum(known) - 1, -1)
        offsets, items, began = units_of(log, rows, place, recipe.moments.longest)
        units, weight = Units(offsets, items), decay_weights((cut_ms - began) / DAY_MS, recipe.window.half_life_d)
        index = index_units(units, int(known.sum()))
        names = [data.items[at] for at in np.flatnonzero(known)]
        blocks = (sum_rows(units, index, weight, block, recipe.moments) for block in row_blocks(index, units))
        write_rows(work.scratch, _REFIT, names, count_units(units, index, weight), blocks)
        matrix = solve_model(work.spark, work.scratch, _REFIT, recipe.solve)
        return self._model(names, matrix, open_totals(work.scratch, _REFIT).events, recipe)

    def _model(self, items: list[str], matrix: Any, events: Any, recipe: Recipe) -> Model:
        manifest = self.manifest
        weights = dict(zip(manifest.feature_names, manifest.coefficients, strict=True))
        return Model(items, matrix, events, recipe.lists, manifest.model, weights)


def _stable(recipe: Recipe) -> dict[str, Any]:
    """The recipe without θ, which every training chooses anew."""
    plain = recipe.plain()
    plain["model"] = plain["model"] | {"theta": 0.0}
    return plain
