"""One run of one part of the job over the records' files: submitted, followed, measured while it is steady, ended."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.stream_meter import Meter, Spent, share
from contracts.errors import LocalStackError
from local.flink_rest import FlinkRest
from local.paths import checkout
from local.stack import Stack

__all__ = ["Progress", "Run", "Tick", "measure", "steady"]

STEADY: Final = (0.15, 0.9)
"""The part of the records between which rates are taken: after the start, before sources run dry."""
_SERVING: Final = ("recommend", "pythoncalc")
_EVERY_S: Final = 5.0
_EVERY_S_OF_FEW: Final = 2.0
_FEW: Final = 500_000
"""A look at the job costs the JobManager as much as hundreds of events cost the job; a short run needs more of them."""
_PATIENCE_S: Final = 900.0
_ENDED: Final = ("FINISHED", "FAILED", "CANCELED")


@dataclass(slots=True)
class Tick:
    """At ``at`` (monotonic seconds) the slowest step had read ``rows``; ``spent`` as :meth:`Meter.read` gives it."""

    at: float
    rows: float
    spent: Spent = field(default_factory=lambda: defaultdict(float))


@dataclass(slots=True)
class Run:
    """What a run showed; ``events_per_s`` counts records of the source, ``us`` is processor time an event by step.

    A job that is a single task is timed as a whole, and nothing is known of its steps.
    """

    events_per_s: float
    events_per_cpu_s: float
    share: dict[str, float]
    seconds: float
    us: dict[str, float]
    gauges: dict[str, float]


def steady(ticks: list[Tick], rows: float) -> tuple[Tick, Tick]:
    """The ticks that enclose the steady part of a run in which the slowest step read ``rows`` in all.

    >>> first, last = steady([Tick(float(t), 10.0 * t) for t in range(11)], 100)
    >>> first.at, last.at
    (2.0, 9.0)

    Raises:
        LocalStackError: the run was too short to have such a part.
    """
    low, high = (rows * part for part in STEADY)
    inside = [tick for tick in ticks if low <= tick.rows <= high]
    if len(inside) < 2:
        message = (
            f"of {len(ticks)} looks at the job only {len(inside)} were steady; expected 2 or more: send more events"
        )
        raise LocalStackError(message)
    return inside[0], inside[-1]


class Progress:
    """How far a job is: rows read by the last of its tasks that reads every counted event."""

    def __init__(self, rest: FlinkRest, job: str) -> None:
        self._rest, self._job = rest, job

    def vertices(self) -> list[dict[str, Any]]:
        """The vertices with their metrics, sources first."""
        return list(self._rest.job(self._job)["vertices"])

    def rows(self) -> float:
        """Rows that the serving step has read; of a part without one, what the slowest of the last tasks has read.

        0 of a job that is a single task: nothing is read from another one.
        """
        found = self.vertices()
        later = [vertex for vertex in found if not vertex["name"].startswith("Source: ")]
        last = [v for v in later if any(word in v["name"].lower() for word in _SERVING)] or later[-1:]
        return min((float(vertex["metrics"]["read-records"]) for vertex in last), default=0.0)

    def gauges(self) -> dict[str, float]:
        """The measures of the job's own steps by name, averaged over subtasks."""
        sums: dict[str, list[float]] = {}
        for vertex in self.vertices():
            names = [name for name in self._rest.metrics(self._job, vertex["id"]) if "kinesisanalytics" in name]
            for name, value in self._rest.metrics(self._job, vertex["id"], names).items() if names else ():
                sums.setdefault(name.rpartition(".")[2], []).append(value)
        return {name: sum(values) / len(values) for name, values in sums.items()}


def measure(stack: Stack, part: str, folder: Path, events: int, words: Sequence[str] = ()) -> Run:
    """Run ``part`` (see :mod:`benchmarks.stream_job`) over the files in ``folder`` until it has read all of them.

    ``words`` are further ones of that program's command line.

    Raises:
        LocalStackError: the job failed, restarted, or did not end in time.
    """
    clocks = stack.supervisor.data / "clocks"
    clocks.mkdir(exist_ok=True)
    for old in clocks.iterdir():
        old.unlink()
    arguments = ["--part", part, "--folder", str(folder), "--clocks", str(clocks), *words]
    began = time.monotonic()
    job = stack.submit(checkout() / "benchmarks" / "stream_job.py", arguments)
    meter, rest = Meter(stack.supervisor, clocks), stack.flink.rest
    progress, ticks, gauges = Progress(rest, job), list[Tick](), dict[str, float]()
    while (status := rest.status(job)) not in _ENDED:
        time.sleep(_EVERY_S if events >= _FEW else _EVERY_S_OF_FEW)
        if time.monotonic() - began > _PATIENCE_S:
            message = f"the job had not read {events} events after {_PATIENCE_S:.0f} s; see {stack.flink.logs}"
            raise LocalStackError(message)
        if rest.restarts(job):
            message = f"the job failed and was restarted, so nothing can be measured: {rest.exception(job)}"
            raise LocalStackError(message)
        rows = progress.rows()
        if rows and not ticks:
            meter.name_threads()
        if rows and (not ticks or rows > ticks[-1].rows):
            ticks.append(Tick(time.monotonic(), rows, meter.read()))
        if len(ticks) % 5 == 4:
            gauges = progress.gauges() or gauges
    if status != "FINISHED":
        message = f"the job ended as {status}: {rest.exception(job)}"
        raise LocalStackError(message)
    seconds = time.monotonic() - began
    if not ticks:
        took = max(vertex["duration"] for vertex in progress.vertices()) / 1000
        return Run(round(events / took, 1), 0.0, {}, round(seconds, 1), {}, {})
    first, last = steady(ticks, ticks[-1].rows)
    return _summary(ticks, first, last, events, seconds, gauges)


def _summary(
    ticks: list[Tick], first: Tick, last: Tick, events: int, seconds: float, gauges: Mapping[str, float]
) -> Run:
    done = (last.rows - first.rows) / ticks[-1].rows * events
    cpu = sum(last.spent.values()) - sum(first.spent.values())
    spent = {step: (last.spent[step] - first.spent[step]) / done * 1e6 for step in last.spent}
    return Run(
        events_per_s=round(done / (last.at - first.at), 1),
        events_per_cpu_s=round(done / cpu, 1) if cpu else 0.0,
        share=share(first.spent, last.spent),
        seconds=round(seconds, 1),
        us={step: round(us, 3) for step, us in spent.items()},
        gauges={name: round(value, 1) for name, value in gauges.items()},
    )
