"""The persistent store in PostgreSQL (Aurora), for those who would rather keep one database than two stores."""

import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC
from typing import Any, Final, LiteralString, TypeVar

import psycopg
from botocore.exceptions import BotoCoreError, ClientError

from contracts.errors import StoreError
from contracts.keys import current_row, registry_row
from contracts.pointer import Pointer
from contracts.settings import Settings
from stores.pace import Pace
from stores.postgresql_connections import Connections, connector
from stores.postgresql_schema import bring_up_to_date
from stores.retry import delays
from stores.tables import Kind, Row, Tables, switch_pointer

__all__ = ["PostgresTables"]

T = TypeVar("T")
Connection = psycopg.Connection[tuple[Any, ...]]
Given = Sequence[Any] | Mapping[str, Any]

_BATCH: Final = 500
_PRUNED: Final = 5000
_MOST_ATTEMPTS: Final = 64  # time is what bounds them
_PASSING: Final = frozenset(
    {
        "40001",  # serialization failure
        "40P01",  # deadlock
        "53300",  # too many connections
        "57P01",  # the server is told to stop
        "57P02",  # it crashed
        "57P03",  # it starts
        "25006",  # read only: after a failover this connection leads to what is a reader now
    }
)

_READ: Final = "SELECT v FROM rows WHERE pk = %s AND (expires_at IS NULL OR expires_at > to_timestamp(%s))"
_READ_MANY: Final = """
SELECT pk, v, extract(epoch FROM expires_at)::bigint FROM rows WHERE pk = ANY(%s) AND expires_at > to_timestamp(%s)
"""
# A row that is there already is left alone: a run that is repeated makes no dead rows.
_UPSERT: Final = """
INSERT INTO rows (pk, v, expires_at)
SELECT pk, v, to_timestamp(expires_s) FROM unnest(%(keys)s::text[], %(values)b::bytea[], %(expiries)s::bigint[])
    AS given (pk, v, expires_s)
ON CONFLICT (pk) DO UPDATE SET v = excluded.v, expires_at = excluded.expires_at
    WHERE (rows.v, rows.expires_at) IS DISTINCT FROM (excluded.v, excluded.expires_at)
"""
_REGISTER: Final = """
INSERT INTO rows (pk, v) VALUES (%s, %s)
ON CONFLICT (pk) DO UPDATE SET v = excluded.v, expires_at = NULL WHERE rows.v IS DISTINCT FROM excluded.v
"""
_FIRST: Final = """
INSERT INTO pointers (pk, version, switched_at, rev) VALUES (%(pk)s, %(version)s, %(switched_at)s, %(rev)s)
ON CONFLICT (pk) DO NOTHING
"""
_SWITCH: Final = """
UPDATE pointers SET version = %(version)s, switched_at = %(switched_at)s, rev = %(rev)s
WHERE pk = %(pk)s AND version = %(old_version)s AND rev = %(old_rev)s
"""
_PRUNE: Final = """
DELETE FROM rows WHERE pk IN (
    SELECT pk FROM rows WHERE expires_at <= to_timestamp(%s) ORDER BY expires_at LIMIT %s FOR UPDATE SKIP LOCKED)
"""


