"""``make bench-train``: how training time and memory grow with events and items, and full against incremental.

``full``: synthetic units through the product's Spark stages with pinned settings, Spark's start excluded, beside a
single process that computes the same formula (``benchmarks/reference.py``). ``incremental``: a lake of ``--days`` days
on the emulated AWS; what a new day costs from its arrival to G and C ready for solving, and what all days cost; then
the model of both, and the model of which only the targets that the day touched are solved. The last line is RESULT.
"""

import argparse
import gc
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from batch.merge import open_totals
from batch.recipe import MomentRecipe, Recipe, SolveRecipe
from batch.solve import Matrix
from batch.trial import Problem
from batch.warm import compile_kernels
from benchmarks.incremental import ENVIRONMENT, measure_days, session
from benchmarks.memory import PeakMemory
from benchmarks.reference import reference_model
from benchmarks.report import finish, machine
from benchmarks.stages import TOTALS, train_stages
from benchmarks.synthetic import Shop
from benchmarks.train_cost import fit, left_out_errors
from contracts.errors import LiveshelfError
from contracts.settings import Settings
from local import toolchain

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["PINNED", "main", "plan_runs", "problem_of"]

PINNED: Final = Recipe(
    moments=MomentRecipe(gram_exponent=2.0, cross_exponent=1.0, ordered=True),
    solve=SolveRecipe(a=0.8, l0=3.0, l1=0.3, ridge_by="gram", popularity=0.2, own=0.1, satiation=0.0, hop=0.3),
)
"""The whole formula, for sessions: two exponents, order, an own weight, the second hop; M = 150, K = 100."""

_LARGEST_ITEMS: Final = 100_000


