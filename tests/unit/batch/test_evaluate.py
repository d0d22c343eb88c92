"""The metrics are those one computes by hand, and a case never shows what is to be found."""

import msgspec
import numpy as np
import pytest

from batch.evaluate import Case, Judged, evaluation, held_out_cases, judge, list_metrics, live_lists, task_of
from batch.lists import Lists
from batch.log import Log
from batch.metrics import METRICS
from batch.units import DAY_MS
from contracts.snapshot import ModelSettings

NONE = np.zeros(0, np.int64)


def case(*wanted: int) -> Case:
    return Case(0, NONE, np.array(wanted))


def test_the_metrics_are_means_over_cases() -> None:
    """Hits at ranks 2 and 4 of three wanted; at rank 1 of one; none."""
    rows = [np.array([9, 1, 8, 2, 7]), np.array([5, 6, -1]), np.array([4, 3, 2])]
    found = list_metrics(rows.__getitem__, [case(1, 2, 3), case(5), case(-2, -3)])
    ideal = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    first = (1 / np.log2(3) + 1 / np.log2(5)) / ideal
    expected = {
        "HR@20": 2 / 3,
        "Recall@20": (2 / 3 + 1 + 0) / 3,
        "MRR@20": (1 / 2 + 1 + 0) / 3,
        "NDCG@20": (first + 1) / 3,
    }
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_21st_place_does_not_count() -> None:
    row = np.arange(30)
    assert list_metrics(lambda _: row, [case(20)])["HR@20"] == 0
    assert list_metrics(lambda _: row, [case(19)])["MRR@20"] == 0.05


def test_a_perfect_list_of_more_than_20_wanted_has_ndcg_1() -> None:
    assert list_metrics(lambda _: np.arange(20), [case(*range(40))])["NDCG@20"] == 1.0


def test_without_cases_every_metric_is_0() -> None:
    assert set(list_metrics(lambda _: NONE, []).values()) == {0.0}


def log() -> Log:
    """Two people; unit 1 (items 0–5) and unit 3 are new, unit 2 has only three distinct items."""
    rows = [
        (0, 7, 100, 0),
        *((0, item, 1000 + item, 1) for item in range(6)),
        (0, 1, 1900, 2),
        (0, 1, 1901, 2),
        (0, 2, 1902, 2),
        (0, 3, 1903, 2),
        (1, 8, 50, 4),
        *((1, item, 1500 + item, 3) for item in (-2, -3, 4, 5)),
    ]
    person, item, ms, unit = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    offsets = np.searchsorted(person, [0, 1, 2])
    return Log(["u.0", "u.1"], offsets, item.astype(np.int32), np.zeros(len(rows), np.int8), ms, unit)


def test_a_case_is_a_new_unit_of_four_items_half_given_with_the_history_before_it() -> None:
    history = log()
    cases = held_out_cases(history, 1000, seed=1, most=10, history=20)
    assert [found.person for found in cases] == [0, 1]
    for found, whole, before in zip(cases, ({0, 1, 2, 3, 4, 5}, {-2, -3, 4, 5}), ([7], [8]), strict=True):
        shown = history.item[found.actions].tolist()
        assert shown[: len(before)] == before
        given = shown[len(before) :]
        assert len(given) == len(whole) // 2
        assert set(given) | set(found.wanted.tolist()) == whole
        assert not set(given) & set(found.wanted.tolist())
        assert (np.diff(history.ms[found.actions]) > 0).all()


def test_a_unit_that_began_before_the_window_is_no_case() -> None:
    assert [found.person for found in held_out_cases(log(), 1001, seed=1, most=10, history=20)] == [1]
    assert held_out_cases(log(), 5000, seed=1, most=10, history=20) == []


def visits(*units: list[int]) -> Log:
    """One unit a person, an action a second from time 1000 on, after one action long ago."""
    sizes = [1 + len(unit) for unit in units]
    item = np.concatenate([[90 + who, *unit] for who, unit in enumerate(units)])
    ms = np.concatenate([[0, *(1000 + np.arange(len(unit)))] for unit in units])
    number = np.concatenate([[2 * who, *[2 * who + 1] * len(unit)] for who, unit in enumerate(units)])
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    kinds = np.zeros(len(item), np.int8)
    return Log([f"u.{at}" for at in range(len(units))], offsets, item.astype(np.int32), kinds, ms, number)


def test_a_visit_asks_for_the_item_that_ends_it_and_shows_all_before() -> None:
    seen = visits([1, 2, 1, 3], [4], [5, 6])
    cases = held_out_cases(seen, 1000, seed=1, most=10, history=20)
    shown = [(c.person, seen.item[c.actions].tolist(), c.wanted.tolist(), c.began_ms) for c in cases]
    assert shown == [(0, [90, 1, 2, 1], [3], 1000), (2, [92, 5], [6], 1000)]


def test_an_item_looked_at_and_then_put_into_the_cart_does_not_give_itself_away() -> None:
    seen = visits([1, 2, 2, 2])
    (found,) = held_out_cases(seen, 1000, seed=1, most=10, history=20)
    assert (seen.item[found.actions].tolist(), found.wanted.tolist()) == ([90, 1], [2])


