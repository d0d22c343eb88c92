"""What a training costs by its size: a line for each stage, its constants from the runs of ``make bench-train``.

    index  =      c·E                         counts and index, on the driver
    rows   = c₀ + c·V / p                     G, C and T row by row, as tasks
    join   =      c·N                         one file an array, on the driver
    solve  = c₀ + (c₁·Σ(m² + m³/150) + c₂·W) / p    ridge systems, the strongest of each row, the second hop, as tasks

with E events, V = Σ len² over units, N entries of G, m ≤ M the candidates of a target, W ≤ I·K weights and p cores.
``python -m benchmarks.train_cost`` says, from the newest RESULT, what a large shop takes on EMR Serverless.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.optimize import nnls

from benchmarks.report import HISTORY
from benchmarks.synthetic import Shop
from contracts.errors import SettingsError

__all__ = ["STAGES", "Cluster", "Costs", "Size", "estimate", "fit", "left_out_errors", "main", "seconds", "size_of"]

Costs = Mapping[str, Mapping[str, float]]
"""Stage: what it does: core seconds for one of it."""

STAGES: Final = {
    "index": ("events",),
    "rows": ("run", "visits"),
    "join": ("entries",),
    "solve": ("run", "systems", "weights"),
}
"""What the seconds of each stage are made of; ``run`` is once a run."""

_SHARED: Final = frozenset({"visits", "systems", "weights"})
"""What tasks do, so what more cores share."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a training has to work through; ``systems`` is Σ over targets of m² + m³/150."""

    events: float
    visits: float
    entries: float
    systems: float
    weights: float
    run: float = 1.0


def size_of(run: Mapping[str, Any]) -> Size:
    """The size of one run of ``full`` in a RESULT of ``bench-train``."""
    return Size(*(float(run[name]) for name in ("events", "visits", "entries", "systems", "weights")))


def _work(size: Size, stage: str, cores: int) -> list[float]:
    return [getattr(size, what) / (cores if what in _SHARED else 1) for what in STAGES[stage]]


def seconds(size: Size, costs: Costs, cores: int) -> dict[str, float]:
    """What each stage takes.

    >>> costs = {"index": {"events": 1}, "rows": {"run": 1, "visits": 4}, "join": {"entries": 1},
    ...          "solve": {"run": 0, "systems": 2, "weights": 0}}
    >>> seconds(Size(events=3, visits=10, entries=5, systems=7, weights=9), costs, cores=2)
    {'index': 3.0, 'rows': 21.0, 'join': 5.0, 'solve': 7.0}
    """
    return {
        stage: float(np.dot(_work(size, stage, cores), [costs[stage][what] for what in names]))
        for stage, names in STAGES.items()
    }


def fit(runs: Sequence[Mapping[str, Any]], cores: int) -> dict[str, dict[str, float]]:
    """Constants ≥ 0, by least squares of each stage's relative error (below 0.1 s: of a tenth of a second)."""
    costs = {}
    for stage, names in STAGES.items():
        measured = np.array([run["stages"][stage] for run in runs])
        error = np.maximum(measured, 0.1)
        rows = np.array([_work(size_of(run), stage, cores) for run in runs]) / error[:, None]
        scale = np.maximum(rows.max(0), 1e-300)
        found, _ = nnls(rows / scale, measured / error)
        costs[stage] = {what: float(f"{value:.4g}") for what, value in zip(names, found / scale, strict=True)}
    return costs


