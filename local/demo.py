"""``make demo``: the whole loop with a replay of held-out weeks as live traffic, until Ctrl-C."""

import argparse
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from contracts.errors import LiveshelfError
from local.clients import Api
from local.eventlog import add_arguments, own_log
from local.loop import Loop
from local.replay import Replay
from local.status import Status

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Start everything, print the addresses, then a status line until Ctrl-C or SIGTERM."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a log shows each line as it comes
    given = _arguments(argv)
    print(f"liveshelf demo, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; Ctrl-C ends it and everything it started")
    try:
        source = own_log(given.events, mapping=given.map, items=given.items) if given.events else None
        if source is not None:
            source.prepare(datetime.now(UTC))  # what is wrong with a log is told before anything is started
        with suppress(KeyboardInterrupt), Loop(source=source, keys=True) as loop:
            _run(loop, given)
    except LiveshelfError as exc:
        print(f"\nthe demo ended: {exc}", file=sys.stderr)
        return 1
    print("\nended; nothing is left running")
    return 0


def _run(loop: Loop, given: argparse.Namespace) -> None:
    lines = loop.live_traffic()
    if not lines:
        print("the log is too small to keep a part of it for live traffic: only your own clicks are live")
        return _report(loop, given, None)
    replay = loop.replay(lines, Api(loop.url), given.rate, duplicates=0.005, malformed=0.001, laps=None)
    sending = threading.Thread(target=_send, args=(replay,), name="replay", daemon=True)
    sending.start()
    try:
        _report(loop, given, lines[0].subject)
    finally:
        print("\nstopping, about ten seconds …")
        replay.stop()  # before the collector goes away, or it would seem to have failed
        sending.join(5)


def _report(loop: Loop, given: argparse.Namespace, first: str | None) -> None:
    if first is not None:
        loop.await_first_live(first)
    _print_addresses(loop)
    loop.trainer.every(given.retrain_minutes)
    flink = loop.stack.flink
    status = Status(flink.rest, lambda: flink.job_ids[-1])
    while True:
        loop.stack.supervisor.wait(given.status_seconds)
        line = status.line(loop.trainer.versions[-1])
        print(f"\r\033[K{line}" if sys.stdout.isatty() else line, end="" if sys.stdout.isatty() else "\n", flush=True)


def _send(replay: Replay) -> None:
    """The replay's thread has no caller: what ends it early must be said."""
    try:
        replay.run()
    except LiveshelfError as exc:
        print(f"\nthe replay ended, the shop goes on without it: {exc}", file=sys.stderr)


def _print_addresses(loop: Loop) -> None:
    data = loop.stack.supervisor.data
    print(
        f"""
{f"first live recommendation after {loop.seconds['first_live']:.0f} s" if "first_live" in loop.seconds else ""}

  storefront       {loop.url}/
  control room     {loop.url}/control
  API              {loop.url}/docs
  sign in as admin {loop.url}/sign-in#{loop.keys["admin"]}
  Flink dashboard  {loop.stack.flink.rest.url}/
  logs             {data / "logs"}
"""
    )


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.demo", description=__doc__)
    parser.add_argument("--rate", type=float, default=20.0, help="replayed events a second (default: %(default)s)")
    parser.add_argument(
        "--retrain-minutes", type=float, default=5.0, help="time between retrains (default: %(default)s)"
    )
    parser.add_argument("--status-seconds", type=float, default=5.0, help="time between status lines")
    add_arguments(parser, needed=False)
    given = parser.parse_args(argv)
    if given.events is None and (given.map or given.items):
        parser.error("--map and --items say something of a log: name it with --events")
    return given


if __name__ == "__main__":
    sys.exit(main())
