"""Stores that hang instead of failing: a stopped Redis, a server that never answers, and a start without any store."""

import socket
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from contracts.baked import baked_name, decode_baked, encode_baked
from contracts.lists import Action
from contracts.settings import ServingSettings
from local import valkey
from serving.bake import bake

pytestmark = pytest.mark.serving

PATIENT = ServingSettings(deadline_ms=1500, redis_timeout_ms=400, dynamodb_timeout_ms=800)
"""For a loaded machine; the proof to the microsecond is in tests/unit/serving/test_deadline.py."""


def pairs(nodes: str) -> tuple[tuple[str, int], ...]:
    return tuple((host, int(port)) for host, port in (node.split(":") for node in nodes.split(",")))


def servers(nodes: str) -> list[psutil.Process]:
    """The processes that listen on the nodes' ports."""
    ports = {port for _, port in pairs(nodes)}
    children = psutil.Process().children(recursive=True)
    return [c for c in children if any(x.laddr.port in ports for x in c.net_connections() if x.status == "LISTEN")]


def test_while_redis_is_stopped_dynamodb_answers_and_what_was_bought_stays_hidden(
    shop: Any, start_serving: Any, until: Any
) -> None:
    with ExitStack() as stack:
        nodes = stack.enter_context(valkey.cluster(nodes=2))
        processes = servers(nodes)
        assert len(processes) == 2
        settings = replace(shop.settings, redis_nodes=pairs(nodes), serving=PATIENT)
        half = stack.enter_context(start_serving(settings))
        half.put_live("u.cold", ["i1", "i20"], [Action(time.time_ns() // 1_000_000, "e1", "purchase", "i20")])
        path = "/v1/users/cold/recommendations"
        until(lambda: half.get(path)["source"] == "live", "the live list")
        for process in processes:
            stack.callback(process.resume)
            process.suspend()
        answers = [half.get(path) for _ in range(8)]
        for answer in answers:
            assert (answer["source"], answer["store"]) == ("batch", "dynamodb")
            assert [item["item_id"] for item in answer["items"]] == ["i21"]  # i20 was bought: remembered
            assert answer["filters"] == ["stock"]  # and not promised, because it could not be read
        until(lambda: not half.get("/v1/status")["redis"], "the stopped Redis to be noticed")
        for process in processes:
            process.resume()
        until(lambda: half.get(path)["source"] == "live", "Redis to be used again")
        assert half.get(path)["filters"] == ["stock", "purchases", "cart"]


def test_with_no_store_at_all_a_new_process_shows_what_the_deployment_brought_along(
    shop: Any, start_serving: Any, tmp_path: Path
) -> None:
    baked = bake(shop.settings, "default", datetime(2026, 1, 1, tzinfo=UTC))
    assert [item.item_id for item in baked.items] == ["i30", "i31", "milk"]  # popular, and in stock
    assert decode_baked(encode_baked(baked)) == baked
    (tmp_path / baked_name("default")).write_bytes(encode_baked(baked))
    with socket.create_server(("127.0.0.1", 0), backlog=200) as silent:
        port = silent.getsockname()[1]
        settings = replace(
            shop.settings,
            redis_nodes=(("127.0.0.1", port),),
            aws_endpoint=f"http://127.0.0.1:{port}",
            serving=replace(PATIENT, baked_folder=str(tmp_path)),
        )
        with start_serving(settings, ready="/healthz") as alone:
            for path in ("/v1/users/1/recommendations", "/v1/trending", "/v1/cart/recommendations"):
                for _ in range(3):
                    answer = alone.get(path, explain=True)
                    assert (answer["source"], answer["store"]) == ("baked", "deployment")
                    assert [item["title"] for item in answer["items"]] == ["Item 30", "Item 31", "Oat Milk"]
                    assert not {"stock", "purchases"} & set(answer["filters"]) or path != "/v1/users/1/recommendations"
