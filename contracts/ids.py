"""Identifiers: opaque strings of 1 to 128 printable characters; shop ids are narrower because they begin every path."""

import re
from functools import lru_cache
from typing import Final

from contracts.errors import InvalidId

__all__ = ["DEFAULT_SHOP", "MAX_ID_LENGTH", "check_id", "check_shop", "is_id", "is_shop", "subject_of"]

DEFAULT_SHOP: Final = "default"
MAX_ID_LENGTH: Final = 128
_SHOP_LENGTH: Final = 64
_SHOP = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def is_id(value: str) -> bool:
    """Whether ``value`` has 1 to 128 characters, all printable.

    >>> is_id("sku-1"), is_id(""), is_id("a\\nb"), is_id("x" * 129)
    (True, False, False, False)
    """
    return 0 < len(value) <= MAX_ID_LENGTH and value.isprintable()


def is_shop(value: str) -> bool:
    """Whether ``value`` is a shop id: 1 to 64 of a-z, 0-9, ``_`` and ``-``, so that it is safe in keys and paths.

    >>> is_shop("default"), is_shop("My Shop"), is_shop("a:b")
    (True, False, False)
    """
    return len(value) <= _SHOP_LENGTH and _has_shop_form(value)


@lru_cache(maxsize=1024)  # asked for every event, and a deployment has few shops
def _has_shop_form(value: str) -> bool:
    return _SHOP.fullmatch(value) is not None


def check_id(value: str, what: str) -> str:
    """Return ``value`` or raise :class:`InvalidId`; ``what`` names the field in the message."""
    if is_id(value):
        return value
    message = f"{what} is {value[:40]!r}; expected 1 to {MAX_ID_LENGTH} printable characters"
    raise InvalidId(message)


def check_shop(value: str) -> str:
    """Return ``value`` or raise :class:`InvalidId`."""
    if is_shop(value):
        return value
    message = f"shop_id is {value[:80]!r}; expected 1 to 64 of a-z, 0-9, '_' and '-', beginning with a letter or digit"
    raise InvalidId(message)


def subject_of(user_id: str | None, anonymous_id: str | None) -> str:
    """The key part under which a person's behaviour is kept; known users and anonymous visitors never collide.

    >>> subject_of("42", None), subject_of(None, "42"), subject_of("42", "9")
    ('u.42', 'a.42', 'u.42')
    """
    if user_id is not None:
        return f"u.{user_id}"
    if anonymous_id is not None:
        return f"a.{anonymous_id}"
    message = "neither user_id nor anonymous_id is given; expected at least one"
    raise InvalidId(message)
