"""The API keys in force: read at the start, then followed, so that a rotation needs no restart."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from contracts.access import Key, matches, split_key
from contracts.errors import LiveshelfError
from contracts.settings import Settings
from stores.keys import KeyStore

__all__ = ["KeyRing"]

_log = logging.getLogger(__name__)
_FILE_S: Final = 5.0
_SECRET_S: Final = 60.0


class KeyRing:
    """Finds the key of a text in about two microseconds. Without ``keys`` in the settings it holds none.

    Raises (when made):
        SettingsError: keys are configured and cannot be read: a service that cannot tell who may ask must not start.
        StoreError: Secrets Manager did not answer.
    """

    def __init__(self, settings: Settings, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._store = KeyStore(settings) if settings.serving.keys else None
        self._keys: dict[str, Key] = {}
        self.log_key = ""
        if self._store:
            self._read(self._store)

    @property
    def configured(self) -> bool:
        """Whether keys are asked for at all."""
        return self._store is not None

    def _read(self, store: KeyStore) -> None:
        document = store.read()
        self._keys = {key.id: key for key in document.keys}
        self.log_key = document.log_key or self.log_key

    def find(self, text: str) -> Key | None:
        """The key with this text, if it is in force."""
        name, secret = split_key(text)
        key = self._keys.get(name)
        if not matches(secret, key) or key is None:
            return None
        return None if key.expires_at is not None and key.expires_at <= self._now() else key

    def in_force(self, key: Key) -> bool:
        """Whether a key that was found before still opens anything: for answers that go on for hours."""
        known = self._keys.get(key.id)
        if known is None or known.sha256 != key.sha256 or not set(key.scopes) <= set(known.scopes):
            return False
        return known.expires_at is None or known.expires_at > self._now()

    def refresh(self) -> None:
        """Read the document again; on any failure the keys stay as they are, and that is said."""
        if self._store is None:
            return
        try:
            self._read(self._store)
        except LiveshelfError as exc:
            _log.error("the API keys stay as they were: %s", exc)

    async def keep(self) -> None:
        """Follow the document until cancelled."""
        period_s = _SECRET_S if self._store is None or self._store.place.startswith(("arn:", "secret:")) else _FILE_S
        while True:
            await asyncio.sleep(period_s)
            await asyncio.to_thread(self.refresh)
