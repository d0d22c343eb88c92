"""Before any route: who asks, whether they may, and how often; and the headers that every answer carries."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contracts.access import Key
from contracts.settings import ServingSettings
from serving.buckets import TokenBuckets
from serving.credentials import Shown, client_of, is_loopback, scope_needed, shown
from serving.keyring import KeyRing
from serving.logs import Names
from serving.replies import error

__all__ = ["KEY", "Guard", "Refusal", "guarded"]

KEY: Final = "liveshelf.key"
"""Where the scope holds the :class:`Key` of the request, for the routes; absent where nobody has to have one."""

_access = logging.getLogger("serving.access")

_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
_POLICY: Final = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_TRANSPORT: Final = (b"strict-transport-security", b"max-age=31536000")


def guarded(headers: Iterable[tuple[bytes, bytes]], *, https: bool) -> list[tuple[bytes, bytes]]:
    """An answer's headers with those that every answer carries.

    >>> len(guarded([(b"x-frame-options", b"SAMEORIGIN")], https=False))
    4
    """
    found = list(headers)
    there = {name for name, _ in found}
    found += [pair for pair in (*_HEADERS, _POLICY) if pair[0] not in there]
    if https:
        found.append(_TRANSPORT)
    return found


class Refusal(NamedTuple):
    """Why a request does not reach a route; ``wait_s`` is when to come again, 0 for never like this."""

    status: int
    code: str
    message: str
    wait_s: float = 0.0


class Guard:
    """ASGI middleware. What it does for a request costs some ten microseconds."""

    def __init__(
        self,
        app: ASGIApp,
        ring: KeyRing,
        settings: ServingSettings,
        names: Names,
        failures: TokenBuckets,
        access_log: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app, self._ring, self._settings, self._names = app, ring, settings, names
        self._log = access_log
        self._clock = clock
        self._of_key = TokenBuckets(settings.rate_per_key_s, 2 * settings.rate_per_key_s, clock)
        self._of_client = TokenBuckets(settings.rate_per_client_s, 2 * settings.rate_per_client_s, clock)
        self._failures = failures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        seen = _Seen(send, scope["scheme"] == "https")
        began = self._clock()
        try:
            refusal = self.admit(scope)
            if refusal is None:
                await self._app(scope, receive, seen.send)
            else:
                await _answer(refusal)(scope, receive, seen.send)
        finally:
            if self._log:
                self._tell(scope, seen.status, self._clock() - began)
        return None

    def admit(self, scope: Scope) -> Refusal | None:
        """Whether a request may go on; where it may, its key is in the scope."""
        needed = scope_needed(scope["path"])
        if needed is None:
            return None
        has = shown(scope["headers"], scope["query_string"])
        if not self._ring.configured:
            return self._without_keys(scope, has, needed)
        key = self._ring.find(has.key) if has.key else None
        if key is None or (has.via == "query" and not key.public):
            return self._refused(scope, has, key)
        if needed not in key.scopes:
            return _forbidden(needed, key)
        if has.cross_site(scope["method"]):
            return _CROSS_SITE
        wait_s = self._of_key.take(key.id)
        if key.public and not wait_s:
            wait_s = self._of_client.take(client_of(scope))
        if wait_s:
            return Refusal(
                429, "too_many_requests", f"more requests than this key may send; wait {wait_s:.2f} s", wait_s
            )
        scope[KEY] = key
        return None

    def _without_keys(self, scope: Scope, has: Shown, needed: str) -> Refusal | None:
        """Nobody shows a key, so a page of another site that a browser here has open must not be taken for its owner.

        Events alone may come from anywhere where the service is open to all.
        """
        if not (self._settings.open or is_loopback(scope, has.host)):
            return _CLOSED
        anywhere = self._settings.open and needed == "events"
        if has.foreign_change(scope["method"]) and not anywhere and has.origin not in self._settings.origins:
            return _FOREIGN
        return None

    def _refused(self, scope: Scope, has: Shown, key: Key | None) -> Refusal:
        if wait_s := self._failures.take(client_of(scope)):
            return Refusal(429, "too_many_failures", "too many requests without a valid key from this address", wait_s)
        if key is not None:
            return Refusal(
                401, "secret_in_address", "only a public key may stand in an address; send this one as a header"
            )
        if has.key:
            return Refusal(401, "unknown_key", "the API key is unknown, revoked or expired; ask for a new one")
        return Refusal(401, "no_key", "an API key is needed: send the header Authorization: Bearer lsk_…")

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        key: Key | None = scope.get(KEY)
        _access.info(
            "%s %s %d %.1f ms key=%s client=%s",
            scope["method"],
            self._names.path(scope["path"]),
            status,
            seconds * 1000,
            key.id if key else "-",
            self._names.of(client_of(scope)),
        )


_CLOSED: Final = Refusal(
    401, "no_keys", "this service has no API keys, so it answers only on its own machine; make some: docs/security.md"
)
_FOREIGN: Final = Refusal(
    403,
    "cross_site",
    "without API keys only this service's own pages change something; name the page's origin in cors.origins, or make "
    "keys: docs/security.md",
)
_CROSS_SITE: Final = Refusal(
    403, "cross_site", "a cookie is taken from this site's own pages only; send the key as a header"
)


def _forbidden(needed: str, key: Key) -> Refusal:
    return Refusal(403, "wrong_scope", f"key {key.id} may {', '.join(key.scopes)}; this needs {needed}")


def _answer(refusal: Refusal) -> Any:
    headers = {"Cache-Control": "no-store"}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="liveshelf"'
    if refusal.wait_s:
        headers["Retry-After"] = str(max(1, round(refusal.wait_s + 0.5)))
    return error(refusal.status, refusal.code, refusal.message, headers)


class _Seen:
    """Passes an answer on with the headers that are missing, and remembers its status."""

    __slots__ = ("_https", "_send", "status")

    def __init__(self, send: Send, https: bool) -> None:
        self._send, self._https, self.status = send, https, 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": guarded(message.get("headers", ()), https=self._https)}
        await self._send(message)
