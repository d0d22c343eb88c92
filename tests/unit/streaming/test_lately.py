"""What was looked at lately is known, whatever comes between, in memory that does not grow."""

import pytest

from streaming.lately import Lately


def test_a_key_is_due_before_it_was_looked_at_and_from_its_time_on() -> None:
    lately = Lately(64)
    assert lately.due(["a", "b"], 100) == ["a", "b"]
    lately.note(["a"], [110])
    assert (lately.due(["a", "b"], 109), lately.due(["a", "b"], 110)) == (["b"], ["a", "b"])


def test_the_last_word_on_a_key_counts() -> None:
    lately = Lately(64)
    lately.note(["a"], [200])
    lately.note(["a"], [50])
    assert lately.due(["a"], 100) == ["a"]


def test_most_keys_stay_known_when_many_come_by_turns() -> None:
    lately, people = Lately(1 << 16), [f"b:{{default:u.{number}}}" for number in range(8000)]
    for start in range(0, len(people), 500):
        lately.note(people[start : start + 500], [1000] * 500)
    assert len(lately.due(people, 999)) < 0.1 * len(people)


def test_of_two_keys_in_one_place_the_newer_is_known() -> None:
    lately = Lately(1)
    lately.note(["a"], [200])
    lately.note(["b"], [200])
    assert lately.due(["a", "b"], 100) == ["a"]


def test_no_keys_are_no_work() -> None:
    lately = Lately(2)
    lately.note([], [])
    assert lately.due([], 0) == []


@pytest.mark.parametrize("slots", [-2, 0, 3])
def test_a_number_of_places_that_is_no_power_of_two_is_refused(slots: int) -> None:
    with pytest.raises(ValueError, match=f"slots is {slots}"):
        Lately(slots)
