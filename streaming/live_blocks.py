"""Between stored values and the arrays of scoring: histories out of many values at once, live lists back into them."""

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from contracts.packed import BATCH_PLACE, MOST_REASONS, NO_PLACE, Packed, PackedList, join_ids, split_ids
from contracts.scoring import BATCH_REASON
from streaming.columns import SOURCES, Histories, Ranked

__all__ = ["Blocks", "histories_of_values", "live_blocks"]

_encoder = msgspec.msgpack.Encoder()


class Blocks:
    """Live lists of R people as they are stored, ``blocks``; ``items`` are the ids of each list, best first."""

    def __init__(self, blocks: list[bytes], items: list[list[str]]) -> None:
        self.blocks = blocks
        self.items = items


def histories_of_values(values: Sequence[Packed], length: int) -> Histories:
    """The newest ``length`` actions of each value.

    >>> histories_of_values([Packed(b"\\1" + b"\\0" * 7 + b"\\2" + b"\\0" * 7, "vp", "a\\nb", "A\\nB")], 20).items
    ['B', 'A']
    """
    items = [split_ids(value.items)[: -length - 1 : -1] for value in values]
    offsets = _ends([len(own) for own in items])
    letters = "".join([value.letters[: -length - 1 : -1] for value in values])
    times = np.frombuffer(b"".join([value.times[-8 * length :] for value in values]), "<i8")
    turned = np.repeat(offsets[:-1] + offsets[1:] - 1, np.diff(offsets)) - np.arange(offsets[-1])
    flat = [item for own in items for item in own]
    return Histories(offsets, flat, np.frombuffer(letters.encode(), np.uint8), times[turned])


def live_blocks(ranked: Ranked, histories: Histories, values: Sequence[Packed], version: str, now_ms: int) -> Blocks:
    """The lists as they are stored; each is based on its value's newest action."""
    counts = (ranked.items >= 0).sum(axis=1).tolist()
    size = ranked.items.shape[1]
    scores = ranked.scores.astype("<f4", copy=False).tobytes()
    places, shares = _terms(ranked)
    sources = [SOURCES[source] for source in ranked.sources.tolist()]
    offsets, names = histories.offsets.tolist(), ranked.names
    blocks, lists = [], []
    for row, places_of in enumerate(ranked.items.tolist()):
        count, value = counts[row], values[row]
        items = [names[place] for place in places_of[:count]]
        first, terms = row * size, row * size * MOST_REASONS
        packed = PackedList(
            sources[row],
            version,
            int.from_bytes(value.times[-8:], "little"),
            value.ids.rpartition("\n")[2],
            now_ms,
            join_ids(items),
            scores[4 * first : 4 * (first + count)],
            join_ids(histories.items[offsets[row] : offsets[row + 1]]),
            places[terms : terms + MOST_REASONS * count],
            shares[2 * terms : 2 * (terms + MOST_REASONS * count)],
        )
        blocks.append(_encoder.encode(packed))
        lists.append(items)
    return Blocks(blocks, lists)


def _terms(ranked: Ranked) -> tuple[bytes, bytes]:
    """Places and shares of all reasons as they are stored."""
    reasons = ranked.reasons
    places = np.where(reasons >= 0, np.minimum(reasons, NO_PLACE), NO_PLACE)
    places[reasons == BATCH_REASON] = BATCH_PLACE
    shares = np.clip(np.rint(ranked.shares * 1000), -32768, 32767).astype("<i2")
    return places.astype(np.uint8).tobytes(), shares.tobytes()


def _ends(counts: Sequence[int]) -> npt.NDArray[np.int64]:
    ends = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=ends[1:])
    return ends
