"""``python -m batch.models``: list, show, activate (roll back or forward) and prune the versions of a shop's model."""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from batch.activate import activate, read_manifest
from batch.arguments import whole_number
from batch.models_text import list_text, mirror_words, show_text
from batch.publish import Stores, mend_mirrors, mirrors, prune_versions, versions
from contracts.errors import LiveshelfError, PublishConflict, PublishRefused, SettingsError, SnapshotError
from contracts.pointer import Pointer
from contracts.settings import ENVIRONMENT_VARIABLE, MANAGED_PATH, Settings, load
from contracts.snapshot import Manifest

__all__ = ["main"]

_DESCRIPTION = """\
The versions of a shop's model: what there is, what is live, and which one shall be.

DynamoDB's CURRENT item says which version is live; the pointers in S3 (read by the streaming job) and in Redis (read by
the API) mirror it. All of them follow a switch within seconds, without a restart."""

_EPILOG = """\
examples:
  python -m batch.models list                               versions, newest first; * is live
  python -m batch.models show 20260501T030000Z-1a2b3c       its metrics, coefficients, settings and gate
  python -m batch.models activate --previous                roll back to what was live when the live one was trained
  python -m batch.models activate 20260501T030000Z-1a2b3c   that version, older or newer
  python -m batch.models prune --keep 5                     delete older snapshots; the live one and its parent stay

exit status: 0 done, 2 the arguments or the settings are wrong, 3 the version is missing, damaged or without its lists
and the live model stays, 4 another version went live meanwhile, 5 a store did not answer."""


@dataclass(frozen=True, slots=True)
class Command:
    """What all commands work on."""

    settings: Settings
    stores: Stores
    shop: str
    given: argparse.Namespace

    def say(self, text: str) -> None:
        """Progress: beside the result, which with --json is one document."""
        print(f"models: {text}", file=sys.stderr, flush=True)

    def answer(self, text: str, document: Any) -> None:
        """The result."""
        print(json.dumps(document, ensure_ascii=False) if self.given.json else text, flush=True)


