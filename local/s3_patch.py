"""Versions of objects are listed without their contents: moto copies every object of the bucket for each such call.

A deletion asks for the versions of each object it rewrites, so a lake of 150 MB took gigabytes.
"""

import copy
import io
import threading
from typing import Any

from moto.s3.models import FakeKey

__all__ = ["install"]


def install() -> None:
    """From now on a deep copy of an object has all but its bytes; moto makes them for lists of versions only."""
    FakeKey.__deepcopy__ = _described  # type: ignore[attr-defined]


def _described(key: Any, memo: dict[int, Any]) -> Any:
    key.etag  # noqa: B018 made of the contents when it is first asked for, and kept
    other = object.__new__(type(key))
    other.__dict__.update(key.__dict__)
    other._metadata = copy.copy(key._metadata)
    # Its end must not close what the object itself still holds.
    other._value_buffer, other.multipart, other.disposed, other.lock = io.BytesIO(), None, True, threading.Lock()
    return other
