"""What a recipe is worth on cases it has not seen: the whole way from units to NDCG@20, for one process.

A :class:`Problem` is cut out of the training data alone: units to learn from and, later in time or hidden from them,
cases to find. What a trial makes on the way is kept in files by what it depends on, so that the next trial of a search
changes only what it has to.
"""

import fcntl
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from batch.merge import open_totals
from batch.metrics import METRICS, case_metrics
from batch.moments import Totals, Units
from batch.recipe import Recipe
from batch.rows import count_units, decay_weights, index_units, row_blocks, sum_rows, write_rows
from batch.solve import Matrix, build_system, keep_strongest, satiate, second_hop, solve_targets
from contracts.events import ACTION_TYPES
from contracts.scoring import action_weights, score_rows

__all__ = ["METRIC", "PROBLEM", "Problem", "Trials", "rank_cases"]

METRIC: Final = "NDCG@20"
"""What a search maximises, for every shop and every data set: it rewards both that a wanted item is found and where."""

PROBLEM: Final = "problem"
"""What the files of a problem are named by."""

_SPREAD: Final = 14_000_000
_LEAST: Final = 0.2
_SEED: Final = 11

Ints = npt.NDArray[np.int32]
Longs = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Problem:
    """Units to learn from and cases to find, all items as places ``0 … count − 1``.

    ``offsets (R+1,)``, ``items``: units, oldest first. ``age_d (R,)``: age of each unit in days. Case c saw
    ``seen[seen_offsets[c]:seen_offsets[c+1]]`` (oldest first, unknown items −1) by actions of ``seen_type`` (places in
    ``ACTION_TYPES``) and wants ``wanted`` likewise (unknown ones −2, −3, …). ``listed (C, N)``, ``listed_score``: the
    part of each case's batch list that no setting changes, its own repeats (−1 where there are fewer; N may be 0); it
    counts by the recipe's ``blend``. ``new_only``: what a case saw is not recommended to it again, and lists are not
    used.
    """

    count: int
    offsets: Longs
    items: Ints
    age_d: npt.NDArray[np.float64]
    seen_offsets: Longs
    seen: Ints
    seen_type: npt.NDArray[np.int8]
    wanted_offsets: Longs
    wanted: Longs
    listed: Ints
    listed_score: npt.NDArray[np.float32]
    new_only: bool = False

    def save(self, folder: Path) -> None:
        """Write the arrays into ``folder`` as ``problem-<field>.npy``."""
        folder.mkdir(parents=True, exist_ok=True)
        for field in fields(self):
            np.save(folder / f"{PROBLEM}-{field.name}.npy", getattr(self, field.name))

    @classmethod
    def open(cls, folder: Path) -> "Problem":
        """Map what :meth:`save` wrote."""
        found = {field.name: np.load(folder / f"{PROBLEM}-{field.name}.npy", mmap_mode="c") for field in fields(cls)}
        return cls(**found | {"count": int(found["count"]), "new_only": bool(found["new_only"])})

    @property
    def units(self) -> Units:
        """The units to learn from."""
        return Units(self.offsets, self.items)

    @cached_property
    def cases(self) -> int:
        """How many cases there are."""
        return len(self.seen_offsets) - 1

    def wanted_of(self, case: int) -> Longs:
        """What a case wants."""
        return self.wanted[self.wanted_offsets[case] : self.wanted_offsets[case + 1]]


def rank_cases(
    matrix: Matrix, problem: Problem, recipe: Recipe, size: int, cases: Sequence[int] | Longs | None = None
) -> Ints:
    """The ``size`` best items of each case by the live score, −1 where there are fewer: ``(C, size)``."""
    model = recipe.model
    chosen = np.arange(problem.cases) if cases is None else np.asarray(cases, np.int64)
    begin, end = problem.seen_offsets[chosen], problem.seen_offsets[chosen + 1]
    lengths = np.minimum(end - begin, model.history)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    age = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    at = np.repeat(end, lengths) - 1 - age
    by_age = np.array(action_weights(["view"] * int(lengths.max(initial=0)), {"view": 1.0}, model.decay))
    by_type = np.array([model.event_weights.get(name, 0.0) for name in ACTION_TYPES])
    weights = (by_age[age] * by_type[problem.seen_type[at]]).astype(np.float32)
    wide = problem.listed.shape[1]
    listed = (problem.listed[chosen].ravel(), problem.listed_score[chosen].ravel())
    hidden, blend = (np.arange(len(chosen) + 1) * wide, *listed), model.blend
    if problem.new_only:
        # As a list of items worth less than anything: the kernel leaves out what scores below zero.
        sizes = end - begin
        starts = np.concatenate(([0], np.cumsum(sizes)))
        rows = np.arange(starts[-1]) - np.repeat(starts[:-1] - begin, sizes)
        hidden, blend = (starts, problem.seen[rows], np.full(len(rows), -1, np.float32)), 1e9
    return score_rows(matrix, (offsets, problem.seen[at], weights), hidden, blend, size)[0]


