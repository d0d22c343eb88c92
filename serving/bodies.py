"""Reading the body of a request: bounded, and as a typed value."""

from typing import Any, TypeVar

import msgspec
from fastapi import Request

from serving.replies import ApiError

__all__ = ["bounded_body", "json_of"]

T = TypeVar("T")
SMALL = 64 * 1024


async def bounded_body(request: Request, limit: int, remedy: str = "send less at a time") -> bytes:
    """The body, never more of it in memory than ``limit`` bytes and one chunk."""
    chunks, size = [], 0
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or len(announced) > 18 or int(announced) <= limit:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                break
            chunks.append(chunk)
        else:
            return b"".join(chunks)
    raise ApiError(413, "too_large", f"the body is over {limit} bytes; {remedy}")


async def json_of(request: Request, kind: type[T], limit: int = SMALL) -> T:
    """The body as a value of ``kind``."""
    value: T = decoded(await bounded_body(request, limit), kind)
    return value


def decoded(body: bytes, kind: Any) -> Any:
    """The value; what does not fit is answered with 400 and says where."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise ApiError(400, "bad_body", f"the body cannot be read: {str(exc)[:300]}") from exc
