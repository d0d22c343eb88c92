"""Redis in cluster mode: single-key commands in one exchange a node, all nodes at once, guarded writes, retries.

redis-py's own cluster pipeline refuses EVALSHA and costs several times as much a command; grouping the keys by their
owner and sending each node its own (:mod:`stores.wire`) does the same work. While a slot moves, both its nodes answer
for it: MOVED has the slot map read again, ASK sends that one command on (Redis Cluster specification, "Redirection").
"""

from binascii import crc_hqx
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, cast

import msgspec
from redis.cluster import ClusterNode, RedisCluster
from redis.crc import key_slot
from redis.credentials import CredentialProvider
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

from contracts.errors import SettingsError, StoreError
from contracts.keys import pointer_key
from contracts.pointer import Pointer
from contracts.settings import Settings
from stores.login import IamLogin, Renewal
from stores.pace import Pace
from stores.retry import delays
from stores.scripts import SCRIPTS, Command, compare_and_set, set_pointer
from stores.wire import PROTOCOL, Exchange

__all__ = ["Cluster", "Command", "Started", "login_of"]

SLOTS: Final = 16384
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

    def __init__(self, client: RedisCluster, attempts: int, renewal: Renewal | None = None) -> None:
        self._client = client
        self._attempts = attempts
        self._renewal = renewal

    @classmethod
    def connect(
        cls,
        nodes: Sequence[tuple[str, int]],
        *,
        tls: bool = False,
        timeout_ms: int = 1000,
        attempts: int = 4,
        login: CredentialProvider | None = None,
        renewal: Renewal | None = None,
    ) -> "Cluster":
        """Connect through any of ``nodes``; the others are found from it.

        Args:
            timeout_ms: bounds each wait for the network: a piece that is sent, a part of the answers.
            login: gives name and password whenever a connection is opened.
            renewal: reopens connections before their login ends; without one they stay open.
        """
        try:
            client = RedisCluster(
                startup_nodes=[ClusterNode(host, port) for host, port in nodes],  # type: ignore[no-untyped-call]
                ssl=tls,
                socket_timeout=timeout_ms / 1000,
                socket_connect_timeout=max(timeout_ms / 1000, 0.25),
                max_connections=64,
                credential_provider=login,
                protocol=PROTOCOL,
            )
        except (RedisError, RedisClusterException, OSError) as exc:
            places = ", ".join(f"{host}:{port}" for host, port in nodes)
            message = f"no Redis cluster at {places}: {exc}; expected servers in cluster mode; check redis.nodes"
            raise StoreError(message) from exc
        return cls(client, attempts, renewal)

    @classmethod
    def from_settings(cls, settings: Settings, *, timeout_ms: int = 1000, attempts: int = 4) -> "Cluster":
        """The cluster of the settings."""
        return cls.connect(
            settings.redis_nodes,
            tls=settings.redis_tls,
            timeout_ms=timeout_ms,
            attempts=attempts,
            login=login_of(settings),
            renewal=Renewal() if settings.redis_user else None,
        )

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def execute(self, commands: Sequence[Command]) -> list[Any]:
        """Run single-key commands, one pipelined round trip a node; results come in the order of ``commands``.

        A command may run twice when an answer is lost, so send only idempotent ones.
        """
        return self.start(commands).results()

    def start(self, commands: Sequence[Command]) -> "Started":
        """:meth:`execute` in two steps: the servers work while the caller does something else.

        What was started must be asked for its results; nothing is promised of the order between two that are under way.
        """
        return Started(self, commands)

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

    def _run(self, commands: Sequence[Command], sent: "Started") -> list[Any]:
        results: list[Any] = [None] * len(commands)
        pending = list(range(len(commands)))
        failure: Exception | None = None
        for attempt in delays(self._attempts):
            try:
                if attempt == 0:
                    pending, failure = sent.first(results)
                else:
                    if not isinstance(failure, NoScriptError):
                        self._client.nodes_manager.initialize()
                    exchanges = self._send(self._by_owner(commands, pending))
                    pending, failure = self._round(commands, exchanges, results)
            except (RedisClusterException, ConnectionError, TimeoutError, OSError) as exc:
                failure = exc
            if not pending:
                return results
        message = (
            f"{len(pending)} of {len(commands)} Redis commands failed after {self._attempts} attempts: {failure!r}; "
            "check the cluster's health and the network between"
        )
        raise StoreError(message) from failure

    def _by_owner(self, commands: Sequence[Command], pending: Sequence[int]) -> list["_Call"]:
        """What each node is sent."""
        slots = self._client.nodes_manager.slots_cache
        groups: dict[str, list[int]] = {}
        owners: dict[str, ClusterNode] = {}
        for i in pending:
            slot = _slot(commands[i])
            try:
                owner = slots[slot][0]
            except LookupError as exc:
                message = f"no node serves slot {slot}"
                raise RedisClusterException(message) from exc
            name = owner.name
            if name not in groups:
                groups[name], owners[name] = [], owner
            groups[name].append(i)
        return [(owners[name], members, [commands[i] for i in members]) for name, members in groups.items()]

    def _round(
        self, commands: Sequence[Command], exchanges: Sequence["_Sent"], results: list[Any]
    ) -> tuple[list[int], Exception | None]:
        """Take the answers of what was sent; return what has to be sent again, and why."""
        again, failure = self._settle(commands, self._receive(exchanges), results)
        if asked := [(i, answer) for i, answer in again if type(answer) is AskError]:  # MovedError is one, too
            again = [(i, answer) for i, answer in again if type(answer) is not AskError]
            more, failed = self._settle(commands, self._ask(commands, asked), results)
            again, failure = again + more, failed or failure
        return [i for i, _ in again], failure

    def _settle(
        self,
        commands: Sequence[Command],
        answered: Iterable[tuple[list[int], list[Any]]],
        results: list[Any],
    ) -> tuple[list[tuple[int, Exception]], Exception | None]:
        """Keep the answers; return the places of what has to be sent again with the error, and the last error."""
        again: list[tuple[int, Exception]] = []
        for members, answers in answered:
            for i, answer in zip(members, answers, strict=True):
                if not isinstance(answer, Exception):
                    results[i] = answer
                elif isinstance(answer, _PASSING):
                    again.append((i, answer))
                else:
                    message = f"Redis refused {commands[i][0]} on {_key_of(commands[i])[:80]!r}: {answer}"
                    raise StoreError(message) from answer
        return again, again[-1][1] if again else None

    def _send(self, calls: Sequence["_Call"]) -> list["_Sent"]:
        """Send every node its commands; a node that fails answers with its error."""
        sent: list[_Sent] = []
        for node, members, sending in calls:
            try:
                sent.append((node, members, sending, self._begin(node, sending)))
            except (ConnectionError, TimeoutError) as exc:
                sent.append((node, members, sending, exc))
        return sent

    def _receive(self, sent: Sequence["_Sent"]) -> list[tuple[list[int], list[Any]]]:
        """Every node's answers, or its error as each of them."""
        answered = []
        for node, members, sending, exchange in sent:
            try:
                answers = exchange.answers() if isinstance(exchange, Exchange) else [exchange] * len(sending)
            except (ConnectionError, TimeoutError) as exc:
                answers = [exc] * len(sending)
            errors = [(c, a) for c, a in zip(sending, answers, strict=True) if isinstance(a, Exception)]
            for sha in {command[1] for command, error in errors if isinstance(error, NoScriptError)}:
                self._client.get_redis_connection(node).script_load(SCRIPTS[sha])
            answered.append((members, answers))
        return answered

    def _begin(self, node: ClusterNode, sending: Sequence[Command]) -> Exchange:
        return Exchange(self._client.get_redis_connection(node), sending, self._renewal)

    def _ask(
        self, commands: Sequence[Command], asked: Sequence[tuple[int, AskError]]
    ) -> list[tuple[list[int], list[Any]]]:
        """Send commands on to where their answers point; the slot map stays as it is until the slot has moved."""
        targets: dict[tuple[str, int], list[int]] = {}
        for i, error in asked:
            targets.setdefault(error.node_addr, []).append(i)
        calls = []
        for (host, port), members in targets.items():
            node = self._client.get_node(host, port) or ClusterNode(host, port)  # type: ignore[no-untyped-call]
            self._client.nodes_manager.create_redis_connections([node])  # type: ignore[no-untyped-call]
            calls.append((node, members, [part for i in members for part in (("ASKING",), commands[i])]))
        return [(members, answers[1::2]) for members, answers in self._receive(self._send(calls))]


