"""The Spark stages after the moments: ridge solves by blocks of targets, lists by blocks of people and of items."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pyspark import SparkFiles
from pyspark.sql import SparkSession

from batch.lists import Lists, person_lists, similar_items
from batch.log import Log
from batch.publish import Entry, ListWriter
from batch.recipe import ListRecipe, SolveRecipe
from batch.solve import Matrix, System, Triples, keep_strongest, satiate, solve_targets
from contracts.settings import Settings

__all__ = ["Shared", "solve_model", "write_person_lists", "write_similar_lists"]

_TARGETS = 1024
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


def _in_blocks(spark: SparkSession, count: int, size: int, work: Callable[[tuple[int, int]], T]) -> list[T]:
    """``work`` on every block of ``count`` rows, one Spark task a block; results in order."""
    blocks = [(at, min(at + size, count)) for at in range(0, count, size)]
    if not blocks:
        return []
    return list(spark.sparkContext.parallelize(blocks, len(blocks)).map(work).collect())


def solve_model(spark: SparkSession, system: System, recipe: SolveRecipe, folder: Path, name: str) -> Matrix:
    """B from its normal equations; the columns are solved by blocks of targets, independently."""
    names = [field.name for field in fields(system)]
    shared = Shared(folder, name).save(spark, {field: getattr(system, field) for field in names})

    def solve_block(block: tuple[int, int]) -> tuple[Any, ...]:
        part = solve_targets(System(**{field: shared.load(field) for field in names}), *block, recipe)
        return part.items, part.targets, part.weights

    parts = _in_blocks(spark, len(system), _TARGETS, solve_block)
    columns = (np.concatenate(column) for column in zip(*parts, strict=True))
    return satiate(keep_strongest(Triples(*columns), len(system), recipe.keep), recipe.satiation)


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

    return sum(_in_blocks(spark, len(log.subjects), _PEOPLE, write_block))


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

    return sum(_in_blocks(spark, len(items), _ITEMS, write_block))


def _entries(kind: str, names: Iterable[str], lists: Lists, ids: Sequence[str]) -> Iterator[Entry]:
    """Lists that hold anything, ready to be written."""
    for at, name in enumerate(names):
        items, scores = lists.row(at, ids)
        if items:
            yield Entry(kind, name, items, scores)
