"""Redis in cluster mode: single-key commands in one plain pipeline a node, guarded writes, retries.

redis-py's own cluster pipeline refuses EVALSHA and costs three times as much a command; grouping the keys by their
owner and sending one plain pipeline a node does the same work.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, cast

import msgspec
from redis.cluster import ClusterNode, RedisCluster
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ConnectionError,
    NoScriptError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    TimeoutError,
    TryAgainError,
)

from contracts.errors import StoreError
from contracts.keys import pointer_key
from contracts.pointer import Pointer
from contracts.settings import Settings
from stores.pace import Pace
from stores.retry import delays
from stores.scripts import SCRIPTS, Command, compare_and_set, set_pointer

__all__ = ["Cluster", "Command"]

_ROUND_COMMANDS: Final = 250
_ROUND_BYTES: Final = 1024 * 1024

# ReadOnlyError: the node was the slot's primary until a failover; the refreshed slot map names the new one.
_PASSING: Final = (
    AskError,
    ClusterDownError,
    ConnectionError,
    NoScriptError,
    ReadOnlyError,
    TimeoutError,
    TryAgainError,
)


class Cluster:
    """A client of one Redis or Valkey cluster; safe to share between threads.

    Every method raises :class:`StoreError` when the cluster does not answer within its time-out after all attempts.
    """

    def __init__(self, client: RedisCluster, attempts: int) -> None:
        self._client = client
        self._attempts = attempts

    @classmethod
    def connect(
        cls, nodes: Sequence[tuple[str, int]], *, tls: bool = False, timeout_ms: int = 1000, attempts: int = 4
    ) -> "Cluster":
        """Connect through any of ``nodes``; the others are found from it. ``timeout_ms`` bounds each round trip."""
        try:
            client = RedisCluster(
                startup_nodes=[ClusterNode(host, port) for host, port in nodes],  # type: ignore[no-untyped-call]
                ssl=tls,
                socket_timeout=timeout_ms / 1000,
                socket_connect_timeout=max(timeout_ms / 1000, 0.25),
                max_connections=64,
            )
        except (RedisError, OSError) as exc:
            places = ", ".join(f"{host}:{port}" for host, port in nodes)
            message = f"no Redis cluster at {places}: {exc}; expected servers in cluster mode; check redis.nodes"
            raise StoreError(message) from exc
        return cls(client, attempts)

    @classmethod
    def from_settings(cls, settings: Settings, *, timeout_ms: int = 1000, attempts: int = 4) -> "Cluster":
        """The cluster of the settings."""
        return cls.connect(settings.redis_nodes, tls=settings.redis_tls, timeout_ms=timeout_ms, attempts=attempts)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def execute(self, commands: Sequence[Command]) -> list[Any]:
        """Run single-key commands, one pipelined round trip a node; results come in the order of ``commands``.

        A command may run twice when an answer is lost, so send only idempotent ones.
        """
        return self._run([(_key_of(command), command) for command in commands])

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values of ``keys``; ``None`` where there is none."""
        return cast("list[bytes | None]", self.execute([("GET", key) for key in keys]))

    def set_many(self, rows: Iterable[tuple[str, bytes, int]], pace: Pace | None = None) -> None:
        """Set ``(key, value, TTL in seconds)`` rows, a bounded number of rows and bytes a round."""
        for commands in _rounds(("SET", key, value, "EX", ttl) for key, value, ttl in rows):
            if pace:
                pace.take(len(commands))
            self.execute(commands)

    def present(self, keys: Sequence[str]) -> list[bool]:
        """Which keys are there, without reading their values."""
        return [bool(answer) for answer in self.execute([("EXISTS", key) for key in keys])]

    def scan(self, pattern: str) -> Iterator[bytes]:
        """All keys that match, over all nodes; for checks and admin, not for serving (it walks the whole key space)."""
        yield from self._client.scan_iter(match=pattern, count=1000)

    def compare_and_set(self, rows: Sequence[tuple[str, bytes, bytes, int]]) -> list[bool]:
        """Replace each value that still begins as it was read, see :func:`stores.scripts.compare_and_set`.

        Args:
            rows: ``(key, expected head, new value, TTL in seconds)``; keys distinct.

        Returns:
            Whether each was replaced. ``False`` also where an attempt succeeded but its answer was lost: read again.
        """
        return [bool(answer) for answer in self.execute([compare_and_set(*row) for row in rows])]

    def pointer(self, shop: str) -> Pointer | None:
        """The mirrored pointer to the live model; ``None`` before the first publish."""
        value = self.get_many([pointer_key(shop)])[0]
        return None if value is None else msgspec.json.decode(value, type=Pointer)

    def publish_pointer(self, shop: str, pointer: Pointer) -> bool:
        """Mirror the pointer unless a newer one is there (then ``False``); the one key without a TTL."""
        return bool(self.execute([set_pointer(pointer_key(shop), pointer.rev, msgspec.json.encode(pointer))])[0])

    def _run(self, commands: Sequence[tuple[str, Command]]) -> list[Any]:
        results: list[Any] = [None] * len(commands)
        pending = list(range(len(commands)))
        failure: Exception | None = None
        for attempt in delays(self._attempts):
            try:
                if attempt and not isinstance(failure, NoScriptError):
                    self._client.nodes_manager.initialize()
                pending, failure = self._round(commands, pending, results)
            except (RedisClusterException, ConnectionError, TimeoutError, OSError) as exc:
                failure = exc
            if not pending:
                return results
        message = (
            f"{len(pending)} of {len(commands)} Redis commands failed after {self._attempts} attempts: {failure!r}; "
            "check the cluster's health and the network between"
        )
        raise StoreError(message) from failure

    def _round(
        self, commands: Sequence[tuple[str, Command]], pending: list[int], results: list[Any]
    ) -> tuple[list[int], Exception | None]:
        """Send ``pending`` once; return what has to be sent again, and why."""
        groups: dict[ClusterNode, list[int]] = defaultdict(list)
        for i in pending:
            slot = key_slot(commands[i][0].encode())
            groups[self._client.nodes_manager.get_node_from_slot(slot)].append(i)
        again: list[int] = []
        failure: Exception | None = None
        for node, members in groups.items():
            try:
                answers = self._pipeline(node, [commands[i][1] for i in members])
            except (ConnectionError, TimeoutError) as exc:
                again, failure = again + members, exc
                continue
            for i, answer in zip(members, answers, strict=True):
                if isinstance(answer, _PASSING):
                    again.append(i)
                    failure = answer
                elif isinstance(answer, Exception):
                    message = f"Redis refused {commands[i][1][0]} on {commands[i][0][:80]!r}: {answer}"
                    raise StoreError(message) from answer
                else:
                    results[i] = answer
        return again, failure

    def _pipeline(self, node: ClusterNode, commands: Sequence[Command]) -> list[Any]:
        connection = self._client.get_redis_connection(node)
        with connection.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
            answers = pipeline.execute(raise_on_error=False)
        missing = {c[1] for c, a in zip(commands, answers, strict=True) if isinstance(a, NoScriptError)}
        for sha in missing:
            connection.script_load(SCRIPTS[sha])
        return answers


def _key_of(command: Command) -> str:
    return cast("str", command[3] if command[0] == "EVALSHA" else command[1])


def _rounds(commands: Iterable[Command]) -> Iterator[list[Command]]:
    """SET commands in rounds that a node answers within a few milliseconds, so that readers hardly wait.

    >>> [len(part) for part in _rounds([("SET", "k", b"x" * 400_000)] * 5)]
    [2, 2, 1]
    """
    part: list[Command] = []
    size = 0
    for command in commands:
        if part and (len(part) == _ROUND_COMMANDS or size + len(command[2]) > _ROUND_BYTES):
            yield part
            part, size = [], 0
        part.append(command)
        size += len(command[2])
    if part:
        yield part
