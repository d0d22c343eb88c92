"""Hostile and malformed requests as the bytes that go on the wire, made by a seed. None of them is valid."""

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

__all__ = ["KINDS", "Case", "Keys", "make_case"]


class Keys(NamedTuple):
    """Valid keys, so that what is behind the door is reached as well."""

    events: str
    read: str
    admin: str


class Case(NamedTuple):
    """A request; ``part`` of it is sent and the rest never comes where ``slow``."""

    kind: str
    data: bytes
    slow: bool = False


def _request(method: str, path: str | bytes, key: str = "", body: bytes | None = None, *headers: bytes) -> bytes:
    target = path if isinstance(path, bytes) else path.encode()
    lines = [method.encode() + b" " + target + b" HTTP/1.1", b"Host: localhost"]
    if key:
        lines.append(b"Authorization: Bearer " + key.encode())
    if body is not None:
        lines += [b"Content-Type: application/json", b"Content-Length: %d" % len(body)]
    return b"\r\n".join([*lines, *headers]) + b"\r\n\r\n" + (body or b"")


def _event(rng: random.Random, **more: Any) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    event = {"event_id": f"hostile-{rng.random()}", "event_type": "view", "user_id": "u", "item_id": "i"}
    return event | {"occurred_at": now} | more


def _noise(rng: random.Random, most: int) -> bytes:
    return rng.randbytes(rng.randint(1, most))


_BAD_VALUES: Final[tuple[Any, ...]] = (
    None, True, -1, 1e300, [], {}, "", "x" * 129, "a\u0000b", "\ud800", "\u202e\n", "x" * 5000, ["x"] * 50,
    {"a": {"b": 1}},
)  # fmt: skip


def _broken_json(rng: random.Random, keys: Keys) -> bytes:
    whole = json.dumps(_event(rng)).encode()
    body = rng.choice([
        whole[: rng.randint(0, len(whole) - 1)], whole.replace(b":", b"=", 1), whole + b"}", b"'" + whole + b"'",
        b"null",
        b"NaN", b"[NaN]", b"true", b"{}{}", b"", b"[]", b'{"events":[]}', b'{"events":5}', b"[[[]]]", b'"' + whole,
        b"[1,",
        _noise(rng, 2000), whole.decode().encode("utf-16"), b"\xef\xbb\xbf\xff" + whole, b"\x00" * 50, b"<xml/>",
        b"a=b&c=d",
    ])  # fmt: skip
    return _request("POST", "/v1/events", keys.events, body)


def _deep(rng: random.Random, keys: Keys) -> bytes:
    depth = rng.choice([50, 1000, 20_000])
    opened, closed = rng.choice([(b"[", b"]"), (b'{"a":', b"}")])
    nested = opened * depth + b"1" + closed * (depth if rng.random() < 0.7 else 0)
    inside = json.dumps(_event(rng, item_id=5)).encode()[:-1] + b',"deep":' + nested + b"}"
    return _request("POST", "/v1/events", keys.events, rng.choice([nested, inside]))


def _bad_event(rng: random.Random, keys: Keys) -> bytes:
    flaws: list[dict[str, Any]] = [
        {name: rng.choice([v for v in _BAD_VALUES if v is not None])} for name in ("event_id", "item_id", "user_id")
    ]
    flaws += [
        {"event_type": rng.choice(["", "wave", 5, None, ["view"], "VIEW", "x" * 9999])},
        {
            "occurred_at": rng.choice(
                ["", "now", 5, "2026-13-45T00:00:00Z", "9999-12-31T23:59:59Z", "1969-01-01T00:00:00Z"]
            )
        },
        {"occurred_at": datetime.now(UTC).replace(tzinfo=None).isoformat()},
        {"shop_id": rng.choice(["", "../x", "Shop!", "nobody", 5, "x" * 65])},
        {"price": rng.choice([-1, 1e300, "5", [], True])},
        {"quantity": rng.choice([0, -5, 2**70, 1.5, "1"])},
        {"note": "x" * 33_000},
        {"position": -1},
    ]
    event = _event(rng, **rng.choice(flaws))
    for name in rng.choice([(), ("event_id",), ("occurred_at",), ("item_id",), ("user_id",)]):
        event.pop(name, None)
    count = rng.choice([1, 1, 3, 50])
    body = json.dumps(event if count == 1 else [event] * count, ensure_ascii=rng.random() < 0.5)
    return _request("POST", "/v1/events", keys.events, body.encode(errors="surrogatepass"))


