"""Lists of the training beside the stream: read from Redis with the people, then kept in their values."""

import logging
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from contracts.snapshot import Snapshot
from streaming.indexed import ABSENT_S, PRESENT_S

__all__ = ["NOTHING", "BatchLists", "Ranked"]

_KEPT: Final = 100_000

_log = logging.getLogger(__name__)


class _Ranking(msgspec.Struct):
    """What scoring needs of a stored list."""

    items: list[str]
    scores: list[float]


_decoder = msgspec.json.Decoder(_Ranking)
Ranked = tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]
"""Places in a snapshot's index, −1 for items that it does not know, and scores."""

NOTHING: Final = (np.zeros(0, np.int32), np.zeros(0, np.float32))


class BatchLists:
    """Reads lists of the training, and remembers by key which were asked for lately; for one thread.

    A key names its model version, under which lists stay. A list that was read is kept in the person's own value
    (:mod:`streaming.indexed`), so what is remembered here is only whether to ask again with the next read: after ten
    minutes where there was one (a person may be deleted), after half a minute where there was none (Redis may be filled
    again). Bounded: ``kept`` keys, the longest unused go first.
    """

    def __init__(self, unreadable: Callable[[], None], *, kept: int = _KEPT) -> None:
        self._unreadable = unreadable
        self._kept = kept
        self._until: dict[str, int] = {}

    def missing(self, keys: Sequence[str], now_ms: int) -> list[str]:
        """The keys to be read now; the others are marked as used."""
        missing = []
        for key in keys:
            until = self._until.pop(key, 0)
            if until <= now_ms:
                missing.append(key)
            else:
                self._until[key] = until  # a dict keeps the order of insertion: the longest unused stay in front
        return missing

    def learn(
        self, keys: Sequence[str], values: Sequence[bytes | None], snapshot: Snapshot, now_ms: int
    ) -> dict[str, Ranked]:
        """What was read, as places and scores; a list that cannot be read is as none, and counted."""
        found = {}
        for key, value in zip(keys, values, strict=True):
            found[key] = self._decoded(value, snapshot) if value else NOTHING
            self._until[key] = now_ms + 1000 * (PRESENT_S if value else ABSENT_S)
        for key in list(islice(self._until, max(0, len(self._until) - self._kept))):
            del self._until[key]
        return found

    def _decoded(self, value: bytes, snapshot: Snapshot) -> Ranked:
        try:
            ranking = _decoder.decode(value)
        except msgspec.MsgspecError as exc:
            _log.warning("a stored list is left out: %s; got %r", exc, value[:80])
            self._unreadable()
            return NOTHING
        scores = np.array(ranking.scores, np.float32)
        return snapshot.rows(ranking.items)[: len(scores)], scores[: len(ranking.items)]
