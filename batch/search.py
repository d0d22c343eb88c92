"""Settings chosen by the program: coordinate descent over one grid, the same for every shop and every data set.

The metric is fixed (:data:`batch.trial.METRIC`), the cases are cut out of the training data, and each coordinate is
climbed in turn: its neighbouring values are tried, the best is kept, and so on until none is better. Coordinates whose
values have no order (``ordered=False``) are tried in full. The first step chooses among starting points for the shapes
that behaviour comes in: visits, baskets, long histories.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from batch.recipe import Recipe
from batch.trial import METRIC

__all__ = ["GRID", "STARTS", "Choice", "Coordinate", "Step", "search", "with_values"]

Values = Mapping[str, Any]
"""``group.name`` of the recipe → value."""

Score = Callable[[Sequence[Recipe], bool], Sequence[float]]
"""``score(recipes, sampled)``: the metric of each, see :meth:`batch.trial.Trials.score`."""

_GAIN: Final = 1e-3
"""By what share of the metric a value has to be better, unless the caller knows how noisy its cases are."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One trial: what was changed, by which coordinate, on which targets, and the metric it gave."""

    coordinate: str
    settings: dict[str, Any]
    value: float
    sampled: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen recipe, the metric it reached, and every trial in the order it was made."""

    recipe: Recipe
    value: float
    curve: list[Step]

    def plain(self) -> dict[str, Any]:
        """For the manifest."""
        grid = {c.name: [dict(option) for option in c.options] for c in GRID}
        chosen = {name: _read(self.recipe, name) for c in GRID for name in c.options[0]}
        curve = [msgspec.to_builtins(step) for step in self.curve]
        return {"metric": METRIC, "value": self.value, "grid": grid, "curve": curve, "choice": chosen}


@dataclass(frozen=True, slots=True)
class Coordinate:
    """One axis of the grid: its options in order, and whether neighbours are alike (``ordered``).

    ``full``: tried on all targets, because a sample of them would change what is asked. ``wanted`` says for which
    recipes the axis means anything.
    """

    name: str
    options: tuple[Values, ...]
    ordered: bool = True
    full: bool = False
    wanted: Callable[[Recipe], bool] = field(default=lambda recipe: True)


def _axis(name: str, *values: Any) -> tuple[Values, ...]:
    return tuple({name: value} for value in values)


def _pairs(first: str, second: str, *values: tuple[Any, Any]) -> tuple[Values, ...]:
    return tuple({first: one, second: other} for one, other in values)


_EXPONENTS = ("moments.gram_exponent", "moments.cross_exponent")

STARTS: Final = Coordinate(
    "start",
    (
        {  # visits: short, and what comes next depends on what came last
            **dict(zip(_EXPONENTS, (2.0, 1.0), strict=True)),
            "moments.ordered": True,
            "solve.a": 0.8,
            "solve.l0": 3.0,
            "solve.l1": 0.3,
            "solve.ridge_by": "gram",
            "solve.own": 0.7,
            "solve.satiation": 0.0,
            "solve.popularity": 0.1,
            "solve.hop": 0.6,
            "model.history": 20,
            "model.decay": 2.0,
        },
        {  # baskets: wide, without an order
            **dict(zip(_EXPONENTS, (0.3, 0.3), strict=True)),
            "moments.ordered": False,
            "solve.a": 1.0,
            "solve.l0": 20.0,
            "solve.l1": 0.5,
            "solve.ridge_by": "units",
            "solve.own": 0.0,
            "solve.satiation": 3.0,
            "solve.popularity": 0.0,
            "solve.hop": 0.0,
            "model.history": 20,
            "model.decay": 4.0,
        },
        {  # long histories: everything a person did counts alike
            **dict(zip(_EXPONENTS, (0.3, 0.3), strict=True)),
            "moments.ordered": False,
            "solve.a": 1.0,
            "solve.l0": 20.0,
            "solve.l1": 0.5,
            "solve.ridge_by": "units",
            "solve.own": 0.0,
            "solve.satiation": 0.0,
            "solve.popularity": 0.0,
            "solve.hop": 0.0,
            "model.history": 1000,
            "model.decay": 0.0,
        },
    ),
    ordered=False,
)

_ORDER = tuple(
    {"moments.ordered": a < 1, "solve.a": a, "moments.tau": 2.0, "moments.both": 0.3} for a in (1.0, 0.9, 0.8, 0.5, 0.3)
)
_DIAGONAL = _pairs(
    "solve.own", "solve.satiation", (0.0, 3.0), (0.0, 0.0), (0.25, 0.0), (0.5, 0.0), (0.7, 0.0), (1.0, 0.0)
)
_DECAY = _axis("model.decay", 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, 16.0, 0.0)

GRID: Final = (
    Coordinate("decay", _DECAY),
    Coordinate("diagonal", _DIAGONAL),
    Coordinate("blend", _axis("model.blend", 0.0, 0.2, 0.5, 1.0, 1.5, 2.5)),
    Coordinate("order", _ORDER),
    Coordinate("gram weight", _axis(_EXPONENTS[0], 0.0, 0.3, 0.5, 1.0, 1.5, 2.0)),
    Coordinate("cross weight", _axis(_EXPONENTS[1], 0.0, 0.3, 0.5, 1.0, 1.5)),
    Coordinate("l0", _axis("solve.l0", 1.0, 3.0, 10.0, 20.0, 40.0, 80.0)),
    Coordinate("l1", _axis("solve.l1", 0.0, 0.1, 0.3, 0.5, 1.0, 2.0)),
    Coordinate("ridge by", _axis("solve.ridge_by", "gram", "units"), ordered=False),
    Coordinate("popularity", _axis("solve.popularity", 0.0, 0.1, 0.2, 0.3)),
    Coordinate("tau", _axis("moments.tau", 1.0, 2.0, 4.0), wanted=lambda recipe: recipe.moments.ordered),
    Coordinate("both", _axis("moments.both", 0.1, 0.3, 0.6), wanted=lambda recipe: recipe.moments.ordered),
    Coordinate("history", _axis("model.history", 5, 10, 20, 50, 1000)),
    Coordinate("half-life", _axis("window.half_life_d", 0.0, 120.0, 60.0, 30.0, 15.0)),
    Coordinate("second hop", _axis("solve.hop", 0.0, 0.3, 0.6, 1.0, 2.0), full=True),
    Coordinate("decay", _DECAY, full=True),
    Coordinate("diagonal", _DIAGONAL, full=True),
    Coordinate(
        "event weights",
        tuple(
            {"model.event_weights": dict(zip(("view", "click", "add_to_cart", "purchase"), weights, strict=True))}
            for weights in ((1.0, 1.0, 1.0, 1.0), (1.0, 1.0, 2.0, 3.0), (1.0, 1.0, 4.0, 8.0))
        ),
        full=True,
    ),
)


def with_values(recipe: Recipe, values: Values) -> Recipe:
    """The recipe with some numbers replaced.

    >>> with_values(Recipe(), {"solve.l0": 3.0}).solve.l0
    3.0
    """
    data = msgspec.to_builtins(recipe)
    for name, value in values.items():
        group, _, key = name.partition(".")
        data[group][key] = value
    return msgspec.convert(data, Recipe)


def _read(recipe: Recipe, name: str) -> Any:
    group, _, key = name.partition(".")
    return msgspec.to_builtins(getattr(getattr(recipe, group), key))


@dataclass(slots=True)
class _Climb:
    """Where a search stands."""

    score: Score
    base: Values
    say: Callable[[Step], None]
    curve: list[Step] = field(default_factory=list)
    known: dict[tuple[str, bool], float] = field(default_factory=dict)
    gain: float = _GAIN

    def values(self, coordinate: Coordinate, recipes: Sequence[Recipe], options: Sequence[Values]) -> list[float]:
        """The metric of each recipe; those tried before are not tried again."""
        sampled = not coordinate.full
        new = [at for at, recipe in enumerate(recipes) if (recipe.digest, sampled) not in self.known]
        tried = [with_values(recipes[at], self.base) for at in new]
        for at, value in zip(new, self.score(tried, sampled) if new else (), strict=True):
            self.known[recipes[at].digest, sampled] = value
            step = Step(coordinate=coordinate.name, settings=dict(options[at]), value=round(value, 6), sampled=sampled)
            self.curve.append(step)
            self.say(step)
        return [self.known[recipe.digest, sampled] for recipe in recipes]

    def along(self, coordinate: Coordinate, recipe: Recipe) -> tuple[Recipe, float]:
        """The best recipe along one axis."""
        options = list(coordinate.options)
        current = {name: _read(recipe, name) for name in options[0]}
        if not coordinate.ordered or current not in options:
            options = [current, *(option for option in options if option != current)]
            found = self.values(coordinate, [with_values(recipe, option) for option in options], options)
            at = _best(found, self.gain)
            return with_values(recipe, options[at]), found[at]
        place = options.index(current)
        best = self.values(coordinate, [recipe], [current])[0]
        while True:
            near = [at for at in (place - 1, place + 1) if 0 <= at < len(options)]
            tried = [with_values(recipe, options[at]) for at in near]
            found = self.values(coordinate, tried, [options[at] for at in near])
            at = _best([best, *found], self.gain)
            if at == 0:
                return recipe, best
            recipe, best, place = tried[at - 1], found[at - 1], near[at - 1]


def _best(values: Sequence[float], gain: float) -> int:
    """The place of the largest value, or 0 where none is clearly larger than the first."""
    at = max(range(len(values)), key=lambda n: values[n])
    return at if values[at] > values[0] * (1 + gain) else 0


def search(
    start: Recipe,
    score: Score,
    *,
    base: Values | None = None,
    skip: Sequence[str] = (),
    limit: Mapping[str, float] | None = None,
    gain: float = _GAIN,
    say: Callable[[Step], None] = lambda step: None,
) -> Choice:
    """Choose a recipe.

    Args:
        start: what is not on the grid stays as it is here.
        base: values that hold for every trial but not for the choice (fewer candidates, so that a trial is quick).
        skip: coordinates that the data cannot tell anything about (``half-life`` where nothing has an age).
        limit: largest value of a setting that may be chosen, ``{"model.history": 50}``.
        gain: by what share of the metric a value has to be better than the one before; less is noise of the cases, and
            the simpler or earlier value stays.
        say: called with each trial as it ends.
    """
    climb = _Climb(score, base or {}, say, gain=gain)
    recipe, value = start, 0.0
    for coordinate in (STARTS, *GRID):
        coordinate = _limited(coordinate, limit or {})
        if coordinate.name in skip or not coordinate.wanted(recipe):
            continue
        if coordinate.name == "start":
            tried = [with_values(recipe, option) for option in coordinate.options]
            found = climb.values(coordinate, tried, coordinate.options)
            value, recipe = max(zip(found, tried, strict=True), key=lambda pair: pair[0])
            continue
        recipe, value = climb.along(coordinate, recipe)
    return Choice(recipe, value, climb.curve)


def _limited(coordinate: Coordinate, limit: Mapping[str, float]) -> Coordinate:
    options: Iterator[Values] = (
        {name: min(value, limit[name]) if name in limit else value for name, value in option.items()}
        for option in coordinate.options
    )
    kept: list[Values] = []
    for option in options:
        if option not in kept:
            kept.append(option)
    return Coordinate(coordinate.name, tuple(kept), coordinate.ordered, coordinate.full, coordinate.wanted)
