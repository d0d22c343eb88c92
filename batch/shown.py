"""What a model would have shown in the cases: live lists, ordered by its ranker where it has one, and batch lists."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from batch.evaluate import Case, Task, live_lists
from batch.lists import Lists, person_lists
from batch.log import Log
from batch.ranker import Block
from batch.recipe import ListRecipe
from batch.requests import Trends, daily_actions, price_positions, ranked_lists, request_block
from batch.solve import Matrix
from batch.work import Data
from contracts.ranker import POOL, ItemValues
from contracts.snapshot import ModelSettings

__all__ = ["Model", "Shown", "show"]


@dataclass(frozen=True, slots=True)
class Model:
    """What scoring needs of a model: B over ``items``, their popularity (actions), and the numbers of the lists.

    ``weights`` are the ranker's coefficients by feature, empty where it has none.
    """

    items: list[str]
    matrix: Matrix
    events: npt.NDArray[np.float64]
    lists: ListRecipe
    settings: ModelSettings
    weights: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Shown:
    """One row a case. ``pool`` is stage one's best :data:`contracts.ranker.POOL`; ``block`` their features."""

    model: Model
    log: Log
    pool: Lists
    batch: Lists
    block: Block | None

    def live(self, coefficients: Sequence[float], theta: float, size: int = 20) -> Lists:
        """The live lists with a ranker's order."""
        if self.block is None or theta <= 0:
            return Lists(self.pool.items[:, :size], self.pool.scores[:, :size])
        return ranked_lists(self.block, self.pool, coefficients, theta, size)


def show(
    model: Model, data: Data, cases: list[Case], cut_ms: int, size: int, task: Task, *, features: bool = True
) -> Shown:
    """Lists of a model that learned from what happened before ``cut_ms``, for cases (places in the log) after it.

    Args:
        size: of the batch lists.
        features: compute the ranker's features as well.
    """
    log = data.log.onto(data.items, model.items)
    people, person = np.unique([case.person for case in cases], return_inverse=True)
    before, span = log.until(cut_ms).only(people), (0, len(people))
    repeatable, weights = data.repeatable(model.items), model.settings.event_weights
    batch = person_lists(model.matrix, before, span, cut_ms, repeatable, weights, model.lists, size).take(person)
    pool = live_lists(model.matrix, log, cases, batch, model.settings, POOL)
    if not features:
        return Shown(model, log, pool, batch, None)
    values = ItemValues(
        model.events, daily_actions(log, len(model.items), cut_ms), price_positions(data.catalogue, model.items)
    )
    trends = Trends(log, len(model.items))
    block = request_block(log, cases, pool, batch, values, trends, model.settings.history, task)
    return Shown(model, log, pool, batch, block)
