"""Accepted events on disk while Kinesis is away: append-only segment files, bounded, whole after ``kill -9``.

Durability: :meth:`Spool.append` returns once its records are flushed to the device (``fdatasync``; requests that wait
at the same time share one), and the folder is flushed when a segment is made. So what was answered *accepted* outlives
the process and, as far as the disk keeps its promise, the machine. How far a segment was drained is written without a
flush: after a power cut records may be sent twice, which ``event_id`` makes harmless; none is left out.
"""

import fcntl
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Self

from contracts.errors import SettingsError
from serving.frames import Record, pack, unpack

__all__ = ["Segment", "Spool", "SpoolFull"]

_log = logging.getLogger(__name__)
SEGMENT_BYTES: Final = 4 * 1024 * 1024
_SUFFIX: Final = ".spool"


class SpoolFull(Exception):
    """The spool holds as many bytes as it may, or the disk is full; nothing of the call was kept."""


class Segment:
    """One file of frames. Written by :class:`Spool`, read once it is sealed."""

    def __init__(self, path: Path, file: int | None, size: int, records: int) -> None:
        self.path, self._file = path, file
        self.size, self.records = size, records
        self._flushed = 0
        self._flushing = threading.Lock()

    @classmethod
    def create(cls, path: Path) -> Self:
        """A new, empty file that outlives a crash."""
        _mark(path).unlink(missing_ok=True)  # an older file of this name would lend it its position
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        _flush_folder(path.parent)
        return cls(path, file, 0, 0)

    @classmethod
    def found(cls, path: Path) -> Self:
        """A file that an earlier process left."""
        return cls(path, None, path.stat().st_size, len(unpack(path.read_bytes(), _drained(path))))

    @property
    def sealed(self) -> bool:
        """Whether nothing is appended any more."""
        return self._file is None

    def write(self, data: bytes, records: int) -> int:
        """Append; returns the size up to which :meth:`flush` has to go. On an error the segment must be sealed."""
        assert self._file is not None
        before = self.size
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
        except OSError:
            os.ftruncate(self._file, before)
            raise
        self.size += len(data)
        self.records += records
        return self.size

    def flush(self, upto: int) -> None:
        """Return once the first ``upto`` bytes are on the device."""
        with self._flushing:
            if self._flushed < upto:
                if self._file is None:
                    message = f"{self.path} was sealed and not flushed"
                    raise OSError(message)
                size = self.size
                os.fdatasync(self._file)
                self._flushed = size

    def seal(self) -> None:
        """End the writing."""
        with self._flushing:
            if self._file is not None:
                try:
                    os.fdatasync(self._file)
                    self._flushed = self.size
                finally:
                    os.close(self._file)
                    self._file = None

    def batches(self, most: int) -> Iterator[tuple[list[Record], int]]:
        """What is left to send, ``most`` records at a time, each with the position to :meth:`advance` to."""
        stored = self.path.read_bytes()
        frames = unpack(stored, _drained(self.path))
        for at in range(0, len(frames), most):
            part = frames[at : at + most]
            yield [frame.record for frame in part], part[-1].end
        end = frames[-1].end if frames else _drained(self.path)
        if end < len(stored):
            self._set_aside(stored[end:])

    def advance(self, position: int, records: int) -> None:
        """All up to ``position`` is on the stream."""
        self.records -= records
        _mark(self.path).write_bytes(position.to_bytes(8, "little"))

    def remove(self) -> None:
        """Everything of it is on the stream."""
        _mark(self.path).unlink(missing_ok=True)  # first: without it all is sent again, with it alone a part never
        self.path.unlink()

    def _set_aside(self, rest: bytes) -> None:
        kept = self.path.with_suffix(".damaged")
        kept.write_bytes(rest)
        _log.error("%d bytes of %s are no whole record (a crash while writing, or the disk); see %s",
                   len(rest), self.path, kept)  # fmt: skip