def _shared() -> argparse.ArgumentParser:
    """What may stand before and after the command's name: what is not given sets nothing, so neither place wins."""
    shared = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    shared.add_argument("--shop", help="shop id (default: the first one of the settings)")
    shared.add_argument(
        "--properties",
        type=Path,
        metavar="FILE",
        help=f"where the stores are (default: ${ENVIRONMENT_VARIABLE}, then {MANAGED_PATH})",
    )
    shared.add_argument("--json", action="store_true", help="print one JSON document instead of text")
    return shared


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m batch.models",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[_shared()],
    )
    parser.set_defaults(shop=None, properties=None, json=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="list|show|activate|prune")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", parents=[_shared()])

    add("list", "the versions, newest first, and whether the pointers are in step")
    show = add("show", "one version in full: metrics, gate, coefficients, settings")
    show.add_argument("version", nargs="?", help="default: the live one")
    activated = add("activate", "make a version live: verified first, mirrored, and told how to go back")
    which = activated.add_mutually_exclusive_group(required=True)
    which.add_argument("version", nargs="?", help="older or newer than the live one, or itself to mend the mirrors")
    which.add_argument("--previous", action="store_true", help="the parent of the live version")
    activated.add_argument(
        "--without-lists", action="store_true", help="go on though its stored lists expired (live ones need none)"
    )
    pruned = add("prune", "delete old snapshots; the live one, its parent and newer ones stay")
    pruned.add_argument(
        "--keep", type=whole_number, metavar="N", help="how many of the newest stay (default: keep.versions)"
    )
    add("prepare", "bring the schema of the persistent store up to date (PostgreSQL; DynamoDB has none)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    given = _parser().parse_args(argv)
    try:
        settings = load(given.properties)
        shop = given.shop or settings.shops[0]
        if shop not in settings.shops:
            message = f"shop {shop!r} is not in the settings; expected one of {', '.join(settings.shops)}"
            raise SettingsError(message)
        stores = Stores.open(settings)
        with closing(stores):
            _COMMANDS[given.command](Command(settings, stores, shop, given))
    except SettingsError as exc:
        return _fail("cannot start", exc, 2)
    except (SnapshotError, PublishRefused) as exc:
        return _fail("refused, the live model stays", exc, 3)
    except PublishConflict as exc:
        return _fail("overtaken, nothing was switched", exc, 4)
    except LiveshelfError as exc:
        return _fail("a store failed", exc, 5)
    return 0


def _fail(what: str, exc: Exception, status: int) -> int:
    print(f"models: {what}: {exc}", file=sys.stderr, flush=True)
    return status


def _list(command: Command) -> None:
    stores, shop = command.stores, command.shop
    with ThreadPoolExecutor(8) as pool:
        found = versions(stores.objects, shop)
        manifests = dict(zip(found, pool.map(partial(_manifest, command), found), strict=True))
    live, (in_s3, in_redis) = stores.tables.current(shop), mirrors(stores, shop)
    text = list_text(manifests, live.version if live else None)
    words = mirror_words(live, in_s3, in_redis)
    document = {
        "shop": shop,
        "live": _plain(live),
        "mirrors": {"s3": _plain(in_s3), "redis": _plain(in_redis), "in_step": in_s3 == in_redis == live},
        "versions": [_summary(version, manifest) for version, manifest in manifests.items()],
    }
    command.answer(f"{text}\n\n{words}" if manifests else words, document)


def _manifest(command: Command, version: str) -> Manifest | None:
    try:
        return read_manifest(command.stores.objects, command.shop, version)
    except SnapshotError:
        return None


def _summary(version: str, manifest: Manifest | None) -> dict[str, Any]:
    if manifest is None:
        return {"version": version, "complete": False}
    names = ("parent", "trained_at", "window_start", "window_end", "metrics", "rows", "gate")
    plain = _plain(manifest)
    return {"version": version, "complete": True} | {name: plain[name] for name in names}


def _plain(value: Pointer | Manifest | None) -> Any:
    return msgspec.to_builtins(value)


def _live(command: Command) -> Pointer:
    live = command.stores.tables.current(command.shop)
    if live is None:
        message = f"shop {command.shop!r} has no live version yet; train first: python -m batch.train"
        raise SnapshotError(message)
    return live


def _show(command: Command) -> None:
    version = command.given.version or _live(command).version
    manifest = read_manifest(command.stores.objects, command.shop, version)
    live = command.stores.tables.current(command.shop)
    document = _plain(manifest)
    command.answer(show_text(manifest, document, live.version if live else None), document)


def _activate(command: Command) -> None:
    version = _parent(command) if command.given.previous else command.given.version
    with tempfile.TemporaryDirectory(prefix="liveshelf-models-") as scratch:
        done = activate(
            command.stores,
            command.settings,
            command.shop,
            version,
            now=datetime.now(UTC),
            scratch=Path(scratch),
            without_lists=command.given.without_lists,
            say=command.say,
        )
    before = done.before.version if done.before else None
    again = before is not None and before != version
    text = f"live: {done.after.version}, before: {before or 'none'}; S3 and Redis follow"
    back = f"; to go back: python -m batch.models activate {before} --shop {command.shop}" if again else ""
    document = {"shop": command.shop, "live": _plain(done.after), "before": before, "restored": done.restored}
    command.answer(text + back, document)


def _parent(command: Command) -> str:
    live = _live(command).version
    parent = read_manifest(command.stores.objects, command.shop, live).parent
    if parent is None:
        message = f"{live} is the first version of shop {command.shop!r} and has none before it; see the list"
        raise SnapshotError(message)
    return parent


def _prune(command: Command) -> None:
    keep = command.settings.training.keep_versions if command.given.keep is None else command.given.keep
    stores, shop = command.stores, command.shop
    live = mend_mirrors(stores, shop)
    spare: set[str | None] = set()
    if live:
        manifest = _manifest(command, live.version)
        # Whatever is newer than the live version may be in the making.
        newer = {version for version in versions(stores.objects, shop) if version > live.version}
        spare = {live.version, manifest.parent if manifest else None, *newer}
    gone = prune_versions(stores.objects, shop, keep, spare)
    expired = stores.tables.prune()
    left = versions(stores.objects, shop)
    rows = f"; {expired:,} expired rows deleted" if expired else ""
    command.answer(
        f"deleted {len(gone)}: {', '.join(gone) or 'none'}; {len(left)} left{rows}", {"deleted": gone, "left": left}
    )


def _prepare(command: Command) -> None:
    tables = command.stores.tables
    tables.prepare()
    command.answer(f"{tables.kind} is ready", {"store": tables.kind})


_COMMANDS = {"list": _list, "show": _show, "activate": _activate, "prune": _prune, "prepare": _prepare}


if __name__ == "__main__":
    sys.exit(main())
