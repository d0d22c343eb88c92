"""What an admin changes takes hold whole or not at all, never over another's change, and is in the log."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest

from contracts.items import decode_catalogue, encode_catalogue
from contracts.keys import alias_key, batch_row, user_key
from contracts.lake import catalogue_path
from contracts.lists import Action
from stores.objects import Objects
from stores.tables import Tables

pytestmark = pytest.mark.serving
NEW = {"If-None-Match": "*"}
EXPERIMENT = {
    "id": "diverse", "status": "draft", "start": "2026-01-01T00:00:00Z",
    "variants": [{"name": "as-is"}, {"name": "diverse", "changes": {"max_per_category": 2}}],
}  # fmt: skip


@pytest.fixture
def catalogue(shop: Any) -> Iterator[dict[str, Any]]:
    """The stored catalogue, put back in the end: the shop is shared."""
    objects = Objects.from_settings(shop.settings)
    before = objects.get(catalogue_path("default"))
    yield decode_catalogue(before)
    objects.put(catalogue_path("default"), before)


def line(**item: Any) -> bytes:
    return json.dumps(item).encode()


def test_a_catalogue_is_taken_whole_or_its_faults_are_told_by_line(shop: Any, catalogue: Any) -> None:
    told = shop.http.get("/v1/admin/catalogue")
    assert told.json()["items"] == len(catalogue)
    tag = {"If-Match": told.headers["etag"]}
    bad = b"\n".join(
        [
            line(item_id="a", title="A"),
            b"{",
            line(item_id="a", title="B"),
            line(item_id="b", title="B", price=-1),
            b"\xff",
        ]
    )
    refused = shop.http.put("/v1/admin/catalogue", content=bad, headers=tag)
    assert (refused.status_code, refused.json()["faulty"]) == (422, 4)
    assert [fault["line"] for fault in refused.json()["faults"]] == [2, 3, 4, 5]
    assert shop.http.get("/v1/admin/catalogue").headers["etag"] == tag["If-Match"]
    good = gzip.decompress(encode_catalogue(catalogue.values())) + line(item_id="new", title="New")
    dry = shop.http.put("/v1/admin/catalogue?dry_run=true", content=good)
    assert (dry.status_code, dry.json()["taken"]) == (200, False)
    taken = shop.http.put("/v1/admin/catalogue", content=gzip.compress(good), headers=tag)
    assert taken.json() == {
        "taken": True,
        "items": len(catalogue) + 1,
        "faulty": 0,
        "faults": [],
        "tag": taken.json()["tag"],
    }
    again = shop.http.put("/v1/admin/catalogue", content=good, headers=tag)
    assert (again.status_code, again.json()["error"]["code"]) == (412, "changed_meanwhile")
    assert shop.http.put("/v1/admin/catalogue", content=good).status_code == 428


@pytest.mark.parametrize("body", [b"", b"\n\n", gzip.compress(b"x" * 10)[:-4], gzip.compress(b"0" * (600 << 20), 9)])
def test_an_upload_that_is_empty_torn_or_a_bomb_is_refused(shop: Any, body: bytes) -> None:
    answer = shop.http.put("/v1/admin/catalogue", content=body, headers={"If-Match": '"x"'})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid")


def test_two_admins_do_not_overwrite_each_others_rules_and_a_dry_run_stores_nothing(shop: Any) -> None:
    path, hide = "/v1/admin/rules", {"rules": [{"kind": "hide", "id": "recall", "items": ["i30"]}]}
    empty = shop.http.get(path)
    assert (empty.json(), "etag" in empty.headers) == ({"rules": []}, False)
    moved = shop.http.post(f"{path}/dry-run", json={"rules": hide, "placement": "home", "n": 2}).json()["moved"]
    assert moved[-1] | {"title": ""} == {"item_id": "i30", "title": "", "before": 0, "after": None, "rules": ["recall"]}
    assert "etag" not in shop.http.get(path).headers
    first = shop.http.put(path, json=hide, headers=NEW)
    assert first.status_code == 200
    assert shop.http.put(path, json={"rules": []}, headers=NEW).status_code == 412
    assert shop.http.get(path).json()["rules"][0]["id"] == "recall"
    wrong = shop.http.put(path, json={"rules": [{"kind": "hode"}]}, headers={"If-Match": first.headers["etag"]})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "invalid")
    assert shop.http.put(path, json={"rules": []}, headers={"If-Match": first.headers["etag"]}).status_code == 200


def test_an_experiment_that_runs_is_changed_only_in_what_may_change(shop: Any) -> None:
    path = "/v1/admin/experiments/diverse"
    assert (
        shop.http.put("/v1/admin/experiments/other", json=EXPERIMENT, headers=NEW).json()["error"]["code"] == "other_id"
    )
    tag = shop.http.put(path, json=EXPERIMENT, headers=NEW).headers["etag"]
    running = EXPERIMENT | {"status": "running"}
    tag = shop.http.put(path, json=running, headers={"If-Match": tag}).headers["etag"]
    mixed = running | {"start": "2026-02-01T00:00:00Z"}
    refused = shop.http.put(path, json=mixed, headers={"If-Match": tag})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "invalid")
    assert shop.http.delete(path, headers={"If-Match": tag}).status_code == 409
    stopped = shop.http.put(path, json=running | {"status": "stopped"}, headers={"If-Match": tag})
    assert stopped.status_code == 200
    assert shop.http.get("/v1/admin/experiments").json()["experiments"][0]["status"] == "stopped"
    assert (
        shop.http.delete("/v1/admin/experiments/none", headers={"If-Match": stopped.headers["etag"]}).status_code == 404
    )


def test_a_deletion_removes_what_serves_at_once_and_its_receipt_names_nobody(shop: Any, until: Any) -> None:
    user, visitor = "grace-hopper-1906", "visitor-of-grace"
    shop.put_live(f"u.{user}", ["i1"], [Action(1_000, "e", "view", "i9")])
    shop.put_redis(alias_key("default", visitor), f"u.{user}".encode())
    tables = Tables.from_settings(shop.settings)
    row = batch_row("default", "20260101T000000Z-test00", f"u.{user}")
    tables.put_many([(row, b"{}", 4_000_000_000)])
    version = shop.get("/v1/status")["model"]["version"]
    Objects.from_settings(shop.settings).put(f"shop=default/models/{version}/manifest.json", b"{}")
    asked = shop.http.post("/v1/admin/deletions", json={"user_id": user})
    assert asked.status_code == 202, asked.text
    receipt = asked.json()
    assert {(r["store"], r["what"]) for r in receipt["removed"]} == {
        ("redis", "live values"), ("redis", "aliases"), ("dynamodb", "batch lists"),
    }  # fmt: skip
    assert shop.get(f"/v1/users/{user}/recommendations")["source"] != "live"
    with shop.cluster as cluster:
        assert cluster.get_many([user_key("default", f"u.{user}"), alias_key("default", visitor)]) == [None, None]
    assert tables.rows([row]) == [None]
    place = asked.headers["location"]
    until(lambda: shop.get(place)["state"] == "waiting", "the deletion's first pass", 90)
    assert user not in shop.http.get(place).text and visitor not in shop.http.get("/v1/admin/deletions").text
    assert shop.http.post("/v1/admin/deletions", json={"user_id": user}).json()["id"] == receipt["id"]
    for body in ({}, {"user_id": user, "anonymous_id": "x"}, {"user_id": ""}, {"person": "x"}, {"user_id": 5}):
        assert shop.http.post("/v1/admin/deletions", json=body).status_code == 400
    assert shop.http.get("/v1/admin/deletions/..%2F..%2Fx").status_code == 404


def test_the_log_tells_who_changed_what_and_with_which_outcome(shop: Any) -> None:
    shop.http.put("/v1/admin/rules", json={"rules": []}, headers={"If-Match": '"not-the-tag"'})
    shop.http.post("/v1/admin/models/no-such-version/activate")
    log = shop.get("/v1/admin/audit")["entries"]
    told = {(entry["who"], entry["action"], entry["outcome"]) for entry in log}
    assert ("open", "rules.replace", "changed_meanwhile") in told
    assert ("open", "model.activate", "unknown_version") in told
    assert log == sorted(log, key=lambda entry: entry["id"], reverse=True)
    assert shop.get("/v1/admin/audit", day="2020-01-01")["entries"] == []
