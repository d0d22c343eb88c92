"""What a new day costs on a lake of many days, against all of it again: the real path, on the emulated AWS."""

import gzip
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from batch.moments import Totals
from batch.plan import Window
from batch.recipe import Recipe
from batch.solve import Matrix
from batch.sums import Sums, forget_old, look, open_exchange, update
from benchmarks.synthetic import Shop, lake_objects
from contracts.lake import day_prefix
from contracts.settings import Settings
from local.emulator_process import running_emulator
from stores.aws import client
from stores.objects import Objects

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["ENVIRONMENT", "measure_days", "overlap", "session"]

ENVIRONMENT: Final = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
"""What Spark's workers must inherit to reach the emulated AWS."""

_SHOP: Final = "default"
_SHELF: Final = 20


@contextmanager
def session(settings: Settings, memory: str = "768m") -> Iterator["SparkSession"]:
    """A Spark session on all cores whose Python workers have imported what they need."""
    from batch.lake import start_spark, warm_workers

    spark = start_spark(settings, "local[*]", memory)
    try:
        warm_workers(spark)
        yield spark
    finally:
        spark.stop()


@dataclass(frozen=True, slots=True)
class _Lake:
    """A lake and what brings its sums up to date; a run's totals lie in a folder of its own."""

    spark: "SparkSession"
    settings: Settings
    objects: Objects
    scratch: Path
    recipe: Recipe
    until: datetime = field(default_factory=lambda: datetime.now(UTC))

    def sums(self, name: str, *, full: bool = False) -> tuple[Totals, dict[str, float], dict[str, int]]:
        """From what lies in the lake to G and C; with the seconds until each stage ended, and what was read."""
        from batch.lake import runner

        folder = self.scratch / name
        folder.mkdir(parents=True)
        began, seconds = time.monotonic(), dict[str, float]()
        found = look(self.settings, _SHOP, Window(None, self.until.date()), self.recipe.moments, full=full)
        seconds["look"] = time.monotonic() - began
        with open_exchange(self.spark, self.settings, _SHOP, folder) as room:
            plan = update(self.spark, self.settings, _SHOP, found, self.objects)
            seconds["update"] = time.monotonic() - began
            sums = Sums(runner(self.spark), room, folder, plan, _SHOP, 0.0)
            total = sums.total("total", min_units=self.recipe.solve.min_units)
            seconds["ready"] = time.monotonic() - began
        forget_old(self.settings, self.objects, _SHOP, plan)
        read = {"days": len(plan.wanted), "days_made": len(plan.stale), "objects_read": len(plan.reads)}
        return total, {stage: round(value, 2) for stage, value in seconds.items()}, read

    def model(self, name: str, again: tuple[npt.NDArray[np.int64], Matrix] | None = None) -> tuple[Matrix, float]:
        """B of a run's totals, and seconds."""
        from batch.job import solve_model

        began = time.monotonic()
        found = solve_model(self.spark, self.scratch / name, "total", self.recipe.solve, again=again)
        return found, time.monotonic() - began


def measure_days(scratch: Path, days: int, events_a_day: int, recipe: Recipe, new_days: int = 3) -> dict[str, Any]:
    """Full, then day by day, then full again (warm: that is what a day is compared with), and the models of both."""
    shop = Shop(events_a_day=events_a_day)
    with running_emulator() as endpoint:
        settings = Settings.from_properties({"liveshelf": {"aws.endpoint": endpoint, "redis.nodes": "none:1"}})
        place = {"LocationConstraint": settings.aws_region}
        client("s3", settings).create_bucket(Bucket=settings.lake_bucket, CreateBucketConfiguration=place)
        objects = Objects.from_settings(settings)
        size = 0
        for path, data in lake_objects(shop, 0, days - 1):
            objects.put(path, data)
            size += len(data)
        until = datetime.combine(shop.first, datetime.min.time(), UTC) + timedelta(days=days + new_days + 1)
        with session(settings) as spark:
            lake = _Lake(spark, settings, objects, scratch / "lake", recipe, until)
            _, first, _ = lake.sums("first")
            _tell("all days, first", first)
            runs = []
            for number in range(days, days + new_days):
                before = _names(shop, number)
                for path, data in lake_objects(shop, number, number):
                    objects.put(path, data)
                total, seconds, read = lake.sums(before)
                _tell("a new day", seconds)
                runs.append(seconds)
            again, full, _ = lake.sums("full", full=True)
            _tell("all days again", full)
            return _compared(
                lake, shop, days + new_days - 1, (total, again), (runs, full, first), read | {"lake_bytes": size}
            )


def _names(shop: Shop, number: int) -> str:
    return f"day-{shop.first + timedelta(days=number)}"


def _tell(what: str, seconds: dict[str, float]) -> None:
    print(
        f"train: {what}: " + ", ".join(f"{stage} after {value:.1f} s" for stage, value in seconds.items()), flush=True
    )


