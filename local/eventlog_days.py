"""The clean rows of an own log by UTC day, through a folder on disk: a log of any order needs bounded memory."""

import gzip
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from contracts.errors import InvalidEvent
from contracts.events import Event, encode, parse
from local.eventlog_read import Bad
from local.eventlog_rows import EVENT_COLUMNS

__all__ = ["DAY_MS", "DaySpill", "HashTally", "encode_rows", "in_order", "pack"]

DAY_MS: Final = 86_400_000
_HELD_ROWS: Final = 500_000
_KEPT_HASHES: Final = 2_000_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_TYPES: Final = {"line": pa.int64(), "ms": pa.int64(), "quantity": pa.float64(), "price": pa.float64()}
_SCHEMA: Final = pa.schema([(name, _TYPES.get(name, pa.string())) for name in EVENT_COLUMNS])


class DaySpill:
    """Takes rows in any order, gives them back day by day; ``days`` counts rows by day since the epoch."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: list[pa.Table] = []
        self._rows = self._flushes = 0
        self.days: Counter[int] = Counter()

    def add(self, frame: pd.DataFrame) -> None:
        """Take rows with the columns of :data:`EVENT_COLUMNS`; more columns are dropped."""
        columns = [pa.array(frame[column.name].to_numpy(), column.type, from_pandas=True) for column in _SCHEMA]
        self._held.append(pa.Table.from_arrays(columns, schema=_SCHEMA))
        self._rows += len(frame)
        if self._rows >= _HELD_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what is held; needed before :meth:`read`."""
        if not self._rows:
            return
        table = pa.concat_tables(self._held)
        day = table["ms"].to_numpy() // DAY_MS
        order = np.argsort(day, kind="stable")
        table, day = table.take(order), day[order]
        edges = np.flatnonzero(np.diff(day, prepend=day[:1] - 1, append=day[-1:] + 1))
        for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            path = self._folder / str(day[start]) / f"{self._flushes:06d}.arrow"
            path.parent.mkdir(parents=True, exist_ok=True)
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, _SCHEMA) as writer:
                writer.write_table(table.slice(start, end - start))
            self.days[int(day[start])] += end - start
        self._held, self._rows = [], 0
        self._flushes += 1

    def read(self, day: int) -> pd.DataFrame:
        """The rows of a day as they were given."""
        parts = []
        for path in sorted((self._folder / str(day)).iterdir()):
            with pa.OSFile(str(path), "rb") as source, pa.ipc.open_stream(source) as reader:
                parts.append(reader.read_all())
        table = pa.concat_tables(parts)
        return pd.DataFrame({name: table[name].to_numpy() for name in EVENT_COLUMNS})


def in_order(frame: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """A day's rows, each event id once, by time; and how many were repeats.

    Where a log's times are coarse (seconds, or whole days), a person's events of one time are set a millisecond apart
    in the order of the file, because the model reads order from time. They stay on their day.
    """
    once = frame.drop_duplicates("event_id")
    person = pd.factorize(subjects(once))[0]
    order = np.lexsort((once["line"], once["ms"], person))
    person, ms = person[order], once["ms"].to_numpy()[order]
    place = np.arange(len(ms))
    # Strictly rising: t'(k) = max(t(k), t'(k-1) + 1), that is k plus the running maximum of t(k) - k.
    rising = pd.Series(ms - place).groupby(person).cummax().to_numpy() + place
    last = (ms // DAY_MS + 1) * DAY_MS - 1
    moved = once.iloc[order].assign(ms=np.minimum(rising, last))
    by_time = np.lexsort((moved["line"], moved["ms"]))
    return moved.iloc[by_time].reset_index(drop=True), len(frame) - len(once)


def subjects(frame: pd.DataFrame) -> npt.NDArray[Any]:
    """The person of each row, as :func:`contracts.ids.subject_of` names them."""
    user, other = frame["user"].to_numpy(object), frame["anonymous"].to_numpy(object)
    return np.array([f"a.{b}" if a is None else f"u.{a}" for a, b in zip(user, other, strict=True)], object)


def encode_rows(frame: pd.DataFrame, shop: str, shift_ms: int) -> tuple[list[bytes], list[Bad]]:
    """The rows as records of the lake, each checked by the contract; received when they occurred, ``shift_ms`` later.

    A row that the contract refuses although it seemed fine comes back as bad.
    """
    records, bad = [], []
    quantity = frame["quantity"].astype(np.int64).tolist()
    price = [None if value != value else value for value in frame["price"].tolist()]
    names = ("line", "ms", "type", "user", "anonymous", "session", "item", "currency", "event_id")
    rows = zip(*(frame[name].tolist() for name in names), quantity, price, strict=True)
    for line, ms, kind, user, anonymous, session, item, currency, event_id, count, amount in rows:
        at = _EPOCH + timedelta(milliseconds=ms + shift_ms)
        event = Event(
            shop_id=shop,
            event_id=event_id,
            event_type=kind,
            user_id=user,
            anonymous_id=anonymous,
            session_id=session,
            item_id=item,
            occurred_at=at,
            received_at=at,
            quantity=count,
            price=amount,
            currency=currency,
        )
        record = encode(event)
        try:
            parse(record)
        except InvalidEvent as exc:
            bad.append(Bad(line, exc.reason, exc.detail))
        else:
            records.append(record)
    return records, bad


def pack(records: list[bytes], most: int = 250_000) -> Iterator[bytes]:
    """Objects of the lake: gzipped JSON lines, at most ``most`` each; the same records give the same bytes."""
    for start in range(0, len(records), most):
        yield gzip.compress(b"\n".join((*records[start : start + most], b"")), compresslevel=1, mtime=0)


class HashTally:
    """Counts distinct values by their 64-bit hashes: 16 bytes a value, however long the values are.

    >>> tally = HashTally()
    >>> tally.add(np.array(["a", "b", "a"], object))
    >>> tally.distinct, tally.most
    (2, 2)
    """

    def __init__(self) -> None:
        self._parts: list[tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]] = []
        self._loose = 0

    def add(self, values: npt.NDArray[Any]) -> None:
        """Count values (text), each as often as it occurs."""
        hashes, counts = np.unique(pd.util.hash_array(values), return_counts=True)
        self._parts.append((hashes, counts))
        self._loose += len(hashes)
        if self._loose > _KEPT_HASHES:
            self._merge()

    def _merge(self) -> None:
        if len(self._parts) > 1:
            hashes = np.concatenate([part[0] for part in self._parts])
            counts = np.concatenate([part[1] for part in self._parts])
            distinct, place = np.unique(hashes, return_inverse=True)
            self._parts = [(distinct, np.bincount(place, counts).astype(np.int64))]
        self._loose = 0

    @property
    def distinct(self) -> int:
        """How many different values there were."""
        self._merge()
        return len(self._parts[0][0]) if self._parts else 0

    @property
    def most(self) -> int:
        """How often the most frequent value occurred."""
        self._merge()
        return int(self._parts[0][1].max()) if self._parts and len(self._parts[0][1]) else 0
