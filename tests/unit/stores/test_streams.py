"""PutRecords may take some records and refuse others: only the refused are sent again, and each keeps its outcome."""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from stores import retry
from stores.streams import MAX_REQUEST_RECORDS, Stream, batches


class Kinesis:
    """Refuses each record as often as it is told to, and remembers what it took."""

    def __init__(self, refusals: dict[bytes, int], down: int = 0) -> None:
        self.refusals, self.down = dict(refusals), down
        self.taken: list[bytes] = []
        self.requests: list[int] = []

    def put_records(self, StreamName: str, Records: list[dict[str, Any]]) -> dict[str, Any]:
        self.requests.append(len(Records))
        if self.down:
            self.down -= 1
            raise ClientError({"Error": {"Code": "ServiceUnavailable"}}, "PutRecords")
        return {"Records": [self._one(record["Data"]) for record in Records]}

    def _one(self, data: bytes) -> dict[str, str]:
        if self.refusals.get(data, 0):
            self.refusals[data] -= 1
            return {"ErrorCode": "ProvisionedThroughputExceededException"}
        self.taken.append(data)
        return {"SequenceNumber": "1"}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stores.streams.delays", lambda attempts: retry.delays(attempts, sleep=lambda _: None))


def test_only_refused_records_are_sent_again_and_none_twice() -> None:
    kinesis = Kinesis({b"b": 2})
    assert Stream(kinesis, "s").put([(b"a", "k"), (b"b", "k"), (b"c", "k")]) == [None, None, None]
    assert kinesis.requests == [3, 1, 1]
    assert sorted(kinesis.taken) == [b"a", b"b", b"c"]


def test_a_record_refused_to_the_end_keeps_its_code_and_the_others_are_taken() -> None:
    kinesis = Kinesis({b"b": 99})
    outcome = Stream(kinesis, "s", attempts=3).put([(b"a", "k"), (b"b", "k")])
    assert outcome == [None, "ProvisionedThroughputExceededException"]
    assert kinesis.requests == [2, 1, 1]


def test_a_stream_that_is_away_for_a_moment_loses_nothing() -> None:
    kinesis = Kinesis({}, down=2)
    assert Stream(kinesis, "s").put([(b"a", "k")]) == [None]


def test_a_stream_that_stays_away_fails_each_record_by_name() -> None:
    outcome = Stream(Kinesis({}, down=99), "s", attempts=2).put([(b"a", "k"), (b"b", "k")])
    assert outcome == ["ServiceUnavailable"] * 2


def test_requests_stay_within_the_record_limit_and_cover_everything_once() -> None:
    records = [(b"x", "k")] * (2 * MAX_REQUEST_RECORDS + 1)
    found = list(batches(records))
    assert [len(batch) for batch in found] == [500, 500, 1]
    assert [i for batch in found for i in batch] == list(range(len(records)))
