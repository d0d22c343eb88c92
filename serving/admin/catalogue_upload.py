"""Reading an uploaded catalogue: every line is checked, every fault is told with its line, nothing is half taken."""

import gzip
import io
from typing import Final

import msgspec

from contracts.errors import InvalidItem
from contracts.items import Item, parse_item

__all__ = ["LineFault", "Upload", "read_upload"]

_TOLD: Final = 100
_MOST_ITEMS: Final = 2_000_000


class LineFault(msgspec.Struct):
    """What is wrong with a line of the upload; lines count from 1."""

    line: int
    message: str


class Upload(msgspec.Struct):
    """The items of an upload and its faults; of these the first hundred are listed and all are counted."""

    items: list[Item]
    faults: list[LineFault]
    faulty: int


def read_upload(data: bytes, limit: int) -> Upload:
    """Items from JSON lines, plain or gzipped.

    >>> upload = read_upload(b'{"item_id":"A","title":"Tea"}\\n\\n{"item_id":"A","title":"x"}\\n{"title":1}', 1000)
    >>> [item.item_id for item in upload.items], [fault.line for fault in upload.faults]
    (['A'], [3, 4])

    Raises:
        InvalidItem: it is over ``limit`` bytes, also unpacked, torn, or holds no item at all.
    """
    plain = _unpacked(data, limit) if data[:2] == b"\x1f\x8b" else data
    upload, seen = Upload([], [], 0), dict[str, int]()
    for number, line in enumerate(plain.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            item = _item(line, seen)
        except InvalidItem as exc:
            upload.faulty += 1
            if len(upload.faults) < _TOLD:
                upload.faults.append(LineFault(number, str(exc)[:300]))
            continue
        seen[item.item_id] = number
        upload.items.append(item)
        if len(upload.items) > _MOST_ITEMS:
            message = f"over {_MOST_ITEMS:,} items; a catalogue of this size does not fit the memory of a service"
            raise InvalidItem(message)
    if not upload.items and not upload.faults:
        message = "the upload holds no item; expected JSON lines, one item each, plain or gzipped"
        raise InvalidItem(message)
    return upload


def _item(line: bytes, seen: dict[str, int]) -> Item:
    try:
        line.decode()
    except UnicodeDecodeError as exc:
        message = f"not UTF-8: {exc}"
        raise InvalidItem(message) from exc
    item = parse_item(line.rstrip(b"\r"))
    if item.item_id in seen:
        message = f"item_id {item.item_id[:40]!r} stands also in line {seen[item.item_id]}; expected each once"
        raise InvalidItem(message)
    if item.price is not None and not 0 <= item.price < 1e12:
        message = f"price of {item.item_id[:40]!r} is {item.price}; expected 0 or more"
        raise InvalidItem(message)
    return item


def _unpacked(data: bytes, limit: int) -> bytes:
    """Never more than ``limit`` bytes: a few kilobytes can hold gigabytes of zeros."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            plain = file.read(limit + 1)
    except (OSError, EOFError) as exc:
        message = f"the upload is not whole: {exc}"
        raise InvalidItem(message) from exc
    if len(plain) > limit:
        message = f"the upload is over {limit} bytes unpacked; raise max.catalogue.mib where it has to be"
        raise InvalidItem(message)
    return plain
