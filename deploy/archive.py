"""Archives whose bytes depend on names and contents alone: entries sorted, one time stamp, one owner, no ``.pyc``."""

import gzip
import hashlib
import io
import stat
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

__all__ = ["Entries", "files_below", "sha256_of", "write_tar", "write_zip"]

EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say
_SKIPPED: Final = frozenset({"__pycache__"})
_STORED: Final = frozenset({".jar", ".gz", ".png", ".woff2"})

Entries = Mapping[str, Path | bytes]
"""What an archive holds: the name of each entry, and the file or the bytes behind it."""


def files_below(folder: Path, prefix: str = "") -> dict[str, Path | bytes]:
    """Every file of a folder under its relative name, compiled bytecode left out: it holds times and paths."""
    return {prefix + path.relative_to(folder).as_posix(): path for path in _walk(folder) if path.suffix != ".pyc"}


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            if path.name not in _SKIPPED:
                yield from _walk(path)
        else:
            yield path


def write_zip(out: Path, entries: Entries, *, level: int = 6) -> None:
    """Write a zip; what is compressed already is only stored.

    Equal entries and an equal ``level`` (1 fast, 9 small) give equal bytes, as long as Python's zlib is the same.
    """
    half = _half(out)
    with zipfile.ZipFile(half, "w", zipfile.ZIP_DEFLATED, compresslevel=level) as file:
        for name in sorted(entries):
            info = zipfile.ZipInfo(name, EPOCH)
            info.compress_type = zipfile.ZIP_STORED if Path(name).suffix in _STORED else zipfile.ZIP_DEFLATED
            info.external_attr = (stat.S_IFREG | 0o644) << 16
            file.writestr(info, _bytes(entries[name]), compresslevel=level)
    half.replace(out)


def write_tar(out: Path, entries: Entries, links: Mapping[str, str], *, level: int = 6) -> None:
    """Write a ``.tar.gz``: files, and symbolic links by the name they point to."""
    half = _half(out)
    with (
        half.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=level, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as file,
    ):
        for name in sorted({*entries, *links}):
            info = tarfile.TarInfo(name)
            info.mode = 0o644
            if name in links:
                info.type, info.linkname = tarfile.SYMTYPE, links[name]
                file.addfile(info)
                continue
            data = _bytes(entries[name])
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    half.replace(out)


def sha256_of(path: Path) -> str:
    """The digest of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _half(out: Path) -> Path:
    """Where an archive is written before it gets its name: a torn one is never taken for whole."""
    out.parent.mkdir(parents=True, exist_ok=True)
    return out.with_name(out.name + ".part")


def _bytes(source: Path | bytes) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()
