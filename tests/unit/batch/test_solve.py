"""B is the ridge solution that the formulas say: checked against NumPy's dense solver on every target."""

from typing import Any

import numpy as np
import pytest

from batch.moments import Totals, Units, day_moments, sum_moments
from batch.recipe import MomentRecipe, SolveRecipe
from batch.solve import (
    Matrix,
    Triples,
    build_system,
    keep_strongest,
    replace_columns,
    satiate,
    second_hop,
    solve_targets,
)

ITEMS = 12
BASKETS = MomentRecipe()
ALL = SolveRecipe(candidates=50, keep=50, min_units=1, satiation=0.0, popularity=0.0)


def totals(count: int = 200, recipe: MomentRecipe = BASKETS) -> Totals:
    """Baskets of random items, i00 the most popular."""
    rng = np.random.default_rng(3)
    share = 1 / np.arange(1, ITEMS + 1)
    units = [rng.choice(ITEMS, rng.integers(2, 6), p=share / share.sum()) for _ in range(count)]
    offsets = np.cumsum([0, *(len(unit) for unit in units)])
    day = day_moments(
        Units(offsets, np.concatenate(units).astype(np.int32)), [f"i{n:02}" for n in range(ITEMS)], recipe
    )
    return sum_moments([day])


def dense(indptr: Any, cols: Any, values: Any, count: int = ITEMS) -> np.ndarray:
    out = np.zeros((count, count))
    out[np.repeat(np.arange(count), np.diff(indptr)), cols] = values
    return out


def solved(total: Totals, recipe: SolveRecipe) -> np.ndarray:
    triples = solve_targets(build_system(total, recipe), np.arange(len(total.items)), recipe)
    out = np.zeros((len(total.items), len(total.items)))
    out[triples.items, triples.targets] = triples.weights
    return out


def plainly(total: Totals, recipe: SolveRecipe) -> np.ndarray:
    """The formulas of the module, dense and one target at a time."""
    count = len(total.items)
    gram, cross = (dense(total.indptr, total.cols, values) for values in (total.gram, total.cross))
    order = 0.0 if total.order is None else dense(total.indptr, total.cols, total.order).T
    gram = recipe.a * gram + (1 - recipe.a) * np.diag(total.sources)
    cross = recipe.a * cross + (1 - recipe.a) * order
    size = np.diag(gram) if recipe.ridge_by == "gram" else total.units
    ridge = recipe.l0 + recipe.l1 * size
    out = np.zeros((count, count))
    for target in range(count):
        preference = cross[:, target] / (np.diag(gram) + recipe.l0) ** recipe.selectivity
        preference[target] = 0
        best = np.argsort(-preference, kind="stable")[: recipe.candidates]
        chosen = np.sort(best[preference[best] > 0])
        square = gram[np.ix_(chosen, chosen)] + np.diag(ridge[chosen])
        weights = np.linalg.solve(square, cross[chosen, target])
        out[chosen, target] = weights * total.units[target] ** -recipe.popularity
    return out


@pytest.mark.parametrize(
    ("moments", "solve"),
    [
        ({}, {}),
        ({}, {"popularity": 0.3, "ridge_by": "gram"}),
        ({}, {"candidates": 4, "selectivity": 0.9}),
        ({"gram_exponent": 2.0, "cross_exponent": 1.0, "ordered": True}, {"a": 0.8, "ridge_by": "gram", "l0": 3.0}),
    ],
    ids=["all candidates", "popularity penalty", "four candidates", "ordered sessions"],
)
def test_each_target_is_the_dense_ridge_solution(moments: dict[str, Any], solve: dict[str, Any]) -> None:
    recipe = SolveRecipe(**{"candidates": 50, "satiation": 0.0} | solve)
    total = totals(recipe=MomentRecipe(**moments))
    np.testing.assert_allclose(solved(total, recipe), plainly(total, recipe), rtol=1e-6, atol=1e-9)


def test_with_all_candidates_b_has_the_optimality_of_a_zero_diagonal_ridge() -> None:
    """The gradient of ‖X − XB‖² + ridge vanishes everywhere but on the diagonal, which is held at zero."""
    total = totals(2000)
    b, gram = solved(total, ALL), dense(total.indptr, total.cols, total.gram)
    gradient = (gram + np.diag(ALL.l0 + ALL.l1 * total.units)) @ b - gram
    np.fill_diagonal(gradient, 0)
    assert np.all(np.diag(b) == 0)
    assert (gram > 0).all()  # every pair occurs, so every other item is a candidate
    assert np.abs(gradient).max() < 1e-7 * gram.max()


def test_blocks_of_targets_are_solved_independently() -> None:
    total = totals()
    system = build_system(total, ALL)
    whole = solve_targets(system, np.arange(ITEMS), ALL)
    parts = [solve_targets(system, np.arange(first, min(first + 5, ITEMS)), ALL) for first in range(0, ITEMS, 5)]
    for name in ("items", "targets", "weights"):
        np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(whole, name))


def test_a_target_has_no_more_candidates_than_asked_and_ties_take_the_lowest() -> None:
    """Eight items always bought together: every candidate ties, so a target takes the three first others."""
    offsets, items = np.arange(0, 81, 8), np.tile(np.arange(8, dtype=np.int32), 10)
    total = sum_moments([day_moments(Units(offsets, items), [f"i{n}" for n in range(8)], MomentRecipe())])
    recipe = SolveRecipe(candidates=3)
    triples = solve_targets(build_system(total, recipe), np.arange(8), recipe)
    chosen = {target: triples.items[triples.targets == target].tolist() for target in range(8)}
    assert chosen == {0: [1, 2, 3], 1: [0, 2, 3], 2: [0, 1, 3]} | {target: [0, 1, 2] for target in range(3, 8)}


