"""The model snapshot: an immutable folder of arrays that readers memory-map, sealed by a manifest of digests."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from itertools import repeat
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from contracts.errors import SnapshotError
from contracts.pointer import Pointer

__all__ = [
    "FORMAT_VERSION",
    "ITEM_ARRAYS",
    "FileDigest",
    "Manifest",
    "ModelSettings",
    "Pointer",
    "Snapshot",
    "new_version",
    "write_snapshot",
]

FORMAT_VERSION: Final = 1
MANIFEST: Final = "manifest.json"
_ARRAYS: Final[dict[str, Any]] = {"indptr": np.int64, "indices": np.int32, "data": np.float32, "popularity": np.float32}
ITEM_ARRAYS: Final = ("daily", "price")
"""Optional arrays ``(I,)`` float32, which the ranker reads (:mod:`contracts.ranker`): weighted actions a day, and the
price position within the category. A snapshot without them is whole."""

EVENT_WEIGHTS: Final = {"view": 1.0, "click": 1.0, "add_to_cart": 2.0, "purchase": 3.0}


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings a reader needs to score with a snapshot: they travel with the model, not with the job.

    ``history`` is L, ``decay`` is p of the scoring formula, ``blend`` the weight of the batch list, ``theta`` that of
    the ranker. Event types without a weight do not count.
    """

    history: int = 20
    decay: float = 8.0
    event_weights: dict[str, float] = msgspec.field(default_factory=lambda: dict(EVENT_WEIGHTS))
    blend: float = 0.5
    theta: float = 0.0


class FileDigest(msgspec.Struct, frozen=True):
    """Size in bytes and SHA-256 (hex) of one file of a snapshot."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot is and how it came to be. Times are RFC 3339 UTC.

    ``metrics`` is model (``live``, ``batch``, ``popularity``, ``incumbent``) → metric → value. The fields after
    ``files`` came later and may be empty: ``evaluation`` (intervals, paired tests, metrics beyond accuracy, per day),
    ``gate`` (the decision, its rule and sentences), ``search`` (grid, curve, choice), ``ranker`` (names, coefficients,
    standard errors, t, R², condition, θ and its curve), ``checks`` (of the data), ``seconds`` (by stage), ``days``
    (day → key of the partition that it was trained on).
    """

    format_version: int = FORMAT_VERSION
    shop_id: str
    version: str
    parent: str | None
    trained_at: datetime
    window_start: datetime
    window_end: datetime
    model: ModelSettings
    training: dict[str, Any]
    feature_names: list[str]
    coefficients: list[float]
    metrics: dict[str, dict[str, float]]
    rows: dict[str, int]
    files: dict[str, FileDigest] = {}
    evaluation: dict[str, Any] = {}
    gate: dict[str, Any] = {}
    search: dict[str, Any] = {}
    ranker: dict[str, Any] = {}
    checks: dict[str, Any] = {}
    seconds: dict[str, Any] = {}
    days: dict[str, Any] = {}


def new_version(trained_at: datetime, settings_digest: str) -> str:
    """A version that sorts by time and tells two runs of one second apart, also of the same settings.

    A scheduler delivers at least once: two runs under one version would write one folder between them.

    >>> new_version(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "abcdef0123")
    '20260102T030405Z-822dd6'
    """
    suffix = hashlib.sha256(f"{trained_at.astimezone(UTC).isoformat()} {settings_digest}".encode()).hexdigest()[:6]
    return f"{trained_at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{suffix}"


def write_snapshot(
    folder: Path,
    manifest: Manifest,
    items: Sequence[str],
    matrix: tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]],
    popularity: npt.NDArray[Any],
    extras: Mapping[str, npt.NDArray[Any]] | None = None,
) -> Manifest:
    """Write a snapshot into ``folder``, the manifest last, and return the manifest with its digests.

    Args:
        folder: created; must be empty.
        items: item ids in index order, I of them.
        matrix: B as CSR ``(indptr (I+1,), indices (nnz,), data (nnz,))``, each row sorted by index.
        popularity: ``(I,)`` counts, decayed or not.
        extras: arrays of :data:`ITEM_ARRAYS` by name; any of them may be absent.

    Raises:
        SnapshotError: the parts do not fit together.
    """
    indptr, indices, data = matrix
    extras = dict(extras or {})
    _check_extras(extras, len(items))
    if (
        len(indptr) != len(items) + 1
        or indptr[-1] != len(indices)
        or len(indices) != len(data)
        or len(popularity) != len(items)
    ):
        message = (
            f"{len(items)} items, {len(indptr)} pointers ending at {int(indptr[-1])}, {len(indices)} indices, "
            f"{len(data)} values and {len(popularity)} popularities do not make a CSR matrix; "
            "expected I+1 pointers ending at nnz, and I popularities"
        )
        raise SnapshotError(message)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {"indptr": indptr, "indices": indices, "data": data, "popularity": popularity, **extras}
    for name, values in arrays.items():
        np.save(folder / f"{name}.npy", np.ascontiguousarray(values, dtype=_ARRAYS.get(name, np.float32)))
    (folder / "items.json").write_bytes(json.dumps(list(items), ensure_ascii=False, separators=(",", ":")).encode())
    names = [*(f"{name}.npy" for name in arrays), "items.json"]
    sealed = msgspec.structs.replace(manifest, files={name: _digest(folder / name) for name in names})
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(sealed), indent=2))
    return sealed


