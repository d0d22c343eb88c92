"""The arrays in which scoring and writing exchange people and lists: no Python object a term, an item or an action."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple, overload

import numpy as np
import numpy.typing as npt

from contracts.lists import Action
from contracts.packed import LETTERS, split_ids

__all__ = [
    "SOURCES",
    "TYPE_LETTERS",
    "Histories",
    "LazyItems",
    "Listed",
    "Ranked",
    "ends_of",
    "histories_of",
    "letters",
]

SOURCES: Final = ("live", "batch", "trending", "popular")
"""Where a list comes from; arrays hold the place in this tuple."""


TYPE_LETTERS: Final = LETTERS
"""The letter that stands for an event type wherever actions are stored or computed with."""


class LazyItems(Sequence[str]):
    """The ids of histories whose texts are only taken apart where somebody asks: those whom the model knows are not.

    ``texts`` are each person's ids joined, oldest first; of each the newest ``length`` count, newest first.
    """

    def __init__(self, texts: Sequence[str], length: int) -> None:
        self._texts, self._length = texts, length
        self._flat: list[str] | None = None

    def _items(self) -> list[str]:
        if self._flat is None:
            self._flat = [item for text in self._texts for item in split_ids(text)[: -self._length - 1 : -1]]
        return self._flat

    def __len__(self) -> int:
        return len(self._items())

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        return self._items()[at]


class Histories(NamedTuple):
    """The newest actions of R people: person r's are ``offsets[r]:offsets[r + 1]`` of the rest, *newest first*.

    ``items`` are ids, ``letters`` the character codes of :data:`contracts.packed.LETTERS`, ``times`` epoch ms, and
    ``rows`` the items' places in the model's index, where they are known beforehand.
    """

    offsets: npt.NDArray[np.int64]
    items: Sequence[str]
    letters: npt.NDArray[np.uint8]
    times: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int32] | None = None


class Listed(NamedTuple):
    """Batch lists of R people, laid out likewise: ``rows`` of the snapshot (int32, −1 unknown) and their ``scores``."""

    offsets: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]


class Ranked(NamedTuple):
    """Lists of R people with up to N items each, best first.

    ``items (R, N)`` are places in ``names``, −1 behind a list's end; ``names`` are the snapshot's items, and whatever
    else a fall-back brought behind them. ``scores (R, N)`` are 0 for items that only fill. ``sources (R,)`` are places
    in :data:`SOURCES`. ``reasons (R, N, 3)`` and ``shares (R, N, 3)``: places of terms in the history (0 is the
    newest action) or the marks of :mod:`contracts.scoring`, the largest first, and what each is of the whole.
    """

    names: Sequence[str]
    items: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]
    sources: npt.NDArray[np.uint8]
    reasons: npt.NDArray[np.int32]
    shares: npt.NDArray[np.float32]


def letters(event_types: Sequence[str]) -> str:
    """The letters of event types.

    >>> letters(["view", "purchase"])
    'vp'
    """
    return "".join([LETTERS[event_type] for event_type in event_types])


def histories_of(people: Sequence[Sequence[Action]], length: int) -> Histories:
    """The newest ``length`` actions of each person, whose actions come oldest first.

    >>> histories_of([[Action(1, "a", "view", "A"), Action(2, "b", "purchase", "B")]], 20).items
    ['B', 'A']
    """
    recent: list[Sequence[Any]] = [list(reversed(actions[-length:])) for actions in people]
    flat = [action for actions in recent for action in actions]
    offsets = ends_of([len(actions) for actions in recent])
    codes = np.frombuffer(letters([a.event_type for a in flat]).encode(), np.uint8)
    return Histories(offsets, [a.item_id for a in flat], codes, np.array([a.occurred_ms for a in flat], np.int64))


def ends_of(counts: Sequence[int]) -> npt.NDArray[np.int64]:
    """Where each of several runs begins, and behind them where the last one ends.

    >>> ends_of([2, 0, 1]).tolist()
    [0, 2, 2, 3]
    """
    ends = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=ends[1:])
    return ends
