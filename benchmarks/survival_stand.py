"""The running stack of the survival scenarios: what is sent is entered into an account, and what came of it is read."""

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import psutil

from batch.publish import Entry, ListWriter, Stores, switch, upload_snapshot
from benchmarks.survival_drops import WindowDrops
from benchmarks.survival_expected import Buckets
from benchmarks.survival_traffic import ITEMS, Mix, Record, Traffic
from contracts.errors import LiveshelfError, LocalStackError, StoreError
from contracts.events import Event, encode, partition_key
from contracts.keys import item_key, user_key
from contracts.lists import UserValue, decode_user
from contracts.snapshot import Manifest, ModelSettings, write_snapshot
from local import toolchain
from local.guardian import marked
from local.health import wait_until
from local.replay import Account
from local.stack import Stack
from stores.cluster import Cluster
from stores.objects import Objects
from stores.streams import Stream

__all__ = ["VERSION", "Sender", "Stand", "running_stand"]

VERSION: Final = "v1"
_PROBES: Final = 8
_WARM_UP: Final = "warm-up"
_PEOPLE: Final = [f"u.u{n}" for n in range(10)]
_WARM_SECONDS: Final = 180
_PARTS_PER_S: Final = 4


class Stand:
    """The parts of a stack under test. Reads of Redis that fail count as nothing found."""

    def __init__(self, stack: Stack, stores: Stores) -> None:
        self.stack = stack
        self.stores = stores
        self.stream = Stream.from_settings(stack.settings)
        self.objects = Objects.from_settings(stack.settings)
        self.redis: Cluster = stores.cluster
        self.drops = WindowDrops(stack.flink)
        self.sent: dict[str, list[Event]] = {}
        self.left_behind: list[psutil.Process] = []

    @property
    def job(self) -> str:
        """The id that the job has now."""
        return self.stack.flink.job_ids[-1]

    def put(self, records: Sequence[Record], account: Account, *, seconds: float = 120) -> None:
        """Put records until each was taken, as a client does that repeats what it got no answer for."""
        pending, deadline = list(records), time.monotonic() + seconds
        while pending:
            outcome = self.stream.put([(record.data, record.key) for record in pending])
            for record, failure in zip(pending, outcome, strict=True):
                if failure is None:
                    note = {"event": account.event, "duplicate": account.duplicate, "malformed": account.marker}
                    note[record.kind](record.name)
            failures = [failure for failure in outcome if failure is not None]
            pending = [record for record, failure in zip(pending, outcome, strict=True) if failure is not None]
            account.uncertain += len(pending)
            if pending and time.monotonic() > deadline:
                msg = f"{len(pending)} records were not taken within {seconds:.0f} s, the last time for {failures[0]}"
                raise LocalStackError(msg)

    def put_events(self, events: Sequence[Event], account: Account, *, seconds: float = 120) -> None:
        """:meth:`put` of events."""
        records = [Record("event", event.event_id, encode(event), partition_key(event)) for event in events]
        self.put(records, account, seconds=seconds)

    def users(self, shop: str, subjects: Sequence[str]) -> dict[str, UserValue | None]:
        """The stored values of people."""
        values = self.redis.get_many([user_key(shop, subject) for subject in subjects])
        return {s: decode_user(value) if value else None for s, value in zip(subjects, values, strict=True)}

    def items(self, shop: str) -> dict[str, Buckets]:
        """The stored buckets of items."""
        hashes = self.redis.execute([("HGETALL", item_key(shop, item)) for item in ITEMS])
        return {
            item: {int(start): [float(part) for part in text.split(b",")] for start, text in found.items()}
            for item, found in zip(ITEMS, hashes, strict=True)
        }

    def recovered(self, traffic: Traffic, account: Account, since: float, *, seconds: float = 180) -> float:
        """Send new events of new people, over all shards; the seconds from ``since`` until all have their effect."""
        events = traffic.probes(_PROBES, datetime.now(UTC))
        self.put_events(events, account, seconds=seconds)
        subjects = [event.subject for event in events]

        def seen() -> bool:
            try:
                return all(value and value.live for value in self.users(traffic.shop, subjects).values())
            except StoreError:
                return False

        wait_until(seen, "the effect of a new event", seconds=seconds, dead=self.dead, every=0.02)
        return time.monotonic() - since

    def await_checkpoint(self, *, seconds: float = 90) -> None:
        """Wait for a checkpoint that began after now."""
        asked = time.time() * 1000

        def done() -> bool:
            try:
                latest = self.stack.flink.rest.checkpoints(self.job)["latest"]["completed"]
            except LocalStackError:  # the JobManager is away
                return False
            return bool(latest and latest["trigger_timestamp"] >= asked)

        wait_until(done, "a checkpoint", seconds=seconds, dead=self.dead)

    def missing_lists(self, shop: str) -> list[str]:
        """The Redis keys of the model's lists that are not there."""
        writer = ListWriter(shop, VERSION, 0, 0)
        keys = [writer.keys(entry)[1] for entry in _entries()]
        return [key for key, there in zip(keys, self.redis.present(keys), strict=True) if not there]

    def batch_environment(self) -> dict[str, str]:
        """What a Spark command of ``batch`` needs in its environment to run against this stack."""
        jars = ":".join(map(str, self.stack.jars.spark))
        own = {"JAVA_HOME": str(toolchain.java_home()), "LIVESHELF_SPARK_JARS": jars}
        return {**os.environ, **self.stack.environment, **own}

    def python_workers(self) -> list[psutil.Process]:
        """The processes that run the job's Python functions."""
        return [process for process in marked(self.stack.supervisor.run) if _is_worker(process)]

    def await_reaped(self) -> None:
        """Wait for the end of the workers that a scenario left without a parent or with a dead neighbour."""

        def gone(worker: psutil.Process) -> bool:
            return not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE

        wait_until(lambda: all(map(gone, self.left_behind)), "the end of the old Python workers", seconds=60)
        self.left_behind = []

    def dead(self) -> str | None:
        try:
            self.stack.supervisor.check()
        except LocalStackError as exc:
            return f"will not come: {exc}"
        return None


