"""A small client of Flink's REST interface."""

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from contracts.errors import LocalStackError
from local.health import wait_until

__all__ = ["FlinkRest"]


class FlinkRest:
    """Questions and orders to one cluster; every call is time-limited and raises LocalStackError when it is refused."""

    def __init__(self, url: str, *, seconds: float = 10) -> None:
        self.url = url.rstrip("/")
        self._seconds = seconds

    def overview(self) -> dict[str, Any]:
        """Slots, task managers and job counts of the cluster."""
        return dict(self._ask("GET", "/overview"))

    def jobs(self) -> dict[str, str]:
        """Every job the cluster knows, with its state."""
        return {job["id"]: job["status"] for job in self._ask("GET", "/jobs")["jobs"]}

    def job(self, job: str) -> dict[str, Any]:
        """State, vertices and their tasks' states of one job."""
        return dict(self._ask("GET", f"/jobs/{job}"))

    def status(self, job: str) -> str:
        """``RUNNING``, ``RESTARTING``, ``FAILED``, … as Flink says it."""
        return str(self._ask("GET", f"/jobs/{job}/status")["status"])

    def running(self, job: str) -> bool:
        """Whether the job *and* every one of its tasks run: a RUNNING job may still be deploying them."""
        answer = self.job(job)
        return answer["state"] == "RUNNING" and all(vertex["status"] == "RUNNING" for vertex in answer["vertices"])

    def vertices(self, job: str) -> dict[str, str]:
        """Vertex id to name, sources first."""
        return {vertex["id"]: vertex["name"] for vertex in self.job(job)["vertices"]}

    def metrics(self, job: str, vertex: str, names: Sequence[str] = ()) -> dict[str, float]:
        """Subtask metrics ``"0.numRecordsIn"`` → value; without names, every name the vertex has, with no values."""
        path = f"/jobs/{job}/vertices/{vertex}/metrics"
        if not names:
            return {entry["id"]: float("nan") for entry in self._ask("GET", path)}
        entries = self._ask("GET", f"{path}?get={quote(','.join(names))}")
        return {entry["id"]: float(entry["value"]) for entry in entries}

    def restarts(self, job: str) -> int:
        """How often the job restarted inside this JobManager's life (a resubmitted job starts at 0)."""
        entries = self._ask("GET", f"/jobs/{job}/metrics?get=numRestarts")
        return int(float(entries[0]["value"])) if entries else 0

    def checkpoints(self, job: str) -> dict[str, Any]:
        """Counts, sizes and durations of checkpoints."""
        return dict(self._ask("GET", f"/jobs/{job}/checkpoints"))

    def exception(self, job: str) -> str:
        """The first lines of the newest failure, or an empty string."""
        history = self._ask("GET", f"/jobs/{job}/exceptions")["exceptionHistory"]["entries"]
        return "\n".join(history[0]["stacktrace"].splitlines()[:12]) if history else ""

    def stop(self, job: str, savepoints: str, *, drain: bool = True, seconds: float = 120) -> str:
        """Stop with a savepoint; returns its path.

        ``drain`` pushes every timer and window out first: right at the end of a replay, wrong before a restart.
        """
        asked = {"drain": drain, "targetDirectory": savepoints}
        trigger = self._ask("POST", f"/jobs/{job}/stop", asked)["request-id"]
        answer: dict[str, Any] = {}

        def done() -> bool:
            answer.update(self._ask("GET", f"/jobs/{job}/savepoints/{trigger}"))
            return bool(answer["status"]["id"] == "COMPLETED")

        wait_until(done, f"the savepoint of job {job}", seconds=seconds)
        if failure := answer["operation"].get("failure-cause"):
            msg = f"Flink could not stop job {job} with a savepoint: {failure.get('class')}"
            raise LocalStackError(msg)
        return str(answer["operation"]["location"])

    def cancel(self, job: str) -> None:
        """Ask the job to end without a savepoint; returns at once."""
        self._ask("PATCH", f"/jobs/{job}?mode=cancel")

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        request = urllib.request.Request(self.url + path, method=method)
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=self._seconds) as answer:
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as exc:
            with exc:
                detail = exc.read(2000).decode(errors="replace")
            msg = f"Flink refused {method} {path} with {exc.code}: {detail}"
            raise LocalStackError(msg) from exc
        except (OSError, ValueError) as exc:
            msg = f"Flink at {self.url} did not answer {method} {path}: {exc}"
            raise LocalStackError(msg) from exc
