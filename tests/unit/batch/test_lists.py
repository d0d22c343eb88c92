"""Batch lists: own repeats only of what is bought again, taste from B, nothing already bought that is bought once."""

import numpy as np
import pytest

from batch.lists import PURCHASE, Lists, person_lists, popular_items, similar_items
from batch.log import Log
from batch.recipe import ListRecipe
from batch.units import DAY_MS

MILK, TEA, LAMP, SHADE, BULB = range(5)
REPEATABLE = np.array([True, True, False, False, False])
WEIGHTS = {"view": 1.0, "purchase": 3.0}
RECIPE = ListRecipe(repeat_half_life_d=10, taste_half_life_d=20, taste=0.5)
NOW = 100 * DAY_MS
VIEW = 0

# milk → tea; lamp → shade .8, bulb .4, milk −.5, and satiation on its own diagonal
MATRIX = (
    np.array([0, 1, 1, 5, 5, 5]),
    np.array([TEA, MILK, LAMP, SHADE, BULB], np.int32),
    np.array([0.6, -0.5, -3.0, 0.8, 0.4], np.float32),
)

Done = list[tuple[int, int, int]]
"""A person's actions: item, type, age in days; oldest first."""


def lists(*people: Done, recipe: ListRecipe = RECIPE, size: int = 5, span: tuple[int, int] | None = None) -> Lists:
    rows = [row for person in people for row in person]
    item, kind, age = (np.array([row[at] for row in rows], np.int64) for at in range(3))
    log = Log(
        [f"u.{n}" for n in range(len(people))],
        np.cumsum([0, *(len(person) for person in people)]),
        item.astype(np.int32),
        kind.astype(np.int8),
        NOW - age * DAY_MS,
        np.arange(len(rows)),
    )
    return person_lists(MATRIX, log, span or (0, len(people)), NOW, REPEATABLE, WEIGHTS, recipe, size)


def shown(found: Lists, at: int = 0) -> dict[int, float]:
    return {
        int(i): pytest.approx(float(s), rel=1e-5)
        for i, s in zip(found.items[at], found.scores[at], strict=True)
        if i >= 0
    }


def test_repeats_and_taste_add_up_as_the_formula_says() -> None:
    """Milk 10 days ago and twice 20 days ago, a lamp seen today."""
    found = lists([(MILK, PURCHASE, 20), (TEA, PURCHASE, 20), (MILK, PURCHASE, 10), (LAMP, VIEW, 0)])
    milk_again, tea_again = 0.5 + 0.25, 0.25
    milk = 3 * (0.5 + 0.5**0.5)  # milk's weight in the taste: two purchases, half-life 20 days
    taste = {TEA: 0.6 * milk, SHADE: 0.8, BULB: 0.4, MILK: -0.5}
    top = max(taste.values())
    expected = {item: 0.5 * value / top for item, value in taste.items()}
    expected[MILK] += 1.0
    expected[TEA] += tea_again / milk_again
    assert shown(found) == expected
    ranked = found.items[0][found.items[0] >= 0].tolist()
    assert ranked == sorted(expected, key=lambda item: -expected[item])


def test_what_is_not_bought_again_leaves_the_list_once_it_is_bought() -> None:
    found = lists([(LAMP, PURCHASE, 3), (SHADE, PURCHASE, 2)])
    assert set(shown(found)) == {BULB}


def test_what_was_only_seen_stays_and_is_no_repeat() -> None:
    found = lists([(LAMP, VIEW, 1), (SHADE, VIEW, 1), (MILK, VIEW, 1)])
    assert set(shown(found)) == {SHADE, BULB, TEA}


def test_a_repeatable_item_comes_back() -> None:
    assert lists([(TEA, PURCHASE, 3)]).items[0].tolist() == [TEA, -1, -1, -1, -1]


def test_leaving_out_does_not_shorten_a_list_of_one_place() -> None:
    found = lists([(LAMP, VIEW, 3), (SHADE, PURCHASE, 2)], size=1)
    assert found.items.tolist() == [[BULB]]


def test_people_do_not_see_each_others_actions() -> None:
    people: list[Done] = [[(MILK, PURCHASE, 5)], [], [(LAMP, VIEW, 1)], [(TEA, PURCHASE, 1)]]
    together = lists(*people)
    for at, person in enumerate(people):
        if person:
            assert shown(together, at) == shown(lists(person))
    assert together.items[1].tolist() == [-1] * 5
    part = lists(*people, span=(2, 4))
    np.testing.assert_array_equal(part.items, together.items[2:])


def test_an_item_outside_of_the_model_is_passed_over() -> None:
    assert shown(lists([(-2, PURCHASE, 1), (LAMP, VIEW, 1), (-3, VIEW, 0)])) == shown(lists([(LAMP, VIEW, 1)]))


def test_similar_items_are_the_strongest_positive_entries_of_the_row() -> None:
    found = similar_items(MATRIX, (1, 4), 2)
    assert found.items.tolist() == [[-1, -1], [SHADE, BULB], [-1, -1]]
    assert found.row(1, ["milk", "tea", "lamp", "shade", "bulb"])[0] == ["shade", "bulb"]


def test_ties_go_to_the_lower_place() -> None:
    flat = (np.array([0, 3, 3, 3, 3]), np.array([1, 2, 3], np.int32), np.full(3, 0.5, np.float32))
    assert similar_items(flat, (0, 1), 2).items.tolist() == [[1, 2]]
    assert popular_items(np.array([2, 5, 5, 2, 1]), 4).items.tolist() == [[1, 2, 0, 3]]


def test_popularity_is_a_share_of_the_first() -> None:
    items, scores = popular_items(np.array([1, 4, 2]), 2).row(0, ["a", "b", "c"])
    assert (items, scores) == (["b", "c"], [1.0, 0.5])
