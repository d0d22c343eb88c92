"""What is shown where the model says too little: a fall-back for people it cannot score, popular items to fill up."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from contracts.scoring import NO_REASON, REASONS
from contracts.snapshot import Snapshot
from streaming.columns import SOURCES, Histories, Ranked

__all__ = ["LIVE", "Brought", "Fallback", "cold_arrays", "filled"]

LIVE: Final = SOURCES.index("live")
TRENDING: Final = SOURCES.index("trending")
POPULAR: Final = SOURCES.index("popular")

Brought = Sequence[tuple[str, float]]
"""Item ids with scores above 0, best first; each id once."""

Fallback = Callable[[Histories, Sequence[int], int], Sequence[Brought]]
"""(histories, places of the people to answer for, N) → at most N items for each of them."""


def filled(
    ranked: Ranked,
    histories: Histories,
    rows: npt.NDArray[np.int32],
    snapshot: Snapshot,
    fallback: Fallback | None = None,
) -> Ranked:
    """The lists of people without any candidate from ``fallback``, and every short list filled with popular items.

    Filling is scored 0 and has no reasons. Nobody is filled up with what is among their own actions: what somebody just
    took, the model leaves out on purpose. ``sources`` then say where a list's first item comes from. The arrays of
    ``ranked`` are changed in place.

    Args:
        rows: the places of ``histories.items`` in the snapshot.
    """
    if not ranked.items.size:
        return ranked
    cold = np.flatnonzero(ranked.items[:, 0] < 0)
    ranked.sources[cold] = POPULAR
    if fallback is not None and len(cold):
        brought = fallback(histories, cold.tolist(), ranked.items.shape[1])
        ranked = ranked._replace(names=_placed(ranked, cold.tolist(), brought, snapshot.row))
    _fill(histories.offsets, rows, snapshot.popular_rows, ranked.items)
    return ranked


def cold_arrays(histories: Histories, size: int, fallback: Fallback) -> Ranked:
    """The lists of a shop without a model: what ``fallback`` brings; empty where that is nothing."""
    people = len(histories.offsets) - 1
    ranked = Ranked(
        [],
        np.full((people, size), -1, np.int32),
        np.zeros((people, size), np.float32),
        np.full(people, POPULAR, np.uint8),
        np.full((people, size, REASONS), NO_REASON, np.int32),
        np.zeros((people, size, REASONS), np.float32),
    )
    everybody = range(people)
    return ranked._replace(names=_placed(ranked, everybody, fallback(histories, everybody, size), lambda _: -1))


def _placed(
    ranked: Ranked, people: Sequence[int], brought: Iterable[Brought], row_of: Callable[[str], int]
) -> Sequence[str]:
    """Write what was brought into the lists; return the names, with those that the model does not know behind them."""
    more: dict[str, int] = {}
    for person, items in zip(people, brought, strict=True):
        for place, (item, score) in enumerate(items):
            row = row_of(item)
            ranked.items[person, place] = row if row >= 0 else more.setdefault(item, len(ranked.names) + len(more))
            ranked.scores[person, place] = score
        if items:
            ranked.sources[person] = TRENDING
    return [*ranked.names, *more] if more else ranked.names


@numba.njit(cache=True, nogil=True)
def _fill(offsets: Any, own: Any, popular: Any, lists: Any) -> None:
    """Append popular items that are neither on the list nor among the person's own; all of them places."""
    for r in range(len(lists)):
        kept = lists.shape[1]
        while kept > 0 and lists[r, kept - 1] < 0:
            kept -= 1
        for item in popular:
            if kept == lists.shape[1]:
                break
            fresh = True
            for at in range(offsets[r], offsets[r + 1]):
                fresh = fresh and own[at] != item
            for at in range(kept):
                fresh = fresh and lists[r, at] != item
            if fresh:
                lists[r, kept] = item
                kept += 1
