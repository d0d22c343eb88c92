"""What the model in use says of a person's value, kept in the value: places of items, and the list of the training.

To find an item's place in a model's index takes a look-up; twenty of them a list, and a hundred for the list of the
last training, cost more than to score them all. So a value keeps the places, under the version of the model that they
are of. Anybody may drop the block: it is made anew where it is absent, of another version, or does not fit the actions.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from contracts.packed import Indexed, Packed, split_ids
from contracts.snapshot import Snapshot
from streaming.columns import Histories, LazyItems, Listed, ends_of

__all__ = ["ABSENT_S", "PRESENT_S", "block_of", "embed", "fresh", "histories_of_values", "listed_of_values", "place"]

PRESENT_S: Final = 600
"""A list that is there is looked for again after ten minutes: a person's lists may have been deleted."""
ABSENT_S: Final = 30
"""One that is not there after half a minute: Redis may be filled again."""


def block_of(packed: Packed, version: str) -> Indexed:
    """The value's block, an empty one where it was of another model."""
    known = packed.indexed
    if known is None or known.version != version:
        known = packed.indexed = Indexed(version)
    return known


def place(packed: Packed, snapshot: Snapshot) -> None:
    """Make the value's block one of this snapshot, with a place for each action (−1: the model does not know it)."""
    known = block_of(packed, snapshot.version)
    missing = len(packed.letters) - len(known.rows) // 4
    if missing == 0:
        return
    if missing == 1:  # nearly always: one action was put behind the others
        known.rows += snapshot.row(packed.items.rpartition("\n")[2]).to_bytes(4, "little", signed=True)
        return
    if missing < 0:
        known.rows, missing = b"", len(packed.letters)
    items = split_ids(packed.items)[-missing:]
    known.rows += snapshot.rows(items).astype("<i4", copy=False).tobytes()


def embed(known: Indexed, rows: npt.NDArray[np.int32], scores: npt.NDArray[np.float32], now_ms: int) -> None:
    """Put the person's list of the last training, or that there is none, into a value's block."""
    known.listed_s = now_ms // 1000
    known.list_rows = rows.astype("<i4", copy=False).tobytes()
    known.list_scores = scores.astype("<f4", copy=False).tobytes()


def fresh(known: Indexed, now_s: int) -> bool:
    """Whether the block's list, or its absence, is young enough at these epoch seconds to be used as it is."""
    return now_s - known.listed_s < (PRESENT_S if known.list_rows else ABSENT_S)


def histories_of_values(values: Sequence[Packed], length: int) -> Histories:
    """The newest ``length`` actions of each value, with their places where every value has a block that fits.

    >>> histories_of_values([Packed(b"\\1" + b"\\0" * 7 + b"\\2" + b"\\0" * 7, "vp", "a\\nb", "A\\nB")], 20).items[0:2]
    ['B', 'A']
    """
    letters = [value.letters[-length:] for value in values]
    offsets = ends_of([len(own) for own in letters])
    turned = np.repeat(offsets[:-1] + offsets[1:] - 1, np.diff(offsets)) - np.arange(offsets[-1])
    codes = np.frombuffer("".join(letters).encode(), np.uint8)
    times = np.frombuffer(b"".join([value.times[-8 * length :] for value in values]), "<i8")
    items = LazyItems([value.items for value in values], length)
    return Histories(offsets, items, codes[turned], times[turned], _places(values, length, turned))


def _places(values: Sequence[Packed], length: int, turned: npt.NDArray[np.int64]) -> npt.NDArray[np.int32] | None:
    blocks = [value.indexed.rows[-4 * length :] if value.indexed else b"" for value in values]
    rows = np.frombuffer(b"".join(blocks), "<i4")
    return rows[turned] if len(rows) == len(turned) else None


def listed_of_values(values: Sequence[Packed]) -> Listed:
    """The lists of the last training that the values hold."""
    blocks = [value.indexed for value in values]
    rows = [block.list_rows if block else b"" for block in blocks]
    scores = b"".join([block.list_scores for block in blocks if block])
    offsets = ends_of([len(own) // 4 for own in rows])
    return Listed(offsets, np.frombuffer(b"".join(rows), "<i4"), np.frombuffer(scores, "<f4"))