def _compared(
    lake: _Lake, shop: Shop, newest: int, totals: tuple[Totals, Totals], seconds: tuple[Any, Any, Any], read: Any
) -> dict[str, Any]:
    """The figures: seconds, the largest difference of sums and models, and the model of the touched targets."""
    runs, full, first = seconds
    ready = sorted(run["ready"] for run in runs)
    grown, all_seconds = lake.model(_names(shop, newest))
    whole, _ = lake.model("full")
    same = np.array_equal(grown[0], whole[0]) and np.array_equal(grown[1], whole[1])
    apart = float(np.abs(grown[2] - whole[2]).max()) if same else float("nan")
    day = ready[len(ready) // 2]
    figures = {
        **read,
        "events_a_day": shop.events_a_day,
        "items": len(totals[0].items),
        "entries": len(totals[0].cols),
        "day_seconds": day,
        "day_spread": [ready[0], ready[-1]],
        "full_seconds": full["ready"],
        "first_seconds": first["ready"],
        "share": round(day / full["ready"], 4),
        "day_stages": runs[-1],
        "full_stages": full,
        "sums_max_relative_diff": _apart(*totals),
        "model_max_diff": apart,
        "model_max_weight": float(np.abs(whole[2]).max()),
    }
    print(
        f"train: a day costs {figures['share']:.1%} of all days; models differ by {apart:.1e} at most "
        f"(largest weight {figures['model_max_weight']:.2f}), sums by {figures['sums_max_relative_diff']:.1e}",
        flush=True,
    )
    return figures | {"touched": _touched(lake, shop, newest, totals[0], (grown, all_seconds))}


def _apart(one: Totals, other: Totals) -> float:
    """The largest difference of two totals, relative to the value."""
    if one.items != other.items or not np.array_equal(one.cols, other.cols):
        return float("nan")
    found = 0.0
    for what in ("units", "events", "sources", "gram", "cross", "order"):
        mine, theirs = getattr(one, what), getattr(other, what)
        if mine is not None:
            found = max(found, float((np.abs(mine - theirs) / np.maximum(np.abs(theirs), 1e-300)).max(initial=0)))
    return found


def _touched(lake: _Lake, shop: Shop, newest: int, total: Totals, solved: tuple[Matrix, float]) -> dict[str, Any]:
    """Only the targets of the newest day's units solved, over the model of the day before."""
    before, whole = _model_before(lake, shop, newest, total), solved[0]
    place = {item: at for at, item in enumerate(total.items)}
    names = _items_of(lake.objects, f"{day_prefix(shop.first + timedelta(days=newest))}")
    targets = np.array(sorted(place[name] for name in names if name in place), np.int64)
    found, seconds = lake.model(_names(shop, newest), (targets, before))
    shares = {"kept": overlap(before, whole), "touched": overlap(found, whole)}
    figures = {
        "targets": len(targets),
        "share": round(len(targets) / len(total.items), 4),
        "seconds": round(seconds, 2),
        "all_seconds": round(solved[1], 2),
        "top20_overlap": round(shares["touched"], 4),
        "top20_overlap_unsolved": round(shares["kept"], 4),
    }
    print(
        f"train: {figures['share']:.0%} of the targets touched: {seconds:.1f} s against {solved[1]:.1f} s, "
        f"{figures['top20_overlap']:.3f} of the top {_SHELF} kept ({figures['top20_overlap_unsolved']:.3f} unsolved)",
        flush=True,
    )
    return figures


def _model_before(lake: _Lake, shop: Shop, newest: int, total: Totals) -> Matrix:
    """The model of the day before over the items of ``total``."""
    name = _names(shop, newest - 1)
    (indptr, cols, data), _ = lake.model(name)
    items = json.loads((lake.scratch / name / "total-items.json").read_text())
    place = {item: at for at, item in enumerate(total.items)}
    to = np.array([place.get(item, -1) for item in items], np.int32)
    rows, cols = np.repeat(to, np.diff(indptr)), to[cols]
    kept = np.flatnonzero((rows >= 0) & (cols >= 0))
    order = kept[np.lexsort((cols[kept], rows[kept]))]
    starts = np.searchsorted(rows[order], np.arange(len(total.items) + 1)).astype(np.int64)
    return starts, cols[order], data[order]


def _items_of(objects: Objects, prefix: str) -> set[str]:
    """The items of a day's records."""
    lines = (line for path in objects.list(prefix) for line in gzip.decompress(objects.get(path)).splitlines())
    return {json.loads(line)["item_id"] for line in lines}


def overlap(one: Matrix, other: Matrix, size: int = _SHELF) -> float:
    """The mean share of the ``size`` largest weights of a row of ``other`` that are among those of ``one``.

    >>> a = (np.array([0, 2]), np.array([0, 1], np.int32), np.array([1, 2], np.float32))
    >>> b = (np.array([0, 2]), np.array([1, 2], np.int32), np.array([1, 2], np.float32))
    >>> overlap(a, b)
    0.5
    """
    shares = []
    for row in range(len(other[0]) - 1):
        mine, theirs = (_largest(each, row, size) for each in (one, other))
        if len(theirs):
            shares.append(len(np.intersect1d(mine, theirs)) / len(theirs))
    return float(np.mean(shares)) if shares else 1.0


def _largest(matrix: Matrix, row: int, size: int) -> npt.NDArray[np.int32]:
    indptr, cols, data = matrix
    inside = slice(indptr[row], indptr[row + 1])
    best: npt.NDArray[np.int32] = cols[inside][np.argsort(-data[inside], kind="stable")[:size]]
    return best
