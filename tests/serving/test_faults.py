"""A store that goes away costs its own share and nothing else."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import httpx
import pytest

from contracts.settings import Settings
from local import valkey
from local.ports import free_port
from serving.app import create_app

pytestmark = pytest.mark.serving


def shelves(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The shelves of an event stream."""
    return (json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: "))


def test_without_kinesis_and_without_a_spool_every_record_fails_by_name_and_live_shelves_go_on(
    shop: Any, start_serving: Any, event: Any
) -> None:
    shop.put_live("u.f1", ["i1"])
    alone = replace(shop.settings, aws_endpoint=f"http://127.0.0.1:{free_port()}")
    with start_serving(alone, ready="/healthz") as half:
        answer = half.http.post("/v1/events", json=[event(), event(event_type="wave"), event()])
        assert answer.status_code == 503 and answer.headers["retry-after"] == "1"
        assert [r["status"] for r in answer.json()["results"]] == ["failed", "rejected", "failed"]
        assert answer.json()["results"][0]["reason"]
        assert half.get("/v1/users/f1/recommendations")["source"] == "live"


def test_when_redis_goes_away_the_shelf_falls_to_dynamodb_and_an_open_page_is_told(
    shop: Any, start_serving: Any, until: Any
) -> None:
    with ExitStack() as redis:
        nodes = redis.enter_context(valkey.cluster(nodes=2))
        pairs = tuple((host, int(port)) for host, port in (node.split(":") for node in nodes.split(",")))
        with start_serving(replace(shop.settings, redis_nodes=pairs)) as half:
            half.put_live("u.both", ["i1", "i2"])
            with httpx.stream("GET", f"{half.url}/v1/users/both/recommendations/stream", timeout=20) as answer:
                seen = shelves(answer.iter_lines())
                assert next(seen)["source"] == "live"
                redis.close()
                fallen = next(seen)
            assert (fallen["source"], fallen["store"], fallen["filters"]) == ("batch", "dynamodb", ["stock"])
            until(lambda: not half.get("/v1/status")["redis"], "the missing Redis to be noticed")
            assert half.get("/v1/users/stranger/recommendations")["source"] == "popular"
            assert half.get("/v1/trending")["source"] == "popular"
            assert half.http.get("/v1/users/both/profile").json()["error"]["code"] == "redis_away"
            assert (half.http.get("/readyz").status_code, half.http.get("/healthz").status_code) == (503, 200)


def test_before_anything_exists_reads_answer_and_readyz_says_what_is_missing() -> None:
    nowhere = Settings(redis_nodes=(("127.0.0.1", 1),), aws_endpoint="http://127.0.0.1:1")

    async def ask(*paths: str) -> list[httpx.Response]:
        transport = httpx.ASGITransport(create_app(nowhere))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            return [await http.get(path) for path in paths]

    ready, shelf, items = asyncio.run(ask("/readyz", "/v1/users/1/recommendations", "/v1/items"))
    assert ready.status_code == 503
    assert ready.json()["checks"] == {"redis": "does not answer", "catalogue default": "not loaded yet"}
    assert (shelf.json()["source"], shelf.json()["items"]) == ("none", [])
    assert items.json() == {"items": [], "more": False}
