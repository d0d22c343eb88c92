"""The total that tasks make in files is the sum in memory: in any cut, with decay, from stored months or from days."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batch import merge
from batch.exchange import Exchange, objects_of
from batch.merge import merge_parts, open_totals
from batch.moments import Moments, Totals, Units, add_moments, day_moments, sum_moments
from batch.partition import Actions, DayPartition, encode
from batch.recipe import MomentRecipe
from batch.rollup import Part, day_weight, decode_rollup, plan_parts
from contracts.settings import Settings
from stores.objects import NotFound, Objects

SESSIONS = MomentRecipe(gram_exponent=2.0, cross_exponent=1.0, ordered=True)
BASKETS = MomentRecipe()
FIRST = date(2026, 1, 10)


class Memory(Objects):
    """Objects of a bucket that is a dictionary."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.bucket = "memory"

    def get(self, path: str) -> bytes:
        if path not in self.held:
            raise NotFound(path)
        return self.held[path]

    def put(self, path: str, data: bytes) -> None:
        self.held[path] = data


def random_day(seed: int, recipe: MomentRecipe) -> Moments:
    """Sessions of popular items, some of them only on this day."""
    rng = np.random.default_rng(seed)
    names = sorted({f"i{n:02}" for n in rng.zipf(1.5, 40) % 60} | {f"only-{seed}"})
    lengths = rng.integers(1, 7, 30)
    items = rng.integers(0, len(names) - 1, lengths.sum()).astype(np.int32)
    items[0] = len(names) - 1
    return day_moments(Units(np.concatenate([[0], np.cumsum(lengths)]), items), names, recipe)


def stored_days(objects: Memory, recipe: MomentRecipe, count: int = 80) -> tuple[dict[date, str], list[Moments]]:
    """Day partitions in the store, one of them empty, one day missing."""
    none = np.zeros(0, np.int32)
    nothing = Actions([], np.zeros(1, np.int64), none, none, none.astype(np.int8), none.astype(np.int64), [])
    wanted, days = {}, []
    for n in (n for n in range(count) if n != 5):
        day = FIRST + timedelta(days=n)
        moments = random_day(n, recipe) if n != 7 else day_moments(Units(np.zeros(1, np.int64), none), [], recipe)
        wanted[day] = f"day-{day}"
        objects.put(wanted[day], encode(DayPartition(day, moments, nothing, {}), recipe, []))
        days.append(moments)
    return wanted, days


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Memory:
    memory = Memory()
    monkeypatch.setattr(Objects, "from_settings", lambda _: memory)
    objects_of.cache_clear()
    return memory


def exchange(tmp_path: Path) -> Exchange:
    (tmp_path / "exchange").mkdir(exist_ok=True)
    return Exchange(Settings.from_properties({"liveshelf": {"redis.nodes": "x:1"}}), tmp_path / "exchange", "")


def here(work: Any, inputs: Sequence[Any]) -> list[Any]:
    """What Spark does, without it."""
    return [work(each) for each in inputs]


def parts_of(store: Memory, wanted: Mapping[date, str], half_life_d: float = 0.0) -> list[Part]:
    return plan_parts("default", wanted, None, half_life_d, store.held.keys())


def kept(parts: Sequence[Part]) -> list[Part]:
    """The months among the parts, and what is the sum of them."""
    return [each for part in parts for each in (*part.months, part) if each.path]


