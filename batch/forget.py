"""``python -m batch.forget``: delete a person everywhere, and show the receipt of what was removed where and when."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from batch.arguments import known_shop
from batch.forget_job import Timing, forget, timing_of
from batch.publish import Stores
from contracts.errors import ContractError, LiveshelfError, SettingsError
from contracts.forgetting import Receipt
from contracts.ids import check_id
from contracts.settings import ENVIRONMENT_VARIABLE, MANAGED_PATH, Settings, load
from stores.forgetting import ask, load_receipt, load_tombstones, open_deletions, receipt_of, receipts

__all__ = ["forget_open", "main"]

_DESCRIPTION = """\
Deletes a person: live values, aliases and batch lists of every model version (Redis, and DynamoDB or PostgreSQL), every
event in the lake, features, what was served, rejected records, names beside the models, and the days of sums that hold
their share, so that the next model is made without them. A tombstone keeps the stream from bringing them back.

A deletion is done after a second look, two hours after the request: until then something may be on its way to the lake.
Every training begins with what is due, so `ask` is enough where trainings run daily. It may be killed and run again."""

_EPILOG = """\
examples:
  python -m batch.forget ask --user 42                  note it, remove what is online, clean the lake
  python -m batch.forget ask --visitor b5f0c2           an anonymous visitor who never signed in
  python -m batch.forget run                            go on with every deletion that is not done
  python -m batch.forget list                           all deletions, newest first
  python -m batch.forget show 20260501T030000Z-1a2b3c4d  the receipt

