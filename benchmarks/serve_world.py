"""What ``bench-serve`` measures in: the real stream with everybody's live list made by it, traffic, and a retrain."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from redis.crc import key_slot

from benchmarks.freshness_load import Traffic
from benchmarks.serve_load import Ask, Told
from benchmarks.stream_shop import StreamShop, live_events
from benchmarks.synthetic import Shop, lake_objects
from contracts.errors import LocalStackError
from contracts.ids import DEFAULT_SHOP
from contracts.keys import user_key
from contracts.lists import decode_user
from local import toolchain
from local.clients import Api
from local.health import http_ok, tail, wait_until
from local.ports import LOOPBACK, free_port
from local.processes import step_back
from local.stack import Stack
from local.supervisor import Service
from stores.cluster import SLOTS, Cluster
from stores.objects import Objects

__all__ = [
    "ask",
    "everybody_live",
    "fill_lake",
    "ingestion",
    "redis_targets",
    "retraining",
    "shelf_targets",
    "start_serving",
]

_DAYS: Final = 30
_DRAWN: Final = 20_000
_EXPONENT: Final = 0.8
_WORKED: Final = (0, 3)
"""Exit statuses of a trainer that did all its work: published, or refused, as the live model is of another shop."""


def start_serving(stack: Stack) -> int:
    """The service with the constant route; returns its port."""
    port = free_port()
    stack.supervisor.start(
        Service(
            name="serving",
            command=[sys.executable, "-m", "benchmarks.serve_app", "--port", str(port)],
            env=stack.environment,
            ready=http_ok(f"http://{LOOPBACK}:{port}/readyz"),
        )
    )
    return port


def everybody_live(stack: Stack, shop: StreamShop, port: int) -> None:
    """One view of every person through collector, Kinesis and Flink, until 99 in 100 of them have a live list."""
    makers = live_events(shop, "warm")
    keys = [user_key(DEFAULT_SHOP, shop.subject(number)) for number in range(shop.people)]
    with Api(f"http://{LOOPBACK}:{port}", timeout_s=30.0) as api:
        for first in range(0, shop.people, 250):
            now = datetime.now(UTC)
            numbers = range(first, min(first + 250, shop.people))
            api.post_events([_view_of(shop, number, now) for number in numbers])
            api.post_events([next(makers)(now) for _ in numbers])
    redis = Cluster.from_settings(stack.settings, timeout_ms=5000)
    try:

        def live() -> bool:
            values = [decode_user(value).live for value in redis.get_many(keys) if value]
            return sum(found is not None and found.source == "live" for found in values) >= 0.99 * len(keys)

        wait_until(live, "everybody's live list", seconds=180, every=1.0)
    finally:
        redis.close()


def _view_of(shop: StreamShop, number: int, now: datetime) -> bytes:
    subject = shop.subject(number)
    field = "user_id" if subject[0] == "u" else "anonymous_id"
    event = {"event_id": f"warm-view-{number}", "event_type": "view", field: subject[2:]}
    return msgspec.json.encode(event | {"item_id": shop.item(number % shop.items), "occurred_at": now})


def _drawn(count: int, seed: int) -> list[int]:
    """Who asks, one after the other: shares fall as ``rank^-0.8``."""
    share = np.arange(1, count + 1, dtype=float) ** -_EXPONENT
    drawn: list[int] = np.random.default_rng(seed).choice(count, _DRAWN, p=share / share.sum()).tolist()
    return drawn


def shelf_targets(shop: StreamShop) -> list[bytes]:
    """A request for the shelf of each person."""
    return [_get(_path(shop.subject(number))) for number in range(shop.people)]


def _path(subject: str) -> str:
    return f"/v1/{'users' if subject[0] == 'u' else 'visitors'}/{subject[2:]}/recommendations"


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}\r\nAccept: application/json\r\n\r\n".encode()


def redis_targets(shop: StreamShop) -> list[bytes]:
    """A GET of the value of each person whose key is on the first of the two nodes."""
    keys = [user_key(DEFAULT_SHOP, shop.subject(number)).encode() for number in range(shop.people)]
    mine = [key for key in keys if key_slot(key) < SLOTS // 2]
    return [b"*2\r\n$3\r\nGET\r\n$%d\r\n%s\r\n" % (len(key), key) for key in mine]


def ask(
    host: str, port: int, targets: list[bytes], *, seconds: float, rate: float, connections: int, reply: str = "http"
) -> Told:
    """Let the load's process send."""
    asked = Ask(
        host=host,
        port=port,
        connections=connections,
        seconds=seconds,
        rate=rate,
        reply=reply,
        targets=targets,
        order=_drawn(len(targets), seed=round(rate) + 1),
    )
    command = [sys.executable, "-m", "benchmarks.serve_load"]
    done = subprocess.run(
        command, input=msgspec.json.encode(asked), capture_output=True, timeout=seconds + 60, check=False
    )
    if done.returncode:
        message = f"the load ended with code {done.returncode}: {done.stderr.decode()[-2000:]}"
        raise LocalStackError(message)
    return msgspec.json.decode(done.stdout, type=Told)


