"""``python -m serving.keys``: make, list and revoke API keys; a key is shown once and only its hash is kept."""

import argparse
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from contracts.access import SCOPES, KeyDocument, make_key
from contracts.errors import ContractError, LiveshelfError, SettingsError
from contracts.settings import Settings, load
from stores.keys import KeyStore

__all__ = ["main"]

_DESCRIPTION = """\
Makes, lists and revokes the API keys of the service.

They lie in a file, or in a secret of AWS Secrets Manager, as hashes. Running services take up changes by themselves:
of a file within seconds, of a secret within a minute. To rotate a key, make a second one, move its users over, then
revoke the first."""

_EPILOG = """\
examples:
  python -m serving.keys create --at keys.json --scopes events --public --note "web tracker"
  python -m serving.keys create --at secret:liveshelf/keys --scopes read,events --note "shop backend"
  python -m serving.keys expire abcdefghij --in-days 7
  python -m serving.keys revoke abcdefghij

scopes: events (send what visitors do), read (shelves, items, profiles), admin (models, rules, deletions).
exit status: 0 done, 2 the arguments or the settings are wrong, 5 Secrets Manager did not answer."""


@dataclass(frozen=True, slots=True)
class _Work:
    store: KeyStore
    given: argparse.Namespace
    now: datetime


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--at", metavar="PLACE", help="a file, secret:NAME or an ARN (default: property 'keys')")
    shared.add_argument(
        "--properties", type=Path, metavar="FILE", help="settings file (default: $LIVESHELF_PROPERTIES)"
    )
    parser = argparse.ArgumentParser(
        prog="python -m serving.keys",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="create|list|expire|revoke")
    create = commands.add_parser("create", help="make a key and print it, once", parents=[shared])
    create.add_argument("--scopes", required=True, help=f"some of {','.join(SCOPES)}")
    create.add_argument(
        "--public", action="store_true", help="it will stand in web pages: limited by address, no admin"
    )
    create.add_argument("--note", default="", help="whose it is")
    create.add_argument("--days", type=int, metavar="N", help="it ends after N days (default: never)")
    commands.add_parser("list", help="the keys, without their secrets", parents=[shared])
    expire = commands.add_parser("expire", help="let a key end in some days", parents=[shared])
    expire.add_argument("id")
    expire.add_argument("--in-days", type=int, required=True, metavar="N")
    revoke = commands.add_parser("revoke", help="end a key now", parents=[shared])
    revoke.add_argument("id")
    return parser


def main(argv: Sequence[str] | None = None, now: datetime | None = None) -> int:
    """The command; returns its exit status. ``now`` stands in for the clock."""
    given = _parser().parse_args(argv)
    try:
        settings = (
            Settings()
            if given.at and not given.properties and not given.at.startswith(("arn:", "secret:"))
            else load(given.properties)
        )
        store = KeyStore(settings, given.at)
        if not store.place:
            message = "no place for the keys: pass --at, or set the property 'keys' of group 'liveshelf.serving'"
            raise SettingsError(message)
        _COMMANDS[given.command](_Work(store, given, now or datetime.now(UTC)))
    except (SettingsError, ContractError) as exc:
        print(f"keys: {exc}", file=sys.stderr)
        return 2
    except LiveshelfError as exc:
        print(f"keys: {exc}", file=sys.stderr)
        return 5
    return 0


def _create(work: _Work) -> None:
    given = work.given
    until = work.now + timedelta(days=given.days) if given.days else None
    scopes = tuple(part.strip() for part in given.scopes.split(",") if part.strip())
    text, key = make_key(scopes, work.now, public=given.public, note=given.note, expires_at=until)
    document = _document(work.store)
    work.store.write(KeyDocument(keys=(*document.keys, key), log_key=document.log_key or secrets.token_hex(32)))
    print(text)
    print(f"keys: this is the only time it is shown; its hash is in {work.store.place}", file=sys.stderr)


def _document(store: KeyStore) -> KeyDocument:
    """What is there; an empty one where there is none yet."""
    try:
        return store.read()
    except SettingsError as exc:
        if isinstance(exc.__cause__, ContractError):
            raise  # it is there and cannot be read: it must not be written over
        return KeyDocument()


def _list(work: _Work) -> None:
    for key in work.store.read().keys:
        state = (
            ""
            if key.expires_at is None
            else f"  {'ended' if key.expires_at <= work.now else 'ends'} {key.expires_at:%Y-%m-%d}"
        )
        public = "  public" if key.public else ""
        print(
            f"{key.id}  {','.join(key.scopes):18}  made {key.created_at:%Y-%m-%d}{state}{public}  {key.note}".rstrip()
        )


def _expire(work: _Work) -> None:
    until = work.now + timedelta(days=work.given.in_days)
    document = _known(work)
    keys = tuple(msgspec.structs.replace(k, expires_at=until) if k.id == work.given.id else k for k in document.keys)
    work.store.write(msgspec.structs.replace(document, keys=keys))
    print(f"keys: {work.given.id} ends {until:%Y-%m-%d %H:%M} UTC")


def _revoke(work: _Work) -> None:
    document = _known(work)
    keys = tuple(key for key in document.keys if key.id != work.given.id)
    work.store.write(msgspec.structs.replace(document, keys=keys))
    print(f"keys: {work.given.id} is revoked")


def _known(work: _Work) -> KeyDocument:
    document = work.store.read()
    if not any(key.id == work.given.id for key in document.keys):
        message = f"there is no key {work.given.id!r} in {work.store.place}; list shows them"
        raise SettingsError(message)
    return document


_COMMANDS = {"create": _create, "list": _list, "expire": _expire, "revoke": _revoke}

if __name__ == "__main__":
    sys.exit(main())
