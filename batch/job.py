"""The Spark stages after the moments: ridge solves by blocks of targets, lists by blocks of people and of items."""

import json
import pickle
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from pyspark import SparkFiles
from pyspark.sql import SparkSession

from batch.lake import settle
from batch.lists import Lists, person_lists, similar_items
from batch.log import Log
from batch.merge import open_totals
from batch.moments import Totals
from batch.progress import spark_progress
from batch.publish import Entry, ListWriter
from batch.recipe import ListRecipe, Recipe, SolveRecipe
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
from batch.together import Baskets, baskets_of, together_items
from batch.trial import PROBLEM, Trials
from contracts.settings import Settings

__all__ = ["Shared", "solve_model", "try_recipes", "write_person_lists", "write_similar_lists", "write_together_lists"]

_TARGETS = 1024
_ROWS = 8192
_PEOPLE = 256
_ITEMS = 2048

T = TypeVar("T")


class Shared:
    """Arrays that every task reads: saved once, memory-mapped by the tasks, so Python workers share the pages.

    On a cluster Spark sends the files to the executors; on one machine they are read where they are.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = str(folder)
        self._name = name

    def save(self, spark: SparkSession, arrays: Mapping[str, Any]) -> "Shared":
        """Save NumPy arrays and lists of strings under their names; returns itself."""
        for name, values in arrays.items():
            path = self._path(name, isinstance(values, list))
            if isinstance(values, list):
                path.write_text(json.dumps(values))
            else:
                np.save(path, values)
            if not spark.sparkContext.master.startswith("local"):
                spark.sparkContext.addFile(str(path))
        return self

    def send(self, spark: SparkSession) -> "Shared":
        """Make files that lie in the folder already known to the executors; returns itself."""
        if not spark.sparkContext.master.startswith("local"):
            for path in sorted(Path(self._folder).glob(f"{self._name}-*")):
                spark.sparkContext.addFile(str(path))
        return self

    def place(self) -> Path:
        """The folder in which a task finds the files."""
        folder = Path(self._folder)
        return folder if folder.exists() else Path(SparkFiles.getRootDirectory())

    def load(self, name: str) -> Any:
        """An array, mapped; or a list of strings."""
        path = self._path(name, False)
        if self._found(path).exists():
            # Copy-on-write, never written: pages are shared as with "r", and kernels compiled for plain arrays fit.
            return np.load(self._found(path), mmap_mode="c")
        return json.loads(self._found(self._path(name, True)).read_text())

    def _path(self, name: str, text: bool) -> Path:
        return Path(self._folder) / f"{self._name}-{name}.{'json' if text else 'npy'}"

    def _found(self, path: Path) -> Path:
        return path if path.exists() else Path(SparkFiles.get(path.name))


def _in_blocks(spark: SparkSession, stage: str, count: int, size: int, work: Callable[[tuple[int, int]], T]) -> list[T]:
    """``work`` on every block of ``count`` rows, one Spark task a block; results in order."""
    blocks = [(at, min(at + size, count)) for at in range(0, count, size)]
    if not blocks:
        return []
    with spark_progress(spark.sparkContext, stage, len(blocks)):
        return list(spark.sparkContext.parallelize(blocks, len(blocks)).map(work).collect())


def solve_model(
    spark: SparkSession,
    folder: Path,
    name: str,
    recipe: SolveRecipe,
    *,
    again: tuple[npt.NDArray[np.int64], Matrix] | None = None,
) -> Matrix:
    """B from the totals that lie in ``folder`` under ``name``, see :func:`batch.merge.open_totals`.

    Targets are independent and dealt out to tasks like cards, because popular ones cost most. A shuffle brings the
    entries of a row together where its strongest are kept; the driver only sees those.

    Args:
        again: solve only these targets, and take the other columns from a model of the same recipe over the same items:
            a column that no new event touched hardly changes.
    """
    count = len(np.load(folder / f"{name}-units.npy", mmap_mode="r"))
    targets = np.arange(count) if again is None else again[0]
    shared = Shared(folder, name).send(spark)
    tasks = max(1, -(-len(targets) // _TARGETS))
    rows = max(1, -(-count // _ROWS))

    def solve_block(block: int) -> Iterator[tuple[int, bytes]]:
        settle()
        place = shared.place()
        made_ns = (place / f"{name}-indptr.npy").stat().st_mtime_ns
        system = build_system(_totals(place, name, made_ns), recipe)
        found = solve_targets(system, targets[block::tasks], recipe)
        return _by_rows(found, rows)

    def strongest(block: tuple[int, Iterable[bytes]]) -> tuple[int, Matrix]:
        first = block[0] * _ROWS
        parts = [pickle.loads(data) for data in block[1]]
        triples = Triples(*(np.concatenate(column) for column in zip(*parts, strict=True)))
        return block[0], keep_strongest(triples, min(_ROWS, count - first), recipe.keep, first)

    solved = spark.sparkContext.parallelize(range(tasks), tasks).flatMap(solve_block)
    with spark_progress(spark.sparkContext, "solve", tasks):
        made = dict(solved.groupByKey(rows).map(strongest).collect())
    matrix = _stacked(
        [made.get(block, _empty_rows(max(0, min(_ROWS, count - block * _ROWS)))) for block in range(rows)]
    )
    if again is None:
        return satiate(_hopped(spark, matrix, matrix, recipe, folder, name), recipe.satiation)
    whole = replace_columns(again[1], targets, matrix, recipe)
    return satiate(_hopped(spark, whole, matrix, recipe, folder, name), recipe.satiation)


@lru_cache(maxsize=2)
def _totals(folder: Path, name: str, made_ns: int) -> Totals:
    """Opened once a Python worker: the item ids of a large catalogue take a while to read."""
    return open_totals(folder, name)


def _by_rows(triples: Triples, blocks: int) -> Iterator[tuple[int, bytes]]:
    """Entries by the block of rows that they belong to."""
    block = triples.items // _ROWS
    order = np.argsort(block, kind="stable")
    ends = np.searchsorted(block[order], np.arange(blocks + 1))
    for number in np.flatnonzero(np.diff(ends)):
        part = order[ends[number] : ends[number + 1]]
        yield int(number), pickle.dumps((triples.items[part], triples.targets[part], triples.weights[part]), 5)


def _empty_rows(count: int) -> Matrix:
    return np.zeros(count + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32)


def _stacked(blocks: Sequence[Matrix]) -> Matrix:
    """Blocks of rows on top of each other."""
    ends = np.cumsum([0, *(block[0][-1] for block in blocks)])
    indptr = np.concatenate([[0], *(block[0][1:] + end for block, end in zip(blocks, ends, strict=False))])
    return indptr.astype(np.int64), *(np.concatenate([block[at] for block in blocks]) for at in (1, 2))


def _hopped(
    spark: SparkSession, matrix: Matrix, solved: Matrix, recipe: SolveRecipe, folder: Path, name: str
) -> Matrix:
    """The second hop, by blocks of rows; columns that were not ``solved`` had theirs when they were."""
    if not recipe.hop:
        return matrix
    parts = ("indptr", "cols", "data")
    shared = Shared(folder, f"{name}-hop").save(spark, dict(zip(parts, matrix, strict=True)))
    partial = matrix is not solved
    if partial:
        Shared(folder, f"{name}-hop").save(spark, {f"new-{p}": a for p, a in zip(parts, solved, strict=True)})

    def hop_block(rows: tuple[int, int]) -> Matrix:
        settle()
        whole, new = (tuple(shared.load(start + part) for part in parts) for start in ("", "new-" if partial else ""))
        return second_hop(whole, rows, recipe.hop, recipe.hop_width, recipe.keep, new)

    return _stacked(_in_blocks(spark, "hop", len(matrix[0]) - 1, _ROWS, hop_block))


def try_recipes(spark: SparkSession, scratch: Path, recipes: Sequence[Recipe], sampled: bool) -> list[float]:
    """The metric of each recipe on the problem in ``scratch``, one Spark task a recipe, see :mod:`batch.trial`."""
    shared = Shared(scratch, PROBLEM).send(spark)
    # Tasks of one machine share what they make; on a cluster each executor's machine has its own.
    cache = scratch / "trials" if spark.sparkContext.master.startswith("local") else None
    key = scratch.name

    def work(recipe: Recipe) -> float:
        folder = cache or Path(tempfile.gettempdir()) / f"{key}-trials"
        return Trials(shared.place(), folder).score([recipe], sampled=sampled)[0]

    return list(spark.sparkContext.parallelize(list(recipes), len(recipes)).map(work).collect())


def write_person_lists(
    spark: SparkSession,
    settings: Settings,
    writer: ListWriter,
    model: tuple[Matrix, Sequence[str]],
    log: Log,
    repeatable: Any,
    recipe: tuple[ListRecipe, Mapping[str, float]],
    now_ms: int,
    folder: Path,
) -> int:
    """Every person's batch list, computed and written by tasks; returns how many were written."""
    matrix, items = model
    arrays = dict(zip(("indptr", "cols", "data"), matrix, strict=True)) | {
        "items": list(items),
        "repeatable": repeatable,
    }
    arrays |= {f"log_{name}": getattr(log, name) for name in Log.__slots__}
    shared = Shared(folder, "people").save(spark, arrays)
    size = settings.training.batch_size

    def write_block(block: tuple[int, int]) -> int:
        b = tuple(shared.load(name) for name in ("indptr", "cols", "data"))
        history = Log(*(shared.load(f"log_{name}") for name in Log.__slots__))
        lists = person_lists(b, history, block, now_ms, shared.load("repeatable"), recipe[1], recipe[0], size)
        subjects = history.subjects[block[0] : block[1]]
        return writer.write(settings, _entries("person", subjects, lists, shared.load("items")))

    return sum(_in_blocks(spark, "lists", len(log.subjects), _PEOPLE, write_block))


