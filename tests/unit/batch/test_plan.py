"""Only the days that a change can have touched are made again."""

from datetime import date, timedelta

import pytest

from batch.days import day_number
from batch.partition import Input
from batch.plan import Plan, make_plan
from batch.recipe import MomentRecipe
from batch.units import REACH_DAYS
from contracts.errors import TrainingError
from contracts.lake import day_prefix

FIRST, TODAY = date(2026, 1, 1), date(2026, 2, 1)
RECIPE = MomentRecipe()


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def lake(days: int = 20) -> list[Input]:
    """One object on each of ``days`` arrival days."""
    return [Input(f"{day_prefix(day(n))}part-{n}.gz", 100 + n, f"etag-{n}") for n in range(days)]


def plan(
    objects: list[Input],
    stored: Plan | None = None,
    window: tuple[date | None, date] = (None, TODAY),
    recipe: MomentRecipe = RECIPE,
) -> Plan:
    return make_plan(objects, list(stored.wanted.values()) if stored else [], "default", window, recipe, tasks=4)


def test_the_first_training_makes_every_day_and_reads_every_object_once() -> None:
    made = plan(lake())
    assert list(made.wanted) == [day(n) for n in range(-1, 21)]  # records cross midnight both ways
    assert made.stale == list(made.wanted)
    assert made.reads == sorted(lake())


def test_nothing_is_stale_where_nothing_changed() -> None:
    again = plan(lake(), plan(lake()))
    assert (again.stale, again.reads, again.chunks, again.inputs) == ([], [], [], {})


def around(number: int, last: int) -> list[date]:
    """The days whose units an arrival day can decide over."""
    reach = REACH_DAYS + 1
    return [day(n) for n in range(number - reach, min(number + reach, last) + 1)]


def test_a_changed_object_makes_only_the_days_around_its_arrival_stale() -> None:
    before, objects = plan(lake()), lake()
    objects[9] = Input(objects[9].path, objects[9].bytes, "written again")
    after = plan(objects, before)
    assert after.stale == around(9, 20)
    assert {d: p for d, p in after.wanted.items() if d not in after.stale} == {
        d: p for d, p in before.wanted.items() if d not in after.stale
    }


@pytest.mark.parametrize("number", [9, 20], ids=["late object", "new day"])
def test_a_new_object_makes_only_the_days_around_its_arrival_stale(number: int) -> None:
    new = Input(f"{day_prefix(day(number))}late.gz", 5, "new")
    after = plan([*lake(), new], plan(lake()))
    assert after.stale == around(number, max(20, number + 1))
    assert new in after.reads
    assert len(after.reads) < len(lake())


def test_a_removed_object_makes_its_days_stale() -> None:
    objects = lake()
    del objects[9]
    assert day(9) in plan(objects, plan(lake())).stale


def test_another_moment_recipe_makes_every_day_stale() -> None:
    after = plan(lake(), plan(lake()), recipe=MomentRecipe(longest=50))
    assert after.stale == list(after.wanted)


def test_another_shop_shares_no_partition() -> None:
    other = make_plan(lake(), list(plan(lake()).wanted.values()), "other", (None, TODAY), RECIPE, tasks=4)
    assert other.stale == list(other.wanted)


def test_the_window_bounds_the_days_but_not_what_decides_over_them() -> None:
    made = plan(lake(), window=(day(5), day(7)))
    assert list(made.wanted) == [day(5), day(6), day(7)]
    read = {object_.path for object_ in made.reads}
    assert day_prefix(day(8)) + "part-8.gz" in read
    whole = plan(lake())
    assert made.wanted.items() <= whole.wanted.items()  # a day is the same in any window


def test_the_chunks_are_the_stale_days_each_once() -> None:
    objects = lake()
    objects[3] = Input(objects[3].path, 1, "again")
    objects[15] = Input(objects[15].path, 1, "again")
    made = plan(objects, plan(lake()))
    covered = [n for chunk in made.chunks for n in range(chunk.first, chunk.last + 1)]
    assert covered == [day_number(d) for d in made.stale]


def test_a_gap_in_the_lake_is_not_planned() -> None:
    objects = [*lake(2), Input(f"{day_prefix(day(15))}x.gz", 1, "x")]
    assert list(plan(objects).wanted) == [day(n) for n in (-1, 0, 1, 2, 14, 15, 16)]


def test_an_empty_lake_and_an_empty_window_are_refused_with_what_there_is() -> None:
    stray = [Input("events/README", 1, "x"), Input("events/year=2026/month=13/day=01/a.gz", 1, "x")]
    with pytest.raises(TrainingError, match="the lake holds no events: 2 objects"):
        plan(stray)
    with pytest.raises(TrainingError, match="arrivals from 2026-01-01 to 2026-01-20"):
        plan(lake(), window=(None, date(2025, 6, 1)))