class PostgresTables(Tables):
    """Tables ``rows`` and ``pointers`` of one schema (:mod:`stores.postgresql_schema`).

    One operation is one statement in its own transaction, and is sent again where it failed in passing (a failover, a
    deadlock, a lost connection), until ``timeout_s`` is over. All are idempotent, so one whose answer was lost may be
    repeated.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        schema: str,
        *,
        timeout_s: float = 10.0,
        most: int = 4,
        pace: Pace | None = None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._connections = Connections(connect, most)
        self._schema = schema
        self._timeout_s = timeout_s
        self._pace = pace
        self._now_s = now_s

    @classmethod
    def open(cls, settings: Settings, *, timeout_s: float, writers: int) -> "PostgresTables":
        """The store of the settings; ``writers`` that write at a time share ``rows.per.s``. Connects when first used.

        Raises:
            SettingsError: the certificates of the authorities are not there.
        """
        given = settings.postgresql
        pace = Pace(given.rows_per_s / writers) if writers else None
        connect = connector(settings, timeout_s)
        return cls(connect, given.schema, timeout_s=timeout_s, most=given.connections, pace=pace)

    @property
    def kind(self) -> Kind:
        return "postgresql"

    def ensure(self) -> None:
        self._run("prepare", lambda connection: bring_up_to_date(connection, self._schema))

    prepare = ensure

    def get(self, key: str) -> bytes | None:
        found = self._read(_READ, (key, self._now_s()))
        return bytes(found[0][0]) if found else None

    def rows(self, keys: Sequence[str], *, consistent: bool = False) -> list[Row | None]:
        """500 a statement. The writer answers, so ``consistent`` changes nothing."""
        found: dict[str, Row] = {}
        for start in range(0, len(keys), _BATCH):
            for key, value, expires_s in self._read(_READ_MANY, (list(keys[start : start + _BATCH]), self._now_s())):
                found[key] = (key, bytes(value), expires_s)
        return [found.get(key) for key in keys]

    def put_many(self, rows: Iterable[Row]) -> int:
        """Batches of 500, each whole or not at all.

        In order of their keys, so that two writers cannot lock each other out.
        """
        written, source = 0, iter(rows)
        while batch := sorted(itertools.islice(source, _BATCH)):
            keys, values, expiries = (list(column) for column in zip(*batch, strict=True))
            if self._pace:
                self._pace.take(len(batch))
            self._write("write", _UPSERT, {"keys": keys, "values": values, "expiries": expiries})
            written += len(batch)
        return written

    def delete_many(self, keys: Iterable[str]) -> None:
        source = iter(keys)
        while batch := sorted(itertools.islice(source, _BATCH)):
            self._write("delete from", "DELETE FROM rows WHERE pk = ANY(%s)", (batch,))

    def register(self, shop: str, version: str, manifest: bytes) -> None:
        self._write("register a model in", _REGISTER, (registry_row(shop, version), manifest))

    def current(self, shop: str) -> Pointer | None:
        found = self._read("SELECT version, switched_at, rev FROM pointers WHERE pk = %s", (current_row(shop),))
        if not found:
            return None
        version, switched_at, rev = found[0]
        return Pointer(version=version, switched_at=switched_at.astimezone(UTC), rev=rev)

    def switch(self, shop: str, pointer: Pointer, expected: str | None) -> Pointer:
        return switch_pointer(
            shop, pointer, expected, lambda: self.current(shop), lambda new, live: self._replace(shop, new, live)
        )

    def _replace(self, shop: str, pointer: Pointer, live: Pointer | None) -> bool:
        """Write the pointer unless it is no longer as it was read; whether it was written."""
        row = {"pk": current_row(shop), "version": pointer.version}
        given: dict[str, Any] = row | {"switched_at": pointer.switched_at, "rev": pointer.rev}
        if live is not None:
            given |= {"old_version": live.version, "old_rev": live.rev}
        return self._write("switch the pointer in", _FIRST if live is None else _SWITCH, given) == 1

    def prune(self) -> int:
        """5,000 rows a statement, so that none holds locks for long; rows that another one prunes are left to it."""
        deleted, before = 0, self._now_s()
        while gone := self._write("prune", _PRUNE, (before, _PRUNED)):
            deleted += gone
        return deleted

    def close(self) -> None:
        self._connections.close()

    def _read(self, query: LiteralString, given: Given) -> list[tuple[Any, ...]]:
        return self._run("read", lambda connection: connection.execute(query, given).fetchall())

    def _write(self, what: str, query: LiteralString, given: Given) -> int:
        """How many rows it changed."""
        return self._run(what, lambda connection: connection.execute(query, given).rowcount)

    def _run(self, what: str, work: Callable[[Connection], T]) -> T:
        """Run a statement, again where it failed in passing, within the time there is."""
        until = time.monotonic() + self._timeout_s
        failure: Exception | None = None
        for _ in delays(_MOST_ATTEMPTS):
            left = until - time.monotonic()
            if left <= 0:
                break
            try:
                with self._connections.one(left) as connection:
                    return work(connection)
            except (psycopg.Error, ClientError, BotoCoreError) as exc:
                failure = exc
                if not _passes(exc):
                    break
        said = " ".join(str(failure).split())  # libpq writes several lines
        message = f"could not {what} schema {self._schema} of PostgreSQL: {said}; {_remedy(failure)}"
        raise StoreError(message) from failure


def _passes(exc: Exception) -> bool:
    """Whether the same statement may succeed a moment later. Errors of libpq about a connection carry no state."""
    if not isinstance(exc, psycopg.Error):
        return False
    state = exc.sqlstate
    if state is None:
        return isinstance(exc, psycopg.OperationalError | psycopg.InterfaceError)
    return state in _PASSING or state.startswith("08")


def _remedy(exc: Exception | None) -> str:
    if isinstance(exc, psycopg.errors.UndefinedTable | psycopg.errors.InvalidSchemaName):
        return "run python -m batch.models prepare (a training does it, too)"
    if isinstance(exc, psycopg.errors.InsufficientPrivilege):
        return "grant the user the schema (docs/postgresql.md)"
    if isinstance(exc, psycopg.errors.QueryCanceled):
        return "look at the database's load and locks"
    return "check that it runs, that its security group lets this in, and the settings in group liveshelf.postgresql"
