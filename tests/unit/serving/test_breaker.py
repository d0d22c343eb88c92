"""The breaker opens after failures in a row, tries once at a time, and closes with the first success."""

from hypothesis import given
from hypothesis import strategies as st

from serving.breaker import Breaker


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock, failures: int = 3) -> Breaker:
    breaker = Breaker(clock, failures=failures, first_s=1.0, longest_s=4.0)
    for _ in range(failures):
        assert breaker.allows()
        breaker.failed()
    return breaker


def test_it_opens_with_the_last_of_some_failures_in_a_row_and_a_success_in_between_begins_anew() -> None:
    breaker = Breaker(Clock(), failures=3)
    for outcome in (breaker.failed, breaker.failed, breaker.succeeded, breaker.failed, breaker.failed):
        outcome()
        assert breaker.state == "closed"
    breaker.failed()
    assert (breaker.state, breaker.allows()) == ("open", False)


def test_after_the_pause_one_attempt_decides_and_nobody_else_is_let_through() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 1.0
    assert [breaker.state, breaker.allows(), breaker.allows(), breaker.allows()] == ["half-open", True, False, False]
    breaker.succeeded()
    assert (breaker.state, breaker.allows(), breaker.allows()) == ("closed", True, True)


def test_each_attempt_that_fails_doubles_the_pause_up_to_a_limit_and_a_success_makes_it_short_again() -> None:
    clock, pauses = Clock(), []
    breaker = opened(clock)
    for _ in range(4):
        began = clock.now
        while not breaker.allows():
            clock.now += 0.25
        pauses.append(clock.now - began)
        breaker.failed()
    assert pauses == [1.0, 2.0, 4.0, 4.0]
    while not breaker.allows():
        clock.now += 0.25
    breaker.succeeded()
    for _ in range(3):
        breaker.failed()
    clock.now += 1.0
    assert breaker.allows()


def test_late_failures_of_earlier_attempts_do_not_prolong_the_pause() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 0.9
    breaker.failed()
    clock.now = 1.0
    assert breaker.allows()


def test_an_attempt_that_is_never_told_does_not_keep_it_open_for_good() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now = 1.0
    assert breaker.allows()
    clock.now = 5.0
    assert breaker.allows()


@given(st.lists(st.sampled_from(["fail", "succeed", "wait", "ask"]), max_size=60))
def test_whatever_happens_a_store_that_is_well_again_is_used_again(steps: list[str]) -> None:
    clock = Clock()
    breaker = Breaker(clock, failures=2, first_s=1.0, longest_s=4.0)
    for step in steps:
        if step == "wait":
            clock.now += 0.7
        elif step == "ask":
            breaker.allows()
        else:
            (breaker.failed if step == "fail" else breaker.succeeded)()
    for _ in range(8):
        clock.now += 1.0
        if breaker.allows():
            breaker.succeeded()
    assert breaker.state == "closed"
