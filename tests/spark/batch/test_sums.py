"""The stored sums as Spark makes them, against the emulated lake: each equals what the arithmetic alone makes of it."""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from batch import lake as lake_stages
from batch import merge
from batch.days import Chunk, day_number, make_days, sift
from batch.lake import runner, start_spark
from batch.log import gather, gather_stored
from batch.moments import Totals, sum_moments
from batch.partition import DayPartition, decode
from batch.plan import Plan, Window
from batch.recipe import MomentRecipe
from batch.sums import Sums, forget_old, look, open_exchange, update
from benchmarks.synthetic import Shop, lake_objects
from contracts.lake import contents_path, moments_root
from contracts.settings import Settings
from local import toolchain
from local.emulator_process import running_emulator
from stores.aws import client
from stores.objects import Objects

pytestmark = [
    pytest.mark.spark,
    # Spark runs in this process, and pyspark leaves its sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]

RECIPE = MomentRecipe(gram_exponent=2.0, cross_exponent=1.0, ordered=True)
SHOP = Shop(events_a_day=120, items=60, people=30, late=0.02, first=date(2026, 1, 10))
DAYS = 75
HALF_LIFE_D = 30.0
WINDOW = Window(None, date(2026, 12, 31))


@dataclass
class Stack:
    """Spark, the emulator, and a lake."""

    spark: SparkSession
    settings: Settings
    objects: Objects

    def update(self, *, full: bool = False) -> Plan:
        found = look(self.settings, "default", WINDOW, RECIPE, HALF_LIFE_D, full=full)
        return update(self.spark, self.settings, "default", found, self.objects)

    def total(self, plan: Plan, folder: Path) -> Totals:
        folder.mkdir(exist_ok=True)
        with open_exchange(self.spark, self.settings, "default", folder) as room:
            sums = Sums(runner(self.spark), room, folder, plan, "default", HALF_LIFE_D)
            return sums.total("total", min_units=3)

    def stored(self) -> dict[str, bytes]:
        return {path: self.objects.get(path) for path in self.objects.list(moments_root("default"))}

    def partitions(self, plan: Plan) -> list[DayPartition]:
        return [decode(self.objects.get(path)) for path in plan.wanted.values()]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    environment = {
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "JAVA_HOME": str(toolchain.java_home()),
        "LIVESHELF_SPARK_JARS": ":".join(map(str, toolchain.jars().spark)),
    }
    with running_emulator() as endpoint, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        settings = Settings.from_properties({"liveshelf": {"aws.endpoint": endpoint, "redis.nodes": "x:1"}})
        place = {"LocationConstraint": settings.aws_region}
        client("s3", settings).create_bucket(Bucket=settings.lake_bucket, CreateBucketConfiguration=place)
        objects = Objects.from_settings(settings)
        for path, data in lake_objects(SHOP, 0, DAYS - 1):
            objects.put(path, data)
        spark = start_spark(settings, "local[2]", "512m")
        yield Stack(spark, settings, objects)
        spark.stop()


@pytest.fixture(scope="module")
def plan(stack: Stack) -> Plan:
    """The first training, by the way of a big lake: parsed once, shuffled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lake_stages, "_FEW_BYTES", 0)
        return stack.update()


@pytest.fixture(scope="module")
def plainly(stack: Stack) -> list[DayPartition]:
    """The days made at once, without Spark."""
    tables = []
    for path, data in lake_objects(SHOP, 0, DAYS - 1):
        arrived = date.fromisoformat(path.rpartition("/")[2][12:22])
        tables.append(sift(gzip.decompress(data).splitlines(), day_number(arrived), "default", RECIPE.late_days))
    first = day_number(SHOP.first)
    return list(make_days(pa.concat_tables(tables), Chunk(first, first + DAYS - 1), RECIPE))


def test_every_day_is_made_as_the_arithmetic_makes_it(stack: Stack, plan: Plan, plainly: list[DayPartition]) -> None:
    made = stack.partitions(plan)
    assert [day.day for day in made] == [day.day for day in plainly]
    for one, other in zip(made, plainly, strict=True):
        assert one.counts == other.counts
        assert one.moments.items == other.moments.items
        np.testing.assert_array_equal(one.moments.pairs.values, other.moments.pairs.values)
        np.testing.assert_array_equal(one.actions.ms, other.actions.ms)


def test_the_merge_is_the_weighted_sum_of_the_days(
    stack: Stack, plan: Plan, plainly: list[DayPartition], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "_BLOCK", 500)  # the driver cuts the rows: several blocks
    total = stack.total(plan, tmp_path / "merged")
    newest = max(plan.wanted)
    weights = [2.0 ** ((day.day - newest).days / HALF_LIFE_D) for day in plainly]
    expected = sum_moments([day.moments for day in plainly], 3, weights)
    assert total.items == expected.items
    np.testing.assert_array_equal(total.indptr, expected.indptr)
    np.testing.assert_array_equal(total.cols, expected.cols)
    for name in ("gram", "cross", "order", "units", "events", "sources"):
        np.testing.assert_allclose(getattr(total, name), getattr(expected, name), rtol=1e-12, err_msg=name)
    assert all(isinstance(getattr(total, name), np.memmap) for name in ("cols", "gram", "cross", "order"))


def test_the_log_is_that_of_the_days(stack: Stack, plan: Plan, plainly: list[DayPartition], tmp_path: Path) -> None:
    with open_exchange(stack.spark, stack.settings, "default", tmp_path) as room:
        log, items, counts = gather_stored(runner(stack.spark), room, list(plan.wanted.values()))
        assert list((tmp_path / "exchange").iterdir()) == []
    expected, names = gather(plainly)
    assert (items, log.subjects, counts) == (names, expected.subjects, [day.counts for day in plainly])
    for name in ("offsets", "item", "type", "ms", "unit"):
        np.testing.assert_array_equal(getattr(log, name), getattr(expected, name), err_msg=name)


def test_few_objects_are_read_without_a_shuffle_and_give_the_same_bytes(
    stack: Stack, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stack.stored()
    monkeypatch.setattr(lake_stages, "_FEW_BYTES", 1 << 30)
    again = stack.update(full=True)
    assert again.wanted == plan.wanted
    after = stack.stored()
    assert {path: after[path] for path in before} == before


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_single_day_is_made_again_by_the_shuffle_and_gives_the_same_bytes(
    stack: Stack, plan: Plan, length: int
) -> None:
    """One day is one run: Spark then compares the run with one value, where it otherwise looks it up among several."""
    day = max(plan.wanted) - timedelta(days=9)
    path, inputs = plan.wanted[day], plan.inputs[day]
    before = stack.objects.get(path)
    stack.objects.delete(path)
    one = Plan(plan.wanted, [day], {day: inputs}, inputs, plan.parts)
    made = lake_stages.make_partitions(stack.spark, stack.settings, "default", one, lake_stages.Scan(length), RECIPE)
    assert made == {path: len(before)}
    assert stack.objects.get(path) == before


def test_without_the_list_of_what_the_lake_holds_nothing_is_made_again(stack: Stack, plan: Plan) -> None:
    known = stack.objects.get(contents_path("default"))
    for data in (None, known[:50]):
        stack.objects.delete(contents_path("default"))
        if data is not None:
            stack.objects.put(contents_path("default"), data)
        again = stack.update()
        assert (again.wanted, again.stale) == (plan.wanted, [])
        assert stack.objects.get(contents_path("default")) == known


def test_a_new_day_costs_its_own_objects_and_old_sums_are_deleted(stack: Stack, plan: Plan, tmp_path: Path) -> None:
    """Last in the module: the lake grows."""
    stack.total(stack.update(), tmp_path / "before")
    before = stack.stored()
    for path, data in lake_objects(SHOP, DAYS, DAYS):
        stack.objects.put(path, data)
    grown = stack.update()
    newest = SHOP.first + timedelta(days=DAYS)
    assert grown.stale == [newest + timedelta(days=shift) for shift in range(-3, 1)]  # some came a day late
    assert len(grown.reads) <= 7
    assert [part.stored for part in grown.parts if part.path] == [True]
    total = stack.total(grown, tmp_path / "after")
    gone = forget_old(stack.settings, stack.objects, "default", grown)
    assert len(gone) == 3
    assert set(before) - set(stack.stored()) == set(gone)
    days = stack.partitions(grown)
    weights = [2.0 ** ((day.day - newest).days / HALF_LIFE_D) for day in days]
    np.testing.assert_allclose(total.gram, sum_moments([day.moments for day in days], 3, weights).gram, rtol=1e-9)


def test_a_torn_object_is_counted_and_what_could_be_read_of_it_is_used(stack: Stack) -> None:
    ((path, data),) = lake_objects(SHOP, DAYS + 1, DAYS + 1)
    stack.objects.put(path, data[: len(data) * 2 // 3])
    torn = stack.partitions(stack.update())[-1]
    assert torn.counts["torn_objects"] == 1
    assert torn.counts["actions"] > 10
