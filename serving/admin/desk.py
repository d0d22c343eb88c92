"""What the admin routes share: the stores, opened when first used, and the audit log around every change."""

import asyncio
import json
import logging
import secrets
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from fastapi import Request

from contracts.access import Key
from contracts.audit import AuditEntry, audit_path, audit_prefix
from contracts.errors import ChangedMeanwhile, ContractError, StoreError
from contracts.settings import Settings, to_properties
from serving.guard import KEY
from serving.replies import ApiError
from stores.cluster import Cluster
from stores.objects import NotFound, Objects
from stores.tables import Tables

__all__ = ["Desk", "expected_tag"]

T = TypeVar("T")
_log = logging.getLogger(__name__)
_LAST_LINES: Final = 12


class Desk:
    """One a process; nothing is opened before an admin comes."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._process: subprocess.Popen[str] | None = None
        self._going: threading.Thread | None = None
        self._asked = self._closed = False
        self._lock = threading.Lock()
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @cached_property
    def objects(self) -> Objects:
        """The bucket."""
        return Objects.from_settings(self.settings)

    @cached_property
    def cluster(self) -> Cluster:
        """Redis, with an admin's patience."""
        return Cluster.from_settings(self.settings, timeout_ms=2000)

    @cached_property
    def tables(self) -> Tables:
        """The persistent store."""
        return Tables.from_settings(self.settings)

    async def read(self, work: Callable[[], T]) -> T:
        """Run a read in a thread; what goes wrong becomes an answer."""
        try:
            return await asyncio.to_thread(work)
        except ContractError as exc:
            raise ApiError(400, "invalid", str(exc)) from exc
        except ChangedMeanwhile as exc:
            raise ApiError(412, "changed_meanwhile", str(exc)) from exc
        except NotFound as exc:
            raise ApiError(404, "not_found", "there is no such document yet") from exc
        except StoreError as exc:
            raise ApiError(503, "store_away", "a store does not answer; try again") from exc

    @asynccontextmanager
    async def noted(self, request: Request, shop: str, action: str, target: str) -> AsyncIterator[None]:
        """A change between two entries of the audit log. Where the first cannot be written nothing is changed."""
        key: Key | None = request.scope.get(KEY)
        now = datetime.now(UTC)
        name = f"{now:%Y%m%dT%H%M%S%f}-{secrets.token_hex(3)}"
        entry = AuditEntry(id=name, at=now, who=key.id if key else "open", action=action, target=target[:200])
        await self.read(lambda: self._note(shop, entry))
        outcome, detail = "done", ""
        try:
            yield
        except ApiError as exc:
            outcome, detail = exc.code, str(exc)[:300]
            raise
        except BaseException:
            outcome = "fault"
            raise
        finally:
            ended = msgspec.structs.replace(entry, outcome=outcome, detail=detail)
            await self.read(lambda: self._note(shop, ended))

    async def change(self, request: Request, shop: str, action: str, target: str, work: Callable[[], T]) -> T:
        """Run a change in a thread, :meth:`noted`."""
        async with self.noted(request, shop, action, target):
            return await self.read(work)

    def _note(self, shop: str, entry: AuditEntry) -> None:
        self.objects.replace(audit_path(shop, entry), msgspec.json.encode(entry), None)

    def audit(self, shop: str, newest: date, days: int, limit: int) -> list[AuditEntry]:
        """The changes of some days, newest first, each with its outcome."""
        found: dict[str, AuditEntry] = {}
        for back in range(days):
            for path in self.objects.list(audit_prefix(shop, newest - timedelta(days=back))):
                entry = msgspec.json.decode(self.objects.get(path), type=AuditEntry)
                found[entry.id] = entry  # the paths of one change are in the order of its steps
            if len(found) >= limit:
                break
        return sorted(found.values(), key=lambda entry: entry.id, reverse=True)[:limit]

    def go_on_forgetting(self) -> bool:
        """Start ``python -m batch.forget run`` beside, where the batch is installed; else the next training does it."""
        if find_spec("batch") is None or find_spec("pyarrow") is None:
            return False
        with self._lock:
            self._asked = True
            if self._going is None or not self._going.is_alive():
                self._going = threading.Thread(target=self._go_on, name="forget", daemon=True)
                self._going.start()
        return True

    def _go_on(self) -> None:
        """Run the command; again where somebody was asked about meanwhile, whom it may not have seen."""
        while True:
            with self._lock:
                if not self._asked or self._closed:
                    self._going = None
                    return
                self._asked = False
                command = [sys.executable, "-m", "batch.forget", "run"]
                self._folder = self._folder or tempfile.TemporaryDirectory(prefix="liveshelf-desk-")
                file = Path(self._folder.name) / "application_properties.json"
                file.write_text(json.dumps(to_properties(self.settings)))
                command += ["--properties", str(file)]
                # What it says names no person; it says it to stderr.
                self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            with self._process as process:
                _follow(process)

    def close(self) -> None:
        """End the command that runs beside; the next one goes on where it was."""
        with self._lock:
            self._closed = True
        if self._process and self._process.poll() is None:
            self._process.terminate()
            self._process.wait(10)
        if self._folder:
            self._folder.cleanup()


def _follow(process: subprocess.Popen[str]) -> None:
    """Wait for the command that deletes, and tell the log where it did not get through, with its last words."""
    assert process.stderr is not None
    last = deque(process.stderr, maxlen=_LAST_LINES)
    if (status := process.wait()) > 0:
        said = "".join(last).strip()
        _log.error("python -m batch.forget run ended with status %d; open deletions are not done: %s", status, said)


def expected_tag(request: Request) -> str | None:
    """The entity tag that the client read; ``None`` where it says that there is nothing yet (``If-None-Match: *``).

    Without either nothing is changed: two admins would overwrite each other.
    """
    tag = request.headers.get("if-match", "").strip()
    if tag and tag != "*":
        return tag.removeprefix("W/")
    if request.headers.get("if-none-match", "").strip() == "*":
        return None
    raise ApiError(
        428, "tag_missing", "send If-Match with the ETag that you read, or If-None-Match: * where there is nothing yet"
    )