@contextmanager
def ingestion(shop: StreamShop, port: int, rate: int, seconds: float, seed: int) -> Iterator[dict[str, float]]:
    """Events to the collector for as long as the block runs; yields what becomes of them, complete afterwards."""
    words = {"url": f"http://{LOOPBACK}:{port}", "rate": rate, "seconds": seconds, "seed": seed}
    command = [sys.executable, "-m", "benchmarks.serve_world", msgspec.json.encode(shop).decode()]
    command += [str(value) for value in words.values()]
    told: dict[str, float] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()  # it sends from now on
            yield told
            told |= msgspec.json.decode(process.stdout.readline() or b"{}")
        finally:
            process.kill()
    if not told:
        message = f"the ingestion of {rate} events/s ended with code {process.returncode}; see its messages above"
        raise LocalStackError(message)


def fill_lake(stack: Stack) -> None:
    """A month of a synthetic shop, for the trainer: its events are other people's and other items'."""
    objects = Objects.from_settings(stack.settings)
    first = datetime.now(UTC).date() - timedelta(days=_DAYS)
    for path, data in lake_objects(Shop(events_a_day=10_000, first=first), 0, _DAYS - 1):
        objects.put(path, data)


class _Training:
    """The product's trainer, again and again until it is ended."""

    def __init__(self, env: Mapping[str, str], log: Path) -> None:
        self._env, self._log = {**os.environ, **env}, log
        self._over = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._repeat)
        self.failed = False
        self._thread.start()

    def _repeat(self) -> None:
        command = [sys.executable, "-m", "batch.train", "--full", "--no-publish", "--search", "never"]
        while not self._over.is_set():
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    command,
                    stdout=log,
                    stderr=log,
                    env=self._env,
                    start_new_session=True,
                    preexec_fn=partial(step_back, 15),
                )
                code = self._process.wait()
            if code not in _WORKED and not self._over.is_set():
                self.failed = True
                return

    @property
    def busy(self) -> bool:
        """Whether Spark is at work, or the trainer failed."""
        return self.failed or (self._log.exists() and b"train: " in self._log.read_bytes())

    def end(self) -> None:
        self._over.set()
        if self._process:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._thread.join()


@contextmanager
def retraining(stack: Stack) -> Iterator[None]:
    """Trainings for as long as the block runs, from the moment at which Spark is at work.

    Raises:
        LocalStackError: one of them failed.
    """
    log = stack.supervisor.log("trainer")
    env = {"LIVESHELF_SPARK_JARS": ":".join(map(str, stack.jars.spark)), "JAVA_HOME": str(toolchain.java_home())}
    training = _Training({**stack.environment, **env}, log)
    try:
        wait_until(lambda: training.busy, "the trainer", seconds=120, log=log)
        yield
    finally:
        training.end()
    if training.failed:
        message = f"the trainer failed; the end of {log}:\n{tail(log)}"
        raise LocalStackError(message)


def _ingest(argv: list[str]) -> None:
    shop, url, rate, seconds, seed = argv
    traffic = Traffic(url, msgspec.json.decode(shop, type=StreamShop), float(rate), float(seconds), int(seed))
    print("sending", flush=True)
    began = time.monotonic()
    traffic.run()
    told = {"events_per_s": round(traffic.sent / (time.monotonic() - began), 1), "behind_s": round(traffic.behind_s, 3)}
    print(msgspec.json.encode(told).decode(), flush=True)


if __name__ == "__main__":
    _ingest(sys.argv[1:])
