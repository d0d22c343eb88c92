"""Lists of the training beside the stream: read from Redis with the people, kept in each worker for a while."""

import logging
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from contracts.snapshot import Snapshot
from streaming.columns import Listed

__all__ = ["BatchLists"]

_KEPT: Final = 20_000
_PRESENT_MS: Final = 600_000
_ABSENT_MS: Final = 30_000

_log = logging.getLogger(__name__)


class _Ranking(msgspec.Struct):
    """What scoring needs of a stored list."""

    items: list[str]
    scores: list[float]


_decoder = msgspec.json.Decoder(_Ranking)
_Entry = tuple[int, npt.NDArray[np.int32], npt.NDArray[np.float32]]
_NOTHING: Final = (np.zeros(0, np.int32), np.zeros(0, np.float32))


class BatchLists:
    """A small cache of batch lists by key; for one thread. A key names its model version, under which lists stay.

    Bounded in size (``kept`` lists, the longest unused go first) and in time: a list that is there is read again after
    ten minutes (a person may be deleted), one that is not after half a minute (Redis may be filled again).
    """

    def __init__(self, unreadable: Callable[[], None], *, kept: int = _KEPT) -> None:
        self._unreadable = unreadable
        self._kept = kept
        self._known: dict[str, _Entry] = {}

    def missing(self, keys: Sequence[str], now_ms: int) -> list[str]:
        """The keys to be read, for :meth:`learn`; the others are marked as used."""
        missing = []
        for key in keys:
            known = self._known.pop(key, None)
            if known is None or known[0] <= now_ms:
                missing.append(key)
            else:
                self._known[key] = known  # a dict keeps the order of insertion: the longest unused stay in front
        return missing

    def learn(self, keys: Sequence[str], values: Sequence[bytes | None], snapshot: Snapshot, now_ms: int) -> None:
        """Take up what was read; a list that cannot be read is as none, and counted."""
        for key, value in zip(keys, values, strict=True):
            until = now_ms + (_PRESENT_MS if value else _ABSENT_MS)
            self._known[key] = (until, *(self._decoded(value, snapshot) if value else _NOTHING))
        for key in list(islice(self._known, max(0, len(self._known) - self._kept))):
            del self._known[key]

    def _decoded(self, value: bytes, snapshot: Snapshot) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        try:
            ranking = _decoder.decode(value)
        except msgspec.MsgspecError as exc:
            _log.warning("a stored list is left out: %s; got %r", exc, value[:80])
            self._unreadable()
            return _NOTHING
        scores = np.array(ranking.scores, np.float32)
        return snapshot.rows(ranking.items)[: len(scores)], scores[: len(ranking.items)]

    def listed(self, keys: Sequence[str]) -> Listed:
        """The lists of ``keys``, nothing for those that are not known."""
        known = [self._known.get(key) for key in keys]
        found = [(entry[1], entry[2]) if entry else _NOTHING for entry in known]
        offsets = np.zeros(len(keys) + 1, np.int64)
        np.cumsum([len(rows) for rows, _ in found], out=offsets[1:])
        rows, scores = ([part[side] for part in found if len(part[0])] for side in (0, 1))
        if not rows:
            return Listed(offsets, *_NOTHING)
        return Listed(offsets, np.concatenate(rows), np.concatenate(scores))
