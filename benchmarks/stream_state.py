"""People who come once, written as files at a steady pace, and what a series of looks says of growth."""

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.stream_shop import StreamShop

__all__ = ["People", "Sample", "growth"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One look: seconds since the first event was counted, sizes, and how many people were counted."""

    s: float
    rocksdb_mib: float
    redis_mib: float
    rss_mib: float
    rows: float

    def figures(self) -> dict[str, float]:
        """As the result line has it."""
        return {
            "s": self.s,
            "rocksdb_mib": round(self.rocksdb_mib, 1),
            "redis_mib": round(self.redis_mib, 1),
            "rss_mib": round(self.rss_mib),
        }


def growth(series: list[Sample], ttl_s: float) -> dict[str, float]:
    """By size: the largest mean over a whole later time to live, against the mean over the second, less one.

    The first is left out: everything fills. RocksDB's files go up and down as they are merged, hence means.

    >>> looks = [Sample(float(s), min(s, 10) + s % 2, 5.0 + (s >= 30), 7.0, s) for s in range(40)]
    >>> growth(looks, 10)
    {'rocksdb_mib': 0.0, 'redis_mib': 0.2, 'rss_mib': 0.0}
    """
    found = {}
    for name in ("rocksdb_mib", "redis_mib", "rss_mib"):
        means: dict[int, list[float]] = {}
        for sample in series:
            means.setdefault(int(sample.s // ttl_s), []).append(getattr(sample, name))
        whole = {at: sum(values) / len(values) for at, values in means.items() if at >= 1}
        first = whole.get(1, 0.0)
        found[name] = max((mean / first - 1 for at, mean in whole.items() if at > 1 and first), default=0.0)
    return {name: max(0.0, round(value, 6)) for name, value in found.items()}


class People:
    """A file a second with views of people whom nobody has seen before, ``users`` in ``seconds`` in all.

    Event time ends at now and runs ``faster`` than the clock, so it begins in the past.
    """

    def __init__(self, shop: StreamShop, folder: Path, *, seconds: float, users: int, faster: float) -> None:
        self._shop, self._folder, self._seconds, self._users, self._faster = shop, folder, seconds, users, faster
        self._stop = threading.Event()
        self.written = 0

    def stop(self) -> None:
        """Write no more."""
        self._stop.set()

    def write(self) -> None:
        """Write until all have come, or :meth:`stop`; a file appears whole."""
        rng, began, number = np.random.default_rng(self._shop.seed), time.monotonic(), 0
        first_ms = time.time_ns() // 1_000_000 - round(1000 * self._seconds * self._faster)
        while self.written < self._users and not self._stop.wait(max(0.0, began + number - time.monotonic())):
            number += 1
            count = min(self._users, round(self._users * number / self._seconds)) - self.written
            at = datetime.fromtimestamp((first_ms + 1000 * number * self._faster) / 1000, UTC)
            stamp = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            items = np.minimum(rng.zipf(1.5, count) - 1, self._shop.items - 1).tolist()
            lines = [_view(self.written + n, self._shop.item(item), stamp) for n, item in enumerate(items)]
            part = self._folder / f".part-{number}"
            part.write_bytes(b"".join(lines))
            part.rename(self._folder / f"people-{number:06}.jsonl")
            self.written += count


def _view(number: int, item: str, stamp: str) -> bytes:
    line = (
        f'{{"event_id":"once-{number:012}","event_type":"view","user_id":"once-{number:012}","item_id":"{item}",'
        f'"occurred_at":"{stamp}","received_at":"{stamp}"}}\n'
    )
    return line.encode()
