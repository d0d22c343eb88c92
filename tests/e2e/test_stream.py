"""The streaming job on a real cluster: Kinesis records in, Redis values and Parquet files out."""

import io
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from batch.compact_hours import compact_hour, hours_of
from contracts.events import Event, encode, partition_key
from contracts.features import bucket_start, first_ms, last_ms
from contracts.keys import alias_key, item_key, trending_key, user_key
from contracts.lake import dataset_prefix, model_prefix, pointer_path
from contracts.lists import UserValue, covers, decode_user
from contracts.pointer import Pointer
from contracts.snapshot import Manifest, ModelSettings, write_snapshot
from local.health import wait_until
from local.stack import Stack
from stores.cluster import Cluster
from stores.objects import Objects
from stores.streams import Stream

pytestmark = [pytest.mark.e2e, pytest.mark.flink]

ITEMS = [f"I{i}" for i in range(10)]


@dataclass
class Running:
    """The parts of the stack that the tests talk to."""

    stack: Stack
    job: str
    stream: Stream
    redis: Cluster
    objects: Objects

    def put(self, *events: Event) -> None:
        records = [(encode(event), partition_key(event)) for event in events]
        assert self.stream.put(records) == [None] * len(records)

    def value(self, subject: str) -> UserValue | None:
        data = self.redis.get_many([user_key("default", subject)])[0]
        return decode_user(data) if data else None

    def await_value(self, subject: str, ready: Callable[[UserValue], bool], seconds: float = 60) -> UserValue:
        found: list[UserValue] = []

        def there() -> bool:
            value = self.value(subject)
            found[:] = [value] if value is not None and ready(value) else []
            return bool(found)

        wait_until(there, f"the live value of {subject}", seconds=seconds)
        return found[0]

    def publish(self, version: str, best_next: int, folder: Path) -> None:
        """A model in which the best next item of every item is the one ``best_next`` places further."""
        day = datetime(2026, 1, 1, tzinfo=UTC)
        manifest = Manifest(
            shop_id="default",
            version=version,
            parent=None,
            trained_at=day,
            window_start=day,
            window_end=day,
            model=ModelSettings(),
            training={},
            feature_names=[],
            coefficients=[],
            metrics={},
            rows={},
        )
        columns = np.array([(i + best_next) % len(ITEMS) for i in range(len(ITEMS))])
        matrix = (np.arange(len(ITEMS) + 1), columns, np.ones(len(ITEMS)))
        sealed = write_snapshot(folder / version, manifest, ITEMS, matrix, np.arange(len(ITEMS), 0, -1))
        prefix = model_prefix("default", version)
        self.objects.upload_folder(folder / version, prefix, [*sealed.files, "manifest.json"])
        pointer = Pointer(version=version, switched_at=day)
        self.objects.put(pointer_path("default"), msgspec.json.encode(pointer))

    def rows(self, prefix: str) -> list[dict[str, Any]]:
        files = [path for path in self.objects.list(prefix) if not path.rpartition("/")[2].startswith(("_", "."))]
        return [row for path in files for row in pq.ParquetFile(io.BytesIO(self.objects.get(path))).read().to_pylist()]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("stack")
    with Stack(lambda _: None, folder / "data") as stack:
        stack.fetch_jars()
        stack.start_stores()
        stack.start_flink(port=None)
        redis = Cluster.from_settings(stack.settings)
        running = Running(
            stack, stack.submit(), Stream.from_settings(stack.settings), redis, Objects.from_settings(stack.settings)
        )
        yield running
        redis.close()


def event(event_id: str, item: str | None, *, kind: Any = "view", late_s: int = 0, **fields: Any) -> Event:
    now = datetime.now(UTC)
    occurred = now - timedelta(seconds=late_s)
    return Event(event_id=event_id, event_type=kind, item_id=item, occurred_at=occurred, received_at=now, **fields)


# The tests below run in this order against one running job: each adds to what the last one asserts about the whole.


def test_a_click_is_in_redis_before_there_is_a_model(running: Running) -> None:
    running.put(event("c1", "I1", user_id="ada", price=2.0))
    value = running.await_value("u.ada", lambda value: bool(value.actions), seconds=120)
    assert [(action.event_id, action.item_id) for action in value.actions] == [("c1", "I1")]
    assert value.live is None
    ((start, values),) = value.buckets.items()
    occurred = value.actions[0].occurred_ms
    assert values[:5] == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert first_ms(int(start) * 1000, values[5]) == last_ms(int(start) * 1000, values[6]) == occurred


def test_the_job_takes_up_a_model_and_then_its_successor_without_a_restart(running: Running, tmp_path: Path) -> None:
    for version, step in (("v1", 1), ("v2", 2)):
        running.publish(version, step, tmp_path)
        deadline = time.monotonic() + 60
        n = 0
        while time.monotonic() < deadline:
            n += 1
            running.put(event(f"{version}-{n}", "I3", user_id="ben"))
            value = running.await_value("u.ben", lambda v, last=f"{version}-{n}": v.actions[-1].event_id == last)
            if value.live is not None and value.live.model_version == version:
                break
        assert value.live is not None
        assert value.live.items[0] == f"I{3 + step}"
        assert value.live.reasons[0][0].item_id == "I3"
        assert value.live.source == "live"
        assert covers(value.live.based_on, value.actions[-1].occurred_ms, value.actions[-1].event_id)
    assert running.stack.flink.rest.exception(running.job) == ""


