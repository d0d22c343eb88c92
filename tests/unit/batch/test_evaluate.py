"""The metrics are those one computes by hand, and a case never shows what is to be found."""

import numpy as np
import pytest

from batch.evaluate import Case, held_out_cases, list_metrics, live_lists
from batch.lists import Lists
from batch.log import Log
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
