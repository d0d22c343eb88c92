"""A process of its own: prepared requests over kept connections, at a fixed rate or as fast as answers come.

In the open loop a request is due at a fixed time whether or not earlier ones were answered, and its latency counts from
then: a server that stalls is charged for everything that would have come meanwhile (the "coordinated omission" that
Tene names). The loop is one thread around ``select``, whose time-out has microseconds, because it shares its cores with
what it measures. What is asked comes as JSON on standard input, the result goes to standard output.
"""

import select
import socket
import sys
import time
from collections import Counter, deque
from typing import Final

import msgspec
import numpy as np

__all__ = ["Ask", "Told", "main", "run"]

_STALLED_S: Final = 10.0
_SPIN_S: Final = 0.0002


class Ask(msgspec.Struct, kw_only=True):
    """``targets`` are whole requests, ``order`` which of them to send one after the other.

    ``rate`` is in requests a second; 0 is the closed loop, every connection asking again when it is answered. ``reply``
    is the form of the answers: ``http``, or ``redis`` for one bulk string each.
    """

    host: str
    port: int
    connections: int
    seconds: float
    rate: float
    reply: str
    targets: list[bytes]
    order: list[int]


class Told(msgspec.Struct, kw_only=True):
    """Latencies are milliseconds since a request was due. ``errors`` counts by cause what was not answered with 200.

    ``late_p99_ms`` is how late requests left although a connection was free: what this process added by itself.
    """

    sent: int
    answered: int
    errors: dict[str, int]
    achieved_rps: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    late_p99_ms: float
    rungs: dict[str, int]


class _Connection:
    def __init__(self, ask: Ask) -> None:
        self.socket = socket.create_connection((ask.host, ask.port), timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.due = 0.0
        self.buffer = b""

    def fileno(self) -> int:
        return self.socket.fileno()


def http_answer(buffer: bytes) -> tuple[str, str] | None:
    """Status and rung of a whole answer with a length; ``None`` while it is not whole.

    >>> http_answer(b'HTTP/1.1 200 OK\\r\\ncontent-length: 17\\r\\n\\r\\n{"source":"live"}')
    ('200', 'live')
    """
    head = buffer.find(b"\r\n\r\n")
    if head < 0:
        return None
    at = buffer[:head].lower().find(b"content-length: ")
    length = int(buffer[at + 16 : head].partition(b"\r\n")[0]) if at >= 0 else 0
    if len(buffer) < head + 4 + length:
        return None
    rung = buffer.find(b'"source":"', head)
    return buffer[9:12].decode(), buffer[rung + 10 : buffer.find(b'"', rung + 10)].decode() if rung >= 0 else ""


def redis_answer(buffer: bytes) -> tuple[str, str] | None:
    """The same for a bulk string of Redis; a key that is absent, or an error, is no 200.

    >>> redis_answer(b"$2\\r\\nab\\r\\n"), redis_answer(b"$2\\r\\nab"), redis_answer(b"$-1\\r\\n")
    (('200', ''), None, ('absent', ''))
    """
    end = buffer.find(b"\r\n")
    if end < 0:
        return None
    if buffer[:1] != b"$":
        return "error", ""
    length = int(buffer[1:end])
    if length < 0:
        return "absent", ""
    return ("200", "") if len(buffer) >= end + 2 + length + 2 else None


class _Loop:
    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._parse = {"http": http_answer, "redis": redis_answer}[ask.reply]
        self._idle = deque(_Connection(ask) for _ in range(ask.connections))
        self._busy: set[_Connection] = set()
        self._took: list[float] = []
        self._late: list[float] = []
        self.errors: Counter[str] = Counter()
        self.rungs: Counter[str] = Counter()
        self.sent = 0

    def run(self) -> Told:
        ask = self._ask
        count = round(ask.rate * ask.seconds) if ask.rate else sys.maxsize
        began = time.perf_counter()
        end = began + ask.seconds
        while True:
            now = time.perf_counter()
            if ask.rate:
                self._send_due(began, now, count)
                over = self.sent == count and (not self._busy or now > end + _STALLED_S)
            else:
                while now < end and self._idle:
                    self._send(self._idle.popleft(), now)
                over = now >= end and (not self._busy or now > end + _STALLED_S)
            if over:
                break
            due = began + self.sent / ask.rate if ask.rate and self.sent < count else now + 0.05
            self._receive(max(0.0, due - time.perf_counter()) if self._idle else 0.05)
        for _ in self._busy:
            self.errors["unanswered"] += 1
        return self._told(time.perf_counter() - began)

    def _send_due(self, began: float, now: float, count: int) -> None:
        while self.sent < count and self._idle and (due := began + self.sent / self._ask.rate) <= now:
            self._late.append(now - due if not self._waited else 0.0)
            self._send(self._idle.popleft(), due)
        self._waited = not self._idle

    _waited = False

    def _send(self, connection: _Connection, due: float) -> None:
        connection.due, connection.buffer = due, b""
        ask = self._ask
        try:
            connection.socket.sendall(ask.targets[ask.order[self.sent % len(ask.order)]])
            self._busy.add(connection)
        except OSError as exc:
            self.errors[type(exc).__name__] += 1
            self._idle.append(_Connection(ask))
        self.sent += 1

    def _receive(self, timeout_s: float) -> None:
        if not self._busy:
            if timeout_s > _SPIN_S:
                time.sleep(timeout_s - _SPIN_S)
            return
        ready, _, _ = select.select(self._busy, (), (), timeout_s)
        for connection in ready:
            try:
                part = connection.socket.recv(262_144)
            except OSError as exc:
                self._lost(connection, type(exc).__name__)
                continue
            if not part:
                self._lost(connection, "closed")
                continue
            connection.buffer = connection.buffer + part if connection.buffer else part
            if (answer := self._parse(connection.buffer)) is not None:
                self._answered(connection, *answer)

    def _answered(self, connection: _Connection, status: str, rung: str) -> None:
        self._took.append(time.perf_counter() - connection.due)
        if status != "200":
            self.errors[status] += 1
        if rung:
            self.rungs[rung] += 1
        self._busy.discard(connection)
        self._idle.append(connection)

    def _lost(self, connection: _Connection, why: str) -> None:
        self.errors[why] += 1
        self._busy.discard(connection)
        connection.socket.close()
        self._idle.append(_Connection(self._ask))

    def _told(self, seconds: float) -> Told:
        took = np.array(self._took or [0.0]) * 1000
        p50, p95, p99 = np.percentile(took, [50, 95, 99])
        late = np.percentile(np.array(self._late or [0.0]) * 1000, 99)
        return Told(
            sent=self.sent,
            answered=len(self._took),
            errors=dict(self.errors),
            achieved_rps=round(len(self._took) / seconds, 1),
            p50_ms=round(float(p50), 2),
            p95_ms=round(float(p95), 2),
            p99_ms=round(float(p99), 2),
            max_ms=round(float(took.max()), 2),
            late_p99_ms=round(float(late), 2),
            rungs=dict(self.rungs),
        )

    def close(self) -> None:
        for connection in (*self._idle, *self._busy):
            connection.socket.close()


def run(ask: Ask) -> Told:
    """Send and wait; an unanswered request counts as an error after ten seconds."""
    loop = _Loop(ask)
    try:
        return loop.run()
    finally:
        loop.close()


def main() -> int:
    """Read what is asked, tell what was measured."""
    ask = msgspec.json.decode(sys.stdin.buffer.read(), type=Ask)
    sys.stdout.buffer.write(msgspec.json.encode(run(ask)) + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
