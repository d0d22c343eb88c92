"""From the arrays of scoring to what is stored: many live lists at once, without a Python object an item."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numba
import numpy as np
import numpy.typing as npt

from contracts.packed import BATCH_PLACE, MOST_REASONS, NO_PLACE, Packed
from contracts.scoring import BATCH_REASON
from streaming.columns import SOURCES, Histories, Ranked, ends_of, histories_of

__all__ = ["Blocks", "Names", "live_blocks", "warm_up"]

_encoder = msgspec.msgpack.Encoder()


class Blocks(NamedTuple):
    """Live lists of R people as they are stored, and the ids of each, joined, in UTF-8."""

    blocks: list[bytes]
    items: list[bytes]


class Names(NamedTuple):
    """Names of items as bytes, so that lists are put together without a Python object an item.

    Name i is ``text[offsets[i]:offsets[i + 1]]``; ``names`` are those it was made of.
    """

    names: Sequence[str]
    offsets: npt.NDArray[np.int64]
    text: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, names: Sequence[str]) -> "Names":
        """Names in their order."""
        encoded = [name.encode() for name in names]
        return cls(names, ends_of([len(name) for name in encoded]), np.frombuffer(b"".join(encoded), np.uint8).copy())

    def reaching(self, names: Sequence[str]) -> "Names":
        """These names and those behind them in ``names``, which begin with these."""
        if len(names) == len(self.names):
            return self
        more = Names.of(names[len(self.names) :])
        offsets = np.concatenate((self.offsets, more.offsets[1:] + self.offsets[-1]))
        return Names(names, offsets, np.concatenate((self.text, more.text)))


def live_blocks(
    ranked: Ranked, histories: Histories, values: Sequence[Packed], version: str, now_ms: int, names: Names
) -> Blocks:
    """The lists as they are stored; each is based on its value's newest action.

    ``names`` are those of the snapshot, with which those of ``ranked`` begin.
    """
    counts = (ranked.items >= 0).sum(axis=1)
    size = ranked.items.shape[1]
    scores = ranked.scores.astype("<f4", copy=False).tobytes()
    offsets, blocks, lists = histories.offsets.tolist(), list[bytes](), list[bytes]()
    places, shares = _terms(ranked, histories.offsets)
    text, cuts = _texts(np.ascontiguousarray(ranked.items), names.reaching(ranked.names))
    sources = [SOURCES[source] for source in ranked.sources.tolist()]
    for row, count in enumerate(counts.tolist()):
        value, first, terms = values[row], row * size, row * size * MOST_REASONS
        items = text[cuts[row] : cuts[row + 1] - 1]
        packed = (
            sources[row],
            version,
            int.from_bytes(value.times[-8:], "little"),
            value.ids.rpartition("\n")[2],
            now_ms,
            items,
            scores[4 * first : 4 * (first + count)],
            _newest(value, offsets[row + 1] - offsets[row]),
            places[terms : terms + MOST_REASONS * count],
            shares[2 * terms : 2 * (terms + MOST_REASONS * count)],
        )
        blocks.append(_encoder.encode(packed))
        lists.append(items)
    return Blocks(blocks, lists)


def _newest(value: Packed, count: int) -> str:
    """The ids of the value's newest ``count`` actions, oldest first, as they are."""
    older = len(value.letters) - count
    return value.items.split("\n", older)[older] if older else value.items


def _terms(ranked: Ranked, offsets: npt.NDArray[np.int64]) -> tuple[bytes, bytes]:
    places, shares = np.empty(ranked.reasons.shape, np.uint8), np.empty(ranked.reasons.shape, np.int16)
    _pack_terms(np.ascontiguousarray(ranked.reasons), np.ascontiguousarray(ranked.shares), offsets, places, shares)
    return places.tobytes(), shares.astype("<i2", copy=False).tobytes()


def _texts(items: npt.NDArray[np.int32], names: Names) -> tuple[bytes, list[int]]:
    """The names of all lists, a line feed behind each, and where the lists begin and end."""
    ends = np.zeros(len(items) + 1, np.int64)
    _measure(items, names.offsets, ends)
    joined = np.empty(ends[-1], np.uint8)
    _join(items, names.offsets, names.text, ends, joined)
    return joined.tobytes(), ends.tolist()


@numba.njit(cache=True, nogil=True)
def _measure(items: Any, offsets: Any, ends: Any) -> None:
    """Where each list's text ends: every name is followed by one byte."""
    for r in range(len(items)):
        length = 0
        for n in range(items.shape[1]):
            item = items[r, n]
            if item >= 0:
                length += offsets[item + 1] - offsets[item] + 1
        ends[r + 1] = ends[r] + length


@numba.njit(cache=True, nogil=True)
def _join(items: Any, offsets: Any, text: Any, ends: Any, out: Any) -> None:
    """The names of each list, a line feed behind each."""
    for r in range(len(items)):
        at = ends[r]
        for n in range(items.shape[1]):
            item = items[r, n]
            if item < 0:
                continue
            for place in range(offsets[item], offsets[item + 1]):
                out[at] = text[place]
                at += 1
            out[at] = 10
            at += 1


@numba.njit(cache=True, nogil=True)
def _pack_terms(reasons: Any, shares: Any, offsets: Any, places: Any, thousandths: Any) -> None:
    """Places and shares of all reasons as they are stored: scoring counts from the newest action, a list's terms are
    oldest first."""
    for r in range(reasons.shape[0]):
        newest = offsets[r + 1] - offsets[r] - 1
        for n in range(reasons.shape[1]):
            for t in range(reasons.shape[2]):
                reason = reasons[r, n, t]
                if reason == BATCH_REASON:
                    places[r, n, t] = BATCH_PLACE
                elif reason < 0 or reason > BATCH_PLACE - 1:
                    places[r, n, t] = NO_PLACE
                else:
                    places[r, n, t] = newest - reason
                share = min(max(shares[r, n, t] * 1000.0, -32768.0), 32767.0)
                thousandths[r, n, t] = np.int16(np.rint(share))


def warm_up() -> None:
    """Compile the kernels, or load them from their cache."""
    nobody = np.zeros((0, 1, MOST_REASONS))
    items, reasons = np.zeros((0, 1), np.int32), nobody.astype(np.int32)
    ranked = Ranked(["A"], items, items.astype(np.float32), np.zeros(0, np.uint8), reasons, nobody.astype(np.float32))
    live_blocks(ranked, histories_of([], 1), [], "", 0, Names.of(["A"]))
