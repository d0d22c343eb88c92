"""A Redis cluster for one event loop: single-key commands to the owners of their slots, with a breaker a server.

For reading while somebody waits: every call ends within its time, nothing is retried but a moved slot. Writers, who
would rather wait, use :class:`stores.cluster.Cluster`. Redirections are as in the Redis Cluster specification: MOVED
has the slot map read again, ASK sends that one command on.
"""

import asyncio
import ssl
from binascii import crc_hqx
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from redis.crc import key_slot

from contracts.errors import StoreError
from contracts.settings import Settings
from stores.cluster import login_of
from stores.node import Login, Node
from stores.scripts import Command

__all__ = ["Guarded", "LoopCluster"]

SLOTS: Final = 16384
_MAP_S: Final = 1.0
_MAP_EVERY_S: Final = 0.5


class Guarded(Protocol):
    """What decides whether a server is tried, such as :class:`serving.breaker.Breaker`."""

    @property
    def state(self) -> str: ...
    def allows(self) -> bool: ...
    def succeeded(self) -> None: ...
    def failed(self) -> None: ...


class LoopCluster:
    """Connects when it is first asked. Not to be shared between loops or threads.

    Args:
        nodes: some servers of the cluster; the others are found from these.
        breaker: makes the breaker of each server.
        login: gives name and password whenever a connection is opened.
    """

    def __init__(
        self,
        nodes: Sequence[tuple[str, int]],
        breaker: Callable[[], Guarded],
        *,
        tls: bool = False,
        login: Login | None = None,
    ) -> None:
        self._seeds, self._login = nodes, login
        self._breaker = breaker
        self._tls = ssl.create_default_context() if tls else None
        self._nodes: dict[str, tuple[Node, Guarded]] = {}
        self._slots: list[str] = []
        self._map_breaker = breaker()
        self._mapping: asyncio.Task[None] | None = None
        self._mapped_at = float("-inf")

    @classmethod
    def from_settings(cls, settings: Settings, breaker: Callable[[], Guarded]) -> "LoopCluster":
        """The cluster of the settings."""
        login = login_of(settings)
        get = login.get_credentials if login else None
        return cls(settings.redis_nodes, breaker, tls=settings.redis_tls, login=get)

    async def execute(self, commands: Sequence[Command], timeout_s: float) -> list[Any]:
        """The answers in the order of the commands; where there is none, a :class:`StoreError` in its place."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + timeout_s
        if not self._slots and (failure := await self._ready(timeout_s)):
            return [failure] * len(commands)
        if len(commands) == 1:  # nearly every request asks one thing
            owner = self._slots[_slot(commands[0][1])]
            return [await self._settled(commands[0], (await self._ask(owner, commands, timeout_s))[0], ends)]
        groups: dict[str, list[int]] = {}
        for at, command in enumerate(commands):
            groups.setdefault(self._slots[_slot(command[1])], []).append(at)
        parts = [[commands[at] for at in members] for members in groups.values()]
        if len(parts) == 1:
            found = [await self._ask(next(iter(groups)), parts[0], timeout_s)]
        else:
            asked = zip(groups, parts, strict=True)
            found = await asyncio.gather(*(self._ask(owner, part, timeout_s) for owner, part in asked))
        answers: list[Any] = [None] * len(commands)
        for members, part in zip(groups.values(), found, strict=True):
            for at, answer in zip(members, part, strict=True):
                answers[at] = await self._settled(commands[at], answer, ends)
        return answers

    async def _ask(self, name: str, commands: Sequence[Command], timeout_s: float) -> list[Any]:
        """What a server answers; its failure in place of each where it does not."""
        node, breaker = self._node(name)
        if not breaker.allows():
            return [StoreError(f"Redis at {name} is left alone after several failures in a row")] * len(commands)
        try:
            answers = await node.call(commands, timeout_s)
        except StoreError as exc:
            breaker.failed()
            self._remap()
            return [exc] * len(commands)
        except BaseException:
            breaker.failed()
            raise
        breaker.succeeded()
        return answers

    async def _settled(self, command: Command, answer: Any, ends: float) -> Any:
        """An answer, or where a redirection leads; errors of the server become a StoreError."""
        if not isinstance(answer, Exception) or isinstance(answer, StoreError):
            return answer
        kind, _, rest = str(answer).partition(" ")
        left = ends - asyncio.get_running_loop().time()
        if kind in {"MOVED", "ASK"} and left > 0:
            slot, _, place = rest.partition(" ")
            if kind == "MOVED":
                self._slots[int(slot)] = place
                self._remap()
                again = (await self._ask(place, [command], left))[0]
            else:
                again = (await self._ask(place, [("ASKING",), command], left))[-1]
            if not isinstance(again, Exception) or isinstance(again, StoreError):
                return again
            answer = again
        return StoreError(f"Redis refused {command[0]} on {str(command[1])[:80]!r}: {answer}")

    def _node(self, name: str) -> tuple[Node, Guarded]:
        known = self._nodes.get(name)
        if known is None:
            host, _, port = name.rpartition(":")
            known = self._nodes[name] = Node(host, int(port), self._tls, self._login), self._breaker()
        return known

    @property
    def well(self) -> bool:
        """Whether all servers that own slots answered lately."""
        return bool(self._slots) and all(self._node(name)[1].state == "closed" for name in set(self._slots))

    async def _ready(self, timeout_s: float) -> StoreError | None:
        """Wait for the first slot map; what is wrong where there is none in time."""
        if self._map_breaker.allows():
            self._remap()
            assert self._mapping is not None
            await asyncio.wait((self._mapping,), timeout=timeout_s)
            if self._slots:
                self._map_breaker.succeeded()
                return None
            self._map_breaker.failed()
        return StoreError("no Redis cluster was found; check redis.nodes")

    def _remap(self) -> None:
        """Read the slot map in the background, not more often than twice a second."""
        loop = asyncio.get_running_loop()
        if (self._mapping is None or self._mapping.done()) and (
            self._mapping is None or loop.time() - self._mapped_at >= _MAP_EVERY_S
        ):
            self._mapped_at = loop.time()
            self._mapping = loop.create_task(self._map())

    async def _map(self) -> None:
        """Take the map from whoever answers first in order, those that are well before those that are not."""
        seeds = [f"{host}:{port}" for host, port in self._seeds]
        for name in dict.fromkeys([*seeds, *self._nodes]):
            node, _ = self._node(name)
            try:
                (answer,) = await node.call([("CLUSTER", "SLOTS")], _MAP_S)
            except StoreError:
                continue
            if isinstance(answer, list) and (slots := _slot_map(answer, node.host)):
                self._slots = slots
                return

    def close(self) -> None:
        """Close all connections."""
        if self._mapping is not None:
            self._mapping.cancel()
        for node, _ in self._nodes.values():
            node.close()


def _slot_map(answer: list[Any], asked: str) -> list[str]:
    """Slot → ``host:port`` of its primary, from CLUSTER SLOTS; empty where a slot has no owner.

    A server that does not know its own name is at the address it was ``asked`` at.

    >>> _slot_map([[0, 16382, [b"a", 1, b"id"]], [16383, 16383, [b"", 2, b"id"]]], "b")[-2:]
    ['a:1', 'b:2']
    """
    owners: list[str] = [""] * SLOTS
    for first, last, primary, *_ in answer:
        host = primary[0].decode() if primary[0] else asked
        owners[first : last + 1] = [f"{host}:{primary[1]}"] * (last - first + 1)
    return owners if all(owners) else []


def _slot(key: str) -> int:
    """The slot of a key, see :func:`redis.crc.key_slot`; most keys have no hash tag.

    >>> _slot("default:user:u.1") == key_slot(b"default:user:u.1"), _slot("{a}b") == key_slot(b"{a}c")
    (True, True)
    """
    data = key.encode()
    return key_slot(data) if b"{" in data else crc_hqx(data, 0) % SLOTS
