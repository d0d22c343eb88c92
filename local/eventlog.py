"""Anyone's own event log as a lake: read with bad rows told, prepared as Firehose would have written it, by day.

``python -m local.eventlog FILE`` only looks: the mapping, what is in the log, and what is wrong with it.
"""

import argparse
import hashlib
import itertools
import json
import shutil
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

from contracts.errors import LiveshelfError, TrainingError
from contracts.events import to_ms
from contracts.ids import DEFAULT_SHOP, check_shop
from contracts.items import encode_catalogue
from contracts.lake import catalogue_path, visitors_path
from local.eventlog_days import DAY_MS, DaySpill
from local.eventlog_findings import Findings, Watch, findings_lines
from local.eventlog_items import Catalogue, read_items
from local.eventlog_live import LogLine, find_cut, read_live
from local.eventlog_map import FIELDS, read_given
from local.eventlog_read import LogFile, open_log
from local.eventlog_rejects import Rejects
from local.eventlog_rows import LogMapping, clean, settle, texts
from local.eventlog_write import Written, write_days
from local.fill import SUMMARY, Filled, shift_weeks
from local.journey import WEEK_MS
from local.paths import cache_dir

__all__ = ["OwnLog", "add_arguments", "own_log"]

FINDINGS: Final = "findings.json"
REJECTS: Final = "rejects.csv"
_KEPT: Final = 4
_TOLD_EVERY_S: Final = 5.0
_OFTEN: Final = 0.1
"""From this share of repeat purchases on, what was bought stays on the shelf: these are things one buys again."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class OwnLog:
    """A log to be used instead of the default data: see :func:`own_log`.

    With ``live`` the history is moved by whole weeks so that it ends now, and the newest part is kept apart as live
    traffic; without, everything is history at its true dates.
    """

    path: Path
    mapping: str | None = None
    items: Path | None = None
    live: bool = True
    shop: str = DEFAULT_SHOP
    cache: Path | None = None

    def prepare(self, now: datetime, say: Say = print) -> Path:
        """The folder with every object of the fill, made now where the cache has none; says what was found.

        Raises:
            SettingsError: the file or the mapping is wrong.
            TrainingError: no row of it can be used.
        """
        given = read_given(self.mapping)
        log = open_log(self.path, given)
        cache = self.cache or cache_dir() / "own"
        folder = cache / f"{check_shop(self.shop)}-{self._version(now)}"
        if (folder / SUMMARY).is_file():
            say(f"events: read before ({folder})")
            for note in findings(folder).notes:
                say(f"events: {note}")
        else:
            fresh = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}.part")
            try:
                _Preparation(self, log, now, fresh, say).run()
                shutil.rmtree(folder, ignore_errors=True)
                fresh.rename(folder)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)
            _prune(cache)
        for line in findings_lines(findings(folder), str(folder / REJECTS)):
            say(f"  {line}")
        return folder

    def lines(self, folder: Path) -> list[LogLine]:
        """The newest part of the log as live traffic, oldest first."""
        return read_live(folder)

    def _version(self, now: datetime) -> str:
        """Names everything a preparation depends on: the files, the mapping, the code, and the week for a demo."""
        stat = self.path.stat()
        digest = hashlib.sha256(f"{self.path.resolve()} {stat.st_size} {stat.st_mtime_ns} {self.live}".encode())
        mapping = self.mapping or ""
        if mapping.endswith(".toml"):
            mapping = Path(mapping).expanduser().read_text()
        digest.update(f"{mapping} {now.date().isocalendar()[:2] if self.live else ''}".encode())
        if self.items is not None:
            about = self.items.stat() if self.items.is_file() else None
            digest.update(f"{self.items.resolve()} {about and (about.st_size, about.st_mtime_ns)}".encode())
        for code in sorted(Path(__file__).parent.glob("eventlog*.py")):
            digest.update(code.read_bytes())
        return digest.hexdigest()[:12]


def findings(folder: Path) -> Findings:
    """What was found while preparing ``folder``."""
    return msgspec.json.decode((folder / FINDINGS).read_bytes(), type=Findings)


def _prune(cache: Path) -> None:
    """Old preparations, and parts left by a killed run, are removed."""
    known = sorted(cache.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
    whole = [folder for folder in known if (folder / SUMMARY).is_file()]
    for folder in known:
        if folder not in whole[:_KEPT] and time.time() - folder.stat().st_mtime > (0 if folder in whole else 3600):
            shutil.rmtree(folder, ignore_errors=True)


class _Preparation:
    """One reading of a log into a folder."""

    def __init__(self, own: OwnLog, log: LogFile, now: datetime, folder: Path, say: Say) -> None:
        self._own, self._log, self._now, self._folder, self._say = own, log, now, folder, say
        self._spill = DaySpill(folder / "spill")
        self._catalogue = Catalogue()
        self._words: Counter[str] = Counter()
        self._rows = self._ignored = 0

    def run(self) -> None:
        """Read, write, and sum up; the summary comes last."""
        began = time.monotonic()
        described: dict[str, dict[str, Any]] = {}
        told: list[str] = []
        with Rejects(self._folder / REJECTS) as rejects:
            if self._own.items is not None:
                described, bad, told = read_items(self._own.items)
                rejects.add(bad)
                for line in told:
                    self._say(f"events: {line}")
            mapping = self._read(rejects)
            written, watch, weeks = self._write(rejects)
        shutil.rmtree(self._folder / "spill", ignore_errors=True)
        notes = [*self._log.notes, *mapping.describe(self._words), *told]
        found = watch.findings(
            str(self._own.path), notes, self._rows, self._ignored, dict(rejects.counts), rejects.shown
        )
        items = self._catalogue.items(described, repeatable=(found.repeat_share or 0) >= _OFTEN)
        self._put(catalogue_path(self._own.shop), encode_catalogue(items))
        visitors = watch.visitors()
        self._put(visitors_path(self._own.shop), json.dumps(visitors).encode())
        filled = Filled(
            shop=self._own.shop,
            records=written.records,
            skipped=rejects.counts.total(),
            items=len(items),
            objects=written.objects,
            bytes=written.bytes,
            first_ms=watch.first_ms + weeks * WEEK_MS,
            last_ms=watch.history_ms + weeks * WEEK_MS,
            weeks_shifted=weeks,
            visitors=visitors,
        )
        (self._folder / FINDINGS).write_bytes(msgspec.json.encode(found))
        (self._folder / SUMMARY).write_bytes(msgspec.json.encode(filled))
        size = f"{written.bytes / 1e6:.1f} MB"
        self._say(f"events: {written.records:,} records of {size} prepared in {time.monotonic() - began:.1f} s")

    def _write(self, rejects: Rejects) -> tuple[Written, Watch, int]:
        """The days, into the lake's folders; what was seen of them, and by how many weeks they were moved."""
        self._spill.flush()
        if not self._spill.days:
            self._fail(rejects)
        cut, weeks = None, 0
        if self._own.live:
            cut = find_cut(self._spill)
            newest = cut if cut is not None else (max(self._spill.days) + 1) * DAY_MS
            weeks = shift_weeks(newest, to_ms(self._now))
        watch, shift_ms = Watch(cut), weeks * WEEK_MS
        written = write_days(self._spill, self._folder, self._own.shop, cut, shift_ms, watch, rejects, self._say)
        if not written.records:
            self._fail(rejects)
        return written, watch, weeks

    def _read(self, rejects: Rejects) -> LogMapping:
        chunks = self._log.chunks()
        first = next((chunk for chunk in chunks), None)
        if first is None:
            message = f"{self._log.path} holds a header and no row; expected events"
            raise TrainingError(message)
        mapping = settle(self._log, first)
        seen = Counter(texts(first.columns[mapping.columns["event_type"]])) if mapping.assumed is None else None
        for line in (*self._log.notes, *mapping.describe(seen)):
            self._say(f"events: {line}")  # before the long part: a wrong mapping is seen at once
        told = time.monotonic()
        for chunk in itertools.chain([first], chunks):
            frame, bad, ignored = clean(chunk, mapping, to_ms(self._now), self._words)
            rejects.add(bad)
            self._rows += len(chunk.lines) + len(chunk.bad)
            self._ignored += ignored
            self._spill.add(frame)
            self._catalogue.add(frame)
            if time.monotonic() - told > _TOLD_EVERY_S:
                told = time.monotonic()
                self._say(f"events: {self._rows:,} rows read, {sum(rejects.counts.values()):,} of them left out")
        return mapping

    def _fail(self, rejects: Rejects) -> NoReturn:
        """Nothing is left: say why, in the words of the first bad rows."""
        reasons = ", ".join(f"{reason} {number:,}" for reason, number in rejects.counts.most_common())
        shown = "".join(f"\n  {text}" for text in rejects.shown)
        message = (
            f"no row of {self._log.path} can be used: {self._rows:,} read, left out by reason: {reasons or 'none'}"
            f"{f', of ignored types {self._ignored:,}' if self._ignored else ''}; "
            f"check the mapping (MAP=…){':' if shown else ''}{shown}"
        )
        raise TrainingError(message)

    def _put(self, path: str, body: bytes) -> None:
        file = self._folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)


