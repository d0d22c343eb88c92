"""Reading an own log piece by piece (CSV, JSON lines, Parquet; plain or gzipped), each row with its line number."""

import csv
import gzip
import re
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from contracts.errors import SettingsError, TrainingError
from local.eventlog_map import Given, guess

__all__ = ["CHUNK_ROWS", "Bad", "Chunk", "LogFile", "open_log"]

CHUNK_ROWS: Final = 100_000
_LONGEST_FIELD: Final = 65_536
_DELIMITERS: Final = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_SUFFIXES: Final = (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".parquet")


@dataclass(frozen=True, slots=True)
class Bad:
    """A row that cannot be used: where it is, a reason to count by, and what is wrong with it."""

    line: int
    reason: str
    detail: str


@dataclass(slots=True)
class Chunk:
    """Some rows, column by column; ``lines`` are where they begin in the file, from 1 (Parquet: row numbers).

    Values are text in CSV, and whatever the file says elsewhere.
    """

    lines: npt.NDArray[np.int64]
    columns: dict[str, list[Any]]
    bad: list[Bad] = field(default_factory=list)


@dataclass(frozen=True)
class LogFile:
    """An opened log: its columns, and its rows through :meth:`chunks` (which may be called again).

    ``times`` holds the unit of columns that the file itself declares as times, ``naive`` those of them without a zone;
    ``notes`` what was assumed in reading.
    """

    path: Path
    columns: list[str]
    given: Given
    times: dict[str, str] = field(default_factory=dict)
    naive: frozenset[str] = frozenset()
    notes: list[str] = field(default_factory=list)
    delimiter: str = ","

    def chunks(self) -> Iterator[Chunk]:
        """All rows, at most :data:`CHUNK_ROWS` at a time.

        Raises:
            SettingsError: the file is damaged further down.
        """
        kind, last = _kind(self.path), 0
        make = {".parquet": _parquet_chunks, ".jsonl": _json_chunks, ".ndjson": _json_chunks}.get(kind, _csv_chunks)
        try:
            for chunk in make(self):
                yield chunk
                last = int(chunk.lines[-1]) if len(chunk.lines) else last
        except (OSError, EOFError, zlib.error, UnicodeError, pa.ArrowException) as exc:
            message = f"{self.path} cannot be read to its end (the last good piece ends at line {last:,}): {exc}"
            raise SettingsError(message) from exc


def open_log(path: Path, given: Given) -> LogFile:
    """Look at a log's head.

    Raises:
        SettingsError: there is no such file, or it is of no known kind.
        TrainingError: the file is empty.
    """
    if not path.is_file():
        near = guess(path.name, [other.name for other in path.parent.iterdir()]) if path.parent.is_dir() else ""
        message = f"there is no file {path}{near}"
        raise SettingsError(message)
    kind = _kind(path)
    if path.stat().st_size == 0:
        message = f"{path} is empty; expected a header line and events"
        raise TrainingError(message)
    try:
        if kind == ".parquet":
            return _open_parquet(path, given)
        return _open_json(path, given) if kind in (".jsonl", ".ndjson") else _open_csv(path, given)
    except (OSError, EOFError, pa.ArrowException, LookupError) as exc:
        message = f"{path} cannot be read as {kind}: {exc}"
        raise SettingsError(message) from exc


def _kind(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    kind = next((suffix for suffix in _SUFFIXES if name.endswith(suffix)), None)
    if kind is None or (kind == ".parquet" and path.name.lower().endswith(".gz")):
        message = (
            f"{path} is of no known kind; expected a name that ends in {', '.join(_SUFFIXES)}, or one with .gz behind"
        )
        raise SettingsError(message)
    return kind


def _text(path: Path, encoding: str) -> IO[str]:
    opened = gzip.open if path.name.lower().endswith(".gz") else open
    encoding = "utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding
    return opened(path, "rt", encoding=encoding, errors="surrogateescape", newline="")


def _encoding(given: Given) -> str:
    return given.options.get("encoding", "utf-8")


# --- CSV ----------------------------------------------------------------------------------------------------------


def _open_csv(path: Path, given: Given) -> LogFile:
    with _text(path, _encoding(given)) as file:
        head = next((line for line in file if line.strip()), "")
    if not head:
        message = f"{path} holds only empty lines; expected a header line and events"
        raise TrainingError(message)
    delimiter = given.options.get("delimiter") or _delimiter(head)
    delimiter = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
    if len(delimiter) != 1:
        message = f"the delimiter is {delimiter!r}; expected one character, or tab"
        raise SettingsError(message)
    named = given.options.get("columns")
    first = next(csv.reader([head], delimiter=delimiter))
    columns = [name.strip() for name in (re.split(r"[,;|]", named) if named else first)]
    if named and len(columns) != len(first):
        message = (
            f"columns= names {len(columns)} columns, the first line of {path} has {len(first)}: {head.strip()[:200]}"
        )
        raise SettingsError(message)
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        message = f"{path} has more than one column {', '.join(twice)}; expected different names"
        raise SettingsError(message)
    notes = [f"columns are separated by {_DELIMITERS.get(delimiter, repr(delimiter))}"] if delimiter != "," else []
    return LogFile(path, columns, given, notes=notes, delimiter=delimiter)


def _delimiter(head: str) -> str:
    outside = re.sub(r'"[^"]*"', "", head)
    return max(_DELIMITERS, key=outside.count)


class _Feed:
    """Lines for the CSV reader; remembers those of the current row, and takes back what a broken row swallowed."""

    def __init__(self, file: Iterable[str]) -> None:
        self._file = iter(file)
        self._again: deque[str] = deque()
        self.taken: list[str] = []

    def __iter__(self) -> "_Feed":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._file)
        self.taken.append(line)
        return line

    def take_back(self) -> None:
        """All lines of the current row but its first will be read again."""
        self._again.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]


