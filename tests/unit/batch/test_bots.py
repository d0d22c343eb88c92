"""A program among the visitors is left out and counted; the best customers never are."""

import numpy as np
import numpy.typing as npt

from batch.bots import BotRule, find_bots
from batch.units import DAY_MS

Visits = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


def customers(days: int = 3, people: int = 400, seed: int = 1) -> Visits:
    """People with a few actions a day and some with very many (the best with 600), at any time of the day."""
    rng = np.random.default_rng(seed)
    counts = np.minimum(rng.lognormal(1.5, 1.2, (days, people)).astype(int), 599) + 1
    counts[:, 0] = 600
    subject = np.concatenate([np.repeat(np.arange(people), row) for row in counts])
    day = np.repeat(np.arange(days), counts.sum(1))
    return subject, day * DAY_MS + rng.integers(0, DAY_MS, len(day))


def with_bot(visits: Visits, actions: int, day: int, seed: int = 2) -> Visits:
    ms = day * DAY_MS + np.random.default_rng(seed).integers(0, DAY_MS, actions)
    return np.append(visits[0], np.full(actions, 9999)), np.append(visits[1], ms)


def test_a_bot_with_1e5_events_is_left_out_on_its_day_and_counted() -> None:
    subject, ms = with_bot(customers(), 100_000, day=1)
    found = find_bots(subject, ms)
    np.testing.assert_array_equal(found.drop, subject == 9999)
    assert [found.counts(day) for day in range(3)] == [{}, {"bots": 1, "bot_actions": 100_000}, {}]


def test_the_best_customers_stay() -> None:
    assert not find_bots(*customers()).drop.any()


def test_one_bot_among_two_visitors_is_found() -> None:
    """A high percentile of two people would be the bot itself."""
    subject, ms = with_bot((np.zeros(5, np.int64), np.arange(5)), 100_000, day=0)
    assert find_bots(subject, ms).drop.sum() == 100_000


def test_a_bot_alone_with_a_day_is_found_without_anybody_to_compare_with() -> None:
    subject, ms = with_bot((np.zeros(0, np.int64), np.zeros(0, np.int64)), 100_000, day=0)
    assert find_bots(subject, ms, BotRule(most_in_ten_minutes=10**9)).drop.all()


def test_a_bot_stays_one_where_it_also_hides_among_people_of_other_days() -> None:
    subject, ms = with_bot(with_bot(customers(), 100_000, day=1), 20, day=2)
    found = find_bots(subject, ms)
    assert found.day.tolist() == [1]
    assert found.drop.sum() == 100_000


def test_a_shop_whose_customers_buy_by_the_hundred_keeps_its_best_one() -> None:
    subject = np.append(np.repeat(np.arange(50), 100), np.full(5000, 50))
    ms = np.random.default_rng(3).integers(0, DAY_MS, len(subject))
    assert not find_bots(subject, ms).drop.any()


def test_an_action_every_second_for_ten_minutes_is_no_persons_and_every_third_second_is() -> None:
    quick, slow = np.arange(400) * 1000, np.arange(400) * 3000
    people = np.repeat([1, 2], 400)
    assert find_bots(people, np.concatenate([quick, slow])).subject.tolist() == [1]


def test_the_lines_of_one_basket_are_one_second() -> None:
    assert not find_bots(np.zeros(900, np.int64), np.full(900, 5_000)).drop.any()


def test_a_day_is_judged_alike_alone_and_among_others() -> None:
    subject, ms = with_bot(customers(), 100_000, day=1)
    whole = find_bots(subject, ms)
    for day in range(3):
        here = ms // DAY_MS == day
        np.testing.assert_array_equal(find_bots(subject[here], ms[here]).drop, whole.drop[here])


def test_the_order_of_the_events_does_not_matter() -> None:
    subject, ms = with_bot(customers(), 5000, day=0)
    order = np.random.default_rng(4).permutation(len(ms))
    np.testing.assert_array_equal(find_bots(subject[order], ms[order]).drop, find_bots(subject, ms).drop[order])


def test_limits_come_from_the_rule() -> None:
    strict = BotRule(always_fine=100, times_median=2)
    assert find_bots(*customers(), strict).drop.any()


def test_no_events_are_no_bots() -> None:
    found = find_bots(np.zeros(0, np.int64), np.zeros(0, np.int64))
    assert (found.drop.size, found.counts(0)) == (0, {})
