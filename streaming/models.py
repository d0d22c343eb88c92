"""The live snapshot of each shop: pointer polled, downloaded once a machine, memory-mapped, switched whole."""

import fcntl
import logging
import shutil
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import msgspec

from contracts.errors import LiveshelfError, SnapshotError
from contracts.lake import model_prefix, pointer_path
from contracts.pointer import Pointer
from contracts.snapshot import Snapshot
from stores.objects import NotFound, Objects

__all__ = ["Models"]

_log = logging.getLogger(__name__)
_KEEP: Final = 3  # snapshots on disk: the live one, the one before (still mapped by a reader), one for a roll-back
_MOST_SKIPPED: Final = 32


class Models:
    """Snapshots of the given shops. ``current`` never blocks on the network after a shop's first call.

    What cannot be used (torn, damaged, of a format that this code does not read, or out of reach) is refused with a
    warning that says why, leaves nothing on the disk, and is tried again ever less often: a snapshot may have hundreds
    of megabytes, and the pointer is looked at every other second. Another version is tried at once.
    """

    def __init__(self, objects: Objects, shops: Collection[str], cache: Path, poll_s: float) -> None:
        self._objects = objects
        self._cache = cache
        self._poll_s = poll_s
        self._shops = frozenset(shops)
        self._live: dict[str, Snapshot | None] = {}
        self._refused: dict[str, tuple[str, int]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="model-pointer", daemon=True)

    def start(self) -> None:
        """Begin to follow the pointers of the shops that were asked for."""
        self._thread.start()

    def close(self) -> None:
        """Stop following."""
        self._stop.set()

    def current(self, shop: str) -> Snapshot | None:
        """The snapshot to score a whole batch with; ``None`` where nothing is published yet."""
        if shop not in self._live:
            if shop not in self._shops:  # whatever a producer writes there, it is not looked up, nor polled for
                return None
            self._refresh(shop)
        return self._live[shop]

    def _follow(self) -> None:
        looks = 0
        while not self._stop.wait(self._poll_s):
            looks += 1
            for shop in list(self._live):
                _, failures = self._refused.get(shop, ("", 0))
                self._refresh(shop, again=looks % min(2**failures, _MOST_SKIPPED) == 0)

    def _refresh(self, shop: str, *, again: bool = True) -> None:
        """Look at the pointer; keep the old snapshot whatever goes wrong, and say so.

        Whatever: the thread that follows the pointers has no caller, and must not end in silence. ``again`` is false
        where a version that was refused is not to be tried once more.
        """
        live = self._live.setdefault(shop, None)
        try:
            version = self._named(shop)
            if version is None or (live is not None and live.version == version):
                return
            refused, failures = self._refused.get(shop, (version, 0))
            if refused == version and failures and not again:
                return
            self._refused[shop] = (version, failures + 1 if refused == version else 1)
            self._live[shop] = self._fetch(shop, version)
            del self._refused[shop]
            _log.info("shop %s: model %s -> %s", shop, live.version if live else None, version)
        except (LiveshelfError, msgspec.MsgspecError, OSError) as exc:
            _log.warning("shop %s keeps model %s: %s", shop, live.version if live else None, exc)
        except Exception:
            _log.exception("shop %s keeps model %s", shop, live.version if live else None)

    def _named(self, shop: str) -> str | None:
        """The version that the pointer names; ``None`` where nothing is published."""
        try:
            return msgspec.json.decode(self._objects.get(pointer_path(shop)), type=Pointer).version
        except NotFound:
            return None

    def _fetch(self, shop: str, version: str) -> Snapshot:
        """Map a snapshot, downloaded once for all workers of this machine (file lock, rename when verified)."""
        home = self._cache / shop
        home.mkdir(parents=True, exist_ok=True)
        folder = home / version
        with (home / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left in home.glob(".*-partial"):  # whoever holds the lock is the only one to download
                shutil.rmtree(left, ignore_errors=True)
            snapshot = _opened(folder)
            if snapshot is None:
                self._download(shop, version, home)
                snapshot = Snapshot.open(folder, verify=False)
        snapshot.row("")  # build the index here, not in the first batch
        return snapshot

    def _download(self, shop: str, version: str, home: Path) -> None:
        partial = home / f".{version}-partial"
        prefix = model_prefix(shop, version)
        try:
            self._objects.download_folder(prefix, ["manifest.json"], partial)
            self._objects.download_folder(prefix, Snapshot.read_manifest(partial).files, partial)
            Snapshot.open(partial, verify=True)
            partial.rename(home / version)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        self._prune(home, version)

    def _prune(self, home: Path, version: str) -> None:
        # A mapped file stays readable after its removal, so a reader that has not switched yet is safe.
        folders = sorted((p for p in home.iterdir() if p.is_dir() and p.name != version), key=_modified)
        for folder in folders[: -(_KEEP - 1)]:
            shutil.rmtree(folder, ignore_errors=True)


def _opened(folder: Path) -> Snapshot | None:
    """The snapshot in ``folder``; where it is not whole (an earlier process met a full disk), the folder is removed."""
    try:
        return Snapshot.open(folder, verify=False) if folder.exists() else None
    except (SnapshotError, OSError, ValueError) as exc:
        _log.warning("%s is fetched again: %s", folder, exc)
        shutil.rmtree(folder)
        return None


def _modified(path: Path) -> Any:
    return path.stat().st_mtime
