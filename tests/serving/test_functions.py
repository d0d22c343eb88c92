"""The Lambda functions in interpreters with their small lock alone, behind a stand-in for API Gateway's HTTP API."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser

from contracts.settings import ENVIRONMENT_VARIABLE, Settings, to_properties
from local.faults import Fault
from local.functions import Function, lean_python, staged
from local.gateway import functions, serve
from stores.aws import client

pytestmark = pytest.mark.serving


@pytest.fixture(scope="module")
def settings(shop: Any, faults: Any) -> Settings:
    """Those of the shop, behind the proxy that fails on demand, with a queue as the spool."""
    url = client("sqs", shop.settings).create_queue(QueueName="spool")["QueueUrl"]
    spooling = replace(shop.settings.serving, spool_queue=url, spool_folder="/never")
    return replace(shop.settings, aws_endpoint=faults.url, serving=spooling)


@pytest.fixture(scope="module")
def env(settings: Settings) -> dict[str, str]:
    return {ENVIRONMENT_VARIABLE: json.dumps(to_properties(settings)), "AWS_DEFAULT_REGION": settings.aws_region}


@pytest.fixture(scope="module")
def gateway(env: dict[str, str]) -> Iterator[httpx.Client]:
    with functions(env) as invoke:
        server = serve(invoke, 0)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        with httpx.Client(base_url=f"http://127.0.0.1:{server.server_address[1]}", timeout=60, trust_env=False) as http:
            yield http
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    "path",
    [
        "/v1/users/both/recommendations?explain=true&n=5",
        "/v1/items/a%2Fb%20c",
        "/v1/items?query=milk",
        "/v1/items/i6/similar",
        "/v1/users/both/recommendations?n=0",
        "/v1/items/nothing",
        "/nowhere",
        "/static/tracker.js",
        "/",
    ],
)
def test_a_function_answers_as_the_service_does(gateway: httpx.Client, shop: Any, path: str) -> None:
    there, here = gateway.get(path), shop.http.get(path)
    assert there.status_code == here.status_code
    assert there.headers.get("content-type") == here.headers.get("content-type")
    same = [_without_its_own(answer) for answer in (there, here)]
    assert same[0] == same[1]


def _without_its_own(answer: httpx.Response) -> Any:
    """An answer without what every request has of its own."""
    if "json" not in answer.headers.get("content-type", ""):
        return answer.content
    found = answer.json()
    return {name: value for name, value in found.items() if name != "request_id"}


def test_a_page_polls_with_the_tag_and_sees_a_change(gateway: httpx.Client, shop: Any) -> None:
    path = "/v1/users/polled/recommendations"
    shop.put_live("u.polled", ["i1"])
    first = gateway.get(path)
    assert first.json()["source"] == "live"
    again = gateway.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    shop.put_live("u.polled", ["i2"])
    changed = gateway.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert [item["item_id"] for item in changed.json()["items"]] == ["i2"]


def test_shelf_streams_are_refused_with_the_advice_to_poll(gateway: httpx.Client) -> None:
    refused = gateway.get("/v1/users/both/recommendations/stream")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "too_many_streams")
    assert "poll" in refused.json()["error"]["message"]


def test_events_come_to_the_stream(gateway: httpx.Client, shop: Any, event: Callable[..., dict[str, Any]]) -> None:
    for content_type in ("application/json", "application/octet-stream"):
        sent = event(note="ä")
        body = json.dumps([sent, event(event_type="wave")], ensure_ascii=False).encode()
        answer = gateway.post("/v1/events", content=body, headers={"Content-Type": content_type})
        assert (answer.status_code, answer.json()["accepted"], answer.json()["rejected"]) == (200, 1, 1)
        assert sent["note"] in [r["note"] for r in shop.records() if r["event_id"] == sent["event_id"]]


def test_what_a_function_accepted_without_kinesis_is_on_the_stream_once_the_queue_is_drained(
    gateway: httpx.Client, shop: Any, faults: Any, settings: Settings, env: Any, event: Any, tmp_path: Any
) -> None:
    sent: set[str] = set()
    with faults.failing(Fault(service="kinesis", kind="error")):
        for _ in range(3):
            batch = [event(note="x" * 400) for _ in range(500)]
            answer = gateway.post("/v1/events", json=batch)
            assert (answer.status_code, answer.json()["accepted"]) == (200, 500), answer.text[:500]
            sent |= {one["event_id"] for one in batch}
        assert not sent & {record["event_id"] for record in shop.records()}
        with Function("serving.functions.drain", lean_python(), staged(tmp_path), env) as drain:
            assert _deliver(shop, settings, drain) == 0, "while Kinesis is away every message stays"
    with Function("serving.functions.drain", lean_python(), staged(tmp_path), env) as drain:
        while _deliver(shop, settings, drain):
            pass
    assert sent <= {record["event_id"] for record in shop.records()}


def _deliver(shop: Any, settings: Settings, drain: Function) -> int:
    """What Lambda's poller does once: receive, invoke, delete what did not fail; returns how many messages went."""
    sqs, url = client("sqs", shop.settings), settings.serving.spool_queue
    received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0).get("Messages", [])
    if not received:
        return 0
    batch = [{"messageId": each["MessageId"], "body": each["Body"]} for each in received]
    failed = {each["itemIdentifier"] for each in drain.invoke({"Records": batch})["batchItemFailures"]}
    done = [each for each in received if each["MessageId"] not in failed]
    for each in done:
        sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])
    return len(done)


def test_without_kinesis_and_its_queue_a_function_promises_nothing(
    gateway: httpx.Client, faults: Any, event: Any
) -> None:
    with faults.failing(Fault(service="kinesis", kind="error"), Fault(service="sqs", kind="error")):
        answer = gateway.post("/v1/events", json=[event()])
    assert (answer.status_code, answer.json()["results"][0]["status"]) == (503, "failed")
    assert answer.headers["retry-after"]


def test_the_storefront_works_behind_the_gateway(
    gateway: httpx.Client, browser: Browser, shop: Any, until: Any
) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        polled: list[str] = []
        page.on("request", lambda request: polled.append(request.url) if "/recommendations" in request.url else None)
        page.goto(str(gateway.base_url), wait_until="load")

        def shown() -> bool:
            text = page.evaluate("document.body.innerText")
            return "Item 30" in text and sum("/stream" not in url for url in polled) >= 2

        until(shown, "a shelf by polling", seconds=60)
        assert problems == []
