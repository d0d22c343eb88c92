"""The scoring kernel against the formula written out in plain NumPy, on random data; and what its callers rely on."""

import threading
from typing import Any

import numpy as np
import pytest

from contracts import scoring
from contracts.scoring import BATCH_REASON, NO_REASON, REASONS, explained_rows, score_rows

Ragged = tuple[np.ndarray, np.ndarray, np.ndarray]


class Situation:
    """Random people against a random matrix; every third seed with few distinct values, so that scores tie."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.items, self.people = int(rng.integers(3, 120)), int(rng.integers(1, 8))
        dense = rng.normal(0.2, 1, (self.items, self.items)).astype(np.float32)
        dense[rng.random(dense.shape) < 0.6] = 0
        if seed % 3 == 0:
            dense = np.round(dense * 2) / 2
        self.dense = dense
        rows, columns = np.nonzero(dense)
        starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=self.items))])
        self.matrix = (starts, columns.astype(np.int32), dense[rows, columns])
        self.history = self._ragged(rng, 25, lambda n: rng.choice([0, 0.5, 1, 2, -1], n))
        self.listed = self._ragged(rng, 3 if seed % 2 else 1, lambda n: rng.normal(0.3, 1, n))
        self.blend, self.size = float(rng.choice([0, 0.5, 1])), int(rng.integers(1, 60))

    def _ragged(self, rng: np.random.Generator, most: int, values: Any) -> Ragged:
        rows = [rng.permutation(self.items)[: rng.integers(0, most)] for _ in range(self.people)]
        rows = [np.concatenate([row, row[:2]]) if most > 3 else row for row in rows]  # actions come back to an item
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        flat = np.concatenate(rows).astype(np.int32)
        flat[rng.random(len(flat)) < 0.1] = -1
        return offsets, flat, values(len(flat)).astype(np.float32)

    def terms(self, person: int) -> dict[int, np.ndarray]:
        """Source (newest place of an item in the history, or the batch list) → its term for every candidate."""
        _, items, weights = (part[slice(*self.history[0][person : person + 2])] for part in ((), *self.history[1:]))
        found: dict[int, np.ndarray] = {}
        for at, item in enumerate(items):
            if item >= 0:
                first = int(np.flatnonzero(items == item)[0])
                found[first] = found.get(first, 0) + weights[at].astype(float) * self.dense[item].astype(float)
        top = max(0.0, float(sum(found.values(), np.zeros(self.items)).max()))
        found = {source: term / (top or 1.0) for source, term in found.items()}
        begin, end = self.listed[0][person : person + 2]
        listed, scores = self.listed[1][begin:end], self.listed[2][begin:end].astype(float)
        if self.blend > 0 and np.abs(scores).max(initial=0) > 0:
            term = np.zeros(self.items)
            np.add.at(term, listed[listed >= 0], (self.blend * scores / np.abs(scores).max())[listed >= 0])
            found[BATCH_REASON] = term
        return found


@pytest.mark.parametrize("seed", range(24))
def test_scores_and_reasons_equal_the_formula_written_out(seed: int) -> None:
    case = Situation(seed)
    items, scores, why, shares = explained_rows(case.matrix, case.history, case.listed, case.blend, case.size)
    for person in range(case.people):
        terms = case.terms(person)
        expected = sum(terms.values(), np.zeros(case.items))
        kept = items[person][items[person] >= 0]
        certain = np.flatnonzero(np.abs(expected) > 1e-5)
        assert len(kept) >= min(case.size, int((expected[certain] > 0).sum()))
        np.testing.assert_allclose(scores[person, : len(kept)], expected[kept], atol=1e-5)
        np.testing.assert_allclose(scores[person, : len(kept)], np.sort(expected)[::-1][: len(kept)], atol=1e-5)
        assert (scores[person, len(kept) :] == 0).all()
        assert (why[person, len(kept) :] == NO_REASON).all()
        for place, item in enumerate(kept):
            for_it = np.sort([term[item] for term in terms.values() if term[item] > 1e-6])[::-1]
            given = [source for source in why[person, place].tolist() if source != NO_REASON]
            assert len(set(given)) == len(given) >= min(REASONS, len(for_it))
            share = [terms[source][item] for source in given] / for_it.sum()
            np.testing.assert_allclose(shares[person, place, : len(given)], share, atol=1e-5)
            np.testing.assert_allclose(share[: len(for_it)], for_it[: len(given)] / for_it.sum(), atol=1e-5)


@pytest.mark.parametrize("seed", range(24))
def test_explaining_changes_no_bit_of_items_and_scores(seed: int) -> None:
    case = Situation(seed)
    plain = score_rows(case.matrix, case.history, case.listed, case.blend, case.size)
    explained = explained_rows(case.matrix, case.history, case.listed, case.blend, case.size)
    assert [part.tobytes() for part in plain] == [part.tobytes() for part in explained[:2]]


def test_ties_are_broken_by_the_items_place_however_long_the_list() -> None:
    count = 200
    matrix = (np.array([0, *[count] * count]), np.arange(count, dtype=np.int32), np.ones(count, np.float32))
    one = (np.array([0, 1]), np.zeros(1, np.int32), np.ones(1, np.float32))
    none = (np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    for size in (1, 2, 3, 50, 199, 200, 300):
        items, scores = score_rows(matrix, one, none, 0.0, size)
        kept = min(size, count)
        assert items[0, :kept].tolist() == list(range(kept))
        assert scores[0, :kept].tolist() == [1.0] * kept
        assert (items[0, kept:] == -1).all()


def test_equal_terms_name_the_newer_action_first() -> None:
    matrix = (np.array([0, 1, 2, 2]), np.array([2, 2], np.int32), np.ones(2, np.float32))
    own = (np.array([0, 2]), np.array([1, 0], np.int32), np.ones(2, np.float32))
    batch = (np.array([0, 1]), np.array([2], np.int32), np.ones(1, np.float32))
    _, _, why, shares = explained_rows(matrix, own, batch, 0.5, 1)
    assert why.tolist() == [[[0, 1, BATCH_REASON]]]
    np.testing.assert_allclose(shares, [[[1 / 3, 1 / 3, 1 / 3]]], rtol=1e-6)


def test_one_call_leaves_nothing_behind_for_the_next_whatever_the_sizes_between() -> None:
    cases = [Situation(seed) for seed in range(12)]
    alone = [score_rows(c.matrix, c.history, c.listed, c.blend, c.size) for c in cases]
    for case, (items, scores) in zip(reversed(cases), reversed(alone), strict=True):
        explained_rows(case.matrix, case.history, case.listed, case.blend, case.size)
        again = score_rows(case.matrix, case.history, case.listed, case.blend, case.size)
        assert (again[0].tobytes(), again[1].tobytes()) == (items.tobytes(), scores.tobytes())


def test_threads_score_at_the_same_time_without_meeting() -> None:
    case = Situation(5)
    expected = score_rows(case.matrix, case.history, case.listed, case.blend, case.size)[1].tobytes()
    seen: list[bytes] = []

    def score() -> None:
        for _ in range(200):
            seen.append(score_rows(case.matrix, case.history, case.listed, case.blend, case.size)[1].tobytes())

    threads = [threading.Thread(target=score) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [expected] * 800


def test_a_small_batch_against_many_items_takes_no_new_memory() -> None:
    """Working arrays of a million items, made anew for each call, would cost a call of one person milliseconds."""
    count = 100_000
    matrix = (np.zeros(count + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    none = (np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    score_rows(matrix, none, none, 0.0, 5)
    before = scoring._kept.live
    score_rows(matrix, none, none, 0.0, 5)
    assert scoring._kept.live is before
