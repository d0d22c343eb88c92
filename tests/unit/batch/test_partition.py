"""A stored day reads back as it was written, and bytes that are none are refused with a remedy."""

from dataclasses import fields
from datetime import date

import numpy as np
import pytest

from batch.moments import Units, day_moments
from batch.partition import Actions, DayPartition, Input, decode, encode, partition_key
from batch.recipe import MomentRecipe
from contracts.errors import TrainingError

BASKETS = MomentRecipe()
SESSIONS = MomentRecipe(gram_exponent=2.0, cross_exponent=1.0, ordered=True)
INPUTS = [Input("events/a.gz", 10, "x"), Input("events/b.gz", 20, "y")]


def partition(recipe: MomentRecipe, *, empty: bool = False) -> DayPartition:
    items = [] if empty else ["juice", "milk", "tee ☕"]
    units = Units(np.array([0] if empty else [0, 3, 5]), np.array([] if empty else [0, 1, 0, 1, 2], np.int32))
    actions = Actions(
        [] if empty else ["a.x", "u.7"],
        units.offsets,
        np.array([] if empty else [1, 1, 1, 0, 0], np.int32),
        units.items,
        np.array([] if empty else [0, 3, 2, 0, 1], np.int8),
        np.arange(len(units.items), dtype=np.int64) + 1_700_000_000_000,
        [] if empty else [("x", "7"), ("y", "8")],
    )
    counts = {"actions": len(units.items), "duplicates": 2}
    return DayPartition(date(2026, 1, 5), day_moments(units, items, recipe), actions, counts)


def assert_same(left: object, right: object) -> None:
    """Equal field by field, arrays with their types."""
    for field in fields(left):  # type: ignore[arg-type]
        one, other = getattr(left, field.name), getattr(right, field.name)
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype, field.name
            np.testing.assert_array_equal(one, other, err_msg=field.name)
        elif hasattr(one, "__dataclass_fields__"):
            assert_same(one, other)
        else:
            assert one == other, field.name


@pytest.mark.parametrize("recipe", [BASKETS, SESSIONS], ids=["baskets", "sessions"])
def test_a_day_reads_back_as_it_was_written(recipe: MomentRecipe) -> None:
    day = partition(recipe)
    assert_same(decode(encode(day, recipe, INPUTS)), day)


@pytest.mark.parametrize("recipe", [BASKETS, SESSIONS], ids=["baskets", "sessions"])
def test_a_day_without_actions_reads_back_as_one(recipe: MomentRecipe) -> None:
    found = decode(encode(partition(recipe, empty=True), recipe, []))
    assert (found.moments.items, found.actions.subjects, len(found.actions.ms)) == ([], [], 0)
    assert found.actions.unit_offsets.tolist() == [0]


def test_equal_days_are_equal_bytes() -> None:
    assert encode(partition(BASKETS), BASKETS, INPUTS) == encode(partition(BASKETS), BASKETS, INPUTS[::-1])


def test_torn_bytes_are_refused_with_a_remedy() -> None:
    data = encode(partition(BASKETS), BASKETS, INPUTS)
    for torn in (b"", data[: len(data) // 2], b"PAR1" + data):
        with pytest.raises(TrainingError, match="delete it to have it made again"):
            decode(torn)


def test_another_format_is_refused_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batch.partition.FORMAT", 9)
    data = encode(partition(BASKETS), BASKETS, INPUTS)
    monkeypatch.undo()
    with pytest.raises(TrainingError, match="format 9; this code reads 2"):
        decode(data)


@pytest.mark.parametrize("other", [Input("events/b.gz", 20, "z"), Input("events/b.gz", 21, "y")], ids=["etag", "size"])
def test_the_key_changes_with_what_the_day_is_made_from(other: Input) -> None:
    assert partition_key(BASKETS, [INPUTS[0], other]) != partition_key(BASKETS, INPUTS)
    assert partition_key(SESSIONS, INPUTS) != partition_key(BASKETS, INPUTS)
