"""The artefacts run on the platforms they are for: first the trainer, then the stream on its model, then the API."""

import base64
import gzip
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pyspark
import pytest

from contracts.events import Event, encode, partition_key
from contracts.keys import user_key
from contracts.lake import dataset_prefix, day_prefix, pointer_path
from contracts.lists import UserValue, decode_user
from contracts.pointer import Pointer
from deploy.archive import sha256_of
from deploy.flink_zip import FORBIDDEN, MAX_BYTES, RUN_OPTIONS_GROUP, build_flink_zip
from deploy.probe import Probe
from deploy.spark_archive import build_spark_archive
from local import toolchain
from local.flink import Job
from local.gateway import event_of
from local.health import wait_until
from local.paths import checkout
from local.stack import Stack
from stores.cluster import Cluster
from stores.objects import Objects
from stores.streams import Stream

pytestmark = [pytest.mark.e2e, pytest.mark.flink, pytest.mark.spark]

ITEMS = [f"I{i}" for i in range(60)]
DAYS = 20


def _copy(folder: Path) -> Path:
    """A checkout at another place, written in another order, with other times."""
    for package in ("streaming", "contracts", "stores", "batch", "serving"):
        for path in sorted((checkout() / package).rglob("*"), reverse=True):
            if not path.is_file() or path.suffix == ".pyc":
                continue
            copy = folder / path.relative_to(checkout())
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
            os.utime(copy, (1, 1))
    return folder


def test_a_build_elsewhere_gives_the_same_bytes(packaged: Any, tmp_path: Path) -> None:
    root = _copy(tmp_path / "elsewhere")
    build_flink_zip(root, toolchain.jars().packaged, tmp_path / "fatjar", tmp_path / "flink.zip", level=1)
    assert sha256_of(tmp_path / "flink.zip") == packaged.made.flink.sha256
    build_spark_archive(root, tmp_path / "spark.tar.gz", prefix=sys.base_prefix, level=1)
    assert sha256_of(tmp_path / "spark.tar.gz") == packaged.made.spark_environment.sha256


def test_the_flink_zip_has_the_service_s_layout_and_nothing_of_the_runtime(packaged: Any) -> None:
    path = Path(packaged.made.flink.file)
    assert path.stat().st_size < MAX_BYTES
    with zipfile.ZipFile(path) as file:
        names = file.namelist()
    assert names == sorted(names)
    assert "main.py" in names
    assert [name for name in names if name.endswith(".jar")] == ["lib/liveshelf-flink.jar"]
    assert not [name for name in names if name.endswith(".pyc") or "/tests/" in name]
    there = {re.sub(r"[._]", "-", name.split("/")[1].split("-")[0].lower()) for name in names if ".dist-info/" in name}
    assert {"msgspec", "redis", "hiredis", "boto3", "numba", "llvmlite"} <= there
    tops = {name.split("/")[1] for name in names if name.startswith("dep/")}
    assert not (there | tops) & (FORBIDDEN | {"pyflink", "apache_beam"})
    assert {"contracts", "stores", "streaming"} <= tops


