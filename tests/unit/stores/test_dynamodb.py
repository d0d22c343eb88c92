"""Bulk writes to DynamoDB: what was not taken is sent again, within bounds."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from contracts.errors import StoreError
from stores import dynamodb
from stores.dynamodb import DynamoTables
from stores.pace import Pace


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
    monkeypatch.setattr(dynamodb, "delays", lambda attempts: iter(range(attempts)))


def test_every_row_is_written_once_whatever_is_left_over_or_throttled() -> None:
    table = Table(3, refusal("ProvisionedThroughputExceededException"), 0, refusal("ThrottlingException"), 20)
    rows = [(f"default#v#u.{i}", b"x", 9) for i in range(60)]
    assert DynamoTables(table, "t").put_many(rows) == 60
    assert sorted(table.taken) == sorted(key for key, _, _ in rows)


def test_a_table_that_throttles_for_ever_is_a_store_error() -> None:
    with pytest.raises(StoreError, match="2 rows of table t are still unprocessed"):
        DynamoTables(Table(*[refusal("ThrottlingException")] * 12), "t").put_many([("a", b"", 9), ("b", b"", 9)])


def test_a_refusal_that_no_retry_mends_is_raised_at_once() -> None:
    table = Table(refusal("ResourceNotFoundException"))
    with pytest.raises(StoreError, match="check that it exists"):
        DynamoTables(table, "t").put_many([("a", b"", 9)])
    assert table.taken == []


def test_patience_is_counted_from_the_last_row_that_was_taken() -> None:
    """A table that takes one row in ten attempts is slow, not away."""
    script = [step for left in range(9, 0, -1) for step in ([refusal("ThrottlingException")] * 9 + [left])]
    table = Table(*script)
    rows = [(f"k{i}", b"x", 9) for i in range(10)]
    assert DynamoTables(table, "t").put_many(rows) == 10
    assert sorted(table.taken) == sorted(key for key, _, _ in rows)


def test_writes_keep_to_the_rate_in_write_units() -> None:
    slept: list[float] = []
    pace = Pace(50, clock=lambda: 0.0, sleep=slept.append)
    rows = [(f"k{i}", b"x" * 1500, 9) for i in range(50)]  # two units each, 25 rows a request
    DynamoTables(Table(), "t", pace=pace).put_many(rows)
    assert slept == [1.0, 2.0]  # the clock stands still, so the debt adds up


def test_a_table_that_throttles_is_given_time() -> None:
    pace = Pace(800, clock=lambda: 0.0, sleep=lambda _: None)
    DynamoTables(Table(refusal("ThrottlingException"), 3, 2), "t", pace=pace).put_many(
        [("a", b"", 9)] * 1 + [(f"k{i}", b"", 9) for i in range(9)]
    )
    assert pace.rate == pytest.approx(800 / 8 + 40)  # refused three times, then taken
