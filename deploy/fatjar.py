"""Merges jars into the one fat jar that a PyFlink job may bring (``flink run --jarfile``)."""

import hashlib
import re
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

__all__ = ["digest", "fat_jar", "merge"]

# Signatures no longer fit the merged jar, and module descriptors would contradict each other.
DROPPED = re.compile(r"META-INF/([^/]+\.(SF|RSA|DSA|EC)|MANIFEST\.MF|INDEX\.LIST)$|(.*/)?module-info\.class$", re.I)
SERVICES = "META-INF/services/"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can say: equal inputs give equal bytes
MANIFEST = "Manifest-Version: 1.0\r\nMulti-Release: true\r\n\r\n"


def fat_jar(jars: Sequence[Path], folder: Path) -> Path:
    """The merged jar in ``folder``, made once for these inputs; later calls only hash the inputs."""
    out = folder / f"liveshelf-flink-{digest(jars)}.jar"
    if not out.exists():
        folder.mkdir(parents=True, exist_ok=True)
        half = out.with_suffix(".part")
        merge(jars, half)
        half.replace(out)
    return out


def digest(jars: Iterable[Path]) -> str:
    """Twelve hexadecimal digits that change with any input's name, order or content."""
    total = hashlib.sha256()
    for jar in jars:
        with jar.open("rb") as file:
            total.update(jar.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:12]


def merge(jars: Iterable[Path], out: Path) -> None:
    """Write one jar: service files are joined, of any other entry that occurs twice the first jar's wins."""
    services: dict[str, list[str]] = {}
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as merged:
        merged.writestr(_entry("META-INF/MANIFEST.MF"), MANIFEST)
        seen = {"META-INF/MANIFEST.MF"}
        for jar in jars:
            with zipfile.ZipFile(jar) as source:
                for info in source.infolist():
                    name = info.filename
                    if info.is_dir() or name in seen or DROPPED.match(name):
                        continue
                    if name.startswith(SERVICES):
                        services.setdefault(name, []).extend(_providers(source.read(info).decode()))
                        continue
                    seen.add(name)
                    merged.writestr(_entry(name), source.read(info))
        for name, providers in sorted(services.items()):
            merged.writestr(_entry(name), "\n".join(dict.fromkeys(providers)) + "\n")


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    return entry


def _providers(text: str) -> list[str]:
    """
    >>> _providers("# licence\\ncom.example.One # why\\n\\ncom.example.Two")
    ['com.example.One', 'com.example.Two']
    """
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]