def test_the_trainer_publishes_from_its_archive_under_spark_submit(
    packaged: Any, stack: Stack, clean: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    _fill(Objects.from_settings(stack.settings))
    # the platform unpacks the archive beside the driver; beside the executors Spark does it itself
    packaged.unpacked("spark_environment", tmp_path / "environment")
    environment = {"JAVA_HOME": str(toolchain.java_home()), "SPARK_HOME": _spark_home(), "SPARK_LOCAL_IP": "127.0.0.1"}
    with (tmp_path / "out").open("w") as out, (tmp_path / "log").open("w") as log:
        status = subprocess.run(
            _spark_submit(packaged, stack),
            cwd=tmp_path,
            env=clean(**environment, **stack.environment),
            stdout=out,
            stderr=log,
            timeout=900,
            check=False,
        ).returncode
    said = (tmp_path / "out").read_text()
    assert status == 0, said[-3000:] + (tmp_path / "log").read_text()[-3000:]
    trained = json.loads(next(line for line in said.splitlines() if line.startswith("TRAINED "))[len("TRAINED ") :])
    assert trained["gate"]["decision"] == "publish", trained["gate"]["sentences"]
    objects = Objects.from_settings(stack.settings)
    pointer = msgspec.json.decode(objects.get(pointer_path("default")), type=Pointer)
    assert pointer.version == trained["version"]


def _spark_home() -> str:
    return str(Path(pyspark.__file__).parent)


def _spark_submit(packaged: Any, stack: Stack) -> list[str]:
    """As EMR submits: a script, the archive under the name ``environment``, and the Python in it."""
    python = "./environment/bin/python"
    conf = {
        "spark.pyspark.python": python,
        "spark.pyspark.driver.python": python,
        "spark.jars": ",".join(map(str, toolchain.jars().spark)),  # EMR has S3 of its own
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        "spark.hadoop.fs.s3a.endpoint": str(stack.settings.aws_endpoint),
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
    }
    words = [f"{_spark_home()}/bin/spark-submit", "--master", "local-cluster[1,2,1024]", "--driver-memory", "1g"]
    words += ["--archives", f"{packaged.made.spark_environment.file}#environment"]
    words += [word for key, value in conf.items() for word in ("--conf", f"{key}={value}")]
    words += [packaged.made.spark_main.file, "batch.train", "--run", "r1", "--step", "train", "--shop", "default"]
    settings = base64.b64encode(stack.properties.read_bytes()).decode()  # as the state machine passes it
    return [*words, "--arguments", json.dumps(["--search", "never"]), "--settings", settings]


def _fill(objects: Objects) -> None:
    """A small shop: sessions of neighbours on a ring, every day the same number."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for back in range(DAYS, 0, -1):
        day, lines = today - timedelta(days=back), []
        for visit in range(60):
            start = (visit + back) % len(ITEMS)
            for step in range(3):
                at = day + timedelta(minutes=10 * visit, seconds=20 * step)
                lines.append(_event(f"{back}-{visit}-{step}", ITEMS[(start + step) % len(ITEMS)], f"v{visit}", at))
        data = b"".join(encode(each) + b"\n" for each in lines)
        objects.put(f"{day_prefix(day.date())}behaviour-1-{day:%Y-%m-%d}-00-00-00-x.gz", gzip.compress(data, 1))


def _event(event_id: str, item: str, user: str, at: datetime) -> Event:
    return Event(
        event_id=event_id,
        event_type="view",
        user_id=user,
        item_id=item,
        occurred_at=at,
        received_at=at,
        session_id=user,
    )


@pytest.fixture(scope="module")
def job(
    packaged: Any, interpreter: Callable[[Path, str], Path], stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The Flink zip, started as the service starts it."""
    folder = tmp_path_factory.mktemp("service")
    python = interpreter(folder / "python", "flink-runtime")
    code = packaged.unpacked("flink", folder / "code")
    groups = {g["PropertyGroupId"]: g["PropertyMap"] for g in json.loads(stack.properties.read_text())}
    run = {key: code / value for key, value in groups[RUN_OPTIONS_GROUP].items()}
    stack.start_flink(port=None, options={"python.executable": str(python), "python.client.executable": str(python)})
    yield stack.flink.submit(
        Job(script=run["python"], jarfile=run["jarfile"], py_files=[run["pyFiles"]], folder=Path("/"))
    )


def test_the_runtime_s_interpreter_holds_neither_our_packages_nor_what_dep_brings(
    tmp_path: Path, clean: Callable[..., dict[str, str]], interpreter: Callable[[Path, str], Path]
) -> None:
    python = interpreter(tmp_path / "python", "flink-runtime")
    code = "import importlib.util as u; print([n for n in %r if u.find_spec(n)])"
    names = ["streaming", "contracts", "stores", "msgspec", "redis", "hiredis", "boto3", "numba", "llvmlite", "local"]
    command = [python, "-c", code % [*names, "pyflink", "numpy", "pandas", "pyarrow"]]
    done = subprocess.run(command, cwd="/", env=clean(), capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "['pyflink', 'numpy', 'pandas', 'pyarrow']"


def test_events_become_a_list_in_redis_and_features_on_s3(stack: Stack, job: str) -> None:
    stream, redis = Stream.from_settings(stack.settings), Cluster.from_settings(stack.settings)
    objects = Objects.from_settings(stack.settings)
    now = datetime.now(UTC)
    events = [_event(f"live-{at}", item, "ada", now) for at, item in enumerate(ITEMS[:2])]
    assert stream.put([(encode(each), partition_key(each)) for each in events]) == [None, None]
    pointer = msgspec.json.decode(objects.get(pointer_path("default")), type=Pointer)

    def served() -> UserValue | None:
        data = redis.get_many([user_key("default", "u.ada")])[0]
        value = decode_user(data) if data else None
        scored = value is not None and value.live is not None and value.live.model_version == pointer.version
        return value if scored and value is not None and len(value.actions) == len(events) else None

    wait_until(
        lambda: served() is not None, "a list in Redis, scored with the model of the packaged trainer", seconds=300
    )
    found = served()
    assert found is not None
    assert {action.item_id for action in found.actions} == {"I0", "I1"}
    assert found.live is not None
    assert ITEMS[2] in found.live.items[:3]  # the next on the ring
    # what make deploy waits for: the whole way, by an event of a shop that the settings do not know
    assert Probe(stream, objects).check(300) in ("noted", "scored", "superseded")
    stack.flink.stop_job(job)  # drained: the windows that are open are written
    for dataset in ("features", "served"):
        names = objects.list(dataset_prefix("default", dataset))
        assert [name for name in names if not name.rpartition("/")[2].startswith(("_", "."))], dataset
    redis.close()


def test_the_functions_zip_serves_the_list_with_nothing_but_itself_on_the_path(
    packaged: Any, stack: Stack, clean: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    task = packaged.unpacked("functions", tmp_path / "task")
    event = event_of("GET", "/v1/users/ada/recommendations?n=5", [("Host", "127.0.0.1")], b"", "127.0.0.1")
    done = subprocess.run(
        [Path(sys.base_prefix) / "bin" / "python3.11", "-I", "-c", _INVOKE, task, json.dumps(event)],
        cwd="/",
        env=clean(**stack.environment),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    assert answer["statusCode"] == 200, answer
    assert ITEMS[2] in [each["item_id"] for each in json.loads(answer["body"])["items"]]


_INVOKE = """
import json, sys
task, event = sys.argv[1:]
sys.path[:] = [task, *(path for path in sys.path if not path.endswith("-packages"))]
from serving.functions import recommend
print(json.dumps(recommend(json.loads(event), None)))
"""
