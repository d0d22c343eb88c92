"""A process of its own that fetches shelves over HTTP and says when one first covered an event.

It answers requests of one JSON line each on standard input with one JSON line each on standard output, many at a time.
Times are ``time.monotonic()``, which on Linux and macOS is one clock for all processes of a machine.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

import msgspec

from contracts.errors import LiveshelfError, LocalStackError
from contracts.lists import BasedOn, covers
from local.clients import Api
from serving.answers import Shelf

__all__ = ["ShelfReader", "ShelfReply", "ShelfRequest", "await_shelf"]

POLL_S: Final = 0.015
_THREADS: Final = 24


class ShelfRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Fetch a subject's shelf; where ``covering`` is given, again until it covers that event, or time is up."""

    number: int
    subject: str
    covering: BasedOn | None = None
    timeout_s: float = 10.0
    n: int = 20
    hide_bought: bool = True


class ShelfReply(msgspec.Struct, frozen=True, kw_only=True):
    """The last shelf seen, when (monotonic seconds), and whether it covers the event; ``error`` where none came."""

    number: int
    at: float
    covered: bool
    shelf: Shelf | None = None
    error: str | None = None

    @property
    def items(self) -> list[str]:
        """The item ids, best first; empty where no shelf came or it does not cover the event."""
        return [item.item_id for item in self.shelf.items] if self.shelf and self.covered else []


def await_shelf(
    request: ShelfRequest,
    fetch: Callable[[str, int, bool], Shelf],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> ShelfReply:
    """Answer one request with ``fetch(subject, n, hide_bought)``.

    A shelf counts only when its ``based_on`` covers the event: that something changed proves nothing.
    """
    deadline = clock() + request.timeout_s
    shelf, error = None, None
    while True:
        try:
            shelf = fetch(request.subject, request.n, request.hide_bought)
        except LiveshelfError as exc:
            error = str(exc)
        now = clock()
        if shelf is not None and _covers(shelf, request.covering):
            return ShelfReply(number=request.number, at=now, covered=True, shelf=shelf)
        if now >= deadline or request.covering is None:
            return ShelfReply(number=request.number, at=now, covered=False, shelf=shelf, error=error)
        sleep(POLL_S)


def _covers(shelf: Shelf, event: BasedOn | None) -> bool:
    if event is None:
        return True
    seen = shelf.based_on
    return seen is not None and covers(BasedOn(seen.occurred_at, seen.event_id), event.occurred_ms, event.event_id)


class ShelfReader:
    """The reading process, as seen by its parent; a context manager. Safe to share between threads."""

    def __init__(self, base_url: str) -> None:
        command = [sys.executable, "-m", "local.probe_reader", base_url]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._waiting: dict[int, Future[ShelfReply]] = {}
        self._lock = threading.Lock()
        self._count = 0
        self._listener = threading.Thread(target=self._listen, name="shelf-reader", daemon=True)
        self._listener.start()

    def __enter__(self) -> "ShelfReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ask(
        self,
        subject: str,
        covering: BasedOn | None = None,
        *,
        timeout_s: float = 10.0,
        n: int = 20,
        hide_bought: bool = True,
    ) -> "Future[ShelfReply]":
        """Begin a request; the future's :exc:`LocalStackError` says that the process ended."""
        future: Future[ShelfReply] = Future()
        with self._lock:
            self._count += 1
            number = self._count
            self._waiting[number] = future
            request = ShelfRequest(
                number=number, subject=subject, covering=covering, timeout_s=timeout_s, n=n, hide_bought=hide_bought
            )
            try:
                assert self._process.stdin is not None
                self._process.stdin.write(msgspec.json.encode(request) + b"\n")
                self._process.stdin.flush()
            except (OSError, ValueError) as exc:
                del self._waiting[number]
                future.set_exception(_ended(exc))
        return future

    def close(self) -> None:
        """End the process; requests under way fail."""
        with self._lock:
            if self._process.stdin is not None and not self._process.stdin.closed:
                self._process.stdin.close()
        try:
            self._process.wait(5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            reply = msgspec.json.decode(line, type=ShelfReply)
            with self._lock:
                future = self._waiting.pop(reply.number)
            future.set_result(reply)
        with self._lock:
            left, self._waiting = self._waiting, {}
        for future in left.values():
            future.set_exception(_ended(None))


def _ended(cause: Exception | None) -> LocalStackError:
    return LocalStackError(f"the process that reads shelves has ended ({cause}); see its output above")


class _Threads(threading.local):
    api: Api | None = None


def main() -> None:
    """Serve requests from standard input until it ends."""
    base_url, mine, lock = sys.argv[1], _Threads(), threading.Lock()

    def fetch(subject: str, n: int, hide_bought: bool) -> Shelf:
        mine.api = mine.api or Api(base_url, timeout_s=5.0, attempts=2)
        return mine.api.shelf(subject, n=n, hide_bought=hide_bought)

    def answer(line: bytes) -> None:
        reply = msgspec.json.encode(await_shelf(msgspec.json.decode(line, type=ShelfRequest), fetch)) + b"\n"
        with lock:
            sys.stdout.buffer.write(reply)
            sys.stdout.buffer.flush()

    pool = ThreadPoolExecutor(_THREADS)
    for line in sys.stdin.buffer:
        pool.submit(answer, line)
    pool.shutdown(wait=False, cancel_futures=True)


if __name__ == "__main__":
    main()
