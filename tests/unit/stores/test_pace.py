"""Bulk writes are held to a rate, whoever asks how much at a time."""

import pytest

from stores.pace import Pace


class Clock:
    """Time that passes only while somebody sleeps, or by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("units", [1, 7, 400])
def test_over_a_long_time_the_rate_is_kept(units: int) -> None:
    clock = Clock()
    pace = Pace(100, clock=clock, sleep=clock.sleep)
    for _ in range(2800 // units):
        pace.take(units)
    assert clock.now == pytest.approx(28.0)


def test_an_idle_hour_saves_up_no_more_than_a_moment() -> None:
    clock = Clock()
    pace = Pace(100, saved_s=0.5, clock=clock, sleep=clock.sleep)
    clock.now = 3600.0
    pace.take(50)
    assert clock.now == 3600.0
    pace.take(50)
    assert clock.now == pytest.approx(3600.5)


def test_many_short_users_in_a_row_are_held_to_the_rate_as_one_is() -> None:
    clock = Clock()
    for _ in range(10):
        Pace(100, clock=clock, sleep=clock.sleep).take(50)
    assert clock.now == pytest.approx(5.0)


def test_refusals_slow_down_to_a_floor_and_successes_bring_the_rate_back() -> None:
    clock = Clock()
    pace = Pace(320, clock=clock, sleep=clock.sleep)
    for _ in range(10):
        pace.refused()
    assert pace.rate == 10
    for _ in range(20):
        pace.taken()
    assert pace.rate == 320
