"""Records on disk or in a queue: one frame each, which tells whether it is whole."""

from collections.abc import Iterable
from struct import Struct
from typing import Final, NamedTuple
from zlib import crc32

__all__ = ["Frame", "Record", "pack", "unpack"]

Record = tuple[bytes, str]
"""The bytes and the partition key of one record of the stream."""

_HEADER: Final = Struct("<IHI")
"""Length of the data, length of the key, CRC-32 of key and data."""


class Frame(NamedTuple):
    """A record and the position behind its frame."""

    record: Record
    end: int


def pack(records: Iterable[Record]) -> bytes:
    """The frames of ``records``, to be written in one piece.

    >>> [frame.record for frame in unpack(pack([(b"{}", "shop#u.1"), (b"[]", "shop#u.2")]))]
    [(b'{}', 'shop#u.1'), (b'[]', 'shop#u.2')]
    """
    parts = []
    for data, key in records:
        body = key.encode() + data
        parts += [_HEADER.pack(len(data), len(body) - len(data), crc32(body)), body]
    return b"".join(parts)


def unpack(stored: bytes, start: int = 0) -> list[Frame]:
    """The whole frames from ``start`` on, up to the first that is cut off or damaged.

    The trap: where the last ``end`` is not the length of ``stored``, bytes are left over. After a crash in the middle
    of a write that is a record nobody was told is safe; anything else is damage of the disk.

    >>> [frame.end for frame in unpack(pack([(b"{}", "k")]) + b"half a fra")]
    [13]
    """
    frames, at = [], start
    while at + _HEADER.size <= len(stored):
        data, key, checksum = _HEADER.unpack_from(stored, at)
        begin, end = at + _HEADER.size, at + _HEADER.size + key + data
        body = stored[begin:end]
        if data == 0 or len(body) < key + data or crc32(body) != checksum:
            break
        frames.append(Frame((body[key:], body[:key].decode()), end))
        at = end
    return frames