def _too_much(rng: random.Random, keys: Keys) -> bytes:
    if rng.random() < 0.5:
        return _request("POST", "/v1/events", keys.events, json.dumps([{}] * rng.randint(501, 3000)).encode())
    announced = rng.choice([17_000_000, 2**31, 2**63 - 1, 10**17])
    head = _request("POST", "/v1/events", keys.events, None, b"Content-Type: application/json")
    return head[:-2] + b"Content-Length: %d\r\n\r\n[" % announced


def _bad_query(rng: random.Random, keys: Keys) -> bytes:
    number = rng.choice(["0", "-1", "201", "1e9", "abc", "", "99999999999999999999", "%00", "5;drop", "１０x"])
    path = rng.choice([
        "/v1/users/7/recommendations?n={0}", "/v1/items?limit={0}", "/v1/items?offset=-1&limit={0}",
        "/v1/trending?n={0}",
        "/v1/visitors/x/recommendations?n={0}", "/v1/items/i1/similar?n={0}",
        "/v1/users/7/recommendations?filter=maybe&n={0}",
        "/v1/status?shop={0}x", "/v1/items?query=" + "x" * 201 + "&limit={0}", "/v1/categories?shop=%2e%2e{0}",
    ]).format(number)  # fmt: skip
    return _request("GET", path.encode("utf-8", "ignore").replace("１０".encode(), b"%EF%BC%91"), keys.read)


def _bad_id(rng: random.Random, keys: Keys) -> bytes:
    wrong = rng.choice(
        ["x" * rng.randint(129, 3000), "%00", "a%0Ab", "%0D%0AX-Evil:1", "%E2%80%AE%07", "%7F", "%1b%5b2J"]
    )
    path = rng.choice([
        "/v1/users/{}/recommendations", "/v1/users/{}/profile", "/v1/visitors/{}/recommendations", "/v1/items/{}",
        "/v1/items/{}/similar", "/v1/items/{}/features", "/v1/visitors/{}/recommendations/stream",
    ]).format(wrong)  # fmt: skip
    return _request("GET", path, keys.read)


def _path_trick(rng: random.Random, keys: Keys) -> bytes:
    path = rng.choice([
        "/static/../../../etc/passwd", "/static/%2e%2e/%2e%2e/contracts/keys.py", "/static/..%2f..%2f..%2fetc/passwd",
        "/static//etc/passwd", "/v1/%2e%2e/admin/models", "//v1/admin/rules", "/V1/events", "/v1/events/",
        "/v1/events/..;/x",
        "/.git/config", "/.env", "/wp-login.php", "/v1", "/v1/", "/v1/nothing", "/v1/admin/%2e%2e/x",
        "/v1/admin/deletions/../..",
        "/" + "a/" * 2000, "/" + "%41" * 3000, "/static/lib/../../app.py", "/v1/items/%2e%2e%2f%2e%2e%2fsecret",
        "/\\..\\..\\x",
        "/static/%00", "/static/" + "x" * 1000, "/docs/../../x", "/v1/session/x",
    ])  # fmt: skip
    return _request(rng.choice(["GET", "POST", "PUT", "DELETE"]), path, keys.read)


def _bad_method(rng: random.Random, keys: Keys) -> bytes:
    method = rng.choice(["TRACE", "OPTIONS", "PATCH", "PROPFIND", "DELETE", "HEAD", "get", "FOO", "CONNECT"])
    return _request(
        method, rng.choice(["/v1/events", "/v1/items", "/healthz", "/v1/users/7/recommendations"]), keys.admin
    )


