"""The measuring clients over real HTTP, against a small stand-in for the API; the reader is a real process."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from contracts.errors import LocalStackError, StoreError
from contracts.events import parse
from contracts.lists import BasedOn
from local import probe_freshness, probe_taste
from local.clients import Api, _closed
from local.probe_reader import ShelfReader, ShelfRequest, await_shelf
from serving.answers import BasedOnAnswer, Shelf

KINDS = {f"{kind}{i}": kind for kind in ("soup", "yogurt") for i in range(20)}


class Shop(ThreadingHTTPServer):
    """Shows a visitor the type of what they saw last; ``script`` holds answers to give first instead."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[tuple[int, dict[str, object]] | None] = []
        self.taken: list[str] = []
        self.newest: dict[str, tuple[BasedOn, str]] = {}
        self.forgets = False
        self.connections: list[socket.socket] = []

    def close_idle(self) -> None:
        """Hang up on everybody, as a server does with connections it kept for too long."""
        for connection in self.connections:
            connection.shutdown(socket.SHUT_RDWR)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.append(request)
        super().process_request(request, client_address)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def take(self, body: bytes) -> dict[str, object]:
        results = []
        for raw in json.loads(body):
            event = parse(json.dumps(raw).encode(), require_received=False)
            self.taken.append(event.event_id)
            if not self.forgets:
                newest = (BasedOn(event.occurred_ms, event.event_id), KINDS.get(event.item_id or "", ""))
                self.newest[event.anonymous_id or event.user_id or ""] = newest
            results.append({"event_id": event.event_id, "status": "accepted"})
        return {"results": results, "accepted": len(results), "rejected": 0, "failed": 0, "received_at": 5}

    def shelf(self, visitor: str) -> dict[str, object]:
        based_on, kind = self.newest.get(visitor, (None, ""))
        items = [
            {"item_id": i, "title": i, "category": "", "price": None, "score": 1.0}
            for i, k in KINDS.items()
            if k == kind
        ]
        covers = based_on and {"occurred_at": based_on.occurred_ms, "event_id": based_on.event_id}
        same = {"known_as": None, "store": None, "model_version": "v1", "written_at": 1, "filters": []}
        return {"user": visitor, "source": "live", "based_on": covers, "items": items} | same


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Shop

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(lambda: self.server.take(body))

    def do_GET(self) -> None:
        self._answer(lambda: self.server.shelf(self.path.split("/")[3]))

    def _answer(self, usual: object) -> None:
        if self.server.script:
            scripted = self.server.script.pop(0)
            if scripted is None:
                self.close_connection = True
                return
            status, content = scripted
        else:
            status, content = 200, usual()  # type: ignore[operator]
        data = json.dumps(content, separators=(",", ":")).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def shop() -> Iterator[Shop]:
    server = Shop()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def api(shop: Shop) -> Iterator[Api]:
    with Api(shop.url) as client:
        yield client


def event(event_id: str) -> bytes:
    return json.dumps(
        {
            "event_id": event_id,
            "event_type": "view",
            "user_id": "1",
            "item_id": "A",
            "occurred_at": "2026-01-01T00:00:00Z",
        }
    ).encode()


def results(*statuses: str, reason: str = "ProvisionedThroughputExceededException") -> dict[str, object]:
    rows = [
        {"event_id": str(i), "status": status, "reason": reason, "message": ""} for i, status in enumerate(statuses)
    ]
    return {"results": rows, "accepted": 0, "rejected": 0, "failed": 0, "received_at": 5}


# --- the client ---------------------------------------------------------------------------------------------------


def test_only_the_records_that_failed_are_sent_again(shop: Shop, api: Api) -> None:
    shop.script = [(503, results("accepted", "failed", "rejected", reason="ProvisionedThroughputExceededException"))]
    posted = api.post_events([event("a"), event("b"), event("c")])
    assert shop.taken == ["b"]
    assert set(posted.refused) == {2}
    assert posted.uncertain == 0


def test_a_broken_connection_is_tried_again_and_noted_as_a_possible_doubling(shop: Shop, api: Api) -> None:
    shop.script = [None]
    posted = api.post_events([event("a"), event("b")])
    assert shop.taken == ["a", "b"]
    assert posted.uncertain == 2


def test_a_kept_connection_that_the_server_closed_while_idle_is_opened_anew_without_doubt(shop: Shop, api: Api) -> None:
    api.post_events([event("a")])
    assert not _closed(api._connection.sock)
    shop.close_idle()
    deadline = time.monotonic() + 10
    while not _closed(api._connection.sock) and time.monotonic() < deadline:
        time.sleep(0.001)
    posted = api.post_events([event("b")])
    assert (shop.taken, posted.uncertain) == (["a", "b"], 0)