def _is_worker(process: psutil.Process) -> bool:
    try:
        command = process.cmdline()
    except psutil.Error:
        return False
    return "pyflink.fn_execution.beam.beam_boot" in command and "python" in Path(command[0]).name


class Sender(threading.Thread):
    """Sends a run's traffic at an even rate beside the scenario; the second half not before :meth:`go_on`.

    So a fault, however late it comes, comes in the midst of traffic.
    """

    def __init__(self, stand: Stand, traffic: Traffic, account: Account, seconds: float) -> None:
        super().__init__(name="sender", daemon=True)
        self._stand, self._traffic, self._account, self._seconds = stand, traffic, account, seconds
        self._second_half = threading.Event()
        self._failure: LiveshelfError | None = None

    def run(self) -> None:
        """Send everything."""
        parts = max(2, round(self._seconds * _PARTS_PER_S))
        each = -(-self._traffic.left // parts)
        try:
            for part in range(parts):
                if part == parts // 2:
                    self._second_half.wait()
                began = time.monotonic()
                self._stand.put(self._traffic.take(each, datetime.now(UTC)), self._account)
                time.sleep(max(0.0, began + 1 / _PARTS_PER_S - time.monotonic()))
        except LiveshelfError as exc:
            self._failure = exc

    def go_on(self) -> None:
        """Let the second half be sent."""
        self._second_half.set()

    def end(self) -> None:
        """Wait until all is sent.

        Raises:
            LocalStackError: a record was not taken.
        """
        self.go_on()
        self.join()
        if self._failure is not None:
            raise self._failure


@contextmanager
def running_stand(shops: Sequence[str], say: Callable[[str], None], data: Path | None = None) -> Iterator[Stand]:
    """A stack behind the fault proxy, a model with lists for each shop, and the job running; about 40 seconds."""
    with (
        tempfile.TemporaryDirectory(prefix="liveshelf-survival-", ignore_cleanup_errors=True) as scratch,
        Stack(say, data or Path(scratch) / "data") as stack,
    ):
        stack.stage("jars", stack.fetch_jars)
        everything = (*shops, _WARM_UP)
        stack.stage("stores", lambda: stack.start_stores(shops=everything, faults=True))
        stores = Stores.open(stack.settings)
        for shop in everything:
            _publish(stack, stores, shop, Path(scratch) / shop)
        stack.start_delivery(interval_s=2.0)
        stack.stage("flink", lambda: stack.start_flink(port=None))
        stack.stage("job", stack.submit)
        stand = Stand(stack, stores)
        wait_until(lambda: stack.flink.rest.running(stand.job), "the job", seconds=_WARM_SECONDS)
        try:
            # The first records wait for Python workers to start; that is no recovery of anything.
            stack.stage(
                "first list", lambda: stand.recovered(Traffic("warm", _WARM_UP, Mix(), seed=0), Account("warm"), 0)
            )
            yield stand
        finally:
            stores.cluster.close()


def _entries() -> list[Entry]:
    """The lists of the model: of some people, of every item, and the popular one."""
    five = list(ITEMS[:5]), [5.0, 4.0, 3.0, 2.0, 1.0]
    entries = [Entry("person", name, *five) for name in _PEOPLE]
    entries += [Entry("similar", item, list(ITEMS[:2]), [1.0, 0.5]) for item in ITEMS]
    return [*entries, Entry("popular", "", *five)]


def _publish(stack: Stack, stores: Stores, shop: str, scratch: Path) -> None:
    """A model in which the next item is the one three places further, with a list for every item and a few people."""
    now, count = datetime.now(UTC), len(ITEMS)
    writer = ListWriter(shop, VERSION, int(now.timestamp() * 1000), stack.settings.training.list_ttl_s)
    writer.write_to(stores.tables, stores.cluster, _entries())
    made = Manifest(
        shop_id=shop,
        version=VERSION,
        parent=None,
        trained_at=now,
        window_start=now - timedelta(days=7),
        window_end=now,
        model=ModelSettings(),
        training={},
        feature_names=[],
        coefficients=[],
        metrics={},
        rows={"person_lists": len(_PEOPLE), "similar_lists": count, "popular_lists": 1},
    )
    columns = np.array([(i + 3) % count for i in range(count)], np.int32)
    matrix = (np.arange(count + 1), columns, np.ones(count, np.float32))
    sealed = write_snapshot(scratch / VERSION, made, list(ITEMS), matrix, np.arange(count, 0, -1))
    upload_snapshot(stores.objects, scratch / VERSION, sealed, scratch / "read-back", _PEOPLE)
    switch(stores, shop, sealed, now)