def _bad_head(rng: random.Random, keys: Keys) -> bytes:
    good = b"GET /v1/items HTTP/1.1\r\nHost: localhost\r\n"
    return rng.choice([
        good + b"X: " + b"y" * rng.randint(33_000, 60_000) + b"\r\n\r\n", good + b"A: b\r\n" * rng.randint(101,
        400) + b"\r\n",
        good + b"Bad Header: x\r\n\r\n", good + b"X: a\x00b\r\n\r\n", good + b"Content-Length: -5\r\n\r\n",
        good + b": x\r\n\r\n",
        good + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        good + b"Transfer-Encoding: gzip, chunked, x\r\n\r\n0",
        good + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"GET /v1/items HTTP/9.9\r\n\r\n",
        b"GET  /v1/items\r\n\r\n", b"GET /v1/" + b"x" * rng.randint(8_200, 20_000) + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n", _noise(rng,
        500) + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"{}\r\n\r\n",
    ])  # fmt: skip


def _bad_key(rng: random.Random, keys: Keys) -> bytes:
    wrong = rng.choice(
        ["", "lsk_", keys.admin[:-1], keys.admin + "x", "lsk_abcdefghij_" + "A" * 43, "x" * 9000, "é", "null"]
    )
    header = rng.choice(
        [b"Authorization: Bearer ", b"Authorization: Basic ", b"X-Api-Key: ", b"Cookie: liveshelf_key="]
    )
    path = rng.choice(["/v1/events", "/v1/items", "/v1/admin/rules", "/v1/admin/audit", "/v1/users/7/profile"])
    return _request(rng.choice(["GET", "POST"]), path, "", None, header + wrong.encode())


def _wrong_scope(rng: random.Random, keys: Keys) -> bytes:
    method, path, key = rng.choice([
        ("POST", "/v1/events", keys.read), ("GET", "/v1/items", keys.events), ("GET", "/v1/admin/rules", keys.read),
        ("POST", "/v1/admin/deletions", keys.events), ("PUT", "/v1/admin/catalogue", keys.read),
    ])  # fmt: skip
    return _request(method, path, key, json.dumps(_event(rng)).encode() if method != "GET" else None)


def _bad_admin(rng: random.Random, keys: Keys) -> bytes:
    method, path = rng.choice([
        ("PUT", "/v1/admin/catalogue"), ("PUT", "/v1/admin/rules"), ("PUT", "/v1/admin/experiments/x"),
        ("POST", "/v1/admin/rules/dry-run"), ("POST", "/v1/admin/deletions"), ("DELETE", "/v1/admin/experiments/x"),
        ("GET", "/v1/admin/audit?days=0"), ("GET", "/v1/admin/audit?day=9999-99-99"), ("GET",
        "/v1/admin/deletions/%2e%2e"),
        ("POST", "/v1/session"),
    ])  # fmt: skip
    body = rng.choice(
        [b"", b"{", b'{"rules":5}', b'{"user_id":""}', b'{"user_id":"a","anonymous_id":"b"}', b'{"key":5}']
    )
    tag = rng.choice([b'If-Match: "nobody"', b"If-Match: *", b"If-Match: \xff", b"X: y"])
    return _request(method, path, keys.admin, None if method == "GET" else rng.choice([body, _noise(rng, 300)]), tag)


def _slow(rng: random.Random, keys: Keys) -> bytes:
    whole = _request("POST", "/v1/events", keys.events, json.dumps(_event(rng)).encode())
    return whole[: rng.randint(1, len(whole) - 1)]


KINDS: Final[dict[str, tuple[int, Callable[[random.Random, Keys], bytes]]]] = {
    "broken JSON": (15, _broken_json),
    "deep nesting": (4, _deep),
    "bad events": (20, _bad_event),
    "too much": (3, _too_much),
    "bad parameters": (12, _bad_query),
    "bad ids": (10, _bad_id),
    "path tricks": (10, _path_trick),
    "bad methods": (3, _bad_method),
    "bad heads": (10, _bad_head),
    "bad keys": (5, _bad_key),
    "wrong scopes": (4, _wrong_scope),
    "bad changes": (4, _bad_admin),
}
"""Kinds of requests with their share of a run."""


def make_case(rng: random.Random, keys: Keys, *, slow: bool = False) -> Case:
    """A request of some kind, or one that stops half-way."""
    if slow:
        return Case("slow requests", _slow(rng, keys), slow=True)
    kind = rng.choices(list(KINDS), [share for share, _ in KINDS.values()])[0]
    return Case(kind, KINDS[kind][1](rng, keys))