def assert_equal(left: Totals, right: Totals) -> None:
    assert left.items == right.items
    for name in ("indptr", "cols"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))
    for name in ("units", "events", "sources", "gram", "cross", "order"):
        one, other = getattr(left, name), getattr(right, name)
        assert (one is None) == (other is None), name
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("recipe", [BASKETS, SESSIONS], ids=["baskets", "ordered sessions"])
@pytest.mark.parametrize("half_life_d", [0.0, 20.0], ids=["no decay", "decay"])
@pytest.mark.parametrize("block", [50, 1 << 22], ids=["small blocks", "one block"])
def test_the_merge_of_parts_is_the_sum_of_days(
    recipe: MomentRecipe, half_life_d: float, block: int, store: Memory, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(merge, "_BLOCK", block)
    wanted, days = stored_days(store, recipe)
    weights = [day_weight(day, max(wanted), half_life_d) for day in wanted]
    expected = sum_moments(days, 5, weights)
    assert not [item for item in expected.items if item.startswith("only")]
    for _ in ("makes the roll-ups", "reads them"):
        room = exchange(tmp_path)
        parts = parts_of(store, wanted, half_life_d)
        assert_equal(merge_parts(here, room, tmp_path, parts, "all", min_units=5), expected)
        room.drop("")
    assert [part.stored for part in kept(parts)] == [True, True, True]


def test_the_newest_day_may_be_named_and_then_weighs_one(store: Memory, tmp_path: Path) -> None:
    wanted, days = stored_days(store, BASKETS)
    newest = max(wanted) - timedelta(days=3)
    weights = [day_weight(day, newest, 10.0) for day in wanted]
    made = merge_parts(here, exchange(tmp_path), tmp_path, parts_of(store, wanted, 10.0), "all", newest=newest)
    assert_equal(made, sum_moments(days, 1, weights))


def test_min_units_counts_units_as_they_happened_whatever_their_weight(store: Memory, tmp_path: Path) -> None:
    wanted, days = stored_days(store, BASKETS)
    faded = merge_parts(here, exchange(tmp_path), tmp_path, parts_of(store, wanted, 2.0), "faded", min_units=5)
    assert faded.items == sum_moments(days, 5).items
    assert faded.units.min() < 5


def test_a_roll_up_is_the_sum_of_its_days_relative_to_its_last_day(store: Memory, tmp_path: Path) -> None:
    wanted, days = stored_days(store, SESSIONS)
    parts = parts_of(store, wanted, 15.0)
    merge_parts(here, exchange(tmp_path), tmp_path, parts, "all")
    month = kept(parts)[0]
    assert month.reference == date(2026, 1, 31)
    held = decode_rollup(store.get(str(month.path)))
    at = [list(wanted).index(day) for day, _ in month.days]
    weights = [day_weight(day, month.reference, 15.0) for day, _ in month.days]
    expected = add_moments((days[n], weight) for n, weight in zip(at, weights, strict=True))
    assert held.items == expected.items
    np.testing.assert_array_equal(held.seen, sum_moments([days[n] for n in at]).units)
    np.testing.assert_allclose(held.pairs.values, expected.pairs.values, rtol=1e-12)
    np.testing.assert_allclose(held.order.values, expected.order.values, rtol=1e-12)


def test_a_torn_roll_up_is_made_again(store: Memory, tmp_path: Path) -> None:
    wanted, days = stored_days(store, BASKETS)
    merge_parts(here, exchange(tmp_path), tmp_path, parts_of(store, wanted), "first")
    before = {str(part.path): store.held[str(part.path)] for part in kept(parts_of(store, wanted))}
    for path, whole in before.items():
        store.held[path] = whole[: len(whole) // 2]
    exchange(tmp_path).drop("")
    assert_equal(merge_parts(here, exchange(tmp_path), tmp_path, parts_of(store, wanted), "all"), sum_moments(days))
    assert {path: store.held[path] for path in before} == before


def test_months_that_are_too_much_for_one_task_are_not_summed_to_a_base(
    store: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, days = stored_days(store, SESSIONS)
    *months, base = (str(part.path) for part in kept(parts_of(store, wanted)))
    monkeypatch.setattr(merge, "_TOGETHER", 100)
    for name in ("first", "again"):
        total = merge_parts(here, exchange(tmp_path), tmp_path, parts_of(store, wanted), name)
        assert_equal(total, sum_moments(days))
        assert base not in store.held
        assert set(months) <= store.held.keys()
        exchange(tmp_path).drop("")
    monkeypatch.undo()


def test_a_deleted_roll_up_is_made_again(store: Memory, tmp_path: Path) -> None:
    wanted, _ = stored_days(store, BASKETS)
    merge_parts(here, exchange(tmp_path), tmp_path, parts_of(store, wanted), "first")
    month, _, base = (str(part.path) for part in kept(parts_of(store, wanted)))
    before = {path: store.held.pop(path) for path in (month, base)}
    assert [part.stored for part in kept(parts_of(store, wanted))] == [False, True, False]
    exchange(tmp_path).drop("")
    merge_parts(here, exchange(tmp_path), tmp_path, parts_of(store, wanted), "all")
    assert {path: store.held[path] for path in before} == before


def test_the_open_month_and_a_month_that_the_window_cuts_are_not_rolled_up() -> None:
    days = {FIRST + timedelta(days=n): f"d{n}" for n in range(60)}  # to 2026-03-10
    (base, *others) = plan_parts("default", days, None, 0.0, ())
    assert [month.reference for month in base.months] == [date(2026, 1, 31), date(2026, 2, 28)]
    assert (base.reference, [part.path for part in others]) == (date(2026, 2, 28), [None])
    cut = plan_parts("default", days, FIRST, 0.0, ())
    assert [part.reference for part in cut if part.path] == [date(2026, 2, 28)]
    assert sorted(day for part in cut for day in part.days) == sorted(days.items())
    fresh = {day: path for day, path in days.items() if day <= date(2026, 3, 6)}
    assert [p.reference for p in plan_parts("default", fresh, None, 0.0, ()) if p.path] == [date(2026, 1, 31)]


def test_a_roll_up_changes_its_name_with_its_days_and_with_the_half_life() -> None:
    days = {FIRST + timedelta(days=n): f"d{n}" for n in range(80)}
    names = [part.path for part in kept(plan_parts("default", days, None, 0.0, ()))]
    late = days | {date(2026, 1, 20): "made again"}
    first, second, base = (part.path for part in kept(plan_parts("default", late, None, 0.0, ())))
    assert first != names[0]
    assert second == names[1]
    assert base != names[2]
    assert not {part.path for part in kept(plan_parts("default", days, None, 9.0, ()))} & set(names)


def test_the_driver_maps_the_arrays_and_holds_none(store: Memory, tmp_path: Path) -> None:
    wanted, _ = stored_days(store, SESSIONS)
    merge_parts(here, exchange(tmp_path), tmp_path, parts_of(store, wanted), "all")
    total = open_totals(tmp_path, "all")
    for name in ("indptr", "cols", "gram", "cross", "order"):
        assert isinstance(getattr(total, name), np.memmap), name
    assert not list((tmp_path / "exchange").glob("all-*"))


def test_what_one_merge_summed_the_next_one_of_the_run_reuses(store: Memory, tmp_path: Path) -> None:
    """The total without the newest days and the one with them share their closed months."""
    wanted, days = stored_days(store, BASKETS)
    merge_parts(here, exchange(tmp_path), tmp_path, parts_of(store, wanted), "all")
    months = [part for part in parts_of(store, wanted) if part.path]
    for part in kept(months):
        store.held.pop(str(part.path))
    inside = [n for n, day in enumerate(wanted) if day <= months[-1].reference]
    assert_equal(merge_parts(here, exchange(tmp_path), tmp_path, months, "cut"), sum_moments([days[n] for n in inside]))