def own_log(path: str, *, mapping: str | None = None, items: str | None = None, live: bool = True) -> OwnLog:
    """An own log as a person names it.

    Args:
        path: CSV, TSV, JSON lines or Parquet; the text formats may be gzipped.
        mapping: ``user_id=visitorid,time=timestamp:ms,types.seen=view`` or the name of a TOML file; only needed for
            what is not found by itself.
        items: a file with titles, categories, prices and images by item.
    """
    return OwnLog(
        path=Path(path).expanduser(),
        mapping=mapping or None,
        items=Path(items).expanduser() if items else None,
        live=live,
    )


def add_arguments(parser: argparse.ArgumentParser, *, needed: bool) -> None:
    """The three arguments that name an own log, as every command takes them."""
    group = parser.add_argument_group(
        "your own event log",
        f"Fields of a mapping: {', '.join(FIELDS)} (FIELD=- leaves one out); time=COLUMN:FORMAT, where FORMAT is iso, "
        "s, ms, us, ns or a strptime pattern; types.WORD=TYPE, or =ignore. Options: type (of all rows), "
        "columns (names for a file without a header), decimal, delimiter, encoding, currency_code.",
    )
    name = ("events",) if needed else ("--events",)
    group.add_argument(*name, metavar="FILE", help="CSV, TSV, JSON lines (each also .gz) or Parquet")
    group.add_argument(
        "--map",
        metavar="MAPPING",
        help="what is not found by itself, as in user_id=customer,time=when:ms,types.seen=view; or a TOML file with "
        "[columns], [types] and [options]",
    )
    group.add_argument("--items", metavar="FILE", help="titles, categories, prices and images by item")


def main(argv: Sequence[str] | None = None) -> int:
    """Look at a log; the exit code is 0 if it can be used."""
    parser = argparse.ArgumentParser(prog="python -m local.eventlog", description=__doc__)
    add_arguments(parser, needed=True)
    given = parser.parse_args(argv)
    try:
        own_log(given.events, mapping=given.map, items=given.items, live=False).prepare(datetime.now(UTC))
    except LiveshelfError as exc:
        print(f"events: {exc}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
