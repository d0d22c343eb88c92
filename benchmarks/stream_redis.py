"""What the servers themselves say of their work, and how fast they take plain SETs: the reference for every write."""

import socket
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import redis
from redis.crc import key_slot

__all__ = ["command_calls", "flush", "memory_mib", "sets_per_s", "value_bytes", "written"]

Nodes = Sequence[tuple[str, int]]
_WRITES: Final = ("set", "setex", "psetex", "getset", "hset", "hmset", "zadd", "setrange", "append")
_OK: Final = b"+OK\r\n"


def _clients(nodes: Nodes) -> Iterable[redis.Redis]:
    for host, port in nodes:
        with redis.Redis(host, port, socket_timeout=30) as client:
            yield client


def flush(nodes: Nodes) -> None:
    """Remove every key of every node, and what their statistics counted."""
    for client in _clients(nodes):
        client.flushall()
        client.config_resetstat()


def memory_mib(nodes: Nodes) -> float:
    """``used_memory`` of all nodes."""
    return sum(int(client.info("memory")["used_memory"]) for client in _clients(nodes)) / 2**20


def command_calls(nodes: Nodes) -> dict[str, int]:
    """Calls by command over all nodes, those made inside scripts included."""
    calls: dict[str, int] = {}
    for client in _clients(nodes):
        for name, figures in client.info("commandstats").items():
            command = name.removeprefix("cmdstat_").partition("|")[0]
            calls[command] = calls.get(command, 0) + int(figures["calls"])
    return calls


def written(before: Mapping[str, int], after: Mapping[str, int]) -> int:
    """Values written between two :func:`command_calls`: a guarded write counts as the SET or HSET inside it.

    >>> written({"set": 1}, {"set": 3, "get": 9, "zadd": 1, "evalsha": 2})
    3
    """
    return sum(after.get(command, 0) - before.get(command, 0) for command in _WRITES)


def value_bytes(nodes: Nodes, pattern: str, sample: int = 500) -> int:
    """Mean length of the string values whose keys match, from a sample; 0 where there is none."""
    sizes: list[int] = []
    for client in _clients(nodes):
        for number, key in enumerate(client.scan_iter(match=pattern, count=1000)):
            if number == sample:
                break
            sizes.append(int(client.strlen(key)))
    return round(sum(sizes) / len(sizes)) if sizes else 0


def sets_per_s(nodes: Nodes, *, value: int, depth: int, seconds: float = 5.0, keys: int = 200_000) -> float:
    """SETs a second over all nodes at once: ``depth`` commands a round trip and node, one connection a node.

    As ``redis-benchmark -t set -P depth -d value -r keys`` does it: the commands are made beforehand, answers are only
    counted. What is written expires within a minute.
    """
    slots = 16_384 // len(nodes)
    owned: list[list[str]] = [[] for _ in nodes]
    for number in range(keys):
        name = f"bench:{number}"
        owned[min(key_slot(name.encode()) // slots, len(nodes) - 1)].append(name)
    counts, stop = [0] * len(nodes), threading.Event()
    threads = [
        threading.Thread(target=_set, args=(node, _commands(owned[at], value, depth), depth, counts, at, stop))
        for at, node in enumerate(nodes)
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    before, began = sum(counts), time.monotonic()
    time.sleep(seconds)
    done, took = sum(counts) - before, time.monotonic() - began
    stop.set()
    for thread in threads:
        thread.join()
    return done / took


def _commands(keys: Sequence[str], value: int, depth: int) -> list[bytes]:
    body = b"x" * value
    batches = []
    for first in range(0, max(depth, len(keys) // depth * depth), depth):
        chosen = [keys[at % len(keys)].encode() for at in range(first, first + depth)]
        batches.append(b"".join(_encode(b"SET", key, body, b"EX", b"60") for key in chosen))
        if sum(map(len, batches)) > 64 << 20:
            break
    return batches


def _encode(*parts: bytes) -> bytes:
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def _set(node: tuple[str, int], batches: Sequence[bytes], depth: int, counts: list[int], at: int, stop: Any) -> None:
    with socket.create_connection(node, timeout=30) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        number = 0
        while not stop.is_set():
            connection.sendall(batches[number % len(batches)])
            number += 1
            missing = depth * len(_OK)
            while missing:
                answer = connection.recv(missing)
                if not answer or b"-" in answer:
                    message = f"the server at {node} answered {answer[:80]!r} to SET"
                    raise ConnectionError(message)
                missing -= len(answer)
            counts[at] += depth