def _csv_chunks(log: LogFile) -> Iterator[Chunk]:
    csv.field_size_limit(_LONGEST_FIELD)
    rows: list[list[str]] = []
    lines: list[int] = []
    bad: list[Bad] = []
    with _text(log.path, _encoding(log.given)) as file:
        for line, row, problem in _csv_rows(
            _Feed(file), log.delimiter, len(log.columns), "columns" in log.given.options
        ):
            if problem:
                bad.append(Bad(line, *problem))
            else:
                rows.append(row)
                lines.append(line)
            if len(rows) + len(bad) >= CHUNK_ROWS:
                yield _chunk(log.columns, rows, lines, bad)
                rows, lines, bad = [], [], []
    if rows or bad:
        yield _chunk(log.columns, rows, lines, bad)


def _chunk(columns: Sequence[str], rows: list[list[str]], lines: list[int], bad: list[Bad]) -> Chunk:
    turned = [list(values) for values in zip(*rows, strict=True)] if rows else [[] for _ in columns]
    return Chunk(np.array(lines, np.int64), dict(zip(columns, turned, strict=True)), bad)


Row = tuple[int, list[str], tuple[str, str] | None]


def _csv_rows(feed: _Feed, delimiter: str, width: int, headless: bool) -> Iterator[Row]:
    """Line number, cells and, where the row is broken, reason and detail."""
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    line, header = 1, not headless
    while True:
        feed.taken.clear()
        row: list[str] = []
        problem = None
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as exc:
            if not feed.taken:
                return
            problem = ("columns", f"{exc}: {feed.taken[0].strip()[:120]!r}")
        if len(row) != width and row and not problem:
            problem = ("columns", f"{len(row)} columns, expected {width}: {feed.taken[0].strip()[:120]!r}")
        if problem and len(feed.taken) > 1:
            feed.take_back()  # a quote that does not close must not cost the lines behind it
        elif row and not problem and not _is_text(row):
            problem = ("encoding", 'the line is not UTF-8; say MAP="encoding=latin-1" or what it is')
        if row or problem:
            if header:
                header = False
            else:
                yield line, row, problem
        line += len(feed.taken)


def _is_text(row: Sequence[str]) -> bool:
    whole = "".join(row)
    if whole.isascii():
        return True
    try:
        whole.encode()
    except UnicodeEncodeError:
        return False
    return True


# --- JSON lines ---------------------------------------------------------------------------------------------------


def _open_json(path: Path, given: Given) -> LogFile:
    names: dict[str, None] = {}
    with _bytes(path) as file:
        for _, line in zip(range(1000), file, strict=False):
            row, _ = _object(line)
            names.update(dict.fromkeys(row or ()))
    if not names:
        message = f"{path} begins with no JSON object; expected one object a line"
        raise SettingsError(message)
    return LogFile(path, list(names), given)


def _bytes(path: Path) -> IO[bytes]:
    return gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb")  # type: ignore[return-value]


def _object(line: bytes) -> tuple[dict[str, Any] | None, str]:
    try:
        row = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        return None, str(exc)
    return (row, "") if isinstance(row, dict) else (None, f"{type(row).__name__} instead of an object")


def _json_chunks(log: LogFile) -> Iterator[Chunk]:
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    bad: list[Bad] = []
    with _bytes(log.path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            row, problem = _object(line)
            if row is None:
                bad.append(Bad(number, "not_json", f"{problem}: {line[:80]!r}"))
            else:
                rows.append(row)
                lines.append(number)
            if len(rows) + len(bad) >= CHUNK_ROWS:
                yield _json_chunk(log.columns, rows, lines, bad)
                rows, lines, bad = [], [], []
    if rows or bad:
        yield _json_chunk(log.columns, rows, lines, bad)


def _json_chunk(columns: Sequence[str], rows: list[dict[str, Any]], lines: list[int], bad: list[Bad]) -> Chunk:
    return Chunk(np.array(lines, np.int64), {name: [row.get(name) for row in rows] for name in columns}, bad)


# --- Parquet ------------------------------------------------------------------------------------------------------


def _open_parquet(path: Path, given: Given) -> LogFile:
    schema = pq.read_schema(path)
    times, naive = {}, set()
    for column in schema:
        if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
            times[column.name] = "ms"
            if getattr(column.type, "tz", None) is None:
                naive.add(column.name)
    return LogFile(path, list(schema.names), given, times, frozenset(naive))


def _parquet_chunks(log: LogFile) -> Iterator[Chunk]:
    seen = 0
    with pq.ParquetFile(log.path) as file:
        for batch in file.iter_batches(CHUNK_ROWS):
            lines = np.arange(seen + 1, seen + len(batch) + 1)
            seen += len(batch)
            yield Chunk(lines, {name: _values(batch.column(name)) for name in batch.schema.names})


def _values(column: Any) -> list[Any]:
    """Python values; declared times as epoch milliseconds."""
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("ms", getattr(column.type, "tz", None)), safe=False).cast(pa.int64())
    elif pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    values: list[Any] = column.to_pylist()
    return values