def test_going_back_to_an_item_is_an_ending_like_any_other() -> None:
    seen = visits([1, 2, 1])
    (found,) = held_out_cases(seen, 1000, seed=1, most=10, history=20)
    assert (seen.item[found.actions].tolist(), found.wanted.tolist()) == ([90, 1, 2], [1])


def test_long_units_are_completed_and_short_ones_continued() -> None:
    wide, short, single = [1, 2, 3, 4], [1, 2, 2, 1, 2], [1]
    assert task_of(visits(wide, wide, short, single), 1000) == "completion"
    assert task_of(visits(wide, short, short, single), 1000) == "next"
    assert held_out_cases(visits(wide), 1000, seed=1, most=1, history=9, task="completion")[0].wanted.size == 2


def test_a_unit_of_one_item_is_no_case() -> None:
    assert held_out_cases(visits([4, 4, 4]), 1000, seed=1, most=10, history=20) == []


def test_cases_are_drawn_by_their_seed() -> None:
    def drawn(seed: int) -> list[tuple[int, list[int]]]:
        return [(c.person, c.wanted.tolist()) for c in held_out_cases(log(), 1000, seed=seed, most=1, history=20)]

    assert drawn(1) == drawn(1)
    assert len({str(drawn(seed)) for seed in range(8)}) > 1


def test_the_history_is_bounded_to_the_newest() -> None:
    found = held_out_cases(log(), 1000, seed=1, most=10, history=2)
    assert all(len(c.actions) == 2 for c in found)


def test_a_live_list_is_the_actions_through_b_and_the_persons_batch_list() -> None:
    """B: 0 → 1, 2 → 3; the newest action weighs most, the batch list says 4."""
    matrix = (
        np.array([0, 1, 1, 2, 2, 2]),
        np.array([1, 3], np.int32),
        np.array([1.0, 1.0], np.float32),
    )
    done = Log(["u.0"], np.array([0, 3]), np.array([0, -2, 2], np.int32), np.zeros(3, np.int8), np.arange(3), NONE)
    batch = Lists(np.array([[4, -1]], np.int32), np.array([[0.3, 0.0]], np.float32))
    model = ModelSettings(history=3, decay=2.0, blend=0.5)
    found = live_lists(matrix, done, [Case(0, np.arange(3), case(1).wanted)], batch, model, 4)
    assert found.items.tolist() == [[3, 4, 1, -1]]
    np.testing.assert_allclose(found.scores[0], [1.0, 0.5, np.exp(-1.0), 0.0], rtol=1e-6)


def judged(cases: int = 400, seed: int = 3) -> Judged:
    """Two days; the live model finds .6 of the cases, popularity .3."""
    rng = np.random.default_rng(seed)
    person = rng.integers(0, cases // 2, cases)
    wanted = [Case(int(who), NONE, np.array([7]), int(at % 2) * DAY_MS) for at, who in enumerate(person)]
    lists = {name: np.where(rng.random((cases, 1)) < rate, 7, 8) for name, rate in (("live", 0.6), ("popularity", 0.3))}
    return judge(lists, wanted)


def test_everybodys_list_is_judged_on_every_case() -> None:
    found = judge({"popularity": np.array([3, 5])}, [case(5), case(3), case(1)])
    assert found.of("popularity", "MRR@20").tolist() == [0.5, 1.0, 0.0]


def test_the_evaluation_holds_each_figure_within_its_interval_and_the_pairs() -> None:
    cases = judged()
    report = evaluation(cases, {"live": {"coverage@20": 0.4}}, task="next", seed=5)
    assert (report["cases"], report["task"]) == (400, "next")
    for model, means in cases.means().items():
        for metric in METRICS:
            low, high = report["intervals"][model][metric]
            assert low < means[metric] < high
    assert report["intervals"]["live"]["HR@20"][0] > report["intervals"]["popularity"]["HR@20"][1]
    assert report["beyond"] == {"live": {"coverage@20": 0.4}}
    pair = report["paired"][0]
    assert (pair["model"], pair["against"], pair["metric"]) == ("live", "popularity", "HR@20")
    assert 0 < pair["low"] < pair["difference"] < pair["high"]
    assert pair["p"] < 0.01
    assert [(day, part["cases"]) for day, part in report["per_day"].items()] == [
        (report["first_day"], 200),
        (report["last_day"], 200),
    ]
    halves = [part["live"]["HR@20"] for part in report["per_day"].values()]
    assert sum(halves) / 2 == pytest.approx(cases.means()["live"]["HR@20"])
    assert msgspec.json.decode(msgspec.json.encode(report)) == report


def test_the_same_seed_gives_the_same_evaluation_and_another_does_not() -> None:
    def made(seed: int) -> object:
        return evaluation(judged(), {}, task="next", seed=seed)

    assert made(5) == made(5)
    assert made(5) != made(6)


def test_without_cases_there_is_an_evaluation_of_nothing() -> None:
    report = evaluation(judge({"live": np.zeros((0, 20))}, []), {}, task="completion", seed=1)
    assert (report["cases"], "intervals" in report) == (0, False)
