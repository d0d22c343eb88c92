"""What each part may do in the cache: one ElastiCache user a part, with the commands its code sends and no other.

The strings are Redis ACL rules; a test gives them to a real server and runs the parts' own code under them.
"""

from collections.abc import Mapping
from typing import Final

__all__ = ["ACCESS", "CACHE_PARTS"]

_CONNECT: Final = (
    "hello",
    "auth",
    "ping",
    "command",
    "client|setinfo",
    "client|setname",
    "cluster|slots",
    "asking",
)
"""What every client of a cluster needs to log in and to find its way."""
_READ: Final = ("get", "getrange", "exists", "hgetall", "zrange", "zrevrange")
_SCRIPTED: Final = ("evalsha", "script|load", "set", "expire", "hget", "hset", "hlen", "hkeys", "hdel")
"""Guarded writes are scripts; a script may only do what its user may."""


def _rule(*commands: str, keys: str = "~*") -> str:
    return " ".join(["on", keys, "resetchannels", "-@all", *(f"+{command}" for command in (*_CONNECT, *commands))])


ACCESS: Final[Mapping[str, str]] = {
    "stream": _rule(*_READ, *_SCRIPTED, "zadd"),
    "trainer": _rule(*_READ, *_SCRIPTED, "zadd", "scan", "del"),
    "serving": _rule(*_READ),
    "control": _rule(*_READ, "scan", "del"),
}
"""By part: the stream and the trainer write, serving reads. The trainer deletes people who ask for it, and so does the
function of the admin routes, at once."""

CACHE_PARTS: Final = tuple(ACCESS)
