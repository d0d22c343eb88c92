"""Waiting for a server to be ready: poll with a deadline, and notice at once when its process has died."""

import http.client
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from contracts.errors import LocalStackError

__all__ = ["http_ok", "tail", "tcp_open", "wait_until"]


def tcp_open(port: int, host: str = "127.0.0.1") -> Callable[[], bool]:
    """A check that something accepts connections on the port."""

    def check() -> bool:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            return False
        return True

    return check


def http_ok(url: str) -> Callable[[], bool]:
    """A check that a GET answers with a status below 400."""

    def check() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return int(answer.status) < 400
        except (urllib.error.URLError, http.client.HTTPException, OSError):
            return False

    return check


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, each indented."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            text = file.read().decode(errors="replace")
    except OSError:
        return "    (no log)"
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (empty log)"


def wait_until(
    ready: Callable[[], bool],
    what: str,
    *,
    seconds: float = 60,
    dead: Callable[[], str | None] = lambda: None,
    log: Path | None = None,
    every: float = 0.1,
) -> float:
    """Poll until ``ready()``; returns the seconds it took.

    ``dead`` returns why it never will be (its process ended), or None. Raises LocalStackError on death or deadline,
    naming the log with its last lines.
    """
    began = time.monotonic()
    while not ready():
        waited = time.monotonic() - began
        why = dead() or (f"was not ready after {seconds:.0f} s" if waited > seconds else None)
        if why:
            where = f"; the end of its log {log}:\n{tail(log)}" if log else ""
            msg = f"{what} {why}{where}"
            raise LocalStackError(msg)
        time.sleep(every)
    return time.monotonic() - began
