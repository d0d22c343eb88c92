"""The log of the window: one person's actions together, oldest first, with aliases followed."""

from datetime import date

import numpy as np

from batch.log import gather
from batch.moments import Units, day_moments
from batch.partition import Actions, DayPartition
from batch.recipe import MomentRecipe

Done = tuple[str, str, int, int]
"""Who, what, when (ms) and in which unit of the day."""


def day(done: list[Done], aliases: tuple[tuple[str, str], ...] = ()) -> DayPartition:
    done = sorted(done, key=lambda row: (row[3], row[2]))
    subjects, items = (sorted({row[at] for row in done}) for at in (0, 1))
    item = np.array([items.index(row[1]) for row in done], np.int32)
    offsets = np.searchsorted([row[3] for row in done], np.arange(done[-1][3] + 2)).astype(np.int64)
    actions = Actions(
        list(subjects),
        offsets,
        np.array([subjects.index(row[0]) for row in done], np.int32),
        item,
        np.zeros(len(done), np.int8),
        np.array([row[2] for row in done], np.int64),
        list(aliases),
    )
    return DayPartition(date(2026, 1, 1), day_moments(Units(offsets, item), items, MomentRecipe()), actions, {})


DAYS = [
    day([("a.x", "tea", 10, 0), ("u.7", "milk", 30, 1), ("a.y", "rice", 20, 2)]),
    day([("u.7", "tea", 50, 0), ("u.8", "nuts", 40, 1), ("u.7", "oats", 45, 0)], (("x", "7"),)),
]


def test_an_anonymous_visitor_is_the_user_they_turned_out_to_be_also_before() -> None:
    log, items = gather(DAYS)
    assert log.subjects == ["a.y", "u.7", "u.8"]
    seven = slice(log.offsets[1], log.offsets[2])
    assert [items[i] for i in log.item[seven]] == ["tea", "milk", "oats", "tea"]
    assert log.ms[seven].tolist() == [10, 30, 45, 50]


def test_units_are_numbered_over_all_days() -> None:
    log, _ = gather(DAYS)
    assert sorted(log.unit.tolist()) == [0, 1, 2, 3, 3, 4]


def test_onto_another_index_unknown_items_stay_apart() -> None:
    log, items = gather(DAYS)
    model = ["tea", "milk"]
    names = [items[i] for i in log.item]
    moved = log.onto(items, model).item.tolist()
    assert [model[i] if i >= 0 else None for i in moved] == [name if name in model else None for name in names]
    assert len({i for i in moved if i < 0}) == len({name for name in names if name not in model})
    assert all(i <= -2 for i in moved if i < 0)


def test_until_and_only_cut_by_time_and_by_person() -> None:
    log, _ = gather(DAYS)
    early = log.until(45)
    assert early.subjects == log.subjects
    assert np.diff(early.offsets).tolist() == [1, 2, 1]
    assert (early.ms < 45).all()
    two = log.only(np.array([2, 1]))
    assert (two.subjects, two.ms.tolist()) == (["u.8", "u.7"], [40, 10, 30, 45, 50])
