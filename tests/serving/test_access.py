"""Keys, limits and headers at the running service, and a log in which no key and no person can be found."""

import json
import socket
from collections import deque
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contracts.access import Key, KeyDocument, make_key, split_key

pytestmark = pytest.mark.serving

NOW = datetime.now(UTC)
READ, READ_KEY = make_key(("read",), NOW)
EVENTS, EVENTS_KEY = make_key(("events",), NOW)
PAGE, PAGE_KEY = make_key(("read", "events"), NOW, public=True)
SHOP = "https://shop.example"


def write(file: Path, *keys: Key) -> None:
    file.write_bytes(msgspec.json.encode(KeyDocument(keys=keys, log_key="00")))


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def raw(url: str, data: bytes, seconds: float = 10) -> bytes:
    """What the server answers to bytes that no HTTP client would send."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=seconds) as connection:
        connection.sendall(data)
        answer = b""
        while chunk := connection.recv(65_536):
            answer += chunk
    return answer


@pytest.fixture(scope="module")
def guarded(shop: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The shop's settings with keys, and the file of keys."""
    file = tmp_path_factory.mktemp("keys") / "keys.json"
    write(file, READ_KEY, EVENTS_KEY, PAGE_KEY)
    serving = replace(shop.settings.serving, keys=str(file), page_key=PAGE, cors_origins=SHOP, rate_per_client_s=20.0)
    return replace(shop.settings, serving=serving), file


def test_scopes_rotation_pages_and_cross_origin_calls(guarded: Any, start_serving: Any, event: Any, until: Any) -> None:
    settings, file = guarded
    with start_serving(settings) as shop:
        http, path = shop.http, "/v1/users/7/recommendations"
        answers = {key: http.get(path, headers=bearer(key)).status_code for key in (READ, EVENTS, f"{READ}x")}
        assert answers == {READ: 200, EVENTS: 403, f"{READ}x": 401}
        denied = http.get(path)
        assert (denied.status_code, denied.json()["error"]["code"]) == (401, "no_key")
        assert denied.headers["www-authenticate"].startswith("Bearer")
        assert http.post("/v1/events", json=event(), headers=bearer(EVENTS)).status_code == 200
        assert http.post("/v1/events", json=event(), headers=bearer(READ)).status_code == 403
        assert http.post(f"/v1/events?key={PAGE}", content=json.dumps(event())).status_code == 200  # as sendBeacon does

        for answer in (denied, http.get("/"), http.get("/static/app.js"), http.get("/nowhere")):
            assert answer.headers["x-content-type-options"] == "nosniff" and "x-frame-options" in answer.headers
            assert answer.headers["content-security-policy"].startswith("default-src")

        allowed = http.options(path, headers={"Origin": SHOP, "Access-Control-Request-Method": "GET"})
        assert allowed.headers["access-control-allow-origin"] == SHOP
        foreign = http.get(path, headers={"Origin": "https://evil.example"} | bearer(READ))
        assert "access-control-allow-origin" not in foreign.headers
        assert http.get(path, headers={"Origin": SHOP}).headers["access-control-allow-origin"] == SHOP  # also of a 401

        http.get("/")
        assert http.get(path).status_code == 200  # the page's own key, in its cookie
        http.cookies.clear()

        second, second_key = make_key(("read",), NOW)
        write(file, READ_KEY, second_key, EVENTS_KEY, PAGE_KEY)
        until(lambda: http.get(path, headers=bearer(second)).status_code == 200, "the second key")
        assert http.get(path, headers=bearer(READ)).status_code == 200
        with http.stream("GET", f"{path}/stream", headers=bearer(READ), timeout=20) as followed:
            lines = followed.iter_lines()
            assert next(lines) == "retry: 1000"
            write(file, second_key, EVENTS_KEY, PAGE_KEY)
            deque(lines, maxlen=0)  # it ends, though the client would go on
        until(lambda: http.get(path, headers=bearer(READ)).status_code == 401, "the end of the first key")


def test_a_browser_signs_in_with_a_cookie_that_scripts_cannot_read(guarded: Any, start_serving: Any) -> None:
    settings, file = guarded
    write(file, READ_KEY)
    with start_serving(settings) as shop:
        assert shop.http.post("/v1/session", json={"key": "lsk_abcdefghij_no"}).status_code == 401
        answer = shop.http.post("/v1/session", json={"key": READ})
        assert answer.json() == {"key": READ_KEY.id, "scopes": ["read"]}
        assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {p.strip() for p in answer.headers["set-cookie"].split(";")}
        assert shop.http.get("/v1/items").status_code == 200
        assert shop.http.delete("/v1/session").status_code == 204
        assert shop.http.get("/v1/items").status_code == 401


def test_too_many_requests_are_told_when_to_come_again(guarded: Any, start_serving: Any) -> None:
    settings, file = guarded
    write(file, READ_KEY, PAGE_KEY)
    with start_serving(settings) as shop:
        answers = [shop.http.get("/v1/categories", headers=bearer(PAGE)) for _ in range(150)]
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert {a.status_code for a in answers[:40]} == {200}
        assert refused.json()["error"]["code"] == "too_many_requests" and int(refused.headers["retry-after"]) >= 1
        assert shop.http.get("/v1/categories", headers=bearer(READ)).status_code == 200
        guesses = [shop.http.get("/v1/categories", headers=bearer("lsk_abcdefghij_no")).status_code for _ in range(150)]
        assert guesses[0] == 401 and guesses[-1] == 429


def test_the_log_of_a_day_full_of_faults_names_no_person_and_no_key(
    guarded: Any, start_serving: Any, tmp_path: Path, until: Any
) -> None:
    settings, file = guarded
    write(file, READ_KEY, EVENTS_KEY)
    person = "ada.lovelace-1815"
    nowhere = replace(settings, redis_nodes=(("127.0.0.1", 9),))
    with start_serving(nowhere, ready="/healthz", words=["--access-log"]) as shop:
        for kind in ("users", "visitors"):
            for what in ("recommendations", "profile", "nothing"):
                for key in (READ, EVENTS, ""):
                    shop.http.get(f"/v1/{kind}/{person}/{what}", headers=bearer(key) if key else {})
        shop.http.post("/v1/events", json={"user_id": person}, headers=bearer(EVENTS))
        shop.http.get(f"/v1/users/{person}%0Ainjected/profile?key={READ}")
        raw(shop.url, b"GET /v1/users/" + person.encode() + b"/profile HTTP/9.9\r\n\r\n")
        log = tmp_path / "run" / "logs" / "serving.log"
        until(lambda: log.read_text().count("/v1/users/~") >= 9, "the access log")
        text = log.read_text()
    assert person not in text and "\ninjected" not in text
    assert not [key for key in (READ, EVENTS) if split_key(key)[1] in text] and READ_KEY.id in text


def test_what_is_no_http_or_too_large_is_answered_with_a_reason(shop: Any) -> None:
    cases = {
        b"GARBAGE\r\n\r\n": b"400",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 40_000 + b"\r\n\r\n": b"431",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n": b"431",
        b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n": b"414",
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n": b"400",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": b"400",
    }
    for data, status in cases.items():
        head, _, body = raw(shop.url, data).partition(b"\r\n\r\n")
        assert head.split()[1] == status, (data[:60], head)
        error = json.loads(body)["error"]
        assert error["code"] and error["message"]
