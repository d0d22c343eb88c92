"""A savepoint fits the job after a change of Python code."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from contracts.errors import LocalStackError
from deploy.fatjar import fat_jar
from local import toolchain
from local.flink import Cluster, Job
from local.health import wait_until
from local.paths import cache_dir, checkout
from local.supervisor import Supervisor

pytestmark = pytest.mark.flink

SCRIPT = Path(__file__).with_name("files_job.py")
QUICK = {
    "execution.checkpointing.interval": "1 s",
    "execution.checkpointing.min-pause": "0 s",
    "parallelism.default": "1",
}
AT = datetime(2024, 1, 1, 12, tzinfo=UTC)


@dataclass
class Running:
    """The job on files, which is stopped and started again with other code."""

    cluster: Cluster
    folder: Path
    job: str = ""
    sent: list[str] = field(default_factory=list)

    def start(self, savepoint: Path | None = None, *, drop: bool = False, **environment: str) -> None:
        jar = fat_jar(toolchain.jars().flink_lib, cache_dir() / "fatjar")
        env = {"PYTHONPATH": str(checkout()), **environment}
        job = Job(script=SCRIPT, jarfile=jar, arguments=[str(self.folder)], env=env)
        self.job = self.cluster.submit(job, from_savepoint=savepoint, drop_unknown_state=drop)

    def stop(self) -> Path:
        return Path(self.cluster.stop_job(self.job, drain=False).removeprefix("file:"))

    def send(self, *names: str, again: tuple[str, ...] = ()) -> None:
        """A file of events, all of one visitor, item and bucket; ``again`` are repeated ids."""
        self.sent += names
        self.put(f"{len(self.sent):06}-{names[0]}", b"".join(line(name) for name in (*names, *again)))

    def put(self, name: str, data: bytes) -> None:
        """A file that the source finds whole."""
        hidden = self.folder / "in" / f".{name}"
        hidden.write_bytes(data)
        hidden.rename(hidden.with_name(name))

    def served(self) -> list[dict[str, Any]]:
        return self.rows("dataset=served")

    def files(self, dataset: str) -> list[Path]:
        files = [p for p in (self.folder / "out").rglob("*") if p.is_file() and not p.name.startswith(("_", "."))]
        return [path for path in files if dataset in str(path)]

    def rows(self, dataset: str) -> list[dict[str, Any]]:
        return [row for path in self.files(dataset) for row in pq.ParquetFile(path).read().to_pylist()]

    def await_all(self) -> list[dict[str, Any]]:
        wait_until(lambda: len(self.served()) >= len(self.sent), f"{len(self.sent)} served rows", seconds=90)
        return self.served()


def line(name: str) -> bytes:
    at = AT.isoformat()
    received = (AT + timedelta(seconds=1)).isoformat()
    event = {"event_id": name, "event_type": "view", "user_id": "ada", "item_id": "I1", "occurred_at": at}
    return json.dumps(event | {"received_at": received}).encode() + b"\n"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("files")
    with Supervisor(folder / "run", say=lambda _: None) as supervisor:
        env = {"PYTHONPATH": os.pathsep.join([str(checkout()), os.environ.get("PYTHONPATH", "")])}
        cluster = Cluster(supervisor, java_home=toolchain.java_home(), options=QUICK, env=env, port=None)
        cluster.start()
        running = Running(cluster, folder)
        (folder / "in").mkdir()
        running.start()
        yield running


def test_after_a_change_of_python_code_nothing_is_lost_or_counted_twice(running: Running) -> None:
    running.send(*(f"a{n}" for n in range(20)))
    running.await_all()
    savepoint = running.stop()
    running.send(*(f"b{n}" for n in range(5)), again=("a3", "b1"))
    running.start(savepoint, VERSION="v2")
    rows = running.await_all()
    assert Counter(row["event_id"] for row in rows) == Counter(running.sent)
    assert Counter(row["model_version"] for row in rows) == {"v1": 20, "v2": 5}
    assert sorted(int(row["items"].split(",")[0]) for row in rows) == list(range(1, 26)), "running sums went on"


def test_an_added_feature_is_refused_unless_asked_for_and_then_only_its_own_sums_begin_anew(running: Running) -> None:
    running.send(*(f"c{n}" for n in range(10)))
    running.await_all()
    savepoint = running.stop()
    with pytest.raises(LocalStackError, match="no job id"):
        running.start(savepoint, FEATURE="1")
    running.send(*(f"d{n}" for n in range(5)), again=("c3", "d1"))
    running.start(savepoint, drop=True, FEATURE="1")
    rows = running.await_all()
    assert Counter(row["event_id"] for row in rows) == Counter(running.sent)
    new = [row["items"].split(",") for row in rows if row["event_id"].startswith("d")]
    before = len(running.sent) - len(new)
    assert sorted(int(items) for items, _ in new) == list(range(1, 6)), "the items' sums began anew"
    assert sorted(int(people) for _, people in new) == list(range(before + 1, before + 6)), "the people's went on"
