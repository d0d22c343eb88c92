"""Kinesis goes away, the service is killed, the spool fills up: what was answered *accepted* is on the stream."""

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from contracts.settings import Settings
from local.faults import Fault
from stores.aws import client

pytestmark = pytest.mark.serving


@pytest.fixture
def spooling(shop: Any, faults: Any, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., Settings]:
    """Settings with a spool, behind the proxy, and with a stream of the test's own."""
    name = request.node.name[:100].replace("[", "-").replace("]", "")
    kinesis = client("kinesis", shop.settings)
    kinesis.create_stream(StreamName=name, ShardCount=2)
    kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})

    def make(**serving: Any) -> Settings:
        spool = replace(shop.settings.serving, spool_folder=str(tmp_path / "spool"), **serving)
        return replace(shop.settings, aws_endpoint=faults.url, stream_name=name, serving=spool)

    return make


class Traffic:
    """Posts from a few threads until told to stop, and notes which ids were sent, and which answered *accepted*."""

    def __init__(self, url: str, event: Callable[..., dict[str, Any]], size: int = 5) -> None:
        self._url, self._event, self._size = url, event, size
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._post, args=(number,)) for number in range(4)]
        self.sent: set[str] = set()
        self.accepted: set[str] = set()
        for thread in self._threads:
            thread.start()

    def _post(self, number: int) -> None:
        with httpx.Client(base_url=self._url, timeout=20, trust_env=False) as http:
            while not self._over.is_set():
                batch = [self._event(user_id=str(number), note="x" * 200) for _ in range(self._size)]
                self.sent |= {event["event_id"] for event in batch}
                try:
                    results = http.post("/v1/events", json=batch).json()["results"]
                except httpx.TransportError:
                    return  # the service was killed: whether these were kept is not known
                self.accepted |= {result["event_id"] for result in results if result["status"] == "accepted"}

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)


def on_stream(shop: Any, settings: Settings) -> set[str]:
    reader = type(shop)(shop.http, shop.url, replace(settings, aws_endpoint=shop.settings.aws_endpoint), None)
    return {record["event_id"] for record in reader.records()}


def spool_of(shop: Any) -> dict[str, Any]:
    found: dict[str, Any] = shop.get("/v1/status")["collector"]["spool"]
    return found


def test_what_was_accepted_outlives_kill_and_restart(
    shop: Any, faults: Any, spooling: Any, start_serving: Any, event: Any, until: Any
) -> None:
    settings = spooling()
    with faults.failing(Fault(service="kinesis", kind="error")):
        with start_serving(settings, ready="/healthz") as doomed:
            traffic = Traffic(doomed.url, event)
            # What is in the spool may not have been answered yet: only what was answered is promised.
            until(lambda: len(traffic.accepted) > 200, "events answered as accepted")
            os.kill(doomed.supervisor.pid("serving"), signal.SIGKILL)
            traffic.stop()
        assert on_stream(shop, settings) == set()
        with start_serving(settings, ready="/healthz") as again:
            assert spool_of(again)["waiting"] >= len(traffic.accepted) > 200
            faults.set()
            until(lambda: spool_of(again)["bytes"] == 0, "the spool to be drained", seconds=40)
            status = again.get("/v1/status")["collector"]
            assert (status["away"], status["spool"]["waiting"]) == (False, 0)
            assert again.http.post("/v1/events", json=event()).json()["accepted"] == 1
    found = on_stream(shop, settings)
    assert traffic.accepted <= found
    assert len(found - traffic.sent) == 1, "nothing is there that nobody sent, but for the last one"


def test_killed_while_it_drains_it_loses_nothing(
    shop: Any, faults: Any, spooling: Any, start_serving: Any, event: Any, until: Any
) -> None:
    settings = spooling()
    faults.set(Fault(service="kinesis", kind="error"))
    with start_serving(settings, ready="/healthz") as doomed:
        accepted: set[str] = set()
        for _ in range(8):
            batch = [event() for _ in range(500)]
            answer = doomed.http.post("/v1/events", json=batch).json()
            assert (answer["accepted"], answer["failed"]) == (500, 0)
            accepted |= {one["event_id"] for one in batch}
        # Each batch of the drain now loses most of its answers, so that there is time to kill it in the middle.
        faults.set(Fault(service="kinesis", kind="lost", share=0.7))
        until(lambda: 0 < spool_of(doomed)["drained"] < 4000, "the drain to be half-way", seconds=40)
        os.kill(doomed.supervisor.pid("serving"), signal.SIGKILL)
    faults.set()
    with start_serving(settings, ready="/healthz") as again:
        until(lambda: spool_of(again)["bytes"] == 0, "the spool to be drained", seconds=40)
    assert on_stream(shop, settings) == accepted


@pytest.mark.parametrize("kind", ["throttle", "lost", "slow"])
def test_whatever_kinesis_does_accepted_is_on_the_stream(
    kind: Any, shop: Any, faults: Any, spooling: Any, start_serving: Any, event: Any, until: Any
) -> None:
    settings = spooling()
    with start_serving(settings, ready="/healthz") as half:
        traffic = Traffic(half.url, event)
        until(lambda: len(traffic.accepted) > 20, "traffic while all is well")
        with faults.failing(Fault(service="kinesis", kind=kind, share=0.8, seconds=2.5)):
            until(lambda: spool_of(half)["waiting"] > 20, "events in the spool", seconds=40)
        traffic.stop()
        until(lambda: spool_of(half)["bytes"] == 0, "the spool to be drained", seconds=60)
    assert traffic.accepted == traffic.sent == on_stream(shop, settings)


def test_a_full_spool_answers_429_and_takes_again_once_it_is_drained(
    shop: Any, faults: Any, spooling: Any, start_serving: Any, event: Any, until: Any
) -> None:
    settings = spooling(spool_max_mib=1)
    accepted: set[str] = set()
    with start_serving(settings, ready="/healthz") as half:
        with faults.failing(Fault(service="kinesis", kind="error")):
            for _ in range(20):
                batch = [event(note="x" * 900) for _ in range(200)]
                answer = half.http.post("/v1/events", json=[*batch, event(event_type="wave")])
                results = answer.json()["results"]
                accepted |= {result["event_id"] for result in results if result["status"] == "accepted"}
                if answer.status_code != 200:
                    break
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
            assert {(r["status"], r["reason"]) for r in results} == {
                ("failed", "SpoolFull"),
                ("rejected", "unknown_type"),
            }
            assert len(accepted) >= 600
            assert spool_of(half)["bytes"] <= spool_of(half)["max_bytes"]
        until(lambda: spool_of(half)["bytes"] == 0, "the spool to be drained", seconds=40)
        assert half.http.post("/v1/events", json=batch).status_code == 200
        accepted |= {one["event_id"] for one in batch}
    assert on_stream(shop, settings) == accepted