def _check_extras(extras: Mapping[str, npt.NDArray[Any]], count: int) -> None:
    wrong = {name: values.shape for name, values in extras.items() if name not in ITEM_ARRAYS or len(values) != count}
    if wrong:
        message = f"arrays of items are {wrong}; expected ({count},) each, named one of {', '.join(ITEM_ARRAYS)}"
        raise SnapshotError(message)


def _digest(path: Path) -> FileDigest:
    with path.open("rb") as file:
        return FileDigest(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


@dataclass(frozen=True)
class Snapshot:
    """A snapshot opened for reading; arrays are memory-mapped, so processes on one machine share the pages.

    Open it with :meth:`open`. ``matrix`` is B as CSR; ``row(item_id)`` is the place of an item, −1 where unknown;
    ``extras`` holds the arrays of :data:`ITEM_ARRAYS` that the snapshot has.
    """

    folder: Path
    manifest: Manifest
    items: list[str]
    matrix: tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float32]]
    popularity: npt.NDArray[np.float32]
    extras: Mapping[str, npt.NDArray[np.float32]] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, *, verify: bool = True) -> "Snapshot":
        """Open the snapshot in ``folder``.

        Args:
            verify: compare every file with the manifest's size and SHA-256 (do so once after a download).

        Raises:
            SnapshotError: a file is missing, torn, or not what the manifest says; or the format is unknown.
        """
        manifest = cls.read_manifest(folder)
        for name, expected in manifest.files.items():
            path = folder / name
            if not path.is_file() or path.stat().st_size != expected.bytes or (verify and _digest(path) != expected):
                message = (
                    f"{path} does not match its manifest ({expected.bytes} bytes, sha256 {expected.sha256[:12]}…); "
                    "fetch it again"
                )
                raise SnapshotError(message)
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
        items = json.loads((folder / "items.json").read_bytes())
        matrix = (arrays["indptr"], arrays["indices"], arrays["data"])
        present = [name for name in ITEM_ARRAYS if f"{name}.npy" in manifest.files]
        extras = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in present}
        return cls(folder, manifest, items, matrix, arrays["popularity"], extras)

    @staticmethod
    def read_manifest(folder: Path) -> Manifest:
        """The manifest alone.

        Raises:
            SnapshotError: it is missing, unreadable, or of another format version.
        """
        path = folder / MANIFEST
        try:
            manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
        except (OSError, msgspec.MsgspecError) as exc:
            message = f"{path} cannot be read: {exc}; expected the manifest of a complete snapshot"
            raise SnapshotError(message) from exc
        if manifest.format_version != FORMAT_VERSION:
            message = (
                f"{path} has format_version {manifest.format_version}; this code reads {FORMAT_VERSION}; "
                "upgrade the reader first"
            )
            raise SnapshotError(message)
        return manifest

    @property
    def version(self) -> str:
        """The model version."""
        return self.manifest.version

    @cached_property
    def _rows(self) -> Mapping[str, int]:
        return {item: row for row, item in enumerate(self.items)}

    def row(self, item_id: str) -> int:
        """The place of an item in the index; −1 where the model does not know it."""
        return self._rows.get(item_id, -1)

    def rows(self, item_ids: Collection[str]) -> npt.NDArray[np.int32]:
        """The places of many items, −1 where the model does not know one."""
        return np.fromiter(map(self._rows.get, item_ids, repeat(-1)), np.int32, count=len(item_ids))

    @cached_property
    def popular(self) -> list[str]:
        """The 200 most popular items, best first."""
        return [self.items[i] for i in self.popular_rows]

    @cached_property
    def popular_rows(self) -> npt.NDArray[np.int32]:
        """Their places."""
        return np.argsort(-self.popularity, kind="stable")[:200].astype(np.int32)
