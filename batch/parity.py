"""``python -m batch.parity``: is everything that is served live what the lake says it should be?"""

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from batch.arguments import add_live_values, known_shop, whole_number
from batch.parity_report import Report
from batch.result import machine, result_line
from contracts.errors import LiveshelfError, SettingsError
from contracts.settings import Settings, load, to_properties

__all__ = ["main"]

_DESCRIPTION = """\
Compute every live feature of a shop anew from its event lake, by Spark code that shares nothing with the stream, and
compare each value with what Redis holds and with the Parquet features on S3.

Both sides are computed for one instant. Without --at that is the end of the last 5-minute span that ended at least
--settle seconds ago, so that the delivery to the lake and the stream's checkpoints have caught up: it may run beside a
busy shop. On a stream that stands still, --at now compares everything.

The last line is RESULT and one JSON object."""

_EPILOG = """\
examples:
  python -m batch.parity                        beside the running stream
  python -m batch.parity --at now --drained     after the stream was stopped and drained
  python -m batch.parity --at 2026-01-05T12:00:00Z

exit status: 0 all values are equal, 1 some differ or there was nothing to compare, 2 the settings cannot be read,
5 a store did not answer.

Outside of EMR, LIVESHELF_SPARK_JARS names the jars that let Spark read S3, as for batch.train."""

_BUCKET_MS: Final = 300_000


_NOW: Final = -1


def _instant(text: str) -> int:
    """Epoch ms of a time; -1 for ``now``."""
    if text == "now":
        return _NOW
    if text.isdecimal():
        return int(text)
    try:
        time = datetime.fromisoformat(text)
    except ValueError as exc:
        message = f"{text!r} is no time; expected now, epoch milliseconds, or 2026-01-05T12:00:00Z"
        raise argparse.ArgumentTypeError(message) from exc
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


def settled(now_ms: int, settle_s: int) -> int:
    """The last millisecond of the newest 5-minute span that ended ``settle_s`` before ``now_ms``.

    >>> settled(900_000, 0), settled(900_000, 1)
    (899999, 599999)
    """
    return (now_ms - settle_s * 1000) // _BUCKET_MS * _BUCKET_MS - 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m batch.parity",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_live_values(parser)
    parser.add_argument("--at", type=_instant, metavar="TIME", help="the instant: now, epoch ms, or RFC 3339")
    parser.add_argument(
        "--settle",
        type=whole_number,
        default=120,
        metavar="S",
        help="without --at: how long ago (default: %(default)s)",
    )
    parser.add_argument(
        "--since",
        type=_instant,
        metavar="TIME",
        help="only events received from then on passed through the stream (default: its log says; 0: all)",
    )
    parser.add_argument("--drained", action="store_true", help="the stream has written its last windows")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    given, before = _parser().parse_args(argv), machine()
    try:
        settings = load(given.properties)
        report = _run(settings, given)
    except SettingsError as exc:
        return _fail("cannot start", exc, 2)
    except LiveshelfError as exc:
        return _fail("a store failed", exc, 5)
    print(report.text())
    when = datetime.fromtimestamp(report.at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    print(f"parity at {when}: {report.compared:,} values compared, {report.mismatches:,} differ")
    if report.events == 0:
        print("parity: no event of the lake had passed through the stream by then: this is no agreement", flush=True)
    print(result_line(report.result(), machine=before, settings=to_properties(settings)), flush=True)
    return 0 if report.agreed else 1


def _run(settings: Settings, given: argparse.Namespace) -> Report:
    shop = known_shop(settings, given.shop)
    from batch.lake import start_spark
    from batch.parity_check import check

    spark = start_spark(settings, given.master, given.driver_memory, "liveshelf-parity")
    try:
        now_ms = time.time_ns() // 1_000_000
        options: dict[str, Any] = {
            "spark": spark,
            "shop": shop,
            "days": given.days,
            "drained": given.drained,
            "quiet": False,
        }
        at_ms = settled(now_ms, given.settle) if given.at is None else given.at
        at_ms = now_ms if at_ms == _NOW else at_ms
        return check(settings, at_ms, now_ms=now_ms, since_ms=given.since, **options)
    finally:
        spark.stop()


def _fail(what: str, exc: Exception, status: int) -> int:
    print(f"parity: {what}: {exc}", file=sys.stderr, flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
