"""The persistent store in one DynamoDB table, the default."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from contracts.errors import StoreError
from contracts.keys import current_row, registry_row
from contracts.pointer import Pointer
from contracts.settings import Settings
from stores.aws import client
from stores.pace import Pace
from stores.retry import delays
from stores.tables import Kind, Row, Tables, switch_pointer

__all__ = ["DynamoTables", "write_units"]

T = TypeVar("T")

_BATCH: Final = 25  # BatchWriteItem's limit
_READ_BATCH: Final = 100  # BatchGetItem's
_PATIENCE: Final = 12  # attempts in a row that bring nothing: about half a minute with boto3's own
_THROTTLED: Final = frozenset({"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"})


class DynamoTables(Tables):
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
    def open(cls, settings: Settings, *, timeout_s: float, writers: int) -> "DynamoTables":
        """The table of the settings; ``writers`` that write at a time share ``dynamodb.units.per.s``."""
        pace = Pace(settings.training.dynamodb_units_per_s / writers) if writers else None
        return cls(client("dynamodb", settings, read_timeout_s=timeout_s), settings.dynamodb_table, pace=pace)

    @property
    def kind(self) -> Kind:
        return "dynamodb"

    def ensure(self) -> None:
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

    def prepare(self) -> None:
        """Nothing: the deployment made the table, and its rows have no schema."""

    def get(self, key: str) -> bytes | None:
        item = self._get(key)
        return None if item is None or self._expired(item) else bytes(item["v"]["B"])

    def rows(self, keys: Sequence[str], *, consistent: bool = False) -> list[Row | None]:
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(keys), _READ_BATCH):
            found |= self._read_batch(keys[start : start + _READ_BATCH], consistent)
        return [
            None if item is None or self._expired(item) else (key, bytes(item["v"]["B"]), int(item["ttl"]["N"]))
            for key, item in ((key, found.get(key)) for key in keys)
        ]

    def put_many(self, rows: Iterable[Row]) -> int:
        """Batches of 25; what was not taken is sent again with jitter, never dropped.

        Raises:
            StoreError: rows are still unprocessed after all attempts.
        """
        written = 0
        for batch in _batches(rows):
            self._write_batch({row[0]: ({"PutRequest": {"Item": _item(*row)}}, write_units(row)) for row in batch})
            written += len(batch)
        return written

    def delete_many(self, keys: Iterable[str]) -> None:
        """Batches of 25, as they are written; a deletion is counted as one unit, though it costs those of the row."""
        for batch in _batches(keys):
            self._write_batch({key: ({"DeleteRequest": {"Key": {"pk": {"S": key}}}}, 1) for key in batch})

    def register(self, shop: str, version: str, manifest: bytes) -> None:
        self._write(
            "register", TableName=self._table, Item={"pk": {"S": registry_row(shop, version)}, "v": {"B": manifest}}
        )

    def current(self, shop: str) -> Pointer | None:
        item = self._get(current_row(shop), consistent=True)
        if item is None:
            return None
        at = datetime.fromisoformat(item["switched_at"]["S"])
        return Pointer(version=item["version"]["S"], switched_at=at, rev=item["rev"]["S"] if "rev" in item else "")

    def switch(self, shop: str, pointer: Pointer, expected: str | None) -> Pointer:
        return switch_pointer(
            shop, pointer, expected, lambda: self.current(shop), lambda new, live: self._replace(shop, new, live)
        )

    def prune(self) -> int:
        """Nothing to do: the table's TTL deletes."""
        return 0

    def close(self) -> None:
        self._db.close()

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

    def _write_batch(self, requests: dict[str, tuple[dict[str, Any], int]]) -> None:
        """Send until all are taken; only attempts in a row that brought nothing are counted against the limit.

        ``requests`` holds a request and its write units by key.
        """
        left = requests
        pauses = delays(_PATIENCE)
        next(pauses)
        while True:
            if self._pace:
                self._pace.take(sum(units for _, units in left.values()))
            refused = self._send(left)
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

    def _send(self, requests: dict[str, tuple[dict[str, Any], int]]) -> list[str]:
        """One BatchWriteItem; returns the keys of the requests that were not taken."""
        try:
            answer = self._db.batch_write_item(RequestItems={self._table: [one for one, _ in requests.values()]})
        except (ClientError, BotoCoreError) as exc:
            # No row of the batch was taken: a table on demand doubles its capacity, but not at once.
            if _throttled(exc):
                return list(requests)
            raise self._error(exc, "write") from exc
        left = answer.get("UnprocessedItems", {}).get(self._table, [])
        return [_key_of(request) for request in left]

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


def _batches(source: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(source)
    while batch := list(itertools.islice(rest, _BATCH)):
        yield batch


def _key_of(request: dict[str, Any]) -> str:
    names = request["PutRequest"]["Item"] if "PutRequest" in request else request["DeleteRequest"]["Key"]
    return str(names["pk"]["S"])


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