def left_out_errors(runs: Sequence[Mapping[str, Any]], cores: int) -> list[float]:
    """For each run, how far a model that was fitted without it is off, relative to its seconds."""
    errors = []
    for at, run in enumerate(runs):
        costs = fit([other for number, other in enumerate(runs) if number != at], cores)
        measured = sum(run["stages"][stage] for stage in STAGES)
        errors.append(sum(seconds(size_of(run), costs, cores).values()) / measured - 1)
    return errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Executors of an EMR Serverless application; ``network`` is what a worker sends or receives, bytes a second."""

    workers: int = 16
    cores: int = 4
    memory_gb: int = 30
    network: float = 0.6e9


def estimate(
    result: Mapping[str, Any], cluster: Cluster, shop: Shop, events: float, *, candidates: int, keep: int, matrices: int
) -> dict[str, float]:
    """A full training of a shop, from lake to model, by stage, and what it holds and moves.

    Args:
        result: a RESULT of ``bench-train``.
        matrices: of gram, cross and order, how many are kept: 1 (one exponent, no order) to 3.

    ``read`` and ``merge`` grow with events as the lake of ``incremental`` did; the solve as in :func:`seconds`.
    """
    known, measured_cores = result["incremental"], result["machine"]["cores"]
    learned = known["events_a_day"] * known["days"]
    stages = known["full_stages"]
    entries = shop.entries(round(events))
    systems = shop.items * (candidates**2 + candidates**3 / 150)
    visits = events / shop.visit * (2 * shop.visit**2 - shop.visit)
    size = Size(events, visits, entries, systems, shop.items * keep)
    cores, whole = cluster.workers * cluster.cores, entries * (4 + 8 * matrices)
    hours = {
        "read_hours": stages["update"] * measured_cores / learned * events / cores / 3600,
        "merge_hours": (stages["ready"] - stages["update"]) * measured_cores / learned * events / cores / 3600,
        "send_hours": (cluster.workers + 1) * whole / cluster.network / 3600,
        "solve_hours": seconds(size, fit(result["full"], measured_cores), cores)["solve"] / 3600,
    }
    total = sum(hours.values())
    return {name: round(value, 3) for name, value in hours.items()} | {
        "hours": round(total, 2),
        "vcpu_hours": round(total * (cores + cluster.cores), 1),
        "entries": entries,
        "totals_gb": round(whole / 1e9, 1),
        "lake_gb": round(events * known["lake_bytes"] / learned / 1e9, 1),
        "driver_gb": round(3 * shop.items * keep * 8 / 1e9, 1),
    }


def _newest(history: Path) -> dict[str, Any]:
    """The newest RESULT of ``bench-train`` with both parts and sizes enough to fit.

    Raises:
        SettingsError: there is none.
    """
    lines = history.read_text().splitlines() if history.exists() else []
    for line in reversed(lines):
        found: dict[str, Any] = json.loads(line)
        if found.get("command") == "bench-train" and len(found["full"]) > 3 and found["incremental"]:
            return found
    message = f"{history} holds no complete RESULT of bench-train; run `make bench-train` first"
    raise SettingsError(message)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 0, or 2 where nothing was measured yet."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.train_cost",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--events", type=float, default=1e9)
    parser.add_argument("--items", type=float, default=1e6)
    parser.add_argument("--workers", type=int, default=16)
    given = parser.parse_args(argv)
    try:
        result = _newest(HISTORY)
    except SettingsError as exc:
        print(f"train_cost: {exc}", file=sys.stderr)
        return 2
    shop, cluster = Shop(items=int(given.items)), Cluster(workers=given.workers)
    print(f"From commit {result['commit']} of {result['date']}, {result['machine']}.")
    for lines in (_measured(result), _constants(result), _estimates(result, cluster, shop, given.events)):
        print("\n" + "\n".join(lines))
    return 0


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """A Markdown table.

    >>> _table(["a", "b"], [[1, "x"]])
    ['| a | b |', '|---|---|', '| 1 | x |']
    """
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (head, *rows)]
    return [lines[0], "|" + "---|" * len(head), *lines[1:]]


def _measured(result: Mapping[str, Any]) -> list[str]:
    """Each size: what was measured, and what a model says that was fitted without it."""
    head = ["events", "items", "entries of G", "seconds", *STAGES, "single process", "model", "memory", "driver", "JVM"]
    rows = []
    for run, error in zip(result["full"], left_out_errors(result["full"], result["machine"]["cores"]), strict=True):
        stages = [f"{run['stages'][stage]:.1f}" for stage in STAGES]
        memory = [f"{run[what]:,} MiB" for what in ("peak_mib", "driver_peak_mib", "jvm_peak_mib")]
        numbers = [f"{run[what]:,}" for what in ("events", "items", "entries")]
        rows.append(
            [*numbers, f"{run['seconds']:.1f}", *stages, f"{run['reference_seconds']:.1f}", f"{error:+.0%}", *memory]
        )
    return _table(head, rows)


def _constants(result: Mapping[str, Any]) -> list[str]:
    costs = fit(result["full"], result["machine"]["cores"])
    return _table(
        ["stage", "a run", "each"],
        [
            [
                stage,
                f"{costs[stage].get('run', 0):.2f} s",
                ", ".join(f"{value * 1e9:.1f} ns of {what}" for what, value in costs[stage].items() if what != "run"),
            ]
            for stage in STAGES
        ],
    )


def _estimates(result: Mapping[str, Any], cluster: Cluster, shop: Shop, events: float) -> list[str]:
    """A full training with three choices of settings."""
    variants = ((150, 100, 3), (150, 50, 1), (64, 50, 1))
    found = [
        estimate(result, cluster, shop, events, candidates=candidates, keep=keep, matrices=matrices)
        for candidates, keep, matrices in variants
    ]
    head = ["", *(f"M {candidates}, K {keep}, {matrices} of 3 matrices" for candidates, keep, matrices in variants)]
    names = {name: name.replace("_", " ") for name in found[0]}
    return _table(head, [[told, *(f"{each[name]:,}" for each in found)] for name, told in names.items()])


if __name__ == "__main__":
    sys.exit(main())
