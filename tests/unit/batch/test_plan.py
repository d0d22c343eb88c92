"""Only the days that a change touches are made again, however late it came."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import pytest

from batch.contents import Held, decode_contents, encode_contents
from batch.days import Chunk, day_number, day_of
from batch.partition import Input
from batch.plan import Plan, Window, chunks_of, foresee, make_plan, run_length, unread
from batch.recipe import MomentRecipe
from batch.rollup import Part
from batch.units import REACH_DAYS
from contracts.errors import TrainingError
from contracts.lake import day_prefix

FIRST, TODAY = date(2026, 1, 1), date(2026, 6, 1)
RECIPE = MomentRecipe(late_days=30)
ALL = Window(None, TODAY)
Lake = dict[Input, Held]


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def object_of(arrival: int, name: str, *holds: int, counts: bool = False) -> tuple[Input, Held]:
    """An object that arrived on a day after FIRST, with events of some days."""
    days = tuple(sorted(day_number(day(n)) for n in holds))
    return Input(f"{day_prefix(day(arrival))}{name}.gz", 100, f"etag-{name}-{holds}"), Held(days, counts)


def lake(days: int = 20) -> Lake:
    """Each arrival day has an object with its own events, and from the second on one with some of the day before."""
    return dict(
        [object_of(n, "a", n) for n in range(days)] + [object_of(n, "b", n - 1, n, counts=True) for n in range(1, days)]
    )


def plan(
    contents: Lake,
    stored: Plan | None = None,
    window: Window = ALL,
    recipe: MomentRecipe = RECIPE,
    shop: str = "default",
) -> Plan:
    held = [*stored.wanted.values(), *(str(each.path) for each in sums(stored))] if stored else []
    return make_plan(list(contents), contents, held, shop, window, recipe)


def sums(made: Plan) -> list[Part]:
    """The months of a plan, then what is the sum of them."""
    return [each for part in made.parts for each in (*part.months, part) if each.path]


def around(*numbers: int, first: int = 0, last: int = 19) -> list[date]:
    """The days whose units an event of these days can decide over."""
    near = {n + shift for n in numbers for shift in range(-REACH_DAYS, REACH_DAYS + 1)}
    return [day(n) for n in sorted(near) if first <= n <= last]


def test_the_first_training_makes_every_day_and_reads_every_object_once() -> None:
    made = plan(lake())
    assert list(made.wanted) == [day(n) for n in range(20)]
    assert made.stale == list(made.wanted)
    assert made.reads == sorted(lake())


def test_nothing_is_stale_where_nothing_changed() -> None:
    again = plan(lake(), plan(lake()))
    assert (again.stale, again.reads, again.inputs) == ([], [], {})


def test_a_new_day_makes_only_itself_and_the_days_its_events_can_decide_over() -> None:
    grown = lake() | dict([object_of(20, "a", 20)])
    after = plan(grown, plan(lake()))
    assert after.stale == around(20, last=20)
    assert len(after.reads) < 12


@pytest.mark.parametrize("days_late", [1, 3, 12])
def test_a_late_event_touches_the_days_around_it_and_no_other(days_late: int) -> None:
    before, late = plan(lake()), object_of(19, "late", 19 - days_late)
    after = plan(lake() | dict([late]), before)
    assert after.stale == around(19 - days_late)
    same = [d for d in before.wanted if d not in after.stale]
    assert [after.wanted[d] for d in same] == [before.wanted[d] for d in same]


def test_a_late_event_touches_the_sum_of_its_month_and_no_other() -> None:
    before = plan(lake(100))
    after = plan(lake(100) | dict([object_of(99, "late", 45)]), before)  # 2026-02-15
    assert [each.reference for each in sums(before)] == [each.reference for each in sums(after)]
    assert [each.stored for each in sums(after)] == [True, False, True, False]  # January to March, and their sum


def test_records_that_are_only_counted_touch_their_arrival_day_alone() -> None:
    assert plan(lake() | dict([object_of(9, "bad", counts=True)]), plan(lake())).stale == [day(9)]


def test_an_object_of_another_shop_alone_touches_nothing() -> None:
    assert plan(lake() | dict([object_of(9, "theirs")]), plan(lake())).stale == []


def test_an_object_that_was_written_again_or_removed_makes_its_days_stale() -> None:
    old = object_of(9, "a", 9)[0]
    rewritten = {each: held for each, held in lake().items() if each != old}
    assert plan(rewritten, plan(lake())).stale == around(9)
    rewritten[Input(old.path, old.bytes, "written again")] = lake()[old]
    assert plan(rewritten, plan(lake())).stale == around(9)


def test_another_moment_recipe_makes_every_day_stale() -> None:
    after = plan(lake(), plan(lake()), recipe=MomentRecipe(late_days=30, longest=50))
    assert after.stale == list(after.wanted)


def test_another_shop_shares_no_partition() -> None:
    other = plan(lake(), plan(lake()), shop="other")
    assert other.stale == list(other.wanted)


def test_the_window_bounds_the_days_but_not_what_decides_over_them() -> None:
    made = plan(lake(), window=Window(day(5), day(7)))
    assert list(made.wanted) == [day(5), day(6), day(7)]
    assert object_of(9, "a", 9)[0] in made.reads
    assert object_of(11, "a", 11)[0] not in made.reads
    assert made.wanted.items() <= plan(lake()).wanted.items()  # a day is the same in any window


def test_only_objects_that_nobody_read_and_that_reach_the_window_are_read_to_know_what_they_hold() -> None:
    new = [object_of(n, "new", n)[0] for n in (0, 9, 19)]
    assert unread([*lake(), *new], lake(), ALL, 1) == new
    assert unread([*lake(), *new], lake(), Window(day(8), day(9)), 1) == new[1:2]


def test_a_dry_run_expects_of_a_new_object_its_arrival_day_and_the_day_before() -> None:
    new = object_of(20, "new")[0]
    guessed = foresee([*lake(), new], lake(), ALL, 1)
    made = make_plan([*lake(), new], guessed, list(plan(lake()).wanted.values()), "default", ALL, RECIPE)
    assert made.stale == around(19, 20, last=20)


def test_contents_of_another_rule_of_lateness_are_not_used_and_torn_ones_are_refused() -> None:
    data = encode_contents(lake(), 1)
    assert decode_contents(data, 1) == lake()
    assert decode_contents(data, 2) == {}
    for torn in (b"", data[:40], data[20:]):
        with pytest.raises(TrainingError, match="will be made again"):
            decode_contents(torn, 1)


@pytest.mark.parametrize("length", [1, 3, 7])
def test_the_chunks_are_the_stale_days_each_once_and_stay_in_their_run(length: int) -> None:
    days = [day(n) for n in (0, 1, 2, 5, 6, 7, 8, 9, 15)]
    chunks: Mapping[int, Sequence[Chunk]] = chunks_of(days, length)
    covered = [n for run in sorted(chunks) for chunk in chunks[run] for n in range(chunk.first, chunk.last + 1)]
    assert [day_of(n) for n in covered] == days
    assert all(run == n // length for run, cut in chunks.items() for chunk in cut for n in (chunk.first, chunk.last))


def test_a_big_lake_is_cut_into_more_runs_and_a_small_one_into_few() -> None:
    year = [object_of(n, "a", n)[0] for n in range(365)]
    assert run_length(year, 6) == 61
    big = [Input(each.path, 4 << 20, each.etag) for each in year]
    assert run_length(big, 6) == 3
    assert run_length(year[:1], 6) == 3


def test_an_empty_lake_and_an_empty_window_are_refused_with_what_there_is() -> None:
    stray = [Input("events/README", 1, "x"), Input("events/year=2026/month=13/day=01/a.gz", 1, "x")]
    with pytest.raises(TrainingError, match="the lake holds no events: 2 objects"):
        make_plan(stray, {}, [], "default", ALL, RECIPE)
    with pytest.raises(TrainingError, match="arrivals from 2026-01-01 to 2026-01-20"):
        plan(lake(), window=Window(None, date(2025, 6, 1)))
