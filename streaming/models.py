"""The live snapshot of each shop: pointer polled, downloaded once a machine, memory-mapped, switched whole."""

import fcntl
import logging
import os
import shutil
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec

from contracts.errors import LiveshelfError
from contracts.lake import model_prefix, pointer_path
from contracts.pointer import Pointer
from contracts.snapshot import Snapshot
from stores.objects import NotFound, Objects

__all__ = ["Models"]

_log = logging.getLogger(__name__)
_KEEP = 3  # snapshots kept on disk: the live one, the one before (still mapped by a reader), one for a roll-back


class Models:
    """Snapshots of the given shops. ``current`` never blocks on the network after a shop's first call."""

    def __init__(self, objects: Objects, shops: Collection[str], cache: Path, poll_s: float) -> None:
        self._objects = objects
        self._cache = cache
        self._poll_s = poll_s
        self._shops = frozenset(shops)
        self._live: dict[str, Snapshot | None] = {}
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
        while not self._stop.wait(self._poll_s):
            for shop in list(self._live):
                self._refresh(shop)

    def _refresh(self, shop: str) -> None:
        """Look at the pointer; keep the old snapshot whatever goes wrong, and say so.

        Whatever: the thread that follows the pointers has no caller, and must not end in silence.
        """
        live = self._live.setdefault(shop, None)
        try:
            pointer = msgspec.json.decode(self._objects.get(pointer_path(shop)), type=Pointer)
            if live is None or live.version != pointer.version:
                self._live[shop] = self._fetch(shop, pointer.version)
                _log.info("shop %s: model %s -> %s", shop, live.version if live else None, pointer.version)
        except NotFound:
            return
        except (LiveshelfError, msgspec.MsgspecError, OSError) as exc:
            _log.warning("shop %s keeps model %s: %s", shop, live.version if live else None, exc)
        except Exception:
            _log.exception("shop %s keeps model %s", shop, live.version if live else None)

    def _fetch(self, shop: str, version: str) -> Snapshot:
        """Download a snapshot once for all workers of this machine (file lock, rename when verified) and map it."""
        home = self._cache / shop
        home.mkdir(parents=True, exist_ok=True)
        folder = home / version
        with (home / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                partial = home / f".{version}-{os.getpid()}"
                shutil.rmtree(partial, ignore_errors=True)
                prefix = model_prefix(shop, version)
                self._objects.download_folder(prefix, ["manifest.json"], partial)
                self._objects.download_folder(prefix, Snapshot.read_manifest(partial).files, partial)
                Snapshot.open(partial, verify=True)
                partial.rename(folder)
                self._prune(home, version)
        snapshot = Snapshot.open(folder, verify=False)
        snapshot.row("")  # build the index here, not in the first batch
        return snapshot

    def _prune(self, home: Path, version: str) -> None:
        # A mapped file stays readable after its removal, so a reader that has not switched yet is safe.
        folders = sorted((p for p in home.iterdir() if p.is_dir() and p.name != version), key=_modified)
        for folder in folders[: -(_KEEP - 1)]:
            shutil.rmtree(folder, ignore_errors=True)


def _modified(path: Path) -> Any:
    return path.stat().st_mtime
