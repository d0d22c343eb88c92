"""Freshness: milliseconds from the collector's answer to the first shelf, fetched over HTTP, that covers the event."""

import math
import random
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from local.probe_events import Collector, Sender, covering
from local.probe_reader import ShelfReader, ShelfReply

__all__ = ["percentile", "run", "summarise"]


def percentile(values: Sequence[float], q: float) -> float:
    """The nearest-rank percentile: the smallest value that at least ``q`` of all values do not exceed.

    >>> percentile([3.0, 1.0, 2.0], 0.5), percentile([3.0, 1.0, 2.0], 0.99)
    (2.0, 3.0)
    """
    return sorted(values)[max(0, math.ceil(q * len(values)) - 1)]


def summarise(covered_ms: Sequence[float], timed_out: int, timeout_ms: float) -> dict[str, Any]:
    """The figures of the result line; an event whose shelf never came counts as the time-out.

    >>> summarise([10.0] * 98, timed_out=2, timeout_ms=5000)
    {'p50': 10.0, 'p99': 5000, 'n': 100, 'timed_out': 2}
    """
    values = [*covered_ms, *[timeout_ms] * timed_out]
    p50, p99 = (round(percentile(values, q), 1) if values else None for q in (0.5, 0.99))
    return {"p50": p50, "p99": p99, "n": len(values), "timed_out": timed_out}


def run(
    api: Collector,
    reader: ShelfReader,
    items: Sequence[str],
    *,
    prefix: str,
    seed: int,
    n: int = 200,
    per_s: float = 5.0,
    visitors: int = 20,
    timeout_s: float = 10.0,
) -> dict[str, Any]:
    """Send ``n`` views of ``items`` at random times, ``per_s`` a second on average, whether or not shelves come.

    The times are random so that they do not beat with the stream's reads, and do not wait for answers, because a
    slow loop would otherwise be asked less often while it is slow.
    """
    draw, sender = random.Random(seed), Sender(api, f"{prefix}-fresh")
    waiting: list[tuple[float, Future[ShelfReply]]] = []
    due = time.monotonic()
    for i in range(n):
        due += draw.expovariate(per_s)
        time.sleep(max(0.0, due - time.monotonic()))
        visitor = f"{prefix}-f{i % visitors}"
        view = sender.event("view", draw.choice(items), visitor=visitor)
        answered = sender.send([view])
        waiting.append((answered, reader.ask(f"a.{visitor}", covering([view]), timeout_s=timeout_s)))
    replies = [(answered, future.result()) for answered, future in waiting]
    covered = [1000 * (reply.at - answered) for answered, reply in replies if reply.covered]
    return summarise(covered, len(replies) - len(covered), 1000 * timeout_s)