def write_similar_lists(
    spark: SparkSession, settings: Settings, writer: ListWriter, model: tuple[Matrix, Sequence[str]], folder: Path
) -> int:
    """Every item's similar items, computed and written by tasks; returns how many were written."""
    matrix, items = model
    arrays = dict(zip(("indptr", "cols", "data"), matrix, strict=True)) | {"items": list(items)}
    shared = Shared(folder, "similar").save(spark, arrays)
    size = settings.training.similar_size

    def write_block(block: tuple[int, int]) -> int:
        b = tuple(shared.load(name) for name in ("indptr", "cols", "data"))
        ids = shared.load("items")
        return writer.write(settings, _entries("similar", ids[block[0] : block[1]], similar_items(b, block, size), ids))

    return sum(_in_blocks(spark, "similar", len(items), _ITEMS, write_block))


def write_together_lists(
    spark: SparkSession, settings: Settings, writer: ListWriter, log: Log, items: Sequence[str], folder: Path
) -> int:
    """What is bought together with each item, computed and written by tasks; returns how many lists were written."""
    baskets = baskets_of(log)
    shared = Shared(folder, "together").save(spark, {**baskets._asdict(), "names": list(items)})
    size = settings.training.similar_size

    def write_block(block: tuple[int, int]) -> int:
        ids = shared.load("names")
        lists = together_items(Baskets(shared.load("offsets"), shared.load("items")), len(ids), block, size)
        return writer.write(settings, _entries("together", ids[block[0] : block[1]], lists, ids))

    return sum(_in_blocks(spark, "together", len(items) if len(baskets.items) else 0, _ITEMS, write_block))


def _entries(kind: str, names: Iterable[str], lists: Lists, ids: Sequence[str]) -> Iterator[Entry]:
    """Lists that hold anything, ready to be written."""
    for at, name in enumerate(names):
        items, scores = lists.row(at, ids)
        if items:
            yield Entry(kind, name, items, scores)
