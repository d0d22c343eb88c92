"""Publish, be killed, roll back and serve with PostgreSQL as the persistent store: real processes, real servers."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from batch.models import main
from batch.publish import Stores, mirrors
from contracts.items import Item, encode_catalogue
from contracts.lake import catalogue_path
from contracts.settings import PostgresqlSettings, Settings, load, to_properties
from local.health import http_ok, wait_until
from local.ports import free_port
from local.postgres import SUPERUSER
from local.supervisor import Service, Supervisor

pytestmark = pytest.mark.e2e

SCHEMA = "path"


@dataclass
class Shop:
    """One shop whose lists, registry and pointer are in PostgreSQL."""

    name: str
    settings: Settings
    file: Path
    stores: Stores
    database: psycopg.Connection
    started: list[subprocess.Popen[str]]

    def publish(self, version: str) -> subprocess.Popen[str]:
        """Start a publishing process."""
        program = Path(__file__).with_name("publish_once.py")
        command = [sys.executable, str(program), str(self.file), self.name, version]
        self.started.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        return self.started[-1]

    def command(self, *words: str) -> int:
        return main([*words, "--shop", self.name, "--properties", str(self.file)])

    def pointers(self) -> list[str | None]:
        """What the authority, S3 and Redis call live."""
        found = (self.stores.tables.current(self.name), *mirrors(self.stores, self.name))
        return [pointer.version if pointer else None for pointer in found]

    def waiting(self, statement: str) -> list[int]:
        """The server processes that wait for a lock with such a statement."""
        query = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND ltrim(query, E' \\n') LIKE %s"
        return [pid for (pid,) in self.database.execute(query, (statement,)).fetchall()]


@pytest.fixture
def shop(place: Any, postgres: int, tmp_path: Path) -> Iterator[Shop]:
    """A shop of the test's own, with v1 live."""
    given = PostgresqlSettings(port=postgres, database="postgres", auth="none", tls=False, schema=SCHEMA)
    settings = replace(load(place.direct), persistent_store="postgresql", postgresql=given)
    file = tmp_path / "postgresql.json"
    file.write_text(json.dumps(to_properties(settings)))
    with (
        closing(Stores.open(settings)) as stores,
        psycopg.connect(host="127.0.0.1", port=postgres, user=SUPERUSER, dbname="postgres", autocommit=True) as admin,
    ):
        shop = Shop(next(place.shops), settings, file, stores, admin, [])
        assert shop.command("prepare") == 0
        first = shop.publish("v1")
        assert first.wait(120) == 0, first.communicate()
        yield shop
        for process in shop.started:
            with process:
                process.kill()


def test_killed_before_the_switch_or_after_it_what_is_live_is_whole_and_a_rerun_finishes(
    shop: Shop, postgres: int
) -> None:
    with psycopg.connect(host="127.0.0.1", port=postgres, user=SUPERUSER, dbname="postgres") as locked:
        locked.execute(f"LOCK TABLE {SCHEMA}.rows IN SHARE MODE")
        process = shop.publish("v2")
        wait_until(lambda: bool(shop.waiting("INSERT INTO rows%")), "a run that writes its lists", seconds=60)
        process.kill()
        process.wait(20)
        for pid in shop.waiting("INSERT INTO rows%"):
            shop.database.execute("SELECT pg_terminate_backend(%s)", (pid,))
    assert shop.pointers() == ["v1", "v1", "v1"]

    with psycopg.connect(host="127.0.0.1", port=postgres, user=SUPERUSER, dbname="postgres") as locked:
        locked.execute(f"LOCK TABLE {SCHEMA}.pointers IN SHARE MODE")
        process = shop.publish("v3")
        wait_until(lambda: bool(shop.waiting("UPDATE pointers%")), "a run at its switch", seconds=60)
        process.kill()
        process.wait(20)
    # The statement had reached the server: it is carried out, though nobody waits for its answer.
    wait_until(lambda: shop.pointers() == ["v3", "v1", "v1"], "the switch", seconds=20)
    rerun = shop.publish("v4")
    assert rerun.wait(120) == 0, rerun.communicate()
    assert shop.pointers() == ["v4", "v4", "v4"]


def test_of_two_runs_at_once_one_publishes_and_a_rollback_is_not_undone(shop: Shop, postgres: int) -> None:
    with psycopg.connect(host="127.0.0.1", port=postgres, user=SUPERUSER, dbname="postgres") as locked:
        locked.execute(f"LOCK TABLE {SCHEMA}.pointers IN SHARE MODE")
        runs = {version: shop.publish(version) for version in ("v2", "v3")}
        wait_until(lambda: len(shop.waiting("UPDATE pointers%")) == 2, "both runs at their switch", seconds=90)
    codes = {version: process.wait(120) for version, process in runs.items()}
    assert sorted(codes.values()) == [0, 1]
    (winner,) = (version for version, code in codes.items() if code == 0)
    (loser,) = set(codes) - {winner}
    assert f"conflict: {loser} was not made current" in runs[loser].communicate()[1]
    assert shop.pointers() == [winner] * 3
    assert shop.command("activate", "--previous") == 0
    assert shop.pointers() == ["v1"] * 3
    assert shop.command("activate", winner) == 0
    assert shop.pointers() == [winner] * 3


def test_without_redis_the_api_serves_from_postgresql(shop: Shop, tmp_path: Path) -> None:
    items = [Item(item_id=name, title=name) for name in ("a", "b", "v1")]
    shop.stores.objects.put(catalogue_path(shop.name), encode_catalogue(items))
    file = tmp_path / "without-redis.json"
    file.write_text(json.dumps(to_properties(replace(shop.settings, redis_nodes=(("127.0.0.1", free_port()),)))))
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [sys.executable, "-m", "serving", "--port", str(port), "--properties", str(file)]
    ready: Callable[[], bool] = http_ok(f"{url}/healthz")
    with Supervisor(tmp_path / "run", say=lambda _: None) as supervisor:
        supervisor.start(Service(name="serving", command=command, ready=ready))
        with httpx.Client(base_url=url, timeout=20, trust_env=False, params={"shop": shop.name}) as http:
            wait_until(
                lambda: http.get("/v1/users/0/recommendations").json().get("store") == "postgresql",
                "a list from PostgreSQL",
                seconds=30,
            )
            shelf = http.get("/v1/users/0/recommendations").json()
    assert (shelf["source"], shelf["model_version"]) == ("batch", "v1")
    assert shelf["items"][0]["item_id"] == "v1"
