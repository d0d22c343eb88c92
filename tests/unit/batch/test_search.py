"""The search climbs to the best of a known landscape, stays where nothing is better, and tells every trial it made."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from batch.recipe import Recipe
from batch.search import GRID, STARTS, Choice, Coordinate, Step, search, with_values
from batch.trial import METRIC

PEAK: dict[str, Any] = {
    "model.decay": 1.5,
    "solve.own": 0.25,
    "model.blend": 0.2,
    "solve.a": 0.5,
    "moments.gram_exponent": 1.0,
    "moments.cross_exponent": 0.5,
    "solve.l0": 40.0,
    "solve.l1": 1.0,
    "solve.ridge_by": "units",
    "solve.popularity": 0.2,
    "moments.tau": 4.0,
    "moments.both": 0.6,
    "model.history": 10,
    "window.half_life_d": 60.0,
    "solve.hop": 0.3,
}
"""One value of each axis; the others of an axis are the worse the farther they are from it."""


def read(recipe: Recipe, name: str) -> Any:
    group, _, key = name.partition(".")
    return msgspec.to_builtins(getattr(getattr(recipe, group), key))


def axis_of(name: str) -> list[Any]:
    """The values of a setting, in the order of its own axis (the last that names it)."""
    options = [c.options for c in GRID if name in c.options[0]][-1]
    return list(dict.fromkeys(option[name] for option in options))


AXES = {name: axis_of(name) for name in PEAK}


def hill(recipe: Recipe) -> float:
    """Highest at the peak; along every axis it falls by whole steps, whatever the others are."""
    height = 1.0
    for name, best in PEAK.items():
        values, found = AXES[name], read(recipe, name)
        away = abs(values.index(found) - values.index(best)) if found in values else len(values)
        height -= 0.05 * away / len(values)
    return height


class Scores:
    """A score function that notes what it was asked."""

    def __init__(self, of: Callable[[Recipe], float]) -> None:
        self.of = of
        self.asked: list[tuple[Recipe, bool]] = []

    def __call__(self, recipes: Sequence[Recipe], sampled: bool) -> list[float]:
        self.asked += [(recipe, sampled) for recipe in recipes]
        return [self.of(recipe) for recipe in recipes]


def climb(of: Callable[[Recipe], float], start: Recipe | None = None, **more: Any) -> tuple[Choice, Scores]:
    scores = Scores(of)
    return search(start or Recipe(), scores, **more), scores


def test_the_peak_is_found_from_wherever_the_start_lies() -> None:
    choice, _ = climb(hill)
    assert {name: read(choice.recipe, name) for name in PEAK} == PEAK
    assert choice.value == pytest.approx(1.0)
    away, _ = climb(hill, Recipe().with_options(["window.half_life_d=15", "moments.tau=1", "model.decay=7"]))
    assert {name: read(away.recipe, name) for name in PEAK} == PEAK


def test_where_nothing_is_better_the_first_start_stays_and_so_does_what_it_does_not_name() -> None:
    start = Recipe().with_options(["window.half_life_d=45", "solve.keep=33"])
    choice, scores = climb(lambda recipe: 0.3, start)
    assert choice.recipe == with_values(start, STARTS.options[0])
    assert choice.recipe.window.half_life_d == 45, "a value off the grid is left only for a better one"
    assert len(scores.asked) > 30


def test_a_gain_within_noise_is_no_reason_to_leave_a_value() -> None:
    def almost_flat(recipe: Recipe) -> float:
        return 0.3 * (1 + 1e-5 * hill(recipe))

    choice, _ = climb(almost_flat)
    assert choice.recipe.solve.l0 == STARTS.options[0]["solve.l0"]


def test_nothing_is_tried_twice() -> None:
    _, scores = climb(hill)
    keys = [(recipe.digest, sampled) for recipe, sampled in scores.asked]
    assert len(set(keys)) == len(keys)


def test_every_trial_is_in_the_curve_with_its_value_and_was_told_as_it_ended() -> None:
    told: list[Step] = []
    choice, scores = climb(hill, say=told.append)
    assert choice.curve == told
    assert [(step.value, step.sampled) for step in told] == [
        (round(hill(recipe), 6), sampled) for recipe, sampled in scores.asked
    ]
    for step, (recipe, _) in zip(told, scores.asked, strict=True):
        assert step.settings == {name: read(recipe, name) for name in step.settings}
    assert {step.coordinate for step in told} == {"start", *(c.name for c in GRID)}


def test_axes_without_an_order_are_tried_in_full_and_late_ones_on_all_targets() -> None:
    choice, scores = climb(hill)
    assert {read(recipe, "solve.ridge_by") for recipe, _ in scores.asked} == {"gram", "units"}
    full = {step.coordinate for step in choice.curve if not step.sampled}
    assert full == {c.name for c in GRID if c.full}


def test_what_speeds_a_trial_up_is_no_choice() -> None:
    choice, scores = climb(hill, base={"solve.candidates": 64})
    assert {recipe.solve.candidates for recipe, _ in scores.asked} == {64}
    assert choice.recipe.solve.candidates == Recipe().solve.candidates


def test_a_skipped_axis_is_not_tried() -> None:
    choice, scores = climb(hill, skip=["half-life", "event weights"])
    assert {step.coordinate for step in choice.curve}.isdisjoint({"half-life", "event weights"})
    assert {recipe.window.half_life_d for recipe, _ in scores.asked} == {0.0}


def test_a_limited_setting_is_never_tried_beyond_its_limit() -> None:
    def longer_is_better(recipe: Recipe) -> float:
        return 1 + recipe.model.history / 1000

    choice, scores = climb(longer_is_better, limit={"model.history": 50})
    assert max(recipe.model.history for recipe, _ in scores.asked) == 50
    assert choice.recipe.model.history == 50
    free, _ = climb(longer_is_better)
    assert free.recipe.model.history == 1000


def test_axes_of_the_order_are_tried_only_where_the_order_counts() -> None:
    def baskets(recipe: Recipe) -> float:
        return 1.0 if not recipe.moments.ordered else 0.5

    choice, _ = climb(baskets)
    assert not choice.recipe.moments.ordered
    assert {step.coordinate for step in choice.curve}.isdisjoint({"tau", "both"})


def test_the_manifest_gets_grid_curve_and_choice_as_plain_values() -> None:
    choice, _ = climb(hill)
    plain = msgspec.json.decode(msgspec.json.encode(choice.plain()))
    assert plain["metric"] == METRIC
    assert {name: plain["choice"][name] for name in PEAK} == PEAK
    assert len(plain["curve"]) == len(choice.curve)
    assert set(plain["grid"]) == {c.name for c in GRID}
    assert with_values(Recipe(), plain["choice"]) == choice.recipe


@pytest.mark.parametrize("coordinate", [STARTS, *GRID], ids=lambda c: f"{c.name}{'-full' if c.full else ''}")
def test_every_option_of_the_grid_makes_a_recipe_and_no_two_the_same(coordinate: Coordinate) -> None:
    made = {with_values(Recipe(), option).digest for option in coordinate.options}
    assert len(made) == len(coordinate.options)
    assert len({tuple(option) for option in coordinate.options}) == 1, "an axis changes the same settings throughout"
