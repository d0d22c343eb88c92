"""The probe believes what it reads, and gives up with a reason."""

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.errors import DeploymentError
from contracts.events import parse
from deploy.probe import SHOP, Probe

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
FOLDER = f"shop={SHOP}/dataset=served/year=2026/month=01/day=05/hour=12/"


class Job:
    """Stream and lake; after ``delay`` looks the file of what was put appears."""

    def __init__(self, delay: int, *, mine: bool = True) -> None:
        self.delay, self.mine, self.looks, self.refuse = delay, mine, 0, None
        self.records: list[bytes] = []

    def put(self, records: list[tuple[bytes, str]]) -> list[Any]:
        self.records += [data for data, _ in records]
        return [self.refuse]

    def list(self, prefix: str) -> list[str]:
        self.looks += 1
        assert FOLDER.startswith(prefix)
        return [f"{FOLDER}_SUCCESS", f"{FOLDER}part-1"] if self.looks > self.delay else []

    def get(self, path: str) -> bytes:
        event_id = parse(self.records[0]).event_id if self.mine else "another"
        out = io.BytesIO()
        pq.write_table(pa.table({"event_id": [event_id], "outcome": ["scored"]}), out)
        return out.getvalue()


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def probe(job: Job) -> Probe:
    clock = Clock()
    return Probe(job, job, clock, clock.pause)  # type: ignore[arg-type]


def test_the_outcome_of_its_own_event_ends_the_wait() -> None:
    job = Job(delay=3)
    assert probe(job).check(60) == "scored"
    assert job.looks == 4
    event = parse(job.records[0])
    assert (event.shop_id, event.event_type, event.occurred_at) == (SHOP, "view", NOON)


def test_somebody_else_s_output_is_none() -> None:
    with pytest.raises(DeploymentError, match=r"no output for the event probe-.* within 60 s"):
        probe(Job(delay=0, mine=False)).check(60)


def test_an_application_that_stopped_is_not_waited_for() -> None:
    job = Job(delay=100)
    with pytest.raises(DeploymentError, match="is READY"):
        probe(job).check(600, lambda: "the application is READY")
    assert job.looks == 1


def test_a_stream_that_takes_nothing_is_named() -> None:
    job = Job(delay=0)
    job.refuse = "ResourceNotFoundException"  # type: ignore[assignment]
    with pytest.raises(DeploymentError, match="did not take the probe's event: ResourceNotFoundException"):
        probe(job).check(60)
