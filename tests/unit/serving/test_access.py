"""Who may do what: keys, scopes, addresses and limits, without a server; the clock is advanced by hand."""

import asyncio
import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fastapi import FastAPI, Request

from contracts.access import Key, KeyDocument, decode_keys, make_key, matches, split_key
from contracts.errors import ContractError, SettingsError
from contracts.settings import ServingSettings, Settings
from serving import keys as command
from serving.app import create_app
from serving.buckets import TokenBuckets
from serving.guard import KEY, Guard
from serving.keyring import KeyRing
from serving.logs import Names, Scrubbed
from serving.pages import storefront
from serving.replies import ApiError
from serving.session_routes import end_session, open_session

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EVENTS, EVENTS_KEY = make_key(("events",), NOW)
READ, READ_KEY = make_key(("read",), NOW)
ADMIN, ADMIN_KEY = make_key(("admin", "read"), NOW)
WRONG = ["lsk_", "lsk_a_b", "hunter2", "Ω", "lsk_" + "a" * 10_000, f"{READ}x", READ[:-1]]
PAGE, PAGE_KEY = make_key(("events", "read"), NOW, public=True)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a file of four keys."""
    file = tmp_path / "keys.json"
    file.write_bytes(msgspec.json.encode(KeyDocument(keys=(EVENTS_KEY, READ_KEY, ADMIN_KEY, PAGE_KEY), log_key="00")))
    return Settings(serving=ServingSettings(keys=str(file), rate_per_key_s=10, rate_per_client_s=2))


class Door:
    """A guard before an application that is never reached here."""

    def __init__(self, settings: Settings) -> None:
        self.now = 0.0
        self.ring = KeyRing(settings, now=lambda: NOW + timedelta(seconds=self.now))
        clock = lambda: self.now  # noqa: E731
        failures = TokenBuckets(1.0, 3, clock)
        self.guard = Guard(self._app, self.ring, settings.serving, Names("00"), failures, clock=clock)

    @staticmethod
    async def _app(*_: Any) -> None:
        raise AssertionError

    def knock(self, path: str, key: str = "", via: str = "bearer", method: str = "GET", **more: Any) -> str:
        """What becomes of a request: ``ok`` or the refusal's code."""
        headers = {"bearer": [(b"authorization", b"Bearer " + key.encode())], "x": [(b"x-api-key", key.encode())]}
        headers["cookie"] = [(b"cookie", b"a=b; liveshelf_key=" + key.encode())]
        found = [*headers.get(via, []), (b"host", more.get("host", "shop.example").encode())]
        if origin := more.get("origin"):
            found.append((b"origin", origin.encode()))
        if site := more.get("site"):
            found.append((b"sec-fetch-site", site.encode()))
        query = f"key={key}".encode() if via == "query" else b""
        scope = {"type": "http", "path": path, "query_string": query, "headers": found, "method": method}
        scope["client"] = (more.get("client", "198.51.100.7"), 4000)
        refusal = self.guard.admit(scope)
        assert (KEY in scope) == (refusal is None and bool(key))
        return refusal.code if refusal else "ok"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/events", {EVENTS, PAGE}),
        ("/v1/users/7/recommendations", {READ, ADMIN, PAGE}),
        ("/v1/items", {READ, ADMIN, PAGE}),
        ("/v1/status", {READ, ADMIN, PAGE}),
        ("/v1/admin/models", {ADMIN}),
        ("/v1/admin", {ADMIN}),
        ("/v1//admin/models", {READ, ADMIN, PAGE}),
    ],
)
def test_a_key_opens_what_its_scopes_name_and_nothing_else(settings: Settings, path: str, allowed: set[str]) -> None:
    for key in (EVENTS, READ, ADMIN, PAGE):
        assert Door(settings).knock(path, key) == ("ok" if key in allowed else "wrong_scope")
    assert Door(settings).knock(path, via="none") == Door(settings).knock(path) == "no_key"


def test_pages_and_health_ask_for_no_key(settings: Settings) -> None:
    for path in ("/", "/docs", "/static/app.js", "/healthz", "/readyz", "/openapi.json", "/v1/session", "/sign-in"):
        assert Door(settings).knock(path, via="none") == "ok"


@pytest.mark.parametrize(
    "wrong", ["lsk_", "lsk_a_b", "hunter2", "Ω", "lsk_" + "a" * 10_000, f"{READ}x", READ[:-1]], ids=range(7)
)
@pytest.mark.parametrize("via", ["bearer", "x", "cookie", "query"])
def test_a_text_that_is_no_key_opens_nothing(settings: Settings, wrong: str, via: str) -> None:
    assert Door(settings).knock("/v1/items", wrong, via) == "unknown_key"


