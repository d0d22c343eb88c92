"""``python -m batch.compact``: the many small Parquet files of bucket values made one file an hour and entity.

The stream's sink rolls its files with every checkpoint: exactly once, but hundreds of small files an hour, which Spark
and Athena read slowly. They stay as they are. Beside them, in a data set of its own, stands for each closed hour and
entity **one** object under a name that never changes::

    shop=<id>/dataset=features/entity=item/year=…/month=…/day=…/hour=07/part-…          many, by the stream
    shop=<id>/dataset=features-compact/entity=item/year=…/…/hour=07/features.parquet    one, by this command

Why so. S3 has no rename and no transaction over objects, so whoever deletes files after writing their sum shows readers
a moment in which rows are there twice, and whoever deletes first one in which they are missing. The one thing S3 does
atomically is to replace an object by a PUT. So nothing is ever deleted, and an hour changes by one PUT: a reader of
``features-compact`` sees the hour as it was or as it is, each (entity, window) once, whenever this command is killed.

* Run again, it does nothing: a compacted file says in its footer which files it was made of, and is rewritten only
  where others have come (a job that caught up after a standstill). What it holds already is kept and the new rows are
  added, so it loses nothing when a lifecycle rule has deleted old files of the stream. Of two runs at a time the slower
  one may put back an hour without the newest files; the next run adds them. Schedule one.
* An hour is compacted once it has been over for ``--settle`` minutes. Who wants the newest hours as well reads from
  ``features`` those that ``features-compact`` does not have.
* An S3 lifecycle rule on ``shop=<id>/dataset=features/`` may expire the small files; keep them for longer than the time
  between two runs, and than the job may ever stand still.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from batch.arguments import whole_number
from batch.compact_hours import Compacted, Hour, compact_hour, hours_of
from contracts.errors import ContractError, LiveshelfError, SettingsError
from contracts.settings import ENVIRONMENT_VARIABLE, MANAGED_PATH, Settings, load
from stores.objects import Objects

__all__ = ["main"]

_DESCRIPTION = """\
Makes one Parquet file an hour and entity of the stream's many small feature files, for Spark and Athena.

Reads dataset=features, writes dataset=features-compact, deletes nothing. May be run, killed and repeated at any time:
an hour changes by one PUT, and only where files have come that its file does not hold."""

_EPILOG = """\
examples:
  python -m batch.compact                                          what has closed since the day before yesterday
  python -m batch.compact --day 2026-05-01 --until 2026-05-31      a month
  python -m batch.compact --dry-run                                what would be done

The last line is COMPACTED and one JSON object: hours written and unchanged, files and rows added, doubled rows (the
larger values were kept), bytes, failed hours, seconds.

exit status: 0 done, 2 the arguments or the settings are wrong, 3 files of some hours cannot be read (they are named,
and the other hours are done), 5 a store did not answer."""


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as exc:
        message = f"{text!r} is not a day; expected YYYY-MM-DD"
        raise argparse.ArgumentTypeError(message) from exc


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m batch.compact",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--shop", help="shop id (default: every shop of the settings)")
    parser.add_argument(
        "--day", type=_day, metavar="YYYY-MM-DD", help="first day, UTC (default: two days before --until)"
    )
    parser.add_argument("--until", type=_day, metavar="YYYY-MM-DD", help="last day, included (default: today)")
    parser.add_argument(
        "--settle",
        type=whole_number,
        default=60,
        metavar="MINUTES",
        help="an hour is closed this long after its end (default: 60)",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and write nothing")
    parser.add_argument(
        "--properties",
        type=Path,
        metavar="FILE",
        help=f"where the stores are (default: ${ENVIRONMENT_VARIABLE}, then {MANAGED_PATH})",
    )
    return parser


def main(argv: Sequence[str] | None = None, now: datetime | None = None) -> int:
    """The command; returns its exit status. ``now`` stands in for the clock."""
    parser = _parser()
    given = parser.parse_args(argv)
    now = now or datetime.now(UTC)
    last = given.until or now.date()
    first = given.day or last - timedelta(days=2)
    if first > last:
        parser.error(f"--day {first} is after --until {last}; expected the first day and the last one")
    try:
        settings = load(given.properties)
        shops = [given.shop] if given.shop else list(settings.shops)
        if given.shop and given.shop not in settings.shops:
            message = f"shop {given.shop!r} is not in the settings; expected one of {', '.join(settings.shops)}"
            raise SettingsError(message)
        closed = now - timedelta(minutes=given.settle)
        return _run(settings, shops, (first, last), closed, dry_run=given.dry_run)
    except SettingsError as exc:
        print(f"compact: cannot start: {exc}", file=sys.stderr, flush=True)
        return 2
    except LiveshelfError as exc:
        print(f"compact: a store failed: {exc}; run it again", file=sys.stderr, flush=True)
        return 5


def _run(settings: Settings, shops: Sequence[str], days: tuple[date, date], closed: datetime, *, dry_run: bool) -> int:
    began, objects = time.monotonic(), Objects.from_settings(settings)
    done: list[Compacted] = []
    failed: list[str] = []
    for shop in shops:
        for hour in hours_of(objects, shop, *days, closed):
            at = time.monotonic()
            try:
                done.append(compact_hour(objects, hour, dry_run=dry_run))
            except ContractError as exc:
                print(f"compact: {hour}: {exc}", file=sys.stderr, flush=True)
                failed.append(str(hour))
                continue
            if done[-1].new:
                print(_line(hour, done[-1], time.monotonic() - at, dry_run=dry_run), flush=True)
    print(f"COMPACTED {json.dumps(_summary(done, failed, time.monotonic() - began, dry_run=dry_run))}", flush=True)
    return 3 if failed else 0


def _line(hour: Hour, done: Compacted, seconds: float, *, dry_run: bool) -> str:
    if dry_run:
        return f"compact: {hour}: {done.new:,} files ({done.bytes:,} bytes) would be added"
    doubled = f", {done.doubled:,} doubled rows left out" if done.doubled else ""
    return f"compact: {hour}: {done.new:,} files -> {done.rows:,} rows, {done.bytes:,} bytes{doubled}, {seconds:.1f} s"


def _summary(done: Sequence[Compacted], failed: Sequence[str], seconds: float, *, dry_run: bool) -> dict[str, object]:
    changed = [hour for hour in done if hour.new]
    return {
        "dry_run": dry_run,
        "hours": len(changed),
        "unchanged": len(done) - len(changed),
        "files": sum(hour.new for hour in changed),
        "rows": sum(hour.rows for hour in changed),
        "doubled": sum(hour.doubled for hour in changed),
        "bytes": sum(hour.bytes for hour in changed),
        "failed": list(failed),
        "seconds": round(seconds, 2),
    }


if __name__ == "__main__":
    sys.exit(main())
