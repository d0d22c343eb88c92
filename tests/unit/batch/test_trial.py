"""Trials score alike whatever is cached; a search by them finds what the data hold, and wins on cases it never saw."""

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batch import trial
from batch.recipe import Recipe
from batch.search import STARTS, Choice, search, with_values
from batch.trial import Problem, Trials, rank_cases

ITEMS = 300
SMALL = {"solve.candidates": 64}


def visits(count: int, seed: int, loyal: float = 0.75) -> list[list[int]]:
    """Visits whose next item mostly follows from the last one alone, by a map that is not symmetric."""
    after = np.random.default_rng(99).permutation(np.tile(np.arange(ITEMS), 2)).reshape(ITEMS, 2)
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        visit = [int(rng.zipf(1.3) % ITEMS)]
        for _ in range(rng.integers(2, 9)):
            follows = rng.random() < loyal
            visit.append(int(after[visit[-1], int(rng.random() < 0.3)] if follows else rng.zipf(1.3) % ITEMS))
        found.append(visit)
    return found


def ragged(rows: Sequence[Sequence[int]]) -> tuple[Any, Any]:
    return np.cumsum([0, *map(len, rows)]), np.concatenate([np.asarray(row, np.int32) for row in rows])


def problem_of(learned: list[list[int]], asked: list[list[int]], **changes: Any) -> Problem:
    """Find how each of the ``asked`` visits ends."""
    offsets, items = ragged(learned)
    seen_offsets, seen = ragged([visit[:-1] for visit in asked])
    made = Problem(
        count=ITEMS,
        offsets=offsets,
        items=items,
        age_d=np.linspace(30, 0, len(learned)),
        seen_offsets=seen_offsets,
        seen=seen,
        seen_type=np.zeros(len(seen), np.int8),
        wanted_offsets=np.arange(len(asked) + 1),
        wanted=np.array([visit[-1] for visit in asked], np.int64),
        listed=np.zeros((len(asked), 0), np.int32),
        listed_score=np.zeros((len(asked), 0), np.float32),
    )
    return replace(made, **changes)


@pytest.fixture(scope="module")
def learned() -> list[list[int]]:
    return visits(3000, seed=1)


def trials_of(folder: Path, problem: Problem) -> Trials:
    problem.save(folder)
    return Trials(folder, folder / "cache")


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory, learned: list[list[int]]) -> Trials:
    """On the cases that a search may see."""
    return trials_of(tmp_path_factory.mktemp("search"), problem_of(learned, visits(600, seed=2)))


@pytest.fixture(scope="module")
def choice(trials: Trials) -> Choice:
    def score(recipes: Sequence[Recipe], sampled: bool) -> list[float]:
        return trials.score(recipes, sampled=sampled)

    return search(Recipe(), score, base=SMALL, skip=["event weights", "blend"])


def test_a_search_finds_the_order_that_was_planted_and_wins_on_cases_it_has_not_seen(
    choice: Choice, learned: list[list[int]], tmp_path: Path
) -> None:
    assert choice.recipe.moments.ordered
    assert choice.recipe.solve.a < 1
    unseen = trials_of(tmp_path, problem_of(learned, visits(1500, seed=3)))
    worst = min(choice.curve, key=lambda step: step.value)
    best, default, poor, *starts = unseen.score(
        [
            choice.recipe,
            Recipe(),
            with_values(Recipe(), worst.settings),
            *(with_values(Recipe(), option) for option in STARTS.options),
        ],
        sampled=False,
    )
    assert best > 1.2 * default
    assert best > 1.2 * poor
    assert best >= 0.98 * max(starts)
    assert best > 1.2 * min(starts)
    assert best == pytest.approx(choice.value, rel=0.1), "what a search promises holds on other cases"


