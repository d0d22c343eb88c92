"""Lists of the training beside the stream: read from Redis with the people, then kept in their values."""

import logging
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt

from contracts.snapshot import Snapshot
from streaming.indexed import ABSENT_S, PRESENT_S
from streaming.lately import Lately

__all__ = ["NOTHING", "BatchLists", "Ranked"]

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
    """Reads lists of the training, and knows which were asked for lately; for one thread.

    A key names its model version, under which lists stay. A list that was read is kept in the person's own value
    (:mod:`streaming.indexed`), so what is remembered here is only whether to ask again with the next read: after ten
    minutes where there was one (a person may be deleted), after half a minute where there was none (Redis may be filled
    again). Who is asked for without need costs a read; who is not although the value holds none, another round trip.
    """

    def __init__(self, unreadable: Callable[[], None]) -> None:
        self._unreadable = unreadable
        self._asked = Lately()

    def missing(self, keys: Sequence[str], now_ms: int) -> list[str]:
        """The keys to be read now."""
        return self._asked.due(keys, now_ms // 1000)

    def learn(
        self, keys: Sequence[str], values: Sequence[bytes | None], snapshot: Snapshot, now_ms: int
    ) -> dict[str, Ranked]:
        """What was read, as places and scores; a list that cannot be read is as none, and counted."""
        now_s = now_ms // 1000
        self._asked.note(keys, [now_s + (PRESENT_S if value else ABSENT_S) for value in values])
        pairs = zip(keys, values, strict=True)
        return {key: self._decoded(value, snapshot) if value else NOTHING for key, value in pairs}

    def _decoded(self, value: bytes, snapshot: Snapshot) -> Ranked:
        try:
            ranking = _decoder.decode(value)
        except msgspec.MsgspecError as exc:
            _log.warning("a stored list is left out: %s; got %r", exc, value[:80])
            self._unreadable()
            return NOTHING
        scores = np.array(ranking.scores, np.float32)
        return snapshot.rows(ranking.items)[: len(scores)], scores[: len(ranking.items)]
