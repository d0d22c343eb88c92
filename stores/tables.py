"""The DynamoDB table: lists by key, the model registry, and the CURRENT pointer, which is the authority."""

import itertools
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from contracts.errors import PublishConflict, StoreError
from contracts.keys import current_row, registry_row
from contracts.pointer import Pointer
from contracts.settings import Settings
from stores.aws import client
from stores.retry import delays

__all__ = ["Row", "Tables"]

Row = tuple[str, bytes, int]
"""Partition key, value, and the epoch second at which it expires."""

_BATCH: Final = 25  # BatchWriteItem's limit
_THROTTLED: Final = frozenset({"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"})


class Tables:
    """One table with partition key ``pk`` (string), value ``v`` (binary) and TTL attribute ``ttl`` (epoch seconds).

    DynamoDB deletes expired items up to two days late, so reads filter on ``ttl`` themselves.
    """

    def __init__(self, dynamodb: Any, table: str, now_s: Callable[[], float] = time.time) -> None:
        self._db = dynamodb
        self._table = table
        self._now_s = now_s

    @classmethod
    def from_settings(cls, settings: Settings, *, timeout_s: float = 10.0) -> "Tables":
        """The table of the settings."""
        return cls(client("dynamodb", settings, read_timeout_s=timeout_s), settings.dynamodb_table)

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
        if item is None or ("ttl" in item and int(item["ttl"]["N"]) <= self._now_s()):
            return None
        return bytes(item["v"]["B"])

    def put_many(self, rows: Iterable[Row]) -> int:
        """Write rows in batches; unprocessed ones are sent again with jitter. Returns how many were written.

        Raises:
            StoreError: rows are still unprocessed after all attempts.
        """
        written = 0
        source = iter(rows)
        while batch := list(itertools.islice(source, _BATCH)):
            self._put_batch([{"PutRequest": {"Item": _item(*row)}} for row in batch])
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
        return Pointer(version=item["version"]["S"], switched_at=datetime.fromisoformat(item["switched_at"]["S"]))

    def switch(self, shop: str, pointer: Pointer, expected: str | None) -> None:
        """Make ``pointer`` the live version if ``expected`` still is (``None``: if there is none yet).

        Raises:
            PublishConflict: another version is live by now.
        """
        condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(pk)"}
        if expected is not None:
            condition = {
                "ConditionExpression": "#v = :expected",
                "ExpressionAttributeNames": {"#v": "version"},
                "ExpressionAttributeValues": {":expected": {"S": expected}},
            }
        item = {
            "pk": {"S": current_row(shop)},
            "version": {"S": pointer.version},
            "switched_at": {"S": pointer.switched_at.isoformat()},
        }
        try:
            self._db.put_item(TableName=self._table, Item=item, **condition)
        except self._db.exceptions.ConditionalCheckFailedException as exc:
            live = self.current(shop)
            if live is not None and live.version == pointer.version:
                return  # an earlier attempt whose answer was lost
            message = (
                f"{pointer.version} was not made current for shop {shop!r}: expected {expected} to be live, "
                f"found {live.version if live else None}; train again on top of it"
            )
            raise PublishConflict(message) from exc
        except (ClientError, BotoCoreError) as exc:
            raise self._error(exc, "switch") from exc

    def _get(self, key: str, *, consistent: bool = False) -> dict[str, Any] | None:
        try:
            answer = self._db.get_item(TableName=self._table, Key={"pk": {"S": key}}, ConsistentRead=consistent)
        except (ClientError, BotoCoreError) as exc:
            raise self._error(exc, "read") from exc
        item: dict[str, Any] | None = answer.get("Item")
        return item

    def _put_batch(self, requests: list[dict[str, Any]]) -> None:
        for _ in delays(8):
            try:
                answer = self._db.batch_write_item(RequestItems={self._table: requests})
            except (ClientError, BotoCoreError) as exc:
                # No row of the batch was taken: a table on demand doubles its capacity, but not at once.
                if isinstance(exc, ClientError) and exc.response["Error"]["Code"] in _THROTTLED:
                    continue
                raise self._error(exc, "write") from exc
            requests = answer.get("UnprocessedItems", {}).get(self._table, [])
            if not requests:
                return
        message = (
            f"{len(requests)} rows of table {self._table} are still unprocessed after 8 attempts; raise its capacity"
        )
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
