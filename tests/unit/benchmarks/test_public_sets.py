"""Both formats are read, and nothing of a test file reaches what settings are chosen on."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batch.trial import Problem
from benchmarks.public_sets import DataSet, read_folder
from contracts.errors import SettingsError

SESSIONS = [[10, 11], [11, 12, 10], [13, 10], [12, 11], [10, 13], [11, 10, 12], [12, 13], [10, 11], [13, 11], [11, 12]]


def write(folder: Path, name: str, **columns: object) -> None:
    pq.write_table(pa.table(columns), folder / f"{name}.parquet")


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    write(tmp_path, "train_sessions", items=pa.array(SESSIONS, pa.list_(pa.int32())))
    histories = pa.array([[10], [999, 11], [12, 13]], pa.list_(pa.int32()))
    write(tmp_path, "test_cases", history=histories, target=pa.array([11, 12, 999], pa.int32()))
    return tmp_path


@pytest.fixture
def users(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    items = [sorted(rng.choice(40, 12, replace=False).tolist()) for _ in range(30)]
    write(tmp_path, "train", user_id=pa.array(range(30)), items=pa.array(items, pa.list_(pa.int32())))
    asked = pa.array([[41, 7], [3], []], pa.list_(pa.int32()))
    write(tmp_path, "test", user_id=pa.array([2, 99, 5]), items=asked)
    return tmp_path


def test_sessions_are_asked_their_next_item_and_unknown_items_are_a_miss(sessions: Path) -> None:
    found = read_folder(sessions)
    test = found.test
    assert (found.kind, found.metrics) == ("sessions", ("HR@20", "MRR@20"))
    assert (test.count, len(test.units), test.cases) == (4, 10, 3)
    assert [test.seen[test.seen_offsets[c] : test.seen_offsets[c + 1]].tolist() for c in range(3)] == [
        [0],
        [-1, 1],
        [2, 3],
    ]
    assert [test.wanted_of(case).tolist() for case in range(3)] == [[1], [2], [-2]]
    assert not test.new_only


def test_of_the_newest_sessions_each_later_item_is_a_validation_case(sessions: Path) -> None:
    problem = read_folder(sessions).validation
    assert len(problem.units) == 9  # the newest tenth is held out
    assert problem.cases == 1
    assert problem.seen.tolist() == [1]
    assert problem.wanted.tolist() == [2]
    assert np.all(np.diff(problem.age_d) < 0)


def test_users_are_asked_what_they_had_not_and_those_without_a_question_are_left_out(users: Path) -> None:
    found = read_folder(users)
    assert (found.kind, found.metrics) == ("users", ("Recall@20", "NDCG@20"))
    assert found.test.cases == 1  # user 99 is unknown, user 5 has no item
    assert found.test.wanted_of(0).tolist()[0] == -2
    assert found.test.new_only


def test_a_fifth_of_everybodys_items_is_hidden_and_learned_by_nobody(users: Path) -> None:
    problem = read_folder(users).validation
    hidden, learned = len(problem.wanted), len(problem.items)
    assert 0.1 < hidden / (hidden + learned) < 0.3
    for case in range(problem.cases):
        seen = problem.seen[problem.seen_offsets[case] : problem.seen_offsets[case + 1]]
        assert not set(seen) & set(problem.wanted_of(case))


def arrays(problem: Problem) -> list[list[float]]:
    names = ("offsets", "items", "age_d", "seen_offsets", "seen", "wanted_offsets", "wanted")
    return [np.asarray(getattr(problem, name)).tolist() for name in names]


@pytest.mark.parametrize("kind", ["sessions", "users"])
def test_validation_does_not_depend_on_the_test_file(kind: str, request: pytest.FixtureRequest) -> None:
    folder: Path = request.getfixturevalue(kind)
    before: DataSet = read_folder(folder)
    other = pa.array([[10, 12, 12], [11]], pa.list_(pa.int32()))
    if kind == "sessions":
        write(folder, "test_cases", history=other, target=pa.array([13, 10], pa.int32()))
    else:
        write(folder, "test", user_id=pa.array([1, 8]), items=other)
    after = read_folder(folder)
    assert arrays(before.test) != arrays(after.test)
    assert arrays(before.validation) == arrays(after.validation)


def test_a_folder_of_neither_format_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"holds no Parquet file; expected train_sessions\.parquet"):
        read_folder(tmp_path)
