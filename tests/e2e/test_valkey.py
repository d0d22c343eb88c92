"""The cluster is a cluster: all slots owned, several nodes, keys follow their slot, a killed node comes back."""

import os
import signal

import pytest
import redis

from contracts.errors import LocalStackError
from local import valkey
from local.health import wait_until
from local.supervisor import Supervisor

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    with Supervisor(tmp_path_factory.mktemp("valkey"), say=lambda _: None) as supervisor:
        yield supervisor, valkey.start(supervisor, nodes=2, memory_mib=64)


def client(nodes: str, number: int = 0) -> redis.Redis:
    host, port = nodes.split(",")[number].split(":")
    return redis.Redis(host, int(port), decode_responses=True)


def test_every_slot_has_an_owner_and_both_nodes_share_them(started):
    _, nodes = started
    with client(nodes) as one:
        info = one.execute_command("CLUSTER INFO")
        owners = one.execute_command("CLUSTER SLOTS")
    assert (info["cluster_state"], info["cluster_slots_ok"], info["cluster_size"]) == ("ok", "16384", "2")
    assert sum(end - start + 1 for start, end, *_ in owners) == 16384


def test_a_key_of_another_node_is_refused_with_its_owner(started):
    _, nodes = started
    with client(nodes, 0) as first, client(nodes, 1) as second:
        refused = 0
        for number in range(50):
            for node in (first, second):
                try:
                    node.set(f"key-{number}", "x", ex=60)
                except redis.ResponseError as exc:
                    assert "MOVED" in str(exc) or "127.0.0.1" in str(exc)
                    refused += 1
    assert refused == 50


def test_nothing_is_written_to_disk_and_memory_is_bounded(started):
    _, nodes = started
    with client(nodes) as one:
        assert one.config_get("save") == {"save": ""}
        assert one.config_get("appendonly") == {"appendonly": "no"}
        assert one.config_get("maxmemory") == {"maxmemory": str(64 * 1024 * 1024)}


def test_a_killed_node_comes_back_with_its_slots(started):
    supervisor, nodes = started
    os.kill(supervisor.pid("valkey-0"), signal.SIGKILL)

    def whole() -> bool:
        try:
            with client(nodes, 0) as node:
                return bool(node.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        except redis.RedisError:
            return False

    wait_until(lambda: supervisor.restarts()["valkey-0"] == 1 and whole(), "the cluster", seconds=30)


def test_a_server_of_another_stack_on_the_port_is_not_taken_for_ours(started, tmp_path, monkeypatch):
    """Two stacks that choose their ports at the same moment may choose the same ones."""
    _, nodes = started
    port = int(nodes.split(",")[0].split(":")[1])
    monkeypatch.setattr(valkey, "free_port", lambda preferred=None, *, avoid=(): port + len(avoid))
    with (
        Supervisor(tmp_path, say=lambda _: None) as supervisor,
        pytest.raises(LocalStackError, match=r"(?s)valkey-0.*in use"),
    ):
        valkey.start(supervisor, nodes=1, memory_mib=64)
