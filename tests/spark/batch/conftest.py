"""The stores that a training works with, and the command, as a process of its own or inside this one."""

import gzip
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pyspark import SparkContext
from pyspark.sql import SparkSession

from batch.partition import DayPartition, decode
from batch.publish import Stores
from batch.train import main
from contracts.keys import batch_key, batch_row
from contracts.lake import day_prefix, model_prefix, moments_prefix, pointer_path
from contracts.lists import RecommendationList, decode_list
from contracts.pointer import Pointer
from contracts.settings import Settings, to_properties
from contracts.snapshot import Snapshot
from local import toolchain, valkey
from local.emulator_process import running_emulator
from local.guardian import MARKER
from stores.aws import client

SHOP = "default"


@dataclass(frozen=True)
class Run:
    """What one training said."""

    status: int
    out: str
    err: str

    @property
    def summary(self) -> dict[str, Any]:
        """The JSON of the last line."""
        lines = self.out.strip().splitlines()
        assert lines, self.err
        head, _, text = lines[-1].partition(" ")
        assert head == "TRAINED", self.out + self.err
        return dict(json.loads(text))


@dataclass
class Stack:
    """The emulated AWS and a Valkey cluster, with the properties file that leads a training to them."""

    settings: Settings
    file: Path
    environment: dict[str, str]
    stores: Stores
    sessions: list[SparkSession] = field(default_factory=list)

    def write(self, day: date, objects: Sequence[Iterable[Mapping[str, Any]]], raw: Sequence[bytes] = ()) -> None:
        """Objects of an arrival day as Firehose writes them: gzipped JSON lines."""
        for at, events in enumerate(objects):
            lines = [json.dumps(e).encode() for e in events] + (list(raw) if at == 0 else [])
            path = f"{day_prefix(day)}behaviour-1-{day}-0{at}-00-00-part{at}.gz"
            self.stores.objects.put(path, gzip.compress(b"".join(line + b"\n" for line in lines), 1))

    def command(self, *options: str) -> Run:
        """``python -m batch.train`` as the scheduler runs it."""
        command = [sys.executable, "-m", "batch.train", "--properties", str(self.file), "--driver-memory", "512m"]
        done = subprocess.run(
            [*command, *options], capture_output=True, text=True, env=self.environment, timeout=240, check=False
        )
        return Run(done.returncode, done.stdout, done.stderr)

    def train(self, *options: str) -> Run:
        """The same command in this process, on one Spark session for all of them."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
            patch.setattr(SparkSession, "stop", lambda session: self.sessions.append(session))
            status = main(["--properties", str(self.file), "--driver-memory", "512m", *options])
        return Run(status, out.getvalue(), err.getvalue())

    def pointers(self) -> tuple[Pointer | None, Pointer | None, Pointer | None]:
        """What DynamoDB, S3 and Redis say is live."""
        path, objects = pointer_path(SHOP), self.stores.objects
        in_s3 = msgspec.json.decode(objects.get(path), type=Pointer) if objects.list(path) else None
        return self.stores.tables.current(SHOP), in_s3, self.stores.cluster.pointer(SHOP)

    def snapshot(self, version: str, folder: Path) -> Snapshot:
        """A published snapshot, downloaded and verified."""
        prefix = model_prefix(SHOP, version)
        names = [path.removeprefix(prefix) for path in self.stores.objects.list(prefix)]
        self.stores.objects.download_folder(prefix, names, folder)
        return Snapshot.open(folder, verify=True)

    def etags(self) -> dict[str, str]:
        """The stored sums, by day."""
        listed = client("s3", self.settings).list_objects_v2
        rows = listed(Bucket=self.settings.lake_bucket, Prefix=f"shop={SHOP}/moments/").get("Contents", ())
        return {
            row["Key"].split("/")[2]: f"{row['ETag']} {row['LastModified']}" for row in rows if "/day=" in row["Key"]
        }

    def partition(self, day: date) -> DayPartition:
        """The stored sums of a day."""
        (path,) = (path for path in self.stores.objects.list(moments_prefix(SHOP, day)) if path.endswith(".parquet"))
        return decode(self.stores.objects.get(path))

    def lists(self, row: str, key: str) -> list[RecommendationList]:
        """A list in DynamoDB and in Redis."""
        found = [self.stores.tables.get(row), *self.stores.cluster.get_many([key])]
        return [decode_list(value) for value in found if value is not None]

    def person(self, version: str, subject: str) -> list[RecommendationList]:
        """A person's batch lists."""
        return self.lists(batch_row(SHOP, version, subject), batch_key(SHOP, version, subject))


@contextmanager
def running_stack(folder: Path) -> Iterator[Stack]:
    """Empty stores."""
    environment = {
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "JAVA_HOME": str(toolchain.java_home()),
        "LIVESHELF_SPARK_JARS": ":".join(map(str, toolchain.jars().spark)),
    }
    with running_emulator() as endpoint, valkey.cluster() as nodes, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.delenv(MARKER)  # else Java, which the next module's Spark needs, would go with the Valkey cluster
        settings = Settings.from_properties({"liveshelf": {"aws.endpoint": endpoint, "redis.nodes": nodes}})
        file = folder / "application_properties.json"
        file.write_text(json.dumps(to_properties(settings)))
        place = {"LocationConstraint": settings.aws_region}
        client("s3", settings).create_bucket(Bucket=settings.lake_bucket, CreateBucketConfiguration=place)
        stores = Stores.open(settings)
        stores.tables.ensure()
        found = Stack(settings, file, dict(os.environ), stores)
        yield found
        stores.cluster.close()
        for session in found.sessions[-1:]:
            session.stop()
        if (java := SparkContext._jvm) is not None:
            java.org.apache.hadoop.fs.FileSystem.closeAll()  # kept by bucket: the next module's bucket is elsewhere


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Empty stores, one set for a module."""
    with running_stack(tmp_path_factory.mktemp("settings")) as found:
        yield found