def test_an_overloaded_collector_is_asked_again_without_doubt(shop: Shop, api: Api) -> None:
    shop.script = [(503, {"error": {"code": "overloaded", "message": ""}})]
    posted = api.post_events([event("a")])
    assert (shop.taken, posted.uncertain) == (["a"], 0)


def test_a_refused_request_is_an_error_that_says_why(shop: Shop, api: Api) -> None:
    shop.script = [(400, {"error": {"code": "too_many_events", "message": ""}})]
    with pytest.raises(StoreError, match="too_many_events"):
        api.post_events([event("a")])


def test_an_absent_api_is_an_error_after_bounded_attempts() -> None:
    api = Api("http://127.0.0.1:1", attempts=2)
    with pytest.raises(StoreError, match="did not take 1 events"):
        api.post_events([event("a")])
    with pytest.raises(StoreError, match="no shelf"):
        api.shelf("u.1")


# --- the reader ---------------------------------------------------------------------------------------------------


def test_a_shelf_counts_only_when_it_covers_the_event() -> None:
    time = iter(range(100))

    def fetch(subject: str, n: int, hide_bought: bool) -> Shelf:
        fetched.append(subject)
        based_on = BasedOnAnswer(len(fetched), "e")
        return Shelf(subject, None, "live", None, None, based_on, None, [], [])

    fetched: list[str] = []
    wanted = ShelfRequest(number=1, subject="a.x", covering=BasedOn(4, "e"), timeout_s=50)
    reply = await_shelf(wanted, fetch, clock=lambda: float(next(time)), sleep=lambda _: None)
    assert (reply.covered, len(fetched)) == (True, 4)

    fetched.clear()
    never = ShelfRequest(number=1, subject="a.x", covering=BasedOn(400, "e"), timeout_s=5)
    reply = await_shelf(never, fetch, clock=lambda: float(next(time)), sleep=lambda _: None)
    assert not reply.covered
    assert reply.items == [], "a shelf that does not cover the event is not the answer"


def test_the_reading_process_answers_many_requests_at_a_time(shop: Shop, api: Api) -> None:
    with ShelfReader(shop.url) as reader:
        waiting = reader.ask("a.later", BasedOn(0, ""), timeout_s=20)
        assert reader.ask("a.now").result(20).items == []
        assert not waiting.done()
        api.post_events([event("e").replace(b'"user_id": "1"', b'"anonymous_id": "later"')])
        assert waiting.result(20).covered


def test_requests_fail_when_the_reading_process_ends(shop: Shop) -> None:
    reader = ShelfReader(shop.url)
    waiting = reader.ask("a.never", BasedOn(0, ""), timeout_s=60)
    reader._process.kill()
    with pytest.raises(LocalStackError):
        waiting.result(20)
    reader.close()


# --- the probes ---------------------------------------------------------------------------------------------------


def test_taste_rises_where_the_shelf_follows_the_visitor(shop: Shop, api: Api) -> None:
    soup, yogurt = ("soup1", "soup2", "soup3"), ("yogurt1", "yogurt2", "yogurt3")
    cases = [
        probe_taste.TasteCase("soup", soup, "yogurt", yogurt),
        probe_taste.TasteCase("yogurt", yogurt, "soup", soup),
    ]
    with ShelfReader(shop.url) as reader:
        shares, seconds = probe_taste.run(api, reader, cases, KINDS, prefix="p1")
    figures = probe_taste.judge(shares, seconds)
    assert (figures["before"], figures["after"], figures["control"], figures["rose"]) == (0.0, 1.0, 0.0, 2)


def test_freshness_counts_a_shelf_that_never_came_as_the_time_out(shop: Shop, api: Api) -> None:
    with ShelfReader(shop.url) as reader:
        fine = probe_freshness.run(api, reader, ["soup1"], prefix="p1", seed=1, n=20, per_s=200.0, timeout_s=20.0)
        assert (fine["n"], fine["timed_out"]) == (20, 0)
        assert 0 <= fine["p50"] <= fine["p99"] < 20_000
        shop.forgets = True
        lost = probe_freshness.run(api, reader, ["soup1"], prefix="p2", seed=1, n=3, per_s=200.0, timeout_s=0.2)
        assert lost == {"p50": 200.0, "p99": 200.0, "n": 3, "timed_out": 3}
