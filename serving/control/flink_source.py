"""The stream's figures from Flink's REST interface: on one machine, and wherever a cluster can be reached."""

import json
import math
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote

from serving.control.answers import Checkpoints, Job, Operator
from serving.control.figures import Figures, SourceAway, reduced, wanted

__all__ = ["FlinkSource"]

_NAMES_S: Final = 20.0
_MOST_NAMES: Final = 400
_BUSY: Final = "busyTimeMsPerSecond"
_HELD_UP: Final = "backPressuredTimeMsPerSecond"


class FlinkSource:
    """Asks the newest job of the cluster at ``url``; metric names are looked up again now and then, because they come
    with the first records."""

    name = "flink"

    def __init__(self, url: str, *, seconds: float = 2.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._url, self._seconds, self._clock = url.rstrip("/"), seconds, clock
        self._names: tuple[str, float, dict[str, list[str]]] = ("", 0.0, {})

    def look(self) -> Figures:
        """See :class:`serving.control.figures.Source`."""
        try:
            job = self._newest()
            about = self._ask(f"/jobs/{job}")
            values = self._values(job, [vertex["id"] for vertex in about["vertices"]])
            return Figures(
                job=Job(about["state"], about["start-time"], self._restarts(job), job),
                checkpoints=_checkpoints(self._ask(f"/jobs/{job}/checkpoints")),
                values=reduced(
                    (short, value)
                    for metrics in values.values()
                    for name, value in metrics.items()
                    if wanted(short := name.rpartition(".")[2])
                ),
                operators=[_operator(vertex["name"], values.get(vertex["id"], {})) for vertex in about["vertices"]],
                history=[],
            )
        except (KeyError, TypeError, IndexError) as exc:
            message = f"Flink at {self._url} answered in an unknown form: {exc!r}"
            raise SourceAway(message) from exc

    def _newest(self) -> str:
        jobs = self._ask("/jobs/overview")["jobs"]
        if not jobs:
            message = f"the cluster at {self._url} runs no job; submit it"
            raise SourceAway(message)
        return str(max(jobs, key=lambda job: (job["state"] == "RUNNING", job["start-time"]))["jid"])

    def _values(self, job: str, vertices: list[str]) -> dict[str, dict[str, float]]:
        known, read_at, names = self._names
        if known != job or self._clock() - read_at > _NAMES_S:
            names = {vertex: self._listed(job, vertex) for vertex in vertices}
            self._names = (job, self._clock(), names)
        return {vertex: self._read(job, vertex, listed) for vertex, listed in names.items() if listed}

    def _listed(self, job: str, vertex: str) -> list[str]:
        found = [entry["id"] for entry in self._ask(f"/jobs/{job}/vertices/{vertex}/metrics")]
        return [name for name in found if wanted(short := name.rpartition(".")[2]) or short in (_BUSY, _HELD_UP)]

    def _read(self, job: str, vertex: str, names: list[str]) -> dict[str, float]:
        asked = quote(",".join(names[:_MOST_NAMES]))
        entries = self._ask(f"/jobs/{job}/vertices/{vertex}/metrics?get={asked}")
        numbers = {entry["id"]: float(entry["value"]) for entry in entries if entry.get("value")}
        return {name: value for name, value in numbers.items() if math.isfinite(value)}

    def _restarts(self, job: str) -> int | None:
        entries = self._ask(f"/jobs/{job}/metrics?get=numRestarts")
        return int(float(entries[0]["value"])) if entries else None

    def _ask(self, path: str) -> Any:
        try:
            with urllib.request.urlopen(self._url + path, timeout=self._seconds) as answer:
                return json.loads(answer.read())
        except (OSError, ValueError) as exc:
            message = f"Flink at {self._url} does not answer: {exc}"
            raise SourceAway(message) from exc


def _checkpoints(found: Mapping[str, Any]) -> Checkpoints:
    counts, newest = found["counts"], (found.get("latest") or {}).get("completed") or {}
    return Checkpoints(
        counts["completed"], counts["failed"], newest.get("end_to_end_duration"), newest.get("state_size")
    )


def _operator(name: str, values: Mapping[str, float]) -> Operator:
    """The largest of all instances, as shares of the time."""

    def share(metric: str) -> float:
        return max((value for key, value in values.items() if key.endswith(f".{metric}")), default=0.0) / 1000

    return Operator(name, share(_BUSY), share(_HELD_UP))
