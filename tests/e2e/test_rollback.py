"""Going back to an older model: seen by the API and the streaming job's poller, verified first, undone as easily."""

import gzip
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from batch.models import main
from contracts.items import Item, encode_catalogue
from contracts.lake import catalogue_path, model_prefix, people_path
from contracts.lists import decode_list
from contracts.settings import load
from local.health import http_ok, wait_until
from local.ports import free_port
from local.supervisor import Service, Supervisor
from stores.aws import client
from streaming.models import Models

pytestmark = pytest.mark.e2e

MATRIX = ("items.json", "data.npy")


@pytest.fixture
def api(place: Any, shop: str, tmp_path: Path) -> Iterator[httpx.Client]:
    """The serving process, with the items of this module in its catalogue."""
    items = [Item(item_id=name, title=name) for name in ("a", "b", "v1", "v2")]
    place.stores.objects.put(catalogue_path(shop), encode_catalogue(items))
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "serving", "--port", str(port), "--properties", str(place.direct)]
    with Supervisor(tmp_path, say=lambda _: None) as supervisor:
        supervisor.start(Service(name="serving", command=command, ready=http_ok(f"{url}/healthz")))
        with httpx.Client(base_url=url, timeout=20, trust_env=False, params={"shop": shop}) as http:
            yield http


@pytest.fixture
def followed(place: Any, shop: str, tmp_path: Path) -> Iterator[Callable[[], str | None]]:
    """The version that the streaming job would score with."""
    settings = load(place.direct)
    followed = Models(place.stores.objects, [shop], tmp_path / "cache", settings.streaming.pointer_poll_s)
    followed.start()

    def version() -> str | None:
        snapshot = followed.current(shop)
        return snapshot.version if snapshot else None

    yield version
    followed.close()


def test_a_rollback_is_seen_by_the_api_and_the_streaming_job_and_undone_as_easily(
    place: Any, shop: str, api: httpx.Client, followed: Callable[[], str | None], models: Callable[..., Any]
) -> None:
    def everywhere(version: str) -> bool:
        similar = api.get("/v1/items/a/similar").json()
        return bool(
            followed() == version
            and api.get("/v1/status").json()["model"]["version"] == version
            and [item["item_id"] for item in similar.get("items", [])][:1] == [version]
        )

    wait_until(lambda: everywhere("v1"), "the first version", seconds=30)
    place.publish(shop, "v2")
    wait_until(lambda: everywhere("v2"), "the second version", seconds=30)
    done = models("activate", "--previous")
    assert (done["live"]["version"], done["before"], done["restored"]) == ("v1", "v2", 0)
    wait_until(lambda: everywhere("v1"), "the rollback", seconds=30)
    assert models("activate", "v2")["before"] == "v1"
    wait_until(lambda: everywhere("v2"), "the way forward", seconds=30)
    assert place.pointers(shop) == ["v2"] * 3


def command(place: Any, shop: str, *words: str) -> int:
    return main([*words, "--shop", shop, "--properties", str(place.direct)])


