"""Accounts: what a replay sent, what the lake holds, what the stream counted and what it rejected, record by record."""

import gzip
import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow.parquet as pq

from contracts.errors import InvalidEvent
from contracts.events import parse
from contracts.ids import DEFAULT_SHOP
from contracts.lake import EVENTS_PREFIX, dataset_prefix
from local.replay import Account
from local.replay_plan import markers_in

__all__ = ["Ledger", "LedgerReader", "reconcile"]

REJECTED_SHOP = "_unknown"
"""A rejected record belongs to no shop that one could trust."""


class Files(Protocol):
    """Whoever reads the bucket; see :class:`stores.objects.Objects`."""

    def list(self, prefix: str) -> list[str]:
        """All keys below ``prefix``."""
        ...

    def get(self, path: str) -> bytes:
        """The bytes of an object."""
        ...


@dataclass
class Ledger:
    """What was found of one run, each id with the number of times: in the lake, counted by Flink, in the dead letters.

    ``reasons`` gives each rejected marker's reason, ``places`` the (shard, sequence number) of every rejected record of
    the run, ``strays`` counts lake records of the run that are neither valid nor marked.
    """

    lake: Counter[str] = field(default_factory=Counter)
    lake_malformed: Counter[str] = field(default_factory=Counter)
    strays: int = 0
    counted: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, str] = field(default_factory=dict)
    places: set[tuple[str, str]] = field(default_factory=set)

    @property
    def lake_records(self) -> int:
        """Records of the run in the lake."""
        return self.lake.total() + self.lake_malformed.total() + self.strays

    def add_lake(self, records: Iterable[bytes], run: str) -> None:
        """Count the records of ``run`` among raw lake records; what is of others is passed over."""
        mark = run.encode()
        for record in records:
            if mark not in record:
                continue
            if markers := markers_in(record):
                self.lake_malformed[markers[0]] += 1
                continue
            try:
                event_id = parse(record).event_id
            except InvalidEvent:
                self.strays += 1
                continue
            if event_id.startswith(f"{run}-"):
                self.lake[event_id] += 1

    def add_counted(self, event_ids: Iterable[str], run: str) -> None:
        """Count the rows of the ``served`` dataset that are of ``run``."""
        self.counted.update(event_id for event_id in event_ids if event_id.startswith(f"{run}-"))

    def add_rejected(self, rows: Iterable[dict[str, Any]], run: str) -> None:
        """Count the rows of the dead letters (reason, shard_id, sequence_number, data) that are of ``run``."""
        for row in rows:
            data = row["data"].encode() if isinstance(row["data"], str) else row["data"] or b""
            markers = [marker for marker in markers_in(data) if marker.startswith(f"mal-{run}-")]
            if markers:
                self.rejected[markers[0]] += 1
                self.reasons[markers[0]] = row["reason"]
                self.places.add((row["shard_id"], row["sequence_number"]))


class LedgerReader:
    """Reads the lake, ``served`` and the dead letters of a run; each call of :meth:`read` reads only new objects.

    Args:
        ignore: lake objects that cannot hold records of the run, such as those of the initial fill.
    """

    def __init__(self, files: Files, run: str, shop: str = DEFAULT_SHOP, *, ignore: Iterable[str] = ()) -> None:
        self._files, self._run, self._shop = files, run, shop
        self._seen = set(ignore)
        self.ledger = Ledger()

    def read(self) -> Ledger:
        """The ledger as of now; call it again until everything has arrived, or patience ends."""
        for path in self._new(EVENTS_PREFIX):
            self.ledger.add_lake(gzip.decompress(self._files.get(path)).split(b"\n"), self._run)
        for path in self._new(dataset_prefix(self._shop, "served")):
            column = self._table(path, ["event_id"]).column("event_id")
            self.ledger.add_counted(column.to_pylist(), self._run)
        for path in self._new(dataset_prefix(REJECTED_SHOP, "dead-letter")):
            rows = self._table(path, ["reason", "shard_id", "sequence_number", "data"])
            self.ledger.add_rejected(rows.to_pylist(), self._run)
        return self.ledger

    def _new(self, prefix: str) -> list[str]:
        paths = [path for path in self._files.list(prefix) if path not in self._seen]
        self._seen.update(paths)
        return [path for path in paths if not path.rpartition("/")[2].startswith(("_", "."))]

    def _table(self, path: str, columns: list[str]) -> Any:
        return pq.ParquetFile(io.BytesIO(self._files.get(path))).read(columns=columns, use_threads=False)


def reconcile(account: Account, ledger: Ledger) -> dict[str, Any]:
    """The figures of the result line, and ``agreed``: whether every record is where it belongs, exactly once.

    Sets are compared, not totals. ``lost`` counts valid ids that are missing from the lake or were not counted;
    ``extra`` what was found there and never sent. ``duplicates_dropped`` is the records of valid events in the lake
    that Flink did not count; ``malformed_rejected`` the markers found once in the dead letters, with the reason they
    were made for.
    """
    sent = account.events
    missing = (sent - set(ledger.lake)) | (sent - set(ledger.counted))
    extra = (set(ledger.lake) | set(ledger.counted)) - sent
    right = {m for m in account.malformed if ledger.rejected[m] == 1 and f"-{ledger.reasons[m]}-end" in m}
    copies = Counter(account.duplicates)
    doubled = all(ledger.lake[event_id] == 1 + copies[event_id] for event_id in sent)
    agreed = (
        not missing
        and not extra
        and all(count == 1 for count in ledger.counted.values())
        and (doubled or account.uncertain > 0)
        and set(ledger.lake_malformed) == account.malformed
        and right == account.malformed == set(ledger.rejected)
    )
    return {
        "events_sent": len(sent),
        "events_in_lake": len(ledger.lake),
        "events_counted": len(ledger.counted),
        "lost": len(missing),
        "extra": len(extra),
        "lake_records": ledger.lake_records,
        "duplicates_injected": len(account.duplicates),
        "duplicates_dropped": ledger.lake.total() - ledger.counted.total(),
        "malformed_injected": len(account.malformed),
        "malformed_rejected": len(right),
        "refused": len(account.refused),
        "uncertain": account.uncertain,
        "agreed": agreed,
    }
