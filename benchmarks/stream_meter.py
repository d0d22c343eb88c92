"""Processor time of a running stack by step: from /proc, by the names of Java threads, and by clocks in Python."""

import json
import os
import re
import signal
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psutil

from local.health import wait_until
from local.supervisor import Supervisor

__all__ = ["Meter", "Spent", "java_names", "share", "step_of_thread"]

Spent = defaultdict[str, float]
"""Processor seconds by step."""

_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_THREAD: Final = re.compile(r'^"(?P<name>.+)" #\d+ .*\bnid=(?P<nid>0x[0-9a-f]+|\d+) ', re.MULTILINE)
_TASK: Final = re.compile(r"^(?P<task>.+) \(\d+/\d+\)#\d+$")
_BESIDE: Final = re.compile(r"^(OutputFlusher|(System )?Time Trigger) for ")
"""Threads that are called after a task and help it; what they take is little."""
_FETCHER: Final = "Source Data Fetcher for "
"""It reads the files for the source, and is counted as that."""
_KINDS: Final = (
    ("JIT compiler", ("C1 ", "C2 ", "Sweeper", "C1 Comp", "C2 Comp")),
    ("garbage collection", ("G1 ", "GC ", "VM Thread", "VM Periodic", "Reference Handl")),
    ("RocksDB background", ("rocksdb",)),
    ("Java to Python", ("grpc", "Beam", "bundle", "Timer", "pool-", "SimpleInProcess", "DirectExecutor")),
    ("network between tasks", ("Flink Netty", "netty", "epoll")),
    (
        "checkpoints and files",
        ("AsyncOperations", "s3a", "jobmanager-io", "taskmanager-io", "cluster-io", "Channel state"),
    ),
)


def java_names(dump: str) -> dict[int, str]:
    """Thread id to name, from a JVM's thread dump.

    >>> java_names('"Source: records (1/1)#0" #87 prio=5 os_prio=0 cpu=3.1ms elapsed=1s tid=0x7f nid=0x1b2 runnable')
    {434: 'Source: records (1/1)#0'}
    """
    return {int(found["nid"], 0): found["name"] for found in _THREAD.finditer(dump)}


def step_of_thread(name: str) -> str:
    """The step of a Java thread: its Flink task without the subtask's number, or a kind of housekeeping.

    >>> step_of_thread("Deduplicate[7] -> Calc[8] (1/2)#0"), step_of_thread("rocksdb:low0")
    ('Deduplicate[7] -> Calc[8]', 'RocksDB background')
    >>> step_of_thread("OutputFlusher for Deduplicate[7] -> Calc[8] (1/2)#0")
    'threads beside tasks'
    """
    if _BESIDE.match(name):
        return "threads beside tasks"
    if task := _TASK.match(name.removeprefix(_FETCHER)):
        return task["task"]
    return next((kind for kind, heads in _KINDS if name.startswith(heads)), "Java, other")


class Meter:
    """Sums of processor seconds by step since the processes began; see :meth:`read`.

    Args:
        clocks: the folder in which :class:`benchmarks.stream_clock.Clock` writes; may be empty.
    """

    def __init__(self, supervisor: Supervisor, clocks: Path) -> None:
        self._supervisor, self._clocks = supervisor, clocks
        self._names: dict[int, str] = {}

    def name_threads(self) -> None:
        """Ask the TaskManager's JVM for its threads' names; once its tasks run."""
        pid, log = self._supervisor.pid("flink-taskmanager"), self._supervisor.log("flink-taskmanager")
        before = log.stat().st_size
        os.kill(pid, signal.SIGQUIT)

        def dumped() -> bool:
            return b"JNI global refs" in log.read_bytes()[before:]

        wait_until(dumped, "the TaskManager's thread dump", seconds=20)
        self._names = java_names(log.read_bytes()[before:].decode(errors="replace"))

    def read(self) -> Spent:
        """Processor seconds by step: tasks of the job, housekeeping of the JVM, Python workers, Valkey, emulator."""
        spent: Spent = defaultdict(float)
        pid = self._supervisor.pid("flink-taskmanager")
        self._add_threads(spent, pid)
        for name, step in (("flink-jobmanager", "JobManager"), ("aws-emulator", "emulator (S3)")):
            spent[step] += _seconds(psutil.Process(self._supervisor.pid(name)))
        for number in range(2):
            spent["Valkey"] += _seconds(psutil.Process(self._supervisor.pid(f"valkey-{number}")))
        for child in psutil.Process(pid).children(recursive=True):
            self._add_worker(spent, child)
        return spent

    def _add_threads(self, spent: Spent, pid: int) -> None:
        for task in Path(f"/proc/{pid}/task").iterdir():
            try:
                stat = (task / "stat").read_text()
            except OSError:  # the thread has just ended
                continue
            head, _, tail = stat.rpartition(")")
            name = self._names.get(int(task.name), head.partition("(")[2])
            fields = tail.split()
            spent[step_of_thread(name)] += (int(fields[11]) + int(fields[12])) * _TICK_S

    def _add_worker(self, spent: Spent, worker: psutil.Process) -> None:
        """A worker of the serving step says what its steps took; the rest is PyFlink's. Other workers only parse."""
        try:
            seconds = _seconds(worker)
        except psutil.Error:
            return
        file = self._clocks / f"{worker.pid}.json"
        if not file.exists():
            spent["Python: parse"] += seconds
            return
        told: Mapping[str, float] = json.loads(file.read_text())
        for step, part in told.items():
            spent[f"Python: {step}"] += part
        spent["Python: PyFlink"] += max(0.0, seconds - sum(told.values()))


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def share(before: Mapping[str, float], after: Mapping[str, float], least: float = 0.002) -> dict[str, float]:
    """Fractions of all processor time between two readings, the largest first; small ones together as ``other``.

    >>> share({"a": 1.0, "b": 0.0}, {"a": 4.0, "b": 0.999, "c": 0.001})
    {'a': 0.75, 'b': 0.2497, 'other': 0.0003}
    """
    spent = {step: after[step] - before.get(step, 0.0) for step in after}
    whole = sum(spent.values()) or 1.0
    parts = {step: seconds / whole for step, seconds in spent.items() if seconds > 0}
    large = {step: round(part, 4) for step, part in sorted(parts.items(), key=lambda pair: -pair[1]) if part >= least}
    small = sum(part for part in parts.values() if part < least)
    return large | ({"other": round(small, 4)} if small else {})