def test_what_is_cached_changes_no_score(learned: list[list[int]], tmp_path: Path) -> None:
    problem = problem_of(learned, visits(200, seed=4))
    recipes = [with_values(Recipe(), SMALL | dict(option)) for option in STARTS.options]
    first = trials_of(tmp_path, problem).score(recipes, sampled=False)
    cached = {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").iterdir() if file.suffix != ".lock"}
    again = trials_of(tmp_path, problem).score(recipes[::-1], sampled=False)[::-1]
    assert first == again
    assert cached == {
        file: file.stat().st_mtime_ns for file in (tmp_path / "cache").iterdir() if file.suffix != ".lock"
    }, "nothing was made a second time"
    fresh = Trials(tmp_path, tmp_path / "other")
    assert fresh.score(recipes[1:], sampled=False) == first[1:]


def test_scores_tell_apart_all_that_a_recipe_says(learned: list[list[int]], tmp_path: Path) -> None:
    """A cache key that forgets a setting would give two recipes one score."""
    trials = trials_of(tmp_path, problem_of(learned[:800], visits(300, seed=5)))
    start = with_values(Recipe(), SMALL | dict(STARTS.options[0]))
    changes: list[dict[str, Any]] = [
        {"moments.gram_exponent": 0.5},
        {"moments.cross_exponent": 0.3},
        {"moments.tau": 8.0},
        {"moments.both": 1.0},
        {"window.half_life_d": 3.0},
        {"solve.a": 0.3},
        {"solve.l0": 80.0},
        {"solve.l1": 5.0},
        {"solve.ridge_by": "units"},
        {"solve.popularity": 0.5},
        {"solve.own": 0.0, "solve.satiation": 0.0},
        {"solve.own": 0.0, "solve.satiation": 9.0},
        {"solve.hop": 2.0},
        {"solve.keep": 3},
        {"solve.candidates": 3},
        {"model.decay": 0.0},
        {"model.history": 1},
    ]
    scores = trials.score([start, *(with_values(start, change) for change in changes)], sampled=False)
    assert len(set(scores)) == len(scores), dict(zip(map(str, changes), scores[1:], strict=True))


def test_forgetting_keeps_what_the_choice_is_made_of(learned: list[list[int]], tmp_path: Path) -> None:
    trials = trials_of(tmp_path, problem_of(learned[:500], visits(100, seed=6)))
    first, second = (with_values(Recipe(), SMALL | dict(option)) for option in STARTS.options[:2])
    before = trials.score([first, second], sampled=False)
    trials.forget(first)
    left = {file.name[:21] for file in (tmp_path / "cache").iterdir()}
    assert len(left) == 1
    assert trials.score([first, second], sampled=False) == before


def test_a_sample_of_the_targets_is_asked_only_for_what_it_may_answer(
    learned: list[list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "_SPREAD", 1)
    problem = problem_of(learned, visits(600, seed=7))
    trials, recipe = trials_of(tmp_path, problem), with_values(Recipe(), SMALL | dict(STARTS.options[0]))
    (some,), (whole,) = trials.score([recipe], sampled=True), trials.score([recipe], sampled=False)
    assert some != whole
    assert some > whole, "a fifth of the items compete for the same places"


def test_what_a_case_saw_is_not_recommended_again_where_only_new_items_count(
    trials: Trials, learned: list[list[int]]
) -> None:
    recipe = with_values(Recipe(), SMALL | dict(STARTS.options[0]))
    matrix = trials.model(recipe)
    for new_only in (False, True):
        problem = problem_of(learned, visits(100, seed=8), new_only=new_only)
        rows = rank_cases(matrix, problem, recipe, 20)
        spans = zip(problem.seen_offsets[:-1], problem.seen_offsets[1:], strict=True)
        seen = [set(problem.seen[a:b]) & set(row) for row, (a, b) in zip(rows, spans, strict=True)]
        assert any(seen) != new_only


def test_a_cases_own_list_counts_by_the_blend(trials: Trials, learned: list[list[int]]) -> None:
    asked = visits(50, seed=9)
    bought = np.full((50, 2), [[7, -1]], np.int32)
    problem = problem_of(learned, asked, listed=bought, listed_score=np.full((50, 2), [[1.0, 0.0]], np.float32))
    recipe = with_values(Recipe(), SMALL | dict(STARTS.options[0]))
    for blend, first in ((0.0, False), (1000.0, True)):
        rows = rank_cases(trials.model(recipe), problem, with_values(recipe, {"model.blend": blend}), 20)
        assert (rows[:, 0] == 7).all() == first


def test_a_problem_is_read_as_it_was_written(learned: list[list[int]], tmp_path: Path) -> None:
    written = problem_of(learned[:50], visits(20, seed=10), new_only=True)
    written.save(tmp_path / "made" / "here")
    read = Problem.open(tmp_path / "made" / "here")
    assert (read.count, read.new_only, read.cases) == (ITEMS, True, 20)
    assert isinstance(read.new_only, bool)
    for field in fields(Problem):
        mine, theirs = np.asarray(getattr(read, field.name)), np.asarray(getattr(written, field.name))
        np.testing.assert_array_equal(mine, theirs, err_msg=field.name)
        assert mine.dtype == theirs.dtype, field.name
    np.testing.assert_array_equal(read.wanted_of(3), written.wanted_of(3))