_Call = tuple[ClusterNode, list[int], list[Command]]
"""A node, the places of the commands that it is sent, and these."""
_Sent = tuple[ClusterNode, list[int], list[Command], Exchange | Exception]


class Started:
    """Commands under way. Whatever went wrong in sending is told, or mended, by :meth:`results`."""

    def __init__(self, cluster: Cluster, commands: Sequence[Command]) -> None:
        self._cluster, self._commands = cluster, commands
        self._failure: Exception | None = None
        self._exchanges: list[_Sent] = []
        try:
            self._exchanges = cluster._send(cluster._by_owner(commands, range(len(commands))))
        except (RedisClusterException, ConnectionError, TimeoutError, OSError) as exc:
            self._failure = exc

    def first(self, results: list[Any]) -> tuple[list[int], Exception | None]:
        """The answers to what was sent first; what has to be sent again, and why."""
        if self._failure:
            raise self._failure
        return self._cluster._round(self._commands, self._exchanges, results)

    def results(self) -> list[Any]:
        """The answers, in the order of the commands; retries as :meth:`Cluster.execute` does.

        Raises:
            StoreError: as there.
        """
        return self._cluster._run(self._commands, self)

    def close(self) -> None:
        """Give up what is under way."""
        for _, _, _, exchange in self._exchanges:
            if isinstance(exchange, Exchange):
                exchange.close()


def login_of(settings: Settings) -> IamLogin | None:
    """How this deployment logs in to Redis; ``None`` where nobody has to.

    Raises:
        SettingsError: a user without the cache that it logs in to.
    """
    if settings.redis_user is None:
        return None
    if settings.redis_cache is None:
        message = f"redis.user is {settings.redis_user!r} and redis.cache is not set; a login is signed for one cache"
        raise SettingsError(message)
    return IamLogin(settings.redis_user, settings.redis_cache, settings.aws_region)


def _key_of(command: Command) -> str:
    return cast("str", command[3] if command[0] == "EVALSHA" else command[1])


def _slot(command: Command) -> int:
    """The slot of a command's key; :func:`redis.crc.key_slot` without its detours, for keys without a hash tag."""
    key: bytes = (command[3] if command[0] == "EVALSHA" else command[1]).encode()
    return key_slot(key) if b"{" in key else crc_hqx(key, 0) % SLOTS


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