def test_only_a_public_key_may_stand_in_an_address(settings: Settings) -> None:
    assert Door(settings).knock("/v1/items", PAGE, "query") == "ok"
    assert Door(settings).knock("/v1/items", READ, "query") == "secret_in_address"


def test_a_cookie_changes_nothing_for_another_site(settings: Settings) -> None:
    path = "/v1/admin/models/v/activate"
    evil, own = "https://evil.example", "https://shop.example"
    assert Door(settings).knock(path, ADMIN, "cookie", "POST", origin=evil) == "cross_site"
    assert Door(settings).knock(path, ADMIN, "cookie", "POST", origin=own) == "ok"
    assert Door(settings).knock(path, ADMIN, "bearer", "POST", origin=evil) == "ok"  # it had to know the key


def test_the_service_s_own_pages_change_things_also_where_a_proxy_asks_under_another_host(settings: Settings) -> None:
    """CloudFront sends everything of the browser's on but the host, which is then API Gateway's."""
    behind = {"host": "x.execute-api.eu-west-1.amazonaws.com", "origin": "https://d111abc.cloudfront.net"}

    def knock(site: str) -> str:
        return Door(settings).knock("/v1/admin/models/v/activate", ADMIN, "cookie", "POST", site=site, **behind)

    assert [knock(site) for site in ("same-origin", "same-site", "cross-site", "")] == ["ok", *["cross_site"] * 3]


def test_an_expired_key_is_none_and_several_keys_are_valid_at_once(settings: Settings, tmp_path: Path) -> None:
    old, old_key = make_key(("read",), NOW, expires_at=NOW + timedelta(seconds=10))
    file = Path(settings.serving.keys)
    file.write_bytes(msgspec.json.encode(KeyDocument(keys=(old_key, READ_KEY))))
    door = Door(settings)
    assert [door.knock("/v1/items", key) for key in (old, READ)] == ["ok", "ok"]
    door.now = 10.0
    assert [door.knock("/v1/items", key) for key in (old, READ)] == ["unknown_key", "ok"]


def test_a_rotation_needs_no_restart_and_a_torn_file_keeps_the_keys(settings: Settings) -> None:
    door, file = Door(settings), Path(settings.serving.keys)
    file.write_bytes(b'{"keys": [')
    door.ring.refresh()
    assert door.knock("/v1/items", READ) == "ok"
    file.write_bytes(msgspec.json.encode(KeyDocument(keys=(ADMIN_KEY,))))
    door.ring.refresh()
    assert [door.knock("/v1/items", key) for key in (READ, ADMIN)] == ["unknown_key", "ok"]


def test_a_key_that_opened_a_stream_is_in_force_until_it_expires_is_revoked_or_may_less(settings: Settings) -> None:
    _, key = make_key(("read",), NOW, expires_at=NOW + timedelta(seconds=10))
    door, file = Door(settings), Path(settings.serving.keys)

    def kept(*keys: Key) -> bool:
        file.write_bytes(msgspec.json.encode(KeyDocument(keys=keys)))
        door.ring.refresh()
        return door.ring.in_force(key)

    assert kept(key, READ_KEY) and kept(msgspec.structs.replace(key, note="another note"))
    assert not kept(READ_KEY)
    assert not kept(msgspec.structs.replace(key, sha256="00"))
    assert not kept(msgspec.structs.replace(key, scopes=("events",)))
    assert kept(key)
    door.now = 10.0
    assert not door.ring.in_force(key)


def test_the_answer_to_a_fault_of_the_process_is_guarded_too(settings: Settings) -> None:
    app = create_app(settings)

    @app.get("/faulty")
    async def faulty() -> None:
        raise RuntimeError

    sent: list[Any] = []

    async def ask() -> None:
        async def receive() -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "GET", "path": "/faulty", "raw_path": b"/faulty", "query_string": b""}
        scope |= {"headers": [(b"host", b"shop.example")], "scheme": "https", "server": ("shop.example", 443)}
        scope |= {"client": ("198.51.100.7", 4000), "http_version": "1.1", "root_path": ""}
        with pytest.raises(RuntimeError):
            await app(scope, receive, send)

    asyncio.run(ask())
    headers = dict(sent[0]["headers"])
    assert sent[0]["status"] == 500
    assert headers.keys() >= {b"x-content-type-options", b"content-security-policy", b"strict-transport-security"}