exit status: 0 done, 2 the arguments or the settings are wrong, 3 a deletion needs a person (the message says why),
4 there is no such deletion, 5 a store did not answer: run it again."""


def forget_open(
    settings: Settings,
    stores: Stores,
    shop: str,
    *,
    timing: Timing | None = None,
    say: Callable[[str], None] = print,
    wait: bool = False,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    sleep: Callable[[float], None] = time.sleep,
) -> list[Receipt]:
    """Go on with every open deletion of a shop; returns the receipts of those that are done by now.

    What a training begins with, so that its model is made without the people who were deleted. One that cannot be
    finished does not hold up the others.

    Raises:
        ContractError: some deletions need a person; the others were gone on with.
        StoreError: a store did not answer; call it again.
    """
    done: list[Receipt] = []
    stuck: list[str] = []
    for deletion in open_deletions(stores.objects, shop):
        say(f"deletion {deletion.id}, {deletion.state}")
        try:
            receipt = forget(stores, deletion, timing or timing_of(settings), say=say, now=now, sleep=sleep, wait=wait)
        except ContractError as exc:
            stuck.append(f"deletion {deletion.id}: {exc}")
            say(stuck[-1])
        else:
            done += [receipt] if receipt else []
    if stuck:
        raise ContractError("; ".join(stuck))
    return done


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--shop", help="shop id (default: the first one of the settings)")
    shared.add_argument(
        "--properties",
        type=Path,
        metavar="FILE",
        help=f"where the stores are (default: ${ENVIRONMENT_VARIABLE}, then {MANAGED_PATH})",
    )
    shared.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser = argparse.ArgumentParser(
        prog="python -m batch.forget",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="ask|run|list|show")
    asked = commands.add_parser("ask", help="delete a person", parents=[shared])
    who = asked.add_mutually_exclusive_group(required=True)
    who.add_argument("--user", metavar="ID", help="a user, with all visitors they were")
    who.add_argument("--visitor", metavar="ID", help="an anonymous visitor who never signed in")
    going = commands.add_parser("run", help="go on with what is not done", parents=[shared])
    for one in (asked, going):
        one.add_argument("--wait", action="store_true", help="stay until the second look is due")
        one.add_argument(
            "--sweep-after", type=float, metavar="SECONDS", help="when to look a second time (default: two hours)"
        )
    commands.add_parser("list", help="all deletions", parents=[shared])
    commands.add_parser("show", help="a receipt", parents=[shared]).add_argument("deletion")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    given = _parser().parse_args(argv)
    try:
        settings = load(given.properties)
        shop = known_shop(settings, given.shop)
        stores = Stores.open(settings)
        with closing(stores.cluster):
            return int(_COMMANDS[given.command](settings, stores, shop, given))
    except SettingsError as exc:
        return _fail(f"cannot start: {exc}", 2)
    except ContractError as exc:
        return _fail(str(exc), 3)
    except LiveshelfError as exc:
        return _fail(f"a store failed, run it again: {exc}", 5)


def _fail(text: str, status: int) -> int:
    print(f"forget: {text}", file=sys.stderr, flush=True)
    return status


def _say(text: str) -> None:
    print(f"forget: {text}", file=sys.stderr, flush=True)


def _ask(settings: Settings, stores: Stores, shop: str, given: argparse.Namespace) -> int:
    check_id(given.user or given.visitor or "", "the id")
    ask(
        stores.objects,
        stores.cluster,
        shop,
        user_id=given.user,
        anonymous_id=given.visitor,
        now=datetime.now(UTC),
        asked_by="command",
    )
    return _run(settings, stores, shop, given)


def _run(settings: Settings, stores: Stores, shop: str, given: argparse.Namespace) -> int:
    timing = timing_of(settings)
    if given.sweep_after is not None:
        timing = Timing(timing.settle_s, given.sweep_after)
    for receipt in forget_open(settings, stores, shop, timing=timing, say=_say, wait=given.wait):
        _show(receipt, given)
    stones, _ = load_tombstones(stores.objects, shop)
    for deletion in open_deletions(stores.objects, shop):
        _show(receipt_of(deletion, stones), given)
    return 0


def _list(settings: Settings, stores: Stores, shop: str, given: argparse.Namespace) -> int:
    found = receipts(stores.objects, shop)
    if given.json:
        print(msgspec.json.encode(found).decode())
    for receipt in found if not given.json else ():
        print(
            f"{receipt.id}  {receipt.state:9}  {sum(r.count for r in receipt.removed):>9,} removed  {receipt.progress}"
        )
    return 0


def _receipt(settings: Settings, stores: Stores, shop: str, given: argparse.Namespace) -> int:
    receipt = load_receipt(stores.objects, shop, given.deletion)
    if receipt is None:
        return _fail(f"shop {shop!r} has no deletion {given.deletion!r}; list shows them", 4)
    _show(receipt, given)
    return 0


def _show(receipt: Receipt, given: argparse.Namespace) -> None:
    print(msgspec.json.encode(receipt).decode() if given.json else receipt_text(receipt))


def receipt_text(receipt: Receipt) -> str:
    """The receipt for people."""
    done = (
        f"done {receipt.done_at:%Y-%m-%d %H:%M:%S} UTC" if receipt.done_at else f"{receipt.state}: {receipt.progress}"
    )
    lines = [
        f"Deletion {receipt.id} of shop {receipt.shop}, {done}",
        f"requested {receipt.requested_at:%Y-%m-%d %H:%M:%S} UTC by {receipt.asked_by or 'nobody named'}",
        f"of one person with {len(receipt.names)} names, as hashes: {', '.join(receipt.names)}",
        "",
        f"{'removed':>9}  {'what':30}  {'when (UTC)':19}  where",
    ]
    lines += [
        f"{r.count:>9,}  {r.what:30}  {r.at:%Y-%m-%d %H:%M:%S}  {r.store} {r.where}" for r in receipt.removed
    ] or ["        0  nothing was found"]
    return "\n".join([*lines, "", "What ends by itself:", *(f"- {text}" for text in receipt.remains)])


_COMMANDS = {"ask": _ask, "run": _run, "list": _list, "show": _receipt}

if __name__ == "__main__":
    sys.exit(main())
