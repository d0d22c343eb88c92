"""``make bench-quality DATA=folder``: the trainer on a public data set, beside popularity and the package ``implicit``.

Settings are chosen by the product's search on a part of the training file, the same way for every folder; then the
model is trained by the product's Spark stages on the whole training file and asked the test cases. The models of
``implicit`` are tuned on the same validation part for as many seconds as the search took. The last line is RESULT.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from batch.choose import SEARCH_BASE, choose_recipe
from batch.merge import open_totals
from batch.metrics import METRICS, case_metrics
from batch.recipe import Recipe, read_recipe
from batch.search import Step, with_values
from batch.solve import Matrix
from batch.trial import rank_cases
from batch.warm import compile_kernels
from benchmarks.baselines import NAMES, popularity_rows, tuned
from benchmarks.memory import PeakMemory
from benchmarks.public_sets import DataSet, read_folder
from benchmarks.reference import reference_model
from benchmarks.report import finish, machine
from benchmarks.stages import TOTALS, train_stages
from contracts.errors import LiveshelfError
from contracts.settings import Settings
from local import toolchain

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["main"]

_START: Final = {"solve.min_units": 1}
"""The customary figures count every item."""


@contextmanager
def _session() -> Iterator["SparkSession"]:
    from batch.lake import start_spark

    spark = start_spark(Settings(), "local[2]", "768m")
    try:
        yield spark
    finally:
        spark.stop()


def _ours(data: DataSet, scratch: Path, pinned: Recipe | None) -> dict[str, Any]:
    """Search, train, rank; with seconds and memory."""
    with PeakMemory() as memory:
        compile_kernels()
        with _session() as spark:
            recipe, curve, spent = pinned, list[Step](), 0.0
            if recipe is None:
                began = time.monotonic()
                start = with_values(Recipe(), _START)
                choice = choose_recipe(spark, data.validation, start, scratch, _say)
                recipe, curve, spent = choice.recipe, choice.curve, time.monotonic() - began
            shutil.rmtree(scratch / "trials", ignore_errors=True)
            data.test.save(scratch / "test")
            began = time.monotonic()
            matrix = train_stages(spark, scratch, scratch / "test", recipe).matrix
            trained = time.monotonic() - began
        entries = len(open_totals(scratch, TOTALS).cols)
        print(f"quality: trained in {trained:.1f} s, {entries:,} entries of G, {len(matrix[1]):,} weights", flush=True)
        rows = rank_cases(matrix, data.test, recipe, 20)
    return {
        "rows": rows, "recipe": recipe, "curve": curve, "search": spent, "train": trained, "mib": memory.mib,
        "driver_mib": memory.driver_mib, "entries": entries, "matrix": matrix,
    }  # fmt: skip


def _say(step: Step) -> None:
    changed = ", ".join(f"{name} {value}" for name, value in step.settings.items())
    print(f"quality: {step.value:.4f}  {step.coordinate}  {changed if step.coordinate != 'start' else ''}", flush=True)


def _reference(data: DataSet, recipe: Recipe, ours: Matrix) -> tuple[float, float]:
    """Seconds of the single process, compiled beforehand, and the share of our weights that it has as well."""
    test = data.test
    reference_model(test.offsets[:50], test.items[: test.offsets[49]], test.age_d[:49], test.count, recipe)
    began = time.monotonic()
    indptr, cols, values = reference_model(test.offsets, test.items, test.age_d, test.count, recipe)
    seconds = time.monotonic() - began
    mine = np.repeat(np.arange(test.count), np.diff(ours[0])) * np.int64(test.count) + ours[1]
    other = np.repeat(np.arange(test.count), np.diff(indptr)) * np.int64(test.count) + cols
    _, at, there = np.intersect1d(mine, other, return_indices=True)
    near = np.isclose(ours[2][at], values[there], rtol=1e-3, atol=1e-5)
    return seconds, float(near.sum()) / max(len(mine), 1)


def measure(folder: Path, scratch: Path, pinned: Recipe | None, *, baselines: bool) -> dict[str, Any]:
    """All figures of one data set."""
    began = time.monotonic()
    data = read_folder(folder)
    print(
        f"quality: {data.name}: {len(data.test.units):,} {data.kind}, {len(data.test.items):,} actions, "
        f"{data.test.count:,} items, {data.test.cases:,} test cases, {data.validation.cases:,} validation cases",
        flush=True,
    )
    ours = _ours(data, scratch, pinned)
    wanted = [data.test.wanted_of(case) for case in range(data.test.cases)]
    values = {
        "ours": case_metrics(ours["rows"], wanted),
        "popularity": case_metrics(popularity_rows(data.test), wanted),
    }
    train_seconds, peak = {"ours": round(ours["train"], 2)}, {"ours": ours["mib"]}
    settings: dict[str, Any] = {"ours": ours["recipe"].plain()}
    _tell("ours", data, values["ours"])
    _tell("popularity", data, values["popularity"])
    reference, equal = _reference(data, ours["recipe"], ours["matrix"])
    print(f"quality: single process {reference:.1f} s, {equal:.4%} of the weights equal", flush=True)
    data.validation.save(scratch / "validation")
    for name in NAMES if baselines else ():
        found = tuned(name, scratch, ours["search"])
        values[name], train_seconds[name], peak[name] = found.values, found.train_seconds, found.peak_mib
        settings[name] = found.settings | {"trials": found.trials, "search_seconds": found.search_seconds}
        _tell(name, data, found.values, f"{found.trials} trials, {found.settings}")
    columns = [METRICS.index(metric) for metric in data.metrics]
    metrics = {
        name: {METRICS[c]: round(float(found[:, c].mean()), 5) for c in columns} for name, found in values.items()
    }
    return {
        "dataset": data.name,
        "cases": data.test.cases,
        "metrics": metrics,
        "train_seconds": train_seconds,
        "search_seconds": round(ours["search"], 1),
        "wall_seconds": round(time.monotonic() - began, 1),
        "pinned_train_seconds": round(ours["train"], 2),
        "reference_seconds": round(reference, 2),
        "reference_equal": round(equal, 6),
        "peak_mib": peak,
        "driver_peak_mib": ours["driver_mib"],
        "gram_entries": ours["entries"],
        "trials": len(ours["curve"]),
        "settings": settings,
    }


def _tell(name: str, data: DataSet, values: Any, more: str = "") -> None:
    told = ", ".join(f"{metric} {values[:, METRICS.index(metric)].mean():.4f}" for metric in data.metrics)
    print(f"quality: {name:<10} {told}  {more}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 0 with a RESULT line, 2 where the folder or the settings will not do."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="a data set in one of the two formats (benchmarks/public_sets.py)")
    parser.add_argument("--settings", type=Path, metavar="FILE", help="pin the settings instead of searching")
    parser.add_argument("--alone", action="store_true", help="without the models of implicit")
    given = parser.parse_args(argv)
    before = machine()
    os.environ.setdefault("JAVA_HOME", str(toolchain.java_home()))
    scratch = Path(tempfile.mkdtemp(prefix="liveshelf-quality-"))
    try:
        pinned = read_recipe(given.settings) if given.settings else None
        figures = measure(given.folder, scratch, pinned, baselines=not given.alone)
    except LiveshelfError as exc:
        print(f"quality: {exc}", file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    finish("bench-quality", figures, machine=before, settings={"grid": SEARCH_BASE, **figures["settings"]})
    return 0


if __name__ == "__main__":
    sys.exit(main())
