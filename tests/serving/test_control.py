"""The control room: what its routes read from the real stores; a store that is away is a sentence, not a 5xx."""

import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.lake import dataset_prefix, model_prefix
from local.ports import free_port
from stores.objects import Objects

pytestmark = pytest.mark.serving

ROUTES = ("stream", "health", "models", "rejected", "experiments")


def test_health_tells_each_part_and_does_not_call_an_unknown_one_well(shop: Any) -> None:
    parts = {part["name"]: part for part in shop.get("/v1/admin/control/health")["parts"]}
    assert {parts[name]["state"] for name in ("Redis", "DynamoDB", "Kinesis stream", "Catalogue")} == {"ok"}
    assert parts["Flink job"]["state"] == "away" and "LIVESHELF_FLINK_URL" in parts["Flink job"]["words"]
    assert parts["Redis"]["took_ms"] > 0


def test_rejected_records_are_read_from_the_dead_letter_prefix_newest_first(shop: Any) -> None:
    now = datetime.now(UTC)
    rows = [
        {
            "reason": reason,
            "detail": "why",
            "shard_id": "shard-1",
            "sequence_number": "7",
            "arrived_ms": arrived,
            "data": b"\xff" + b"x" * 900,
        }
        for reason, arrived in (("not_json", 1000), ("bad_id", 2000))
    ]
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    prefix = f"{dataset_prefix('default', 'dead-letter')}year={now:%Y}/month={now:%m}/day={now:%d}/hour={now:%H}/"
    objects = Objects.from_settings(shop.settings)
    objects.put(f"{prefix}part-0", file.getvalue())
    objects.put(f"{prefix}_SUCCESS", b"")
    found = shop.get("/v1/admin/control/rejected")
    assert [record["reason"] for record in found["records"]] == ["bad_id", "not_json"]
    assert found["problem"] == "" and len(found["records"][0]["data"]) == 400


def test_versions_are_read_from_their_manifests_and_one_is_damaged(shop: Any) -> None:
    objects = Objects.from_settings(shop.settings)
    at = "2026-01-01T00:00:00Z"
    manifest = {"version": "v1", "trained_at": at, "window_start": at, "window_end": at, "model": {"theta": 0.5}}
    objects.put(f"{model_prefix('default', 'v1')}manifest.json", json.dumps(manifest).encode())
    objects.put(f"{model_prefix('default', 'unfinished')}items.json", b"[]")
    found = shop.get("/v1/admin/control/models")
    assert [version["version"] for version in found["versions"]] == ["v1"]
    assert found["live"].endswith("-test00") and found["versions"][0]["live"] is False
    objects.put(f"{model_prefix('default', 'v0')}manifest.json", b"{")
    found = shop.get("/v1/admin/control/models")
    assert found["problem"] and [version["version"] for version in found["versions"]] == ["v1"]
    for name in ("v0", "v1"):
        objects.delete(f"{model_prefix('default', name)}manifest.json")


def test_a_version_that_is_not_there_cannot_be_made_live(shop: Any) -> None:
    answer = shop.http.post("/v1/admin/models/none/activate", json={})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_version")


def test_with_every_store_away_each_route_still_answers_and_says_so(
    shop: Any, start_serving: Callable[..., Any]
) -> None:
    nowhere = replace(
        shop.settings,
        redis_nodes=(("127.0.0.1", free_port()),),
        aws_endpoint=f"http://127.0.0.1:{free_port()}",
    )
    with start_serving(nowhere, ready="/healthz") as lonely:
        answers = {route: lonely.http.get(f"/v1/admin/control/{route}") for route in ROUTES}
        assert {route: answer.status_code for route, answer in answers.items()} == dict.fromkeys(ROUTES, 200)
        assert answers["models"].json()["problem"] and answers["rejected"].json()["problem"]
        states = {part["name"]: part["state"] for part in answers["health"].json()["parts"]}
        assert states["Redis"] == states["DynamoDB"] == states["Kinesis stream"] == "bad"
