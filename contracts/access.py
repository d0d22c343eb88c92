"""API keys: their form, what they may do, and the document that holds their hashes. A key itself is stored nowhere.

A key is ``lsk_<id>_<secret>``. The secret is 256 random bits, so a plain SHA-256 of it is as hard to turn back as the
key is to guess; a slow password hash would cost milliseconds a request and protect nothing more.
"""

import hashlib
import hmac
import re
import secrets
from datetime import datetime
from typing import Final, Literal, get_args

import msgspec

from contracts.errors import ContractError

__all__ = ["KEY_FORM", "SCOPES", "Key", "KeyDocument", "Scope", "decode_keys", "make_key", "matches", "split_key"]

Scope = Literal["events", "read", "admin"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)

KEY_FORM: Final = re.compile(r"lsk_([a-z0-9]{10})_[A-Za-z0-9_-]{20,64}")
"""What a key looks like in a text; its id may be shown, the rest never."""

_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz0123456789"
_NOBODY: Final = "0" * 64


class Key(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One key as it is kept: ``sha256`` is of the secret, in hex.

    ``public`` marks a key that lives in web pages, where anybody can read it: it may also come as ``?key=``, and each
    address that uses it is limited on its own. It can have no ``admin`` scope.
    """

    id: str
    scopes: tuple[Scope, ...]
    sha256: str
    created_at: datetime
    expires_at: datetime | None = None
    public: bool = False
    note: str = ""


class KeyDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The file, or the secret's value: as many keys as one likes are valid at once, so that a key can be rotated.

    ``log_key`` (hex) is what user ids are hashed with in logs: processes that share it write the same names.
    """

    keys: tuple[Key, ...] = ()
    log_key: str = ""


def make_key(
    scopes: tuple[Scope, ...],
    now: datetime,
    *,
    public: bool = False,
    note: str = "",
    expires_at: datetime | None = None,
) -> tuple[str, Key]:
    """A new key: its text, to be handed over once, and what is kept of it.

    >>> from datetime import UTC
    >>> text, key = make_key(("read",), datetime(2026, 1, 1, tzinfo=UTC))
    >>> matches(split_key(text)[1], key), matches("another secret", key), key.sha256 in text
    (True, False, False)

    Raises:
        ContractError: a scope is unknown, there is none, or a public key would be an admin's.
    """
    if not scopes or any(scope not in SCOPES for scope in scopes):
        message = f"scopes are {', '.join(scopes) or 'none'}; expected one or more of {', '.join(SCOPES)}"
        raise ContractError(message)
    if public and "admin" in scopes:
        message = "a public key lives in web pages; expected scopes events and read, without admin"
        raise ContractError(message)
    name = "".join(secrets.choice(_LETTERS) for _ in range(10))
    secret = secrets.token_urlsafe(32)
    kept = Key(
        id=name,
        scopes=tuple(dict.fromkeys(scopes)),
        sha256=_digest(secret),
        created_at=now,
        expires_at=expires_at,
        public=public,
        note=note,
    )
    return f"lsk_{name}_{secret}", kept


def split_key(text: str) -> tuple[str, str]:
    """Id and secret of a key's text; empty where it has not the form of one.

    >>> split_key("lsk_abcdefghij_s-e_cret"), split_key("hunter2")
    (('abcdefghij', 's-e_cret'), ('', ''))
    """
    parts = text.split("_", 2)
    return (parts[1], parts[2]) if len(parts) == 3 and parts[0] == "lsk" else ("", "")


def matches(secret: str, key: Key | None) -> bool:
    """Whether ``secret`` is the key's. As much is done for an unknown key (``None``) as for a wrong secret."""
    known = key.sha256 if key else _NOBODY
    return hmac.compare_digest(_digest(secret), known) and key is not None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogateescape")).hexdigest()


_decode = msgspec.json.Decoder(KeyDocument).decode


def decode_keys(data: bytes) -> KeyDocument:
    """Read the document.

    Raises:
        ContractError: it is not one. The message holds nothing of its content.
    """
    try:
        document = _decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        message = f"the document of API keys ({len(data)} bytes) cannot be read: {str(exc)[:200]}"
        raise ContractError(message) from None
    ids = [key.id for key in document.keys]
    if len(set(ids)) != len(ids):
        message = "two API keys have the same id; expected each once; take one out"
        raise ContractError(message)
    return document