def test_a_service_that_cannot_read_its_keys_does_not_start(tmp_path: Path) -> None:
    for content in (None, b"", b"[]", b'{"keys": [{"id": "x"}]}'):
        file = tmp_path / "torn.json"
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(SettingsError, match=r"serving\.keys"):
            KeyRing(Settings(serving=ServingSettings(keys=str(file))))


def test_without_keys_only_this_machine_is_answered_and_only_under_its_own_name() -> None:
    door = Door(Settings())
    assert door.knock("/v1/items", via="none", client="127.0.0.1", host="127.0.0.1:8000") == "ok"
    assert door.knock("/v1/items", via="none", client="::1", host="localhost") == "ok"
    assert door.knock("/v1/items", via="none", client="198.51.100.7", host="127.0.0.1:8000") == "no_keys"
    assert door.knock("/v1/items", via="none", client="127.0.0.1", host="evil.example:8000") == "no_keys"
    assert Door(Settings(serving=ServingSettings(open=True))).knock("/v1/items", via="none") == "ok"


def test_without_keys_a_page_of_another_site_changes_nothing() -> None:
    here = {"via": "none", "client": "127.0.0.1", "host": "127.0.0.1:8000"}
    evil, own = "https://evil.example", "http://127.0.0.1:8000"

    def post(path: str, door: Door, **more: Any) -> str:
        return door.knock(path, method="POST", **here | more)

    door = Door(Settings())
    for path in ("/v1/events", "/v1/admin/deletions", "/v1/admin/models/v/activate"):
        assert post(path, door, origin=evil, site="cross-site") == post(path, door, origin=evil) == "cross_site"
        assert (
            post(path, door) == post(path, door, origin=own, site="same-origin") == post(path, door, origin=own) == "ok"
        )
    assert door.knock("/v1/items", origin=evil, site="cross-site", **here) == "ok"  # to read is the browser's to forbid
    named = Door(Settings(serving=ServingSettings(cors_origins=evil)))
    assert post("/v1/events", named, origin=evil, site="cross-site") == "ok"
    to_all = Door(Settings(serving=ServingSettings(open=True)))
    assert [post(path, to_all, origin=evil) for path in ("/v1/events", "/v1/admin/deletions")] == ["ok", "cross_site"]


def test_a_key_and_an_address_have_each_their_rate(settings: Settings) -> None:
    door = Door(settings)
    assert [door.knock("/v1/items", READ) for _ in range(21)] == ["ok"] * 20 + ["too_many_requests"]
    assert [door.knock("/v1/items", PAGE) for _ in range(5)] == ["ok"] * 4 + ["too_many_requests"]
    assert door.knock("/v1/items", PAGE, client="203.0.113.1") == "ok"
    door.now = 0.5
    assert [door.knock("/v1/items", READ) for _ in range(6)] == ["ok"] * 5 + ["too_many_requests"]


def test_guessing_is_slowed_and_does_not_lock_out_a_valid_key_of_the_same_address(settings: Settings) -> None:
    door = Door(settings)
    answers = [door.knock("/v1/items", "lsk_abcdefghij_wrong") for _ in range(5)]
    assert answers == ["unknown_key"] * 3 + ["too_many_failures"] * 2
    assert door.knock("/v1/items", READ) == "ok"


