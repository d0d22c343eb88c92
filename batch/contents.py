"""Which days of a shop's events each object of the lake holds: learnt when it is first read, and kept.

An object is immutable (path, size and ETag name its content), so what it holds is a fact that never changes: which
event days of this shop, and whether it has records to count on its arrival day. With it a day's partition depends on
exactly the objects that can decide over its units, however late they arrived, and one late event touches the days
around it and no other. The file is a cache: without it the lake is read once more, and nothing else changes.
"""

import gzip
from collections.abc import Iterable, Mapping

import msgspec

from batch.partition import Input
from contracts.errors import TrainingError

__all__ = ["Contents", "Held", "assumed", "decode_contents", "encode_contents"]

_FORMAT = 1


class Held(msgspec.Struct, frozen=True, array_like=True):
    """``days``: days of the shop's events (since the epoch, sorted); ``counts``: whether other records are counted."""

    days: tuple[int, ...] = ()
    counts: bool = False


Contents = Mapping[Input, Held]


class _File(msgspec.Struct, frozen=True):
    format: int
    late_days: int
    objects: list[tuple[Input, Held]]


def encode_contents(contents: Contents, late_days: int) -> bytes:
    """The file's bytes.

    >>> held = {Input("events/a.gz", 1, "x"): Held((3,), True)}
    >>> decode_contents(encode_contents(held, 1), 1) == held, decode_contents(encode_contents(held, 1), 2)
    (True, {})
    """
    file = _File(_FORMAT, late_days, sorted(contents.items()))
    return gzip.compress(msgspec.json.encode(file), 5, mtime=0)


def decode_contents(data: bytes, late_days: int) -> dict[Input, Held]:
    """Read the file; empty where it was written by another rule of lateness or another format.

    Raises:
        TrainingError: the bytes are torn.
    """
    try:
        file = msgspec.json.decode(gzip.decompress(data), type=_File)
    except (OSError, EOFError, msgspec.DecodeError) as exc:
        message = f"the list of what the lake holds, {len(data)} bytes, cannot be read: {exc}; it will be made again"
        raise TrainingError(message) from exc
    return dict(file.objects) if (file.format, file.late_days) == (_FORMAT, late_days) else {}


def assumed(objects: Iterable[Input], arrivals: Iterable[int]) -> dict[Input, Held]:
    """What objects that were never read most likely hold: events of their arrival day and of the day before."""
    return {each: Held((day - 1, day), True) for each, day in zip(objects, arrivals, strict=True)}
