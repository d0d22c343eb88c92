"""A request keeps its meaning on its way through API Gateway's payload, and an answer does on its way back."""

import asyncio
import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest

from serving.frames import Record
from serving.payload import Answered, body_of, scope_of
from serving.queue import drained, messages, records_of


def event(path: str = "/", **fields: Any) -> dict[str, Any]:
    http = {"method": "GET", "path": path, "sourceIp": "192.0.2.1"}
    base = {"rawPath": path, "rawQueryString": "", "headers": {"host": "shop"}}
    return base | {"requestContext": {"http": http, "stage": "$default", "domainName": "shop"}} | fields


def answered(status: int, headers: list[tuple[bytes, bytes]], *parts: bytes) -> dict[str, Any]:
    async def send() -> dict[str, Any]:
        found = Answered()
        await found.send({"type": "http.response.start", "status": status, "headers": headers})
        for part in parts:
            await found.send({"type": "http.response.body", "body": part, "more_body": True})
        await found.send({"type": "http.response.body"})
        return found.payload()

    return asyncio.run(send())


@pytest.mark.parametrize(
    ("raw", "path"),
    [("/v1/items/a%2Fb%20c", "/v1/items/a/b c"), ("/v1/users/J%C3%B6rg", "/v1/users/Jörg"), ("/", "/")],
)
def test_an_escaped_path_reaches_the_route_as_its_id_was(raw: str, path: str) -> None:
    assert scope_of(event(raw))["path"] == path


def test_a_named_stage_is_not_part_of_the_path() -> None:
    context = {"http": {"method": "GET", "sourceIp": ""}, "stage": "live"}
    assert scope_of(event("/live", requestContext=context))["path"] == "/"
    assert scope_of(event("/lively/x"))["path"] == "/lively/x"


def test_a_binary_body_comes_as_it_was_sent() -> None:
    body = bytes(range(256))
    assert body_of({"body": base64.b64encode(body).decode(), "isBase64Encoded": True}) == body


def test_an_answer_keeps_status_headers_cookies_and_text() -> None:
    headers = [
        (b"content-type", b"application/json"),
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"etag", b'"x"'),
    ]
    found = answered(429, headers, '{"ä":'.encode(), b"1}")
    assert (found["statusCode"], found["body"], found["isBase64Encoded"]) == (429, '{"ä":1}', False)
    assert found["headers"] == {"content-type": "application/json", "etag": '"x"'}
    assert found["cookies"] == ["a=1", "b=2"]


@pytest.mark.parametrize("headers", [[(b"content-type", b"image/png")], [(b"content-encoding", b"gzip")]])
def test_an_answer_that_is_no_text_goes_as_base64(headers: list[tuple[bytes, bytes]]) -> None:
    found = answered(200, headers, b"\xff\x00")
    assert (found["isBase64Encoded"], base64.b64decode(found["body"])) == (True, b"\xff\x00")


class Kinesis:
    def __init__(self, refused: set[bytes]) -> None:
        self.refused = refused
        self.taken: list[Record] = []

    def put(self, records: Sequence[Record]) -> list[str | None]:
        self.taken += [record for record in records if record[0] not in self.refused]
        return ["Throttled" if record[0] in self.refused else None for record in records]


RECORDS: list[Record] = [(f'{{"n":"\U0010ffff\ufffe{n}"}}'.encode(), f"shop#u.{n}") for n in range(500)]


def test_the_queues_messages_hold_every_record_in_characters_that_sqs_takes() -> None:
    bodies = list(messages([(b"x" * 32_768, "k" * 200), *RECORDS] * 10))
    assert [record for body in bodies for record in records_of(body)] == [(b"x" * 32_768, "k" * 200), *RECORDS] * 10
    assert all(body.isascii() and len(body) <= 262_144 for body in bodies)
    assert len(bodies) < 6


def test_only_messages_of_which_something_is_left_stay_in_the_queue() -> None:
    halves = [*messages(RECORDS[:2]), *messages(RECORDS[2:4])]
    batch = {"Records": [{"messageId": f"m{n}", "body": body} for n, body in enumerate(halves)]}
    kinesis: Any = Kinesis(refused={RECORDS[3][0]})
    assert drained(batch, kinesis) == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
    assert kinesis.taken == RECORDS[:3]


@pytest.mark.parametrize("body", ["", "no base64!", base64.b64encode(b"no frames at all").decode()])
def test_a_damaged_message_goes_to_the_dead_letters_and_costs_no_other(body: str) -> None:
    (whole,) = messages(RECORDS[:1])
    kinesis: Any = Kinesis(refused=set())
    batch = {"Records": [{"messageId": "bad", "body": body}, {"messageId": "good", "body": whole}]}
    assert drained(batch, kinesis) == {"batchItemFailures": [{"itemIdentifier": "bad"}]}
    assert kinesis.taken == RECORDS[:1]


def test_an_event_of_sqs_is_json_with_the_body_as_it_was_sent() -> None:
    (body,) = messages(RECORDS[:3])
    assert records_of(json.loads(json.dumps({"body": body}))["body"]) == RECORDS[:3]
