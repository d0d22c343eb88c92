"""How many rows Flink's event-time windows dropped as late, over restarts, which set Flink's own counters to zero."""

from typing import Final

from contracts.errors import LocalStackError
from local.flink import Cluster
from local.health import wait_until

__all__ = ["METRIC", "WindowDrops"]

METRIC: Final = "numLateRecordsDropped"


class WindowDrops:
    """Keeps the largest figure of every attempt of the job; :meth:`total` is their sum."""

    def __init__(self, flink: Cluster) -> None:
        self._flink = flink
        self._seen: dict[tuple[str, int], float] = {}

    def look(self) -> bool:
        """Read the counters of the attempt that runs now; false where there is none to read yet."""
        job = self._flink.job_ids[-1]
        try:
            attempt, total, found = self._flink.rest.restarts(job), 0.0, False
            for vertex in self._flink.rest.vertices(job):
                names = [name for name in self._flink.rest.metrics(job, vertex) if name.endswith(METRIC)]
                if names:
                    values = self._flink.rest.metrics(job, vertex, names)
                    total, found = total + sum(values.values()), True
        except LocalStackError:
            return False
        if found:
            self._seen[job, attempt] = max(total, self._seen.get((job, attempt), 0.0))
        return found

    def await_look(self) -> None:
        """:meth:`look`, once the job has counters again."""
        wait_until(self.look, f"the metric {METRIC}", seconds=60)

    def total(self) -> int:
        """All drops seen so far."""
        return int(sum(self._seen.values()))
