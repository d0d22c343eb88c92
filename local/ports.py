"""Free loopback ports."""

import socket
from collections.abc import Collection

__all__ = ["LOOPBACK", "free_port", "is_free"]

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether a server could bind this loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free to a server
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(preferred: int | None = None, *, avoid: Collection[int] = (), below: int = 65536) -> int:
    """The preferred port if it is free, else one the system picks.

    Another process may take it before you bind: bind soon, and pass the ports you already chose as ``avoid``.
    ``below`` keeps room above the port (Valkey derives its cluster bus port by adding 10,000).
    """
    if preferred is not None and preferred not in avoid and is_free(preferred):
        return preferred
    for _ in range(10_000):
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            port = int(probe.getsockname()[1])
        if port not in avoid and port < below:
            return port
    msg = f"no free loopback port below {below} outside {sorted(avoid)}"
    raise OSError(msg)
