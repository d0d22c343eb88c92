"""HTTP around typed values: JSON answers, entity tags, errors of one shape."""

from hashlib import blake2b
from typing import Any, Final

import msgspec
from fastapi import Request, Response

from serving.answers import ErrorAnswer, ErrorBody

__all__ = ["ApiError", "encode", "error", "json_answer", "tag_of", "tagged_answer"]

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


def tagged_answer(request: Request, value: Any) -> Response:
    """``value`` as JSON with its entity tag; 304 where the client has it already."""
    body = encode(value)
    tag = tag_of(body)
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    known = request.headers.get("if-none-match", "")
    if known == "*" or tag in (part.strip().removeprefix("W/") for part in known.split(",")):
        return Response(None, 304, headers)
    return Response(body, 200, headers, "application/json")