def test_the_list_shows_what_is_live_and_what_was_left_behind(
    place: Any, shop: str, models: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    place.publish(shop, "v2")
    place.stores.objects.put(model_prefix(shop, "v3") + "items.json", b"[]")
    listed = models("list")
    assert [row["version"] for row in listed["versions"]] == ["v1", "v2", "v3"]
    assert [row["complete"] for row in listed["versions"]] == [True, True, False]
    assert listed["versions"][1]["parent"] == "v1"
    assert listed["live"]["version"] == "v2"
    assert listed["mirrors"]["in_step"] is True
    assert command(place, shop, "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "  v3       incomplete: no manifest"
    assert re.match(r"\* v2 .* v1 +0\.310 +– +0\.100", lines[2])
    assert lines[-1].endswith("S3 and Redis are in step")


def test_a_version_is_shown_with_what_it_was_made_of(
    place: Any, shop: str, models: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert models("show")["training"] == {"solve": {"l0": 3.0}}
    assert command(place, shop, "show", "v1") == 0
    said = capsys.readouterr().out
    for part in ("version     v1  (live)", "HR@20", "0.3100", "solve = l0 3", "person_lists 60"):
        assert part in said
    assert command(place, shop, "show", "v9") == 3
    assert "has no complete version 'v9'; its newest folders: v1" in capsys.readouterr().err


@pytest.mark.parametrize("name", MATRIX)
def test_a_damaged_snapshot_is_not_made_live(
    place: Any, shop: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place.publish(shop, "v2")
    path = model_prefix(shop, "v1") + name
    place.stores.objects.put(path, place.stores.objects.get(path)[:-1])
    assert command(place, shop, "activate", "v1") == 3
    assert re.search(rf"refused, the live model stays: .*{name} does not match", capsys.readouterr().err)
    place.stores.objects.delete(path)
    assert command(place, shop, "activate", "v1") == 3
    assert re.search(rf"the snapshot of v1 is not complete: .*{name}", capsys.readouterr().err)
    assert place.pointers(shop) == ["v2"] * 3


def test_the_first_version_has_nothing_before_it(place: Any, shop: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(place, shop, "activate", "--previous") == 3
    assert f"v1 is the first version of shop '{shop}'" in capsys.readouterr().err


def test_lists_that_redis_lost_come_back_before_the_switch(place: Any, shop: str, models: Callable[..., Any]) -> None:
    place.publish(shop, "v2")
    keys = [key for _, key in place.keys(shop, "v1")]
    before = place.stores.cluster.get_many(keys)
    place.stores.cluster.execute([("DEL", key) for key in keys])
    assert models("activate", "v1")["restored"] == len(keys)
    assert place.stores.cluster.get_many(keys) == before
    settings = load(place.direct)
    for left in place.stores.cluster.execute([("TTL", key) for key in keys]):
        assert 0 < left <= settings.training.list_ttl_s


def test_without_the_names_of_the_people_items_are_still_checked_and_restored(
    place: Any, shop: str, models: Callable[..., Any]
) -> None:
    place.publish(shop, "v2")
    place.stores.objects.delete(people_path(shop, "v1"))
    keys = [key for _, key in place.keys(shop, "v1")]
    place.stores.cluster.execute([("DEL", key) for key in keys])
    assert models("activate", "v1")["restored"] == 3  # two items and the popular ones


def test_a_version_whose_lists_are_gone_needs_a_word_more(
    place: Any, shop: str, models: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    place.publish(shop, "v2")
    db = client("dynamodb", load(place.direct))
    for row, _ in place.keys(shop, "v1"):
        db.delete_item(TableName="liveshelf", Key={"pk": {"S": row}})
    assert command(place, shop, "activate", "v1") == 3
    assert "0 of 1 popular lists of v1 are left in DynamoDB" in capsys.readouterr().err
    assert place.pointers(shop) == ["v2"] * 3
    assert models("activate", "v1", "--without-lists")["live"]["version"] == "v1"
    assert place.pointers(shop) == ["v1"] * 3


def test_a_lost_authority_is_set_up_again_from_a_snapshot(place: Any, shop: str, models: Callable[..., Any]) -> None:
    db = client("dynamodb", load(place.direct))
    db.delete_item(TableName="liveshelf", Key={"pk": {"S": f"{shop}#CURRENT"}})
    assert models("activate", "v1")["before"] is None
    assert place.pointers(shop) == ["v1"] * 3


def test_pruning_spares_the_live_version_its_parent_and_what_is_newer(
    place: Any, shop: str, models: Callable[..., Any]
) -> None:
    for version in ("v2", "v3", "v4", "v5"):
        place.publish(shop, version)
    models("activate", "v4")
    assert models("prune", "--keep", "4") == {"deleted": ["v1"], "left": ["v2", "v3", "v4", "v5"]}
    assert models("prune", "--keep", "0") == {"deleted": ["v2"], "left": ["v3", "v4", "v5"]}
    assert models("activate", "--previous")["live"]["version"] == "v3"


def test_the_people_beside_a_snapshot_are_those_with_lists(place: Any, shop: str) -> None:
    named = json.loads(gzip.decompress(place.stores.objects.get(people_path(shop, "v1"))))
    rows = [row for row, _ in place.keys(shop, "v1")]
    assert [f"{shop}#v1#{name}" for name in named] == rows[: len(named)]
    first = place.stores.tables.get(rows[0])
    assert decode_list(first).items[0] == "v1"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["list", "--shop", "nobody"], 2, "shop 'nobody' is not in the settings; expected one of shop0"),
        (["activate", "v9"], 3, "has no complete version 'v9'"),
    ],
)
def test_what_cannot_be_done_is_said_with_its_status(
    place: Any, capsys: pytest.CaptureFixture[str], words: list[str], status: int, said: str
) -> None:
    assert main(["--properties", str(place.direct), *words]) == status
    assert said in capsys.readouterr().err
