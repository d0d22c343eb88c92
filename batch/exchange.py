"""Arrays that the tasks of one run hand to each other and to the driver, mapped or read in part."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from contracts.settings import Settings
from stores.objects import Objects

__all__ = ["Exchange", "objects_of", "packed", "unpacked"]


@dataclass(frozen=True, slots=True)
class Exchange:
    """Raw arrays: on one machine files, whose pages all processes share; on a cluster objects below an S3 path.

    Names are written once and then only read; the reader says the type. It travels into tasks, so it holds no client.
    """

    settings: Settings
    folder: Path | None
    prefix: str

    def put(self, name: str, values: npt.NDArray[Any]) -> None:
        """Write an array of any length, whole or not at all."""
        if self.folder is None:
            objects_of(self.settings).put(self.prefix + name, values.tobytes())
            return
        part = self.folder / f"{name}.{id(values)}.part"  # tasks may be tried twice
        np.ascontiguousarray(values).tofile(part)
        part.replace(self.folder / name)

    def get(self, name: str, kind: Any, begin: int = 0, end: int | None = None) -> npt.NDArray[Any]:
        """The values from ``begin`` to ``end`` (excluded; default: all); mapped where there is a folder."""
        size = np.dtype(kind).itemsize
        if self.folder is not None:
            file = self.folder / name
            count = (file.stat().st_size // size if end is None else end) - begin
            if count <= 0:
                return np.zeros(0, kind)
            # Copy-on-write, never written: pages are shared as with "r", and kernels compiled for plain arrays fit.
            return np.memmap(file, kind, "c", begin * size, (count,))
        if end is not None and end <= begin:
            return np.zeros(0, kind)
        objects, path = objects_of(self.settings), self.prefix + name
        data = objects.get(path) if end is None else objects.get_range(path, begin * size, end * size)
        return np.frombuffer(bytearray(data), kind)[begin if end is None else 0 :]

    def has(self, name: str) -> bool:
        """Whether the name was written."""
        if self.folder is not None:
            return (self.folder / name).exists()
        return objects_of(self.settings).etag(self.prefix + name) is not None

    def drop(self, start: str) -> None:
        """Delete all names that begin so."""
        if self.folder is not None:
            for file in self.folder.glob(f"{start}*"):
                file.unlink(missing_ok=True)
            return
        objects = objects_of(self.settings)
        for path in objects.list(self.prefix + start):
            objects.delete(path)


@lru_cache(maxsize=4)
def objects_of(settings: Settings) -> Objects:
    """The bucket's objects by one client a process: to make one takes a tenth of a second."""
    return Objects.from_settings(settings)


def packed(texts: Any) -> npt.NDArray[np.uint8]:
    """Strings as bytes for :meth:`Exchange.put`.

    >>> unpacked(packed(["a", "ß"])).to_pylist()
    ['a', 'ß']
    """
    column = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.string())
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.schema([("text", pa.string())])) as stream:
        stream.write_batch(pa.record_batch([column], ["text"]))
    return np.frombuffer(sink.getvalue(), np.uint8)


def unpacked(data: npt.NDArray[np.uint8]) -> Any:
    """The Arrow string array of :func:`packed`."""
    table = pa.ipc.open_stream(pa.py_buffer(data)).read_all()
    return pa.concat_arrays(table.column(0).chunks) if table.num_rows else pa.array([], pa.string())