def test_a_row_keeps_its_strongest_by_absolute_value_ties_by_target() -> None:
    rows = np.array([0, 0, 0, 0, 2, 2], np.int32)
    targets = np.array([3, 2, 1, 0, 1, 0], np.int32)
    weights = np.array([0.5, -2.0, 0.5, 0.1, 1.0, -1.0])
    indptr, cols, data = keep_strongest(Triples(rows, targets, weights), count=4, keep=2)
    assert indptr.tolist() == [0, 2, 2, 4, 4]
    assert cols.tolist() == [1, 2, 0, 1]
    assert data.tolist() == [0.5, -2.0, -1.0, 1.0]


def test_satiation_changes_the_diagonal_alone() -> None:
    matrix = keep_strongest(solve_targets(build_system(totals(), ALL), np.arange(ITEMS), ALL), ITEMS, 50)
    before, after = dense(*matrix), dense(*satiate(matrix, 3.0))
    largest = np.median(np.abs(before).max(axis=1))
    np.testing.assert_allclose(np.diag(after), -3 * largest, rtol=1e-6)
    np.testing.assert_array_equal(after - np.diag(np.diag(after)), before)
    assert satiate(matrix, 0.0) is matrix


def test_on_a_checkerboard_shop_an_item_leads_to_its_own_group_only() -> None:
    """Two groups of items, each basket from one of them: the right answer is the rest of the group."""
    rng = np.random.default_rng(5)
    baskets = [2 * rng.choice(5, 3, replace=False) + at % 2 for at in range(100)]
    offsets = np.arange(0, 301, 3)
    day = day_moments(
        Units(offsets, np.concatenate(baskets).astype(np.int32)), [f"i{n}" for n in range(10)], MomentRecipe()
    )
    b = solved(sum_moments([day]), SolveRecipe(min_units=1))
    same = np.add.outer(np.arange(10), np.arange(10)) % 2 == 0
    assert (b[same & ~np.eye(10, dtype=bool)] > 0).all()
    assert (b[~same] == 0).all()


def as_dense(matrix: Matrix) -> np.ndarray:
    return dense(*matrix)


@pytest.mark.parametrize("satiation", [0.0, 2.0])
def test_columns_that_are_solved_again_replace_theirs_and_no_others(satiation: float) -> None:
    recipe = SolveRecipe(candidates=50, keep=50, own=0.2, satiation=satiation)
    system = build_system(totals(), recipe)
    whole = keep_strongest(solve_targets(system, np.arange(ITEMS), recipe), ITEMS, recipe.keep)
    wrong = (whole[0], whole[1], whole[2] * np.float32(1.5))
    targets = np.array([2, 7])
    again = keep_strongest(solve_targets(system, targets, recipe), ITEMS, recipe.keep)
    found, was, wanted = (as_dense(m) for m in (replace_columns(wrong, targets, again, recipe), wrong, whole))
    if satiation:
        np.fill_diagonal(was, 0)  # what satiation had set says nothing about the item
    np.testing.assert_array_equal(found[:, targets], wanted[:, targets])
    others = np.setdiff1d(np.arange(ITEMS), targets)
    np.testing.assert_array_equal(found[:, others], was[:, others])


def test_a_row_of_old_and_new_columns_keeps_its_strongest() -> None:
    old = (np.array([0, 3]), np.array([0, 1, 2], np.int32), np.array([0.5, -3.0, 2.0], np.float32))
    old = (np.concatenate([old[0], [3, 3, 3]]), *old[1:])
    new = (np.array([0, 1, 1, 1, 1]), np.array([3], np.int32), np.array([-2.5], np.float32))
    found = replace_columns(old, np.array([3]), new, SolveRecipe(keep=2, satiation=0))
    assert [part.tolist() for part in found] == [[0, 2, 2, 2, 2], [1, 3], [-3.0, -2.5]]


def test_the_second_hop_leaves_columns_alone_that_were_not_solved() -> None:
    """B + ρ·P·B where the second B has only the solved columns."""
    recipe = SolveRecipe(candidates=50, keep=50, satiation=0.0)
    whole = keep_strongest(solve_targets(build_system(totals(), recipe), np.arange(ITEMS), recipe), ITEMS, recipe.keep)
    hopped = second_hop(whole, (0, ITEMS), 0.4, 3, 50)
    targets = np.array([1, 4])
    rows = np.repeat(np.arange(ITEMS), np.diff(whole[0]))
    kept = np.isin(whole[1], targets)
    solved = (np.searchsorted(rows[kept], np.arange(ITEMS + 1)).astype(np.int64), whole[1][kept], whole[2][kept])
    partly = as_dense(second_hop(whole, (0, ITEMS), 0.4, 3, 50, solved))
    others = np.setdiff1d(np.arange(ITEMS), targets)
    np.testing.assert_allclose(partly[:, targets], as_dense(hopped)[:, targets], rtol=1e-6)
    np.testing.assert_array_equal(partly[:, others], as_dense(whole)[:, others])


def test_satiation_is_set_where_its_column_belongs() -> None:
    whole = keep_strongest(solve_targets(build_system(totals(), ALL), np.arange(ITEMS), ALL), ITEMS, 3)
    indptr, cols, data = satiate(whole, 2.0)
    assert all(np.all(np.diff(cols[indptr[i] : indptr[i + 1]]) > 0) for i in range(ITEMS))
    out, plain = as_dense((indptr, cols, data)), as_dense(whole)
    largest = np.median(np.abs(plain).max(1))
    np.testing.assert_allclose(np.diag(out), -2.0 * largest, rtol=1e-6)
    np.fill_diagonal(out, 0)
    np.testing.assert_array_equal(out, plain)