def test_features_add_up_once_whatever_is_sent_twice_or_late(running: Running) -> None:
    bought = [event(f"p{i}", "I7", kind="purchase", user_id="eve", price=2.5, quantity=2) for i in range(4)]
    late = event("late", "I7", kind="purchase", user_id="eve", price=1000.0, late_s=11 * 60)
    running.put(*bought, late, *bought, *bought[:2])
    running.put(last := event("end", "I8", kind="add_to_cart", user_id="eve"))
    value = running.await_value("u.eve", lambda v: any(a.event_id == last.event_id for a in v.actions))
    assert [sum(column) for column in zip(*value.buckets.values(), strict=True)][:5] == [0.0, 1.0, 4.0, 20.0, 0.0]
    assert [action.event_id for action in value.actions] == ["p0", "p1", "p2", "p3", "end"]
    item = running.redis.execute([("HGETALL", item_key("default", "I7"))])[0]
    values = [[float(part) for part in text.split(b",")] for text in item.values()]
    assert [sum(column) for column in zip(*values, strict=True)][:4] == [0.0, 0.0, 4.0, 20.0]
    bucket = max(int(start) for start in item)
    assert last_ms(bucket * 1000, float(item[str(bucket).encode()].split(b",")[4])) == bought[-1].occurred_ms
    assert running.redis.execute([("ZSCORE", trending_key("default", bucket), "I7")])[0] is not None


def test_identify_joins_the_visitors_history_to_the_user(running: Running) -> None:
    running.put(event("a1", "I5", anonymous_id="browser-9"))
    running.await_value("a.browser-9", lambda v: bool(v.actions))
    running.put(event("id1", None, kind="identify", anonymous_id="browser-9", user_id="kim"))
    value = running.await_value("u.kim", lambda v: bool(v.actions))
    assert [action.event_id for action in value.actions] == ["a1"]
    assert value.live is not None
    assert value.live.items[0] == "I7"
    assert running.redis.get_many([alias_key("default", "browser-9")]) == [b"u.kim"]


def test_when_the_jobmanager_dies_the_job_goes_on_from_its_checkpoint(running: Running) -> None:
    before, flink = running.value("u.eve"), running.stack.flink
    assert before is not None
    wait_until(lambda: flink.newest_checkpoint() is not None, "a first checkpoint", seconds=60)
    os.kill(running.stack.supervisor.pid("flink-jobmanager"), signal.SIGKILL)
    wait_until(lambda: len(flink.job_ids) == 2, "the resubmission", seconds=180)
    running.put(event("again", "I8", kind="add_to_cart", user_id="eve"))
    value = running.await_value("u.eve", lambda v: v.actions[-1].event_id == "again", seconds=120)
    assert [a.event_id for a in value.actions] == [*(a.event_id for a in before.actions), "again"]
    # The running sums of an open bucket came back with the state: nothing was counted anew from zero, or twice.
    carts = sum(values[1] for values in value.buckets.values())
    assert carts == 2.0
    running.job = flink.job_ids[-1]


def test_after_a_drain_everything_sent_is_accounted_for_in_s3(running: Running) -> None:
    broken = [(b"{not json", "x"), (b'{"event_id":"b2","event_type":"wave"}', "y"), (b"\xff\x00", "z")]
    assert running.stream.put(broken) == [None] * 3
    running.put(event("bye", "I1", user_id="ada"))
    running.await_value("u.ada", lambda v: v.actions[-1].event_id == "bye")
    running.stack.flink.stop_job(running.job, drain=True)
    served = running.rows(dataset_prefix("default", "served"))
    ids = [row["event_id"] for row in served]
    assert len(ids) == len(set(ids))
    assert {"c1", "p0", "p1", "p2", "p3", "late", "end", "a1", "id1", "bye"} <= set(ids)
    assert {row["outcome"] for row in served if row["event_id"] == "late"} == {"late"}
    dead = running.rows(dataset_prefix("_unknown", "dead-letter"))
    assert sorted((row["data"], row["reason"]) for row in dead) == sorted(
        (data, reason) for (data, _), reason in zip(broken, ("not_json", "unknown_type", "not_json"), strict=True)
    )
    assert all(row["shard_id"] and row["sequence_number"] for row in dead)
    actions = [row for row in served if not row["late"] and row["event_type"] != "identify"]
    for entity in ("item", "user"):
        rows = running.rows(f"{dataset_prefix('default', 'features')}entity={entity}/")
        assert sum(row["views"] + row["carts"] + row["purchases"] for row in rows) == len(actions)
        assert len({(row["entity_id"], row["window_end"]) for row in rows}) == len(rows)


def test_what_the_stream_wrote_to_s3_compacts_to_a_file_an_hour_with_times_of_utc(running: Running) -> None:
    today, closed = datetime.now(UTC).date(), datetime.now(UTC) + timedelta(hours=2)
    hours = list(hours_of(running.objects, "default", today - timedelta(days=1), today, closed))
    assert all(compact_hour(running.objects, hour).new == len(hour.files) for hour in hours)
    bought = next(a for a in running.value("u.eve").actions if a.event_id == "p0")  # type: ignore[union-attr]
    for entity in ("item", "user"):
        files = running.rows(f"{dataset_prefix('default', 'features')}entity={entity}/")
        compacted = running.rows(f"{dataset_prefix('default', 'features-compact')}entity={entity}/")
        views = [sorted((row["entity_id"], row["views"]) for row in rows) for rows in (files, compacted)]
        assert views[0] == views[1] != []
        starts = {row["window_start"] for row in compacted if row["entity_id"] in ("I7", "u.eve")}
        assert datetime.fromtimestamp(bucket_start(bought.occurred_ms) / 1000, UTC) in starts
