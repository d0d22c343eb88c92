"""The whole loop on one machine: the same parts as on AWS, with the emulator for Kinesis, S3 and DynamoDB alone."""

import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from contracts.access import SCOPES, KeyDocument, make_key
from contracts.settings import ENVIRONMENT_VARIABLE, ServingSettings, Settings, StreamingSettings, to_properties
from deploy.fatjar import fat_jar
from local import toolchain, valkey
from local.clients import KEY_VARIABLE
from local.faults import FaultControl
from local.flink import Cluster, Job
from local.health import http_ok, tcp_open
from local.paths import cache_dir, checkout
from local.ports import LOOPBACK, free_port
from local.supervisor import Service, Supervisor
from stores.aws import client
from stores.keys import KeyStore
from stores.tables import Tables

__all__ = ["Stack"]

SHARDS: Final = 2
CREDENTIALS: Final = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Stack:
    """Starts the parts in order and keeps them running; a context manager, so that nothing is left behind.

    ``seconds`` holds how long each stage took. Every part reads the one settings file at ``properties``.
    """

    def __init__(self, say: Callable[[str], None] = print, data: Path | None = None) -> None:
        self._say = say
        self._exit = ExitStack()
        self._data = data
        self.seconds: dict[str, float] = {}

    def __enter__(self) -> Self:
        self.supervisor = self._exit.enter_context(Supervisor(self._data, say=self._say))
        self.properties = self.supervisor.data / "application_properties.json"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exit.__exit__(kind, error, trace)

    def stage(self, name: str, work: Callable[[], Any]) -> Any:
        """Run a stage, say what it is and how long it took."""
        self._say(f"  {name} …")
        began = time.monotonic()
        result = work()
        self.seconds[name] = round(time.monotonic() - began, 1)
        self._say(f"  {name}: {self.seconds[name]:.1f} s")
        return result

    def fetch_jars(self) -> None:
        """The locked jars: from the cache, or fetched now."""
        self.jars = toolchain.jars()

    def start_stores(
        self,
        *,
        shops: tuple[str, ...] = ("default",),
        faults: bool = False,
        redis_mib: int = 512,
        emulator: Sequence[str] = (),
    ) -> None:
        """The emulator with its bucket, stream and table, the Valkey cluster, and the settings file.

        With ``faults`` everybody reaches the emulator through a proxy that ``self.faults`` makes fail. ``redis_mib`` is
        the memory of each of the two nodes, ``emulator`` further words of the emulator's command line.
        """
        endpoint = self._start_emulator(emulator)
        if faults:
            self.faults = self._start_faults(endpoint)
            endpoint = self.faults.url
        nodes = valkey.start(self.supervisor, nodes=2, memory_mib=redis_mib, first_port=7001)
        given = Settings.from_properties({"liveshelf": {"aws.endpoint": endpoint, "redis.nodes": nodes}})
        streaming = StreamingSettings(snapshot_cache=str(self.supervisor.data / "snapshots"))
        # All parts share this machine's cores: at AWS's 50 ms a busy core would look like an absent Redis.
        # The emulated table has no capacity to protect.
        training = replace(given.training, dynamodb_units_per_s=1_000_000)
        spool = self.supervisor.data / "spool"
        shutil.rmtree(spool, ignore_errors=True)  # an older run's events, whose stream is gone
        serving = ServingSettings(redis_timeout_ms=400, spool_folder=str(spool))
        self.configure(replace(given, shops=shops, streaming=streaming, training=training, serving=serving))
        os.environ.update(self.environment)
        client("s3", self.settings).create_bucket(
            Bucket=self.settings.lake_bucket,
            CreateBucketConfiguration={"LocationConstraint": self.settings.aws_region},
        )
        kinesis = client("kinesis", self.settings)
        kinesis.create_stream(StreamName=self.settings.stream_name, ShardCount=SHARDS)
        kinesis.get_waiter("stream_exists").wait(StreamName=self.settings.stream_name, WaiterConfig={"Delay": 1})
        Tables.from_settings(self.settings).ensure()

    def configure(self, settings: Settings) -> None:
        """Write the settings file; parts that run already keep what they read when they started."""
        self.settings = settings
        self.properties.write_text(json.dumps(to_properties(settings), indent=2))

    def _start_emulator(self, words: Sequence[str]) -> str:
        port = free_port()
        command = [sys.executable, "-m", "local.emulator", "--port", str(port), *words]
        self.supervisor.start(Service(name="aws-emulator", command=command, ready=tcp_open(port), nice=5))
        return f"http://{LOOPBACK}:{port}"

    def _start_faults(self, upstream: str) -> FaultControl:
        port = free_port()
        command = [sys.executable, "-m", "local.faults", "--upstream", upstream, "--port", str(port)]
        self.supervisor.start(Service(name="aws-faults", command=command, ready=tcp_open(port)))
        return FaultControl(f"http://{LOOPBACK}:{port}")

    @property
    def environment(self) -> dict[str, str]:
        """What every part finds in its environment."""
        return {ENVIRONMENT_VARIABLE: str(self.properties), **CREDENTIALS}

    def start_delivery(self, interval_s: float = 10.0) -> None:
        """The stand-in for Firehose: from the stream to the lake."""
        command = [sys.executable, "-m", "local.delivery", "--data", str(self.supervisor.data / "delivery")]
        self.supervisor.start(
            Service(
                name="delivery",
                command=[*command, "--interval-seconds", str(interval_s)],
                env=self.environment,
                restart=True,
                stop_seconds=20,
                nice=10,
            )
        )

    def start_flink(self, port: int | None = 8081, options: Mapping[str, str] | None = None) -> None:
        """The Flink cluster with its dashboard, on ``port`` if that is free; ``options`` are laid over its own."""
        assert self.settings.aws_endpoint is not None
        self.flink = Cluster(
            self.supervisor,
            java_home=toolchain.java_home(),
            plugins=self.jars.flink_plugins,
            s3_endpoint=self.settings.aws_endpoint,
            env=self.environment,
            # The dashboard and the status line show figures at most 2 s old (Flink: 10 s).
            options={"metrics.fetcher.update-interval": "2 s", **(options or {})},
            port=port,
        )
        self.flink.start()

    def submit(self, script: Path | None = None, arguments: Sequence[str] = ()) -> str:
        """The streaming job, or another ``script``; returns its id once Flink took it."""
        jar = fat_jar(self.jars.flink_lib, cache_dir() / "fatjar")
        script = script or checkout() / "streaming" / "main.py"
        job = Job(script=script, jarfile=jar, arguments=arguments, env=self.environment)
        return self.flink.submit(job)

    def make_keys(self) -> dict[str, str]:
        """API keys of this run, by name: ``page`` (public), ``own`` for what runs beside it, and ``admin``.

        To be called before :meth:`start_serving`. What this process asks over HTTP from now on shows ``own``.
        """
        now, file = datetime.now(UTC), self.supervisor.data / "keys.json"
        made = {
            "page": make_key(("events", "read"), now, public=True, note="the storefront page"),
            "own": make_key(("events", "read"), now, note="replay and probes"),
            "admin": make_key(SCOPES, now, note="whoever started the demo"),
        }
        store = KeyStore(self.settings, str(file))
        store.write(KeyDocument(keys=tuple(key for _, key in made.values()), log_key=secrets.token_hex(32)))
        texts = {name: text for name, (text, _) in made.items()}
        serving = replace(self.settings.serving, keys=str(file), page_key=texts["page"], rate_per_client_s=1000.0)
        self.configure(replace(self.settings, serving=serving))
        os.environ[KEY_VARIABLE] = texts["own"]
        return texts

    def start_serving(self, port: int | None = 8000) -> str:
        """The HTTP service; returns its address."""
        port = free_port(port)
        url = f"http://{LOOPBACK}:{port}"
        self.supervisor.start(
            Service(
                name="serving",
                command=[sys.executable, "-m", "serving", "--port", str(port)],
                env={**self.environment, "LIVESHELF_FLINK_URL": self.flink.rest.url},
                ready=http_ok(f"{url}/readyz"),
                restart=True,
            )
        )
        return url
