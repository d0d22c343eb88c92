"""API Gateway's HTTP API, payload format 2.0, to and from ASGI: pure functions over dictionaries.

Reference: "Create AWS Lambda proxy integrations for HTTP APIs" in the API Gateway developer guide. Header names come in
lower case, repeated headers joined by commas, cookies apart from them. The path comes with its escapes where a client
sent some; what is in ``%2F`` belongs to an id, which the routes take as a path.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote, unquote

__all__ = ["Answered", "body_of", "scope_of"]

Headers = list[tuple[bytes, bytes]]
_TEXT: Final = ("text/", "application/json", "application/javascript", "image/svg+xml")
_DEFAULT_STAGE: Final = "$default"


def body_of(event: Mapping[str, Any]) -> bytes:
    """The request's body.

    >>> body_of({"body": "e30=", "isBase64Encoded": True}), body_of({"body": "{}"}), body_of({})
    (b'{}', b'{}', b'')
    """
    body = event.get("body") or ""
    return b64decode(body) if event.get("isBase64Encoded") else body.encode()


def scope_of(event: Mapping[str, Any]) -> dict[str, Any]:
    """The ASGI scope of a request. A named stage, which begins the path, is taken off: routes know nothing of it.

    >>> http = {"method": "GET", "path": "/live/v1/items/a%2Fb", "sourceIp": "192.0.2.1"}
    >>> scope = scope_of({"rawPath": "/live/v1/items/a%2Fb", "rawQueryString": "n=5", "headers": {"host": "shop"},
    ...                   "cookies": ["a=1", "b=2"], "requestContext": {"http": http, "stage": "live"}})
    >>> scope["path"], scope["query_string"], scope["headers"]
    ('/v1/items/a/b', b'n=5', [(b'host', b'shop'), (b'cookie', b'a=1; b=2')])
    """
    context = event["requestContext"]
    http = context["http"]
    path = event["rawPath"]
    stage = context.get("stage", _DEFAULT_STAGE)
    if stage != _DEFAULT_STAGE:
        path = path.removeprefix(f"/{stage}") or "/"
    headers: Headers = [(name.lower().encode("latin-1"), value.encode()) for name, value in event["headers"].items()]
    if cookies := event.get("cookies"):
        headers.append((b"cookie", "; ".join(cookies).encode()))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": http["method"],
        "scheme": "https",
        "path": unquote(path),
        "raw_path": quote(unquote(path)).encode(),
        "query_string": event.get("rawQueryString", "").encode("latin-1"),
        "root_path": "",
        "headers": headers,
        "client": (http.get("sourceIp", ""), 0),
        "server": (context.get("domainName", ""), 443),
    }


class Answered:
    """Gathers what an application sends into the function's answer. A body that is not text goes as base64."""

    def __init__(self) -> None:
        self._status = 500
        self._headers: Headers = []
        self._parts: list[bytes] = []

    async def send(self, message: Mapping[str, Any]) -> None:
        """The ``send`` of ASGI."""
        if message["type"] == "http.response.start":
            self._status, self._headers = message["status"], list(message.get("headers", ()))
        elif message["type"] == "http.response.body":
            self._parts.append(bytes(message.get("body", b"")))

    def payload(self) -> dict[str, Any]:
        """The answer as API Gateway expects it."""
        body = b"".join(self._parts)
        headers, cookies = _joined(self._headers)
        text = headers.get("content-type", "text/").startswith(_TEXT) and "content-encoding" not in headers
        answer: dict[str, Any] = {
            "statusCode": self._status,
            "headers": headers,
            "body": body.decode() if text else b64encode(body).decode(),
            "isBase64Encoded": not text,
        }
        return answer | ({"cookies": cookies} if cookies else {})


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> tuple[dict[str, str], list[str]]:
    """Headers by name, repeated ones joined by commas, and cookies, which do not bear that.

    >>> _joined([(b"Vary", b"a"), (b"vary", b"b"), (b"set-cookie", b"x=1"), (b"set-cookie", b"y=2")])
    ({'vary': 'a,b'}, ['x=1', 'y=2'])
    """
    joined: dict[str, str] = {}
    cookies = []
    for raw, value in headers:
        name, text = raw.decode("latin-1").lower(), value.decode("latin-1")
        if name == "set-cookie":
            cookies.append(text)
        else:
            joined[name] = f"{joined[name]},{text}" if name in joined else text
    return joined, cookies