class Spool:
    """The segments of one process; safe to share between threads.

    ``root`` may serve several processes: each takes a numbered folder of its own and holds its lock for as long as it
    lives, and :meth:`orphans` gives what processes left that are gone.
    """

    def __init__(self, folder: Path, lock: int, max_bytes: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder, self._lock = folder, lock
        self.max_bytes, self._segment_bytes = max_bytes, segment_bytes
        self._writing = threading.Lock()
        self._open: Segment | None = None
        self._sealed = [Segment.found(path) for path in sorted(folder.glob(f"*{_SUFFIX}"))]
        self._next = int(self._sealed[-1].path.stem) + 1 if self._sealed else 0

    @classmethod
    def claim(cls, root: Path, max_bytes: int, segment_bytes: int = SEGMENT_BYTES) -> Self:
        """Take the first folder below ``root`` that no living process holds.

        Raises:
            SettingsError: the folder cannot be made or written.
        """
        number = 0
        try:
            while True:
                folder = root / f"{number:03}"
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                if (lock := _locked(folder)) is not None:
                    _flush_folder(root)
                    return cls(folder, lock, max_bytes, segment_bytes)
                number += 1
        except OSError as exc:
            message = f"spool.folder is {str(root)!r}: {exc}; expected a folder that this process may write to"
            raise SettingsError(message) from exc

    def orphans(self) -> Iterator["Spool"]:
        """The spools beside this one whose process is gone and that hold something; each is closed after its turn."""
        for folder in sorted(self.folder.parent.iterdir()):
            if folder == self.folder or not any(folder.glob(f"*{_SUFFIX}")) or (lock := _locked(folder)) is None:
                continue
            orphan = type(self)(folder, lock, self.max_bytes, self._segment_bytes)
            try:
                yield orphan
            finally:
                orphan.close()

    @property
    def records(self) -> int:
        """How many records wait."""
        return sum(segment.records for segment in self._segments())

    @property
    def bytes(self) -> int:
        """How many bytes the files hold; a segment counts in full until its last record is sent."""
        return sum(segment.size for segment in self._segments())

    def _segments(self) -> list[Segment]:
        return [*self._sealed, *([self._open] if self._open else [])]

    def append(self, records: Sequence[Record]) -> None:
        """Keep ``records``; they are safe once this returns.

        Raises:
            SpoolFull: nothing was kept.
            OSError: the disk failed; some may be kept and be sent, none is promised.
        """
        data = pack(records)
        with self._writing:
            if self.bytes + len(data) > self.max_bytes:
                message = f"{self.bytes} of {self.max_bytes} bytes are taken"
                raise SpoolFull(message)
            try:
                segment = self._writable(len(data))
                upto = segment.write(data, len(records))
            except OSError as exc:
                self._seal()
                message = f"the disk of {self.folder} does not take it: {exc}"
                raise SpoolFull(message) from exc
        try:
            segment.flush(upto)
        except OSError:
            with self._writing:
                self._seal()
            raise

    def _writable(self, length: int) -> Segment:
        if self._open and self._open.size and self._open.size + length > self._segment_bytes:
            self._seal()
        if self._open is None:
            self._open = Segment.create(self.folder / f"{self._next:010}{_SUFFIX}")
            self._next += 1
        return self._open

    def _seal(self) -> None:
        if (segment := self._open) is not None:
            self._open = None
            self._sealed.append(segment)
            try:
                segment.seal()
            except OSError as exc:
                _log.error("the disk did not flush %s: %s", segment.path, exc)

    def oldest(self) -> Segment | None:
        """The segment to drain next, sealed; ``None`` where nothing waits."""
        with self._writing:
            if not self._sealed and self._open and self._open.size:
                self._seal()
            return self._sealed[0] if self._sealed else None

    def remove(self, segment: Segment) -> None:
        """Forget a segment that is drained."""
        segment.remove()
        with self._writing:
            self._sealed.remove(segment)

    def close(self) -> None:
        """End the writing and give the folder back; what waits stays there for the next process."""
        with self._writing:
            self._seal()
            os.close(self._lock)


def _locked(folder: Path) -> int | None:
    """The lock of a folder, held until the descriptor is closed or the process ends; ``None`` where another has it."""
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def _mark(path: Path) -> Path:
    return path.with_suffix(".drained")


def _drained(path: Path) -> int:
    """The position up to which a segment was sent; 0 where none is noted, or the note is not whole."""
    try:
        noted = _mark(path).read_bytes()
    except FileNotFoundError:
        return 0
    return int.from_bytes(noted, "little") if len(noted) == 8 else 0


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
