"""Public data sets in two formats, and the validation part that the program cuts out of their training file.

Sessions: ``train_sessions.parquet`` (``items: list<int>``, a row a session, oldest first) and ``test_cases.parquet``
(``history: list<int>``, ``target: int``); asked is the next item. Users: ``train.parquet`` and ``test.parquet``
(``user_id``, ``items: list<int>``); asked are the user's test items among those not in their training items.

Nothing is chosen on the test file. Validation cases are made of the training file as the test file was made of the
whole: of sessions the newest tenth, each position after the first; of users a fifth of everybody's items, at random.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from batch.trial import Problem
from contracts.errors import SettingsError
from contracts.events import ACTION_TYPES

__all__ = ["DataSet", "read_folder"]

_SEED: Final = 3
_NEWEST: Final = 0.1
_HIDDEN: Final = 0.2
_CASES: Final = {"sessions": 20_000, "users": 8_000}
_VIEW: Final = ACTION_TYPES.index("view")
_DAYS: Final = 100.0
"""Sessions carry no time, only an order: they are spread evenly over so many days, so that old ones may count less."""

Longs = npt.NDArray[np.int64]
Ragged = tuple[Longs, Longs]


@dataclass(frozen=True, slots=True)
class DataSet:
    """``test`` learns from the whole training file and asks the test file; ``validation`` comes out of the former."""

    name: str
    kind: str
    test: Problem
    validation: Problem

    @property
    def metrics(self) -> tuple[str, str]:
        """The two that are customary for the format."""
        return ("HR@20", "MRR@20") if self.kind == "sessions" else ("Recall@20", "NDCG@20")


def read_folder(folder: Path) -> DataSet:
    """Read a folder of either format.

    Raises:
        SettingsError: it holds neither; the message says what was expected.
    """
    files = {path.name for path in folder.glob("*.parquet")} if folder.is_dir() else set()
    if {"train_sessions.parquet", "test_cases.parquet"} <= files:
        return _sessions(folder)
    if {"train.parquet", "test.parquet"} <= files:
        return _users(folder)
    message = (
        f"{folder} holds {', '.join(sorted(files)) or 'no Parquet file'}; expected train_sessions.parquet and "
        "test_cases.parquet, or train.parquet and test.parquet; see benchmarks/public_sets.py for their columns"
    )
    raise SettingsError(message)


def _lists(path: Path, column: str) -> Ragged:
    found = pq.read_table(path, columns=[column]).column(0).combine_chunks()
    offsets, values = found.offsets.to_numpy().astype(np.int64), found.values.to_numpy().astype(np.int64)
    return offsets - offsets[0], values[offsets[0] : offsets[-1]]


def _placed(values: Longs, known: Longs) -> Longs:
    """Places among ``known`` (sorted); −1 for others."""
    at = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.where(known[at] == values, at, -1)


def _problem(count: int, units: Ragged, age_d: Any, seen: Ragged, wanted: Ragged, *, new_only: bool) -> Problem:
    types = np.full(len(seen[1]), _VIEW, np.int8)
    asked, cases = np.where(wanted[1] < 0, -2, wanted[1]), len(seen[0]) - 1
    none = (
        np.zeros((cases, 0), np.int32),
        np.zeros((cases, 0), np.float32),
    )  # nobody has a list of an earlier training
    return Problem(
        count, units[0], units[1].astype(np.int32), age_d, seen[0], seen[1].astype(np.int32), types, wanted[0], asked,
        *none, new_only,
    )  # fmt: skip


def _sessions(folder: Path) -> DataSet:
    offsets, items = _lists(folder / "train_sessions.parquet", "items")
    seen = _lists(folder / "test_cases.parquet", "history")
    target = pq.read_table(folder / "test_cases.parquet", columns=["target"]).column(0).to_numpy().astype(np.int64)
    known = np.unique(items)
    ages = (1 - np.arange(len(offsets) - 1) / (len(offsets) - 1)) * _DAYS
    test = _problem(
        len(known),
        (offsets, _placed(items, known)),
        ages,
        (seen[0], _placed(seen[1], known)),
        (np.arange(len(target) + 1), _placed(target, known)),
        new_only=False,
    )
    return DataSet(folder.name, "sessions", test, _next_items(offsets, items))


def _next_items(offsets: Longs, items: Longs) -> Problem:
    """The older sessions to learn from; of the newest each item after the first is a case, up to a number drawn."""
    count = len(offsets) - 1
    cut = int(count * (1 - _NEWEST))
    known = np.unique(items[: offsets[cut]])
    placed = _placed(items, known)
    begin = np.repeat(offsets[cut:-1], np.diff(offsets[cut:]))
    place = np.arange(offsets[cut], offsets[-1])
    place, begin = place[place > begin], begin[place > begin]
    if len(place) > _CASES["sessions"]:
        drawn = np.sort(np.random.default_rng(_SEED).choice(len(place), _CASES["sessions"], replace=False))
        place, begin = place[drawn], begin[drawn]
    seen = np.concatenate([placed[first:last] for first, last in zip(begin, place, strict=True)])
    ages = (1 - np.arange(cut) / cut) * _DAYS
    return _problem(
        len(known),
        (offsets[: cut + 1], placed[: offsets[cut]]),
        ages,
        (np.concatenate(([0], np.cumsum(place - begin))), seen),
        (np.arange(len(place) + 1), placed[place]),
        new_only=False,
    )


def _users(folder: Path) -> DataSet:
    users, asked = (pq.read_table(folder / f"{name}.parquet", columns=["user_id"]) for name in ("train", "test"))
    offsets, items = _lists(folder / "train.parquet", "items")
    known = np.unique(items)
    items = _placed(items, known)
    rows = {user: at for at, user in enumerate(users.column(0).to_pylist())}
    who = np.array([rows.get(user, -1) for user in asked.column(0).to_pylist()], np.int64)
    wanted_offsets, wanted = _lists(folder / "test.parquet", "items")
    kept = np.flatnonzero((who >= 0) & (np.diff(wanted_offsets) > 0))
    test = _problem(
        len(known),
        (offsets, items),
        np.zeros(len(offsets) - 1),
        _take((offsets, items), who[kept]),
        _take((wanted_offsets, _placed(wanted, known)), kept),
        new_only=True,
    )
    return DataSet(folder.name, "users", test, _hidden_items(offsets, items, len(known)))


def _take(lists: Ragged, rows: Longs) -> Ragged:
    sizes = np.diff(lists[0])[rows]
    values = [lists[1][lists[0][row] : lists[0][row + 1]] for row in rows]
    return np.concatenate(([0], np.cumsum(sizes))), np.concatenate([*values, np.zeros(0, np.int64)])


def _hidden_items(offsets: Longs, items: Longs, count: int) -> Problem:
    """What stays of everybody's items to learn from; the hidden ones of some users are their cases."""
    rng = np.random.default_rng(_SEED)
    people = len(offsets) - 1
    user = np.repeat(np.arange(people), np.diff(offsets))
    hidden = rng.random(len(items)) < _HIDDEN
    learned = (np.concatenate(([0], np.cumsum(np.bincount(user[~hidden], minlength=people)))), items[~hidden])
    asked = (np.concatenate(([0], np.cumsum(np.bincount(user[hidden], minlength=people)))), items[hidden])
    rows = np.flatnonzero((np.diff(learned[0]) > 0) & (np.diff(asked[0]) > 0))
    if len(rows) > _CASES["users"]:
        rows = np.sort(rng.choice(rows, _CASES["users"], replace=False))
    problem = _problem(count, learned, np.zeros(people), _take(learned, rows), _take(asked, rows), new_only=True)
    return replace(problem, age_d=np.zeros(people))
