"""What a request brings to show who it is from, read from the raw ASGI scope in one pass over its headers."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from contracts.access import Scope

__all__ = ["COOKIE", "Shown", "client_of", "from_elsewhere", "is_loopback", "scope_needed", "shown"]

COOKIE: Final = "liveshelf_key"
_COOKIE: Final = COOKIE.encode() + b"="
_LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
_CHANGING: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Shown(NamedTuple):
    """``key`` is the text of the key, ``""`` for none; ``via`` how it came: ``header``, ``cookie`` or ``query``."""

    key: str
    via: str
    host: str
    origin: str
    site: str

    def cross_site(self, method: str) -> bool:
        """Whether another site's page may be using the visitor's cookie to change something (beside SameSite)."""
        return self.via == "cookie" and self.foreign_change(method)

    def foreign_change(self, method: str) -> bool:
        """Whether another site's page wants to change something, with whatever it shows or without."""
        return method in _CHANGING and from_elsewhere(self.origin, self.host, self.site)


def from_elsewhere(origin: str, host: str, site: str) -> bool:
    """Whether the page that asks is of another site.

    ``site`` is ``Sec-Fetch-Site``, by which a browser says so itself, and no script can. It counts first: CloudFront
    asks an API under another host than the page did. Browsers from before 2023 say ``origin`` alone, programs neither.

    >>> from_elsewhere("https://shop.example", "shop.example", ""), from_elsewhere("null", "shop.example", "")
    (False, True)
    >>> from_elsewhere("https://d1.cloudfront.net", "x.execute-api.amazonaws.com", "same-origin")
    False
    """
    if site:
        return site not in ("same-origin", "none")
    return bool(origin) and origin.partition("://")[2] != host


def shown(headers: Iterable[tuple[bytes, bytes]], query: bytes) -> Shown:
    """The credential of a request: a header wins over the cookie, the cookie over the query.

    >>> shown([(b"authorization", b"Bearer lsk_a_b"), (b"host", b"x")], b"")
    Shown(key='lsk_a_b', via='header', host='x', origin='', site='')
    >>> shown([(b"cookie", b"a=1; liveshelf_key=lsk_c_d")], b"key=lsk_e_f").via, shown([], b"n=1&key=lsk_e_f").key
    ('cookie', 'lsk_e_f')
    """
    bearer = header = cookie = host = origin = site = b""
    for name, value in headers:
        if name == b"authorization":
            bearer = value
        elif name == b"x-api-key":
            header = value
        elif name == b"cookie" and _COOKIE in value:
            cookie = value
        elif name == b"host":
            host = value
        elif name == b"origin":
            origin = value
        elif name == b"sec-fetch-site":
            site = value
    names = host.decode("latin-1"), origin.decode("latin-1"), site.decode("latin-1")
    if bearer[:7].lower() == b"bearer ":
        return Shown(bearer[7:].strip().decode("latin-1"), "header", *names)
    if header:
        return Shown(header.strip().decode("latin-1"), "header", *names)
    if cookie:
        found = next((p for p in map(bytes.strip, cookie.split(b";")) if p.startswith(_COOKIE)), b"")
        return Shown(found.removeprefix(_COOKIE).decode("latin-1"), "cookie", *names)
    if b"key=" in query:
        return Shown(dict(parse_qsl(query.decode("latin-1"))).get("key", ""), "query", *names)
    return Shown("", "", *names)


def scope_needed(path: str) -> Scope | None:
    """What a key must be allowed for a path; ``None`` for what anybody may see: pages, their files, health.

    >>> [scope_needed(p) for p in ("/v1/events", "/v1/users/7/profile", "/v1/admin/models", "/healthz", "/v1/session")]
    ['events', 'read', 'admin', None, None]
    """
    if not path.startswith("/v1/"):
        return None
    if path.startswith("/v1/admin/") or path == "/v1/admin":
        return "admin"
    if path == "/v1/events":
        return "events"
    return None if path == "/v1/session" else "read"


def client_of(scope: Any) -> str:
    """The address that is limited: an IPv4 address, or an IPv6 /64, which is what one subscriber has.

    >>> client_of({"client": ("2001:db8:1:2:3::4", 1)}), client_of({"client": ("203.0.113.9", 1)}), client_of({})
    ('2001:db8:1:2::', '203.0.113.9', '?')
    """
    client = scope.get("client")
    return _subscriber(str(client[0])[:64]) if client else "?"


@lru_cache(maxsize=4096)
def _subscriber(host: str) -> str:
    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return host
    mapped = address.ipv4_mapped
    return str(mapped) if mapped else str(IPv6Address(int(address) >> 64 << 64))


def is_loopback(scope: Any, host: str) -> bool:
    """Whether a request is from this machine and means it.

    The name it asked for must be this machine's too: otherwise a page in this machine's browser could reach the service
    under a name that it made resolve to 127.0.0.1, and a proxy here would open it to everybody.

    >>> local = {"client": ("127.0.0.1", 5)}
    >>> is_loopback(local, "localhost:8000"), is_loopback(local, "evil.example"), is_loopback({"client": None}, "")
    (True, False, False)
    """
    client = scope.get("client")
    if not client or not _local_address(str(client[0])[:64]):
        return False
    name = host if host.endswith("]") else host.rpartition(":")[0] or host
    return name in _LOCAL_NAMES


@lru_cache(maxsize=64)
def _local_address(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
