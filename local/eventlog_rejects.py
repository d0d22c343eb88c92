"""The rows of an own log that could not be used: counted by reason, the first ones kept to show, all in a file."""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from local.eventlog_read import Bad

__all__ = ["Rejects", "reject_lines"]

_SHOWN_EACH: Final = 3


class Rejects:
    """Writes ``line,reason,detail`` to ``path`` (made with the first bad row); a context manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self.shown: list[str] = []

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow(("line", "reason", "detail"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if not self.counts:
            self.path.unlink()

    def add(self, rows: Iterable[Bad]) -> None:
        """Count and write; the first of each reason are kept as sentences."""
        for bad in rows:
            self.counts[bad.reason] += 1
            self._rows.writerow((bad.line, bad.reason, bad.detail))
            if self.counts[bad.reason] <= _SHOWN_EACH:
                self.shown.append(f"line {bad.line:,}: {bad.reason}: {bad.detail}")


def reject_lines(counts: Mapping[str, int], shown: Sequence[str], path: str) -> list[str]:
    """What the console says of them.

    >>> reject_lines({"bad_time": 2}, ["line 7: bad_time: the time is 'soon'"], "/tmp/r.csv")
    ['2 rows left out: bad_time 2', "  line 7: bad_time: the time is 'soon'", '  … and 1 more, all in /tmp/r.csv']
    """
    if not counts:
        return ["no bad rows"]
    reasons = ", ".join(f"{reason} {number:,}" for reason, number in Counter(counts).most_common())
    head = f"{sum(counts.values()):,} rows left out: {reasons}"
    more = sum(counts.values()) - len(shown)
    tail = f"  all of them with their lines: {path}" if more <= 0 else f"  … and {more:,} more, all in {path}"
    return [head, *(f"  {text}".encode(errors="backslashreplace").decode() for text in shown), tail]