def plan_runs(sizes: Sequence[int], items: Sequence[int]) -> list[tuple[int, int]]:
    """(events, items): all sizes at the middle catalogue, all catalogues at the middle size, and the largest of both.

    >>> plan_runs([10, 100, 1000], [1, 2, 3])
    [(10, 2), (100, 1), (100, 2), (100, 3), (1000, 2), (1000, 3)]
    """
    size, catalogue = sizes[len(sizes) // 2], items[len(items) // 2]
    runs = {(each, catalogue) for each in sizes} | {(size, each) for each in items} | {(max(sizes), max(items))}
    return sorted(runs)


def problem_of(events: int, items: int) -> Problem:
    """Synthetic units to learn from, and no case."""
    units, age_d = Shop(items=items).units(events)
    none, longs = np.zeros(0, np.int32), np.zeros(1, np.int64)
    lists = (np.zeros((0, 0), np.int32), np.zeros((0, 0), np.float32))
    return Problem(
        items, units.offsets, units.items, age_d, longs, none, none.astype(np.int8), longs, longs[:0], *lists
    )  # fmt: skip


def measure_full(spark: "SparkSession", scratch: Path, events: int, items: int) -> dict[str, Any]:
    """One size: seconds and memory of the stages, and seconds of the single process on the same arrays."""
    folder = scratch / "units"
    problem_of(events, items).save(folder)
    gc.collect()
    with PeakMemory() as memory:
        began = time.monotonic()
        trained = train_stages(spark, scratch, folder, PINNED)
        seconds = time.monotonic() - began
    indptr = open_totals(scratch, TOTALS).indptr
    size = np.minimum(np.diff(indptr), PINNED.solve.candidates).astype(float)
    problem = Problem.open(folder)
    visits = int((np.diff(problem.offsets) ** 2).sum())
    reference, equal = _reference(problem, trained.matrix)
    figures = {
        "events": len(problem.items),
        "items": items,
        "seconds": round(seconds, 2),
        "reference_seconds": round(reference, 2),
        "reference_equal": round(equal, 6),
        "peak_mib": memory.mib,
        "resident_mib": memory.resident_mib,
        "driver_peak_mib": memory.driver_mib,
        "jvm_peak_mib": memory.jvm_mib,
        "worker_peak_mib": memory.worker_mib,
        "moments_seconds": round(sum(trained.seconds[stage] for stage in ("index", "rows", "join")), 2),
        "solve_seconds": trained.seconds["solve"],
        "stages": trained.seconds,
        "visits": visits,
        "entries": int(indptr[-1]),
        "systems": int((size**2 + size**3 / 150).sum()),
        "weights": len(trained.matrix[1]),
    }
    for file in (*scratch.glob(f"{TOTALS}-*"), *folder.iterdir()):
        file.unlink()
    return figures


def _reference(problem: Problem, ours: Matrix) -> tuple[float, float]:
    """Seconds of the single process, compiled beforehand, and the share of our weights that it has as well."""
    small = slice(0, problem.offsets[50])
    reference_model(problem.offsets[:51], problem.items[small], problem.age_d[:50], problem.count, PINNED)
    arrays = (np.array(problem.offsets), np.array(problem.items), np.array(problem.age_d))
    began = time.monotonic()
    found = reference_model(*arrays, problem.count, PINNED)
    return time.monotonic() - began, _equal(ours, found)


def _equal(one: Matrix, other: Matrix) -> float:
    """The share of the weights of one matrix that another has as well."""
    count = len(one[0]) - 1
    mine, theirs = (np.repeat(np.arange(count), np.diff(each[0])) * np.int64(count) + each[1] for each in (one, other))
    at = np.minimum(np.searchsorted(theirs, mine), len(theirs) - 1)
    near: npt.NDArray[np.bool_] = (theirs[at] == mine) & np.isclose(one[2], other[2][at], rtol=1e-3, atol=1e-5)
    return float(near.sum()) / max(len(mine), 1)


def _full(scratch: Path, runs: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
    compile_kernels()
    found = []
    with session(Settings()) as spark:
        measure_full(spark, scratch, 20_000, 500)  # Java's and Numba's first times belong to no size
        for events, items in runs:
            figures = measure_full(spark, scratch, events, items)
            print(
                f"train: {events:>12,} events {items:>9,} items: {figures['seconds']:7.1f} s "
                f"(single process {figures['reference_seconds']:.1f} s, {figures['reference_equal']:.4%} equal), "
                f"{figures['peak_mib']:,} MiB, driver {figures['driver_peak_mib']:,}, JVM {figures['jvm_peak_mib']:,}; "
                + ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in figures["stages"].items()),
                flush=True,
            )
            found.append(figures)
    return found


def _cost(full: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The constants of the cost model, and for each size how far a model that has not seen it is off."""
    if len(full) < 4:
        return {}
    cores = os.cpu_count() or 1
    errors = [round(error, 3) for error in left_out_errors(full, cores)]
    told = ", ".join(f"{r['events']:,} × {r['items']:,}: {e:+.0%}" for r, e in zip(full, errors, strict=True))
    print(f"train: cost model, fitted without the size it says: {told}", flush=True)
    return {"costs": fit(full, cores), "left_out_errors": errors}


def _numbers(text: str) -> list[int]:
    return [int(float(each)) for each in text.split(",") if each]


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 0 with a RESULT line, 2 where something that it needs is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sizes",
        type=_numbers,
        default=[10**5, 10**6, 10**7],
        help="events, e.g. 1e5,1e6,1e7; empty: without this part",
    )
    parser.add_argument("--items", type=_numbers, default=[10**3, 10**4, 10**5], help="items, e.g. 1e3,1e4,1e5")
    parser.add_argument("--days", type=int, default=365, help="days of the lake of the incremental part; 0: without it")
    parser.add_argument("--events-a-day", type=int, default=10_000, help="of that lake")
    parser.add_argument("--quick", action="store_true", help="sizes that take a minute, to see that everything works")
    given = parser.parse_args(argv)
    if given.quick:
        given.sizes, given.items, given.days, given.events_a_day = [10**4, 10**5], [10**2, 10**3], 40, 1000
    before = machine()
    scratch = Path(tempfile.mkdtemp(prefix="liveshelf-bench-train-"))
    try:
        os.environ.update(ENVIRONMENT, JAVA_HOME=str(toolchain.java_home()))
        full = _full(scratch, plan_runs(given.sizes, given.items)) if given.sizes else []
        incremental = measure_days(scratch, given.days, given.events_a_day, PINNED) if given.days else {}
    except LiveshelfError as exc:
        print(f"train: {exc}", file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    figures = {
        "full": full,
        "incremental": incremental,
        "reference_seconds": full[-1]["reference_seconds"] if full else 0,
        "cost_model": _cost(full),
    }
    finish("bench-train", figures, machine=before, settings=PINNED.plain())
    return 0


if __name__ == "__main__":
    sys.exit(main())
