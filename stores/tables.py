"""The DynamoDB table: lists by key, the model registry, and the CURRENT pointer, which is the authority."""

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from contracts.errors import PublishConflict, StoreError
from contracts.keys import current_row, registry_row
from contracts.lists import next_rev
from contracts.pointer import Pointer
from contracts.settings import Settings
from stores.aws import client
from stores.pace import Pace
from stores.retry import delays

__all__ = ["Row", "Tables", "write_units"]

Row = tuple[str, bytes, int]
"""Partition key, value, and the epoch second at which it expires."""

_BATCH: Final = 25  # BatchWriteItem's limit
_READ_BATCH: Final = 100  # BatchGetItem's
_PATIENCE: Final = 12  # attempts in a row that bring nothing: about half a minute with boto3's own
_SWITCHES: Final = 5
_THROTTLED: Final = frozenset({"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"})


class Tables:
    """One table with partition key ``pk`` (string), value ``v`` (binary) and TTL attribute ``ttl`` (epoch seconds).

    DynamoDB deletes expired items up to two days late, so reads filter on ``ttl`` themselves.
    """

    def __init__(
        self, dynamodb: Any, table: str, now_s: Callable[[], float] = time.time, pace: Pace | None = None
    ) -> None:
        self._pace = pace
        self._db = dynamodb
        self._table = table
        self._now_s = now_s

    @classmethod
    def from_settings(cls, settings: Settings, *, timeout_s: float = 10.0, pace: Pace | None = None) -> "Tables":
        """The table of the settings; bulk writes keep the ``pace``, counted in write units."""
        return cls(client("dynamodb", settings, read_timeout_s=timeout_s), settings.dynamodb_table, pace=pace)

    def ensure(self) -> None:
        """Create the table where it is missing (on AWS the deployment makes it)."""
        try:
            self._db.create_table(
                TableName=self._table,
                KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        except self._db.exceptions.ResourceInUseException:
            return
        self._db.get_waiter("table_exists").wait(TableName=self._table)
        self._db.update_time_to_live(
            TableName=self._table, TimeToLiveSpecification={"Enabled": True, "AttributeName": "ttl"}
        )

    def get(self, key: str) -> bytes | None:
        """The value of a row, or ``None`` where it is absent or expired."""
        item = self._get(key)
        return None if item is None or self._expired(item) else bytes(item["v"]["B"])

    def rows(self, keys: Sequence[str], *, consistent: bool = False) -> list[Row | None]:
        """The rows of ``keys`` (distinct), 100 a request; ``None`` where absent or expired. For the trainer, not for
        serving.

        Raises:
            StoreError: some are still unread after all attempts.
        """
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(keys), _READ_BATCH):
            found |= self._read_batch(keys[start : start + _READ_BATCH], consistent)
        return [
            None if item is None or self._expired(item) else (key, bytes(item["v"]["B"]), int(item["ttl"]["N"]))
            for key, item in ((key, found.get(key)) for key in keys)
        ]

    def put_many(self, rows: Iterable[Row]) -> int:
        """Write rows (keys distinct) in batches; what was not taken is sent again with jitter, never dropped.

        Returns:
            How many were written.

        Raises:
            StoreError: rows are still unprocessed after all attempts.
        """
        written = 0
        source = iter(rows)
        while batch := list(itertools.islice(source, _BATCH)):
            self._put_batch(batch)
            written += len(batch)
        return written

    def register(self, shop: str, version: str, manifest: bytes) -> None:
        """Write the registry item of a model version (the manifest's JSON); writing it again changes nothing."""
        self._write(
            "register", TableName=self._table, Item={"pk": {"S": registry_row(shop, version)}, "v": {"B": manifest}}
        )

    def current(self, shop: str) -> Pointer | None:
        """The live version of a shop, read consistently."""
        item = self._get(current_row(shop), consistent=True)
        if item is None:
            return None
        at = datetime.fromisoformat(item["switched_at"]["S"])
        return Pointer(version=item["version"]["S"], switched_at=at, rev=item["rev"]["S"] if "rev" in item else "")

    def switch(self, shop: str, pointer: Pointer, expected: str | None) -> Pointer:
        """Make ``pointer`` the live version if ``expected`` still is (``None``: if there is none yet).

        Returns:
            The pointer with its revision, above that of the one before.

        Raises:
            PublishConflict: another version is live by now.
        """
        now_us = int(pointer.switched_at.timestamp() * 1_000_000)
        live = self.current(shop)
        for _ in delays(_SWITCHES):
            version = live.version if live else None
            if version != expected:
                break
            revised = msgspec.structs.replace(pointer, rev=next_rev(live.rev or None if live else None, now_us))
            if self._replace(shop, revised, live):
                return revised
            live = self.current(shop)
        if live is not None and live.version == pointer.version:
            return live  # an earlier attempt whose answer was lost
        message = (
            f"{pointer.version} was not made current for shop {shop!r}: expected {expected} to be live, "
            f"found {live.version if live else None}; start again on top of it"
        )
        raise PublishConflict(message)

    def _replace(self, shop: str, pointer: Pointer, live: Pointer | None) -> bool:
        """Write the CURRENT item unless it is no longer as it was read; whether it was written."""
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(pk)"}
        if live is not None:
            known = "#r = :rev" if live.rev else "attribute_not_exists(#r)"
            values = {":version": {"S": live.version}} | ({":rev": {"S": live.rev}} if live.rev else {})
            condition = {
                "ConditionExpression": f"#v = :version AND {known}",
                "ExpressionAttributeNames": {"#v": "version", "#r": "rev"},
                "ExpressionAttributeValues": values,
            }
        item = {
            "pk": {"S": current_row(shop)},
            "version": {"S": pointer.version},
            "switched_at": {"S": pointer.switched_at.isoformat()},
            "rev": {"S": pointer.rev},
        }
        try:
            self._db.put_item(TableName=self._table, Item=item, **condition)
        except self._db.exceptions.ConditionalCheckFailedException:
            return False
        except (ClientError, BotoCoreError) as exc:
            raise self._error(exc, "switch") from exc
        return True

    def _expired(self, item: dict[str, Any]) -> bool:
        return "ttl" in item and int(item["ttl"]["N"]) <= self._now_s()

    def _get(self, key: str, *, consistent: bool = False) -> dict[str, Any] | None:
        try:
            answer = self._db.get_item(TableName=self._table, Key={"pk": {"S": key}}, ConsistentRead=consistent)
        except (ClientError, BotoCoreError) as exc:
            raise self._error(exc, "read") from exc
        item: dict[str, Any] | None = answer.get("Item")
        return item

    def _put_batch(self, rows: list[Row]) -> None:
        """Send until all are taken; only attempts in a row that brought nothing are counted against the limit."""
        left = {row[0]: row for row in rows}
        pauses = delays(_PATIENCE)
        next(pauses)
        while True:
            if self._pace:
                self._pace.take(sum(write_units(row) for row in left.values()))
            refused = self._send(list(left.values()))
            if self._pace:
                (self._pace.refused if refused else self._pace.taken)()
            if not refused:
                return
            if len(refused) < len(left):
                pauses = delays(_PATIENCE)
                next(pauses)
            left = {key: left[key] for key in refused}
            if next(pauses, None) is None:
                break
        message = (
            f"{len(left)} rows of table {self._table} are still unprocessed after {_PATIENCE} attempts that brought "
            "nothing; raise its capacity, or lower dynamodb.units.per.s"
        )
        raise StoreError(message)

    def _send(self, rows: list[Row]) -> list[str]:
        """One BatchWriteItem; returns the keys of the rows that were not taken."""
        requests = {self._table: [{"PutRequest": {"Item": _item(*row)}} for row in rows]}
        try:
            answer = self._db.batch_write_item(RequestItems=requests)
        except (ClientError, BotoCoreError) as exc:
            # No row of the batch was taken: a table on demand doubles its capacity, but not at once.
            if _throttled(exc):
                return [row[0] for row in rows]
            raise self._error(exc, "write") from exc
        left = answer.get("UnprocessedItems", {}).get(self._table, [])
        return [request["PutRequest"]["Item"]["pk"]["S"] for request in left]

    def _read_batch(self, keys: Sequence[str], consistent: bool) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        request: dict[str, Any] = {
            self._table: {"Keys": [{"pk": {"S": key}} for key in keys], "ConsistentRead": consistent}
        }
        for _ in delays(_PATIENCE):
            try:
                answer = self._db.batch_get_item(RequestItems=request)
            except (ClientError, BotoCoreError) as exc:
                if _throttled(exc):
                    continue
                raise self._error(exc, "read") from exc
            found |= {item["pk"]["S"]: item for item in answer["Responses"].get(self._table, [])}
            request = answer.get("UnprocessedKeys", {})
            if not request:
                return found
        message = f"table {self._table} does not answer all of {len(keys)} reads; raise its capacity"
        raise StoreError(message)

    def _write(self, what: str, **arguments: Any) -> None:
        try:
            self._db.put_item(**arguments)
        except (ClientError, BotoCoreError) as exc:
            raise self._error(exc, what) from exc

    def _error(self, exc: Exception, what: str) -> StoreError:
        return StoreError(
            f"could not {what} table {self._table}: {exc}; check that it exists and the role may {what} it"
        )


def _item(key: str, value: bytes, expires_s: int) -> dict[str, Any]:
    return {"pk": {"S": key}, "v": {"B": value}, "ttl": {"N": str(expires_s)}}


def write_units(row: Row) -> int:
    """What a row costs to write: one unit for each started KiB of names and values (DynamoDB guide, item sizes).

    >>> write_units(("k", b"x" * 100, 9)), write_units(("k", b"x" * 1024, 9))
    (1, 2)
    """
    return -(-(len(row[0].encode()) + len(row[1]) + 32) // 1024)


def _throttled(exc: Exception) -> bool:
    return isinstance(exc, ClientError) and exc.response["Error"]["Code"] in _THROTTLED