def test_a_million_names_take_the_room_of_a_few() -> None:
    now = [0.0]
    limit = TokenBuckets(1.0, 1, lambda: now[0], keep=100)
    for name in range(1_000_000 // 50):
        limit.take(str(name))
    assert len(limit) == 100
    size = sys.getsizeof(limit._buckets)
    for name in range(20_000, 22_000):
        limit.take(str(name))
    assert len(limit) == 100 and sys.getsizeof(limit._buckets) == size


def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    now = [10.0]
    limit = TokenBuckets(1.0, 1, lambda: now[0])
    assert limit.take("a") == 0.0
    now[0] = 5.0
    assert limit.take("a") == 1.0


def test_what_is_kept_of_a_key_does_not_open_anything() -> None:
    document = msgspec.json.encode(KeyDocument(keys=(READ_KEY,)))
    secret = split_key(READ)[1]
    assert secret.encode() not in document and matches(secret, decode_keys(document).keys[0])
    assert not matches(READ_KEY.sha256, READ_KEY)


def test_a_public_key_cannot_be_an_admins() -> None:
    with pytest.raises(ContractError, match="without admin"):
        make_key(("admin",), NOW, public=True)


@pytest.fixture
def app(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[FastAPI]:
    """The application, without its background work."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "local")
    made = create_app(settings)
    yield made
    made.state.services.reader.close()


def request_to(app: FastAPI, body: bytes = b"", **headers: str) -> Request:
    """A request that has passed the guard."""
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    address = {"scheme": "https", "server": ("shop.example", 443), "path": "/"}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({"type": "http", "app": app, "headers": pairs, "client": ("203.0.113.9", 1), **address}, receive)


@pytest.mark.parametrize(
    ("text", "given"),
    [(PAGE, True), (READ, False), (ADMIN, False), (WRONG[0], False)],
    ids=["public", "read", "admin", "none"],
)
def test_the_storefront_gives_away_no_key_but_a_public_one(app: FastAPI, text: str, given: bool) -> None:
    services = app.state.services
    services.settings = replace(services.settings, serving=replace(services.settings.serving, page_key=text))
    answer = asyncio.run(storefront(request_to(app)))
    assert (f"={text};" in answer.headers.get("set-cookie", "")) == given


def test_another_site_cannot_sign_a_browser_in_or_out(app: FastAPI) -> None:
    body = msgspec.json.encode({"key": READ})

    def sign_in(**headers: str) -> str:
        request = request_to(app, body, host="shop.example", **headers)
        return asyncio.run(open_session(request, app.state.services)).headers["set-cookie"]

    assert READ in sign_in() and READ in sign_in(origin="https://shop.example")
    assert READ in sign_in(**{"origin": "https://d111abc.cloudfront.net", "sec-fetch-site": "same-origin"})
    for origin in ("https://evil.example", "null"):
        with pytest.raises(ApiError, match="another site"):
            sign_in(origin=origin)
        with pytest.raises(ApiError, match="another site"):
            asyncio.run(end_session(request_to(app, host="shop.example", origin=origin)))


def test_the_command_makes_lists_expires_and_revokes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--at", str(tmp_path / "keys.json")]
    assert command.main(["create", *at, "--scopes", "read,events", "--note", "backend"], NOW) == 0
    text = capsys.readouterr().out.strip()
    name = split_key(text)[0]
    ring = KeyRing(Settings(serving=ServingSettings(keys=at[1])))
    found = ring.find(text)
    assert isinstance(found, Key) and found.scopes == ("read", "events") and len(ring.log_key) == 64
    assert (tmp_path / "keys.json").stat().st_mode & 0o077 == 0
    assert command.main(["list", *at], NOW) == 0
    listed = capsys.readouterr().out
    assert name in listed and "backend" in listed and split_key(text)[1] not in listed
    assert command.main(["expire", name, *at, "--in-days", "1"], NOW) == 0
    assert command.main(["revoke", name, *at], NOW) == 0
    ring.refresh()
    assert ring.find(text) is None
    assert command.main(["revoke", name, *at], NOW) == 2
    (tmp_path / "keys.json").write_text("{")
    assert command.main(["create", *at, "--scopes", "read"], NOW) == 2  # what cannot be read is not written over


def test_no_key_and_no_person_is_in_a_log_line() -> None:
    names = Names("00")
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "failed: %s", (f"key {READ}",), None)
    try:
        message = (
            "Redis refused GET on 'default:user:u.ada lovelace': no; row default#v1#a.ada-7 and default:alias:ada-7, "
            'GET /v1/users/ada@x.example/profile?key=topsecret {"user_id": "ada b"} Authorization: Bearer hunter2'
        )
        raise RuntimeError(message)
    except RuntimeError:
        record.exc_info = sys.exc_info()
    line = Scrubbed(names).format(record)
    assert not [word for word in ("ada", "topsecret", "hunter2", split_key(READ)[1]) if word in line]
    assert split_key(READ)[0] in line and names.of("u.ada lovelace") in line
    assert names.scrub(names.scrub(line)) == line
    assert names.path("/v1/users/a/profile/b c/recommendations").count("/") == 4
    assert Names("01").of("ada") != names.of("ada") == names.of("ada")
    assert names.path("/v1/items/a\r\nb\x1b[2J\x85") == "/v1/items/a%0D%0Ab%1B[2J%C2%85"


def test_an_origin_is_checked_when_it_is_set() -> None:
    with pytest.raises(SettingsError, match=r"shop\.example"):
        replace(ServingSettings(), cors_origins="https://shop.example/page")
    assert (
        ServingSettings(cors_origins="https://a.example, http://localhost:3000").origins[1] == "http://localhost:3000"
    )
