"""HTTP around typed values: JSON answers, entity tags, errors of one shape."""

from hashlib import blake2b
from typing import Any, Final

import msgspec
from fastapi import Request, Response

from serving.answers import ErrorAnswer, ErrorBody

__all__ = ["ApiError", "api_error", "encode", "error", "json_answer", "tag_of", "tagged_answer", "tagged_body"]

encode: Final = msgspec.json.Encoder().encode


class ApiError(Exception):
    """Answered as ``{"error": {code, message}}`` with ``status``."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


def json_answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """``value`` as JSON."""
    return Response(encode(value), status, headers, "application/json")


def error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    """An error answer."""
    return json_answer(ErrorAnswer(ErrorBody(code, message)), status, headers)


def tag_of(body: bytes) -> str:
    """The entity tag of a body.

    >>> tag_of(b"{}")
    '"b4b8bf78e9ad"'
    """
    return f'"{blake2b(body, digest_size=6).hexdigest()}"'


def api_error(exc: ApiError) -> Response:
    """What a raised error is answered with."""
    return error(exc.status, exc.code, str(exc), {"Retry-After": "1"} if exc.status in (429, 503) else None)


def tagged_answer(request: Request, value: Any) -> Response:
    """``value`` as JSON with its entity tag; 304 where the client has it already."""
    body = encode(value)
    return tagged_body(request, body, tag_of(body))


def tagged_body(request: Request, body: bytes, tag: str) -> Response:
    """JSON that is encoded already, with its entity tag; 304 where the client has it."""
    known = request.headers.get("if-none-match", "")
    if known and (known == "*" or tag in (part.strip().removeprefix("W/") for part in known.split(","))):
        return _Ready(b"", 304, [(b"etag", tag.encode()), _PRIVATE])
    length = str(len(body)).encode()
    return _Ready(body, 200, [(b"etag", tag.encode()), _PRIVATE, (b"content-length", length), _JSON])


_PRIVATE: Final = (b"cache-control", b"private, no-cache")
_JSON: Final = (b"content-type", b"application/json")


class _Ready(Response):
    """A response whose headers are as they are sent: the usual one takes them apart and puts them together."""

    def __init__(self, body: bytes, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.body, self.status_code, self.raw_headers, self.background = body, status, headers, None
