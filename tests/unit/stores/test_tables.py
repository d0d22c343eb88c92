"""Bulk writes to DynamoDB: what was not taken is sent again, within bounds."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from contracts.errors import StoreError
from stores import tables
from stores.tables import Tables


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "no"}}, "BatchWriteItem")


class Table:
    """Answers each BatchWriteItem by the next of ``script``: an error, or how many rows it leaves unprocessed."""

    def __init__(self, *script: ClientError | int) -> None:
        self.script = list(script)
        self.taken: list[str] = []

    def batch_write_item(self, RequestItems: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
        step = self.script.pop(0) if self.script else 0
        if isinstance(step, ClientError):
            raise step
        ((name, requests),) = RequestItems.items()
        done, left = requests[: len(requests) - step], requests[len(requests) - step :]
        self.taken += [request["PutRequest"]["Item"]["pk"]["S"] for request in done]
        return {"UnprocessedItems": {name: left} if left else {}}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "delays", range)


def test_every_row_is_written_once_whatever_is_left_over_or_throttled() -> None:
    table = Table(3, refusal("ProvisionedThroughputExceededException"), 0, refusal("ThrottlingException"), 20)
    rows = [(f"default#v#u.{i}", b"x", 9) for i in range(60)]
    assert Tables(table, "t").put_many(rows) == 60
    assert sorted(table.taken) == sorted(key for key, _, _ in rows)


def test_a_table_that_throttles_for_ever_is_a_store_error() -> None:
    with pytest.raises(StoreError, match="2 rows of table t are still unprocessed"):
        Tables(Table(*[refusal("ThrottlingException")] * 8), "t").put_many([("a", b"", 9), ("b", b"", 9)])


def test_a_refusal_that_no_retry_mends_is_raised_at_once() -> None:
    table = Table(refusal("ResourceNotFoundException"))
    with pytest.raises(StoreError, match="check that it exists"):
        Tables(table, "t").put_many([("a", b"", 9)])
    assert table.taken == []