class Trials:
    """Tries recipes on the problem in ``folder``; what it makes is kept in ``cache``, shared by processes."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self._problem = Problem.open(folder)
        self._cache = cache
        cache.mkdir(parents=True, exist_ok=True)

    def score(self, recipes: Sequence[Recipe], *, sampled: bool) -> list[float]:
        """:data:`METRIC` of each recipe.

        Args:
            sampled: solve and rank only a fixed sample of the targets where there are many, which orders settings of
                the solve as all targets do, at a fraction of the cost.
        """
        return [self._score(recipe, sampled) for recipe in recipes]

    def _score(self, recipe: Recipe, sampled: bool) -> float:
        problem = self._problem
        targets = self._targets(len(self.totals(recipe).cols)) if sampled else np.arange(problem.count)
        matrix = self.model(recipe, targets)
        wanted = [problem.wanted_of(case) for case in range(problem.cases)]
        if len(targets) < problem.count:
            wanted = [items[np.isin(items, targets)] for items in wanted]
            problem = replace(problem, listed=np.where(np.isin(problem.listed, targets), problem.listed, -1))
        cases = np.flatnonzero([len(items) > 0 for items in wanted])
        rows = rank_cases(matrix, problem, recipe, 20, cases)
        return float(case_metrics(rows, [wanted[c] for c in cases])[:, METRICS.index(METRIC)].mean())

    def _targets(self, entries: int) -> Longs:
        share = max(_LEAST, min(1.0, _SPREAD / max(entries, 1)))
        drawn = np.random.default_rng(_SEED).permutation(self._problem.count)
        return np.sort(drawn[: max(1, round(share * self._problem.count))])

    def totals(self, recipe: Recipe) -> Totals:
        """The sums over the problem's units, made once for all recipes with the same moments and half-life."""
        name = "sums-" + _key(recipe.moments, recipe.window)
        done = self._cache / f"{name}-done"
        with self._alone(name):
            if not done.exists():
                self._sum(recipe, name)
                done.touch()
        return open_totals(self._cache, name)

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """One process at a time makes a thing that several need."""
        with (self._cache / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _sum(self, recipe: Recipe, name: str) -> None:
        units, weight = self._problem.units, decay_weights(self._problem.age_d, recipe.window.half_life_d)
        index = index_units(units, self._problem.count)
        blocks = (sum_rows(units, index, weight, rows, recipe.moments) for rows in row_blocks(index, units))
        counts = count_units(units, index, weight)
        write_rows(self._cache, name, [str(at) for at in range(self._problem.count)], counts, blocks)

    def model(self, recipe: Recipe, targets: Longs | None = None) -> Matrix:
        """B of a recipe, of some targets only or of all; what does not depend on the second hop is made once."""
        solve, totals = recipe.solve, self.totals(recipe)
        targets = np.arange(self._problem.count) if targets is None else targets
        plain = msgspec.structs.replace(solve, hop=0.0)
        plain = msgspec.structs.replace(plain, satiation=0.0)
        file = self._cache / f"model-{_key(recipe.moments, recipe.window, plain, len(targets))}.npz"
        with self._alone(file.stem):
            if not file.exists():
                found = solve_targets(build_system(totals, solve), targets, solve)
                matrix = keep_strongest(found, self._problem.count, solve.keep)
                np.savez(file.with_suffix(".part.npz"), indptr=matrix[0], cols=matrix[1], data=matrix[2])
                file.with_suffix(".part.npz").replace(file)
        with np.load(file) as stored:
            matrix = (stored["indptr"], stored["cols"], stored["data"])
        if solve.hop:
            matrix = second_hop(matrix, (0, self._problem.count), solve.hop, solve.hop_width, solve.keep)
        return satiate(matrix, solve.satiation)

    def forget(self, kept: Recipe) -> None:
        """Delete all sums and models but those of one recipe."""
        names = ("sums-" + _key(kept.moments, kept.window),)
        for file in self._cache.iterdir():
            if not file.name.startswith(names):
                file.unlink(missing_ok=True)


def _key(*parts: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()[:16]
