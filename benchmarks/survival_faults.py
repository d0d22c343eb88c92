"""What each survival scenario does to the running stack; each returns the instant from which recovery is timed."""

import os
import signal
import time
from collections.abc import Sequence
from typing import Final

from benchmarks.survival_stand import VERSION, Stand
from contracts.errors import LocalStackError, StoreError
from local.faults import Fault, Kind
from local.health import wait_until
from stores.aws import client

__all__ = [
    "fail_service",
    "kill_jobmanager",
    "kill_taskmanager",
    "kill_worker",
    "nothing",
    "reshard",
    "restart_redis_empty",
    "stop_redis",
]

OUTAGE_SECONDS: Final = 30.0
_NODES: Final = ("valkey-0", "valkey-1")
_TOP: Final = 2**128


def nothing(stand: Stand) -> float:
    """The traffic itself is the test."""
    return time.monotonic()


def kill_taskmanager(stand: Stand) -> float:
    """kill -9 of the TaskManager. Its Python workers lose their parent and must not stay behind."""
    stand.left_behind = stand.python_workers()
    return _kill(stand, "flink-taskmanager")


def kill_jobmanager(stand: Stand) -> float:
    """kill -9 of the JobManager, which takes the job with it: it is submitted again from the newest checkpoint."""
    flink = stand.stack.flink
    jobs = len(flink.job_ids)
    began = _kill(stand, "flink-jobmanager")
    wait_until(lambda: len(flink.job_ids) > jobs, "the resubmission", seconds=180, dead=stand.dead)
    return began


def kill_worker(stand: Stand) -> float:
    """kill -9 of one Python worker. Flink finds out with the next record; then all tasks get new workers."""
    stand.left_behind = stand.python_workers()
    if not stand.left_behind:
        msg = "the job has no Python worker; is it running?"
        raise LocalStackError(msg)
    began = time.monotonic()
    stand.left_behind[0].kill()
    return began


def stop_redis(stand: Stand) -> float:
    """Both nodes stand still for half a minute: connections stay open and nothing is answered."""
    pids = [stand.stack.supervisor.pid(name) for name in _NODES]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(OUTAGE_SECONDS)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    return time.monotonic()


def restart_redis_empty(stand: Stand) -> float:
    """kill -9 of both nodes; they come back in their places without any data."""
    before = stand.stack.supervisor.restarts()
    began = time.monotonic()
    for name in _NODES:
        os.kill(stand.stack.supervisor.pid(name), signal.SIGKILL)

    def back() -> bool:
        restarts = stand.stack.supervisor.restarts()
        return all(restarts[name] > before[name] for name in _NODES) and _answers(stand)

    wait_until(back, "Redis", seconds=60, dead=stand.dead)
    return began


def fail_service(stand: Stand, service: str) -> float:
    """Half a minute in three parts: internal errors, throttling, and answers that are slow or lost.

    Raises:
        LocalStackError: a part met no request, so nothing failed.
    """
    kinds: Sequence[tuple[Kind, float]] = (("error", 1.0), ("throttle", 1.0), ("lost", 0.2), ("slow", 1.0))
    faults = [Fault(service=service, kind=kind, share=share) for kind, share in kinds]
    control, before = stand.stack.faults, stand.stack.faults.injected()
    for part in (faults[:1], faults[1:2], faults[2:]):
        with control.failing(*part):
            time.sleep(OUTAGE_SECONDS / 3)
    ended, met = time.monotonic(), control.injected()
    for kind in ("error", "throttle", "slow"):
        if met.get(name := f"{service} {kind}", 0) == before.get(name, 0):
            msg = f"no request met the fault {name}; is the stack behind the proxy?"
            raise LocalStackError(msg)
    return ended


def reshard(stand: Stand) -> float:
    """One shard is split, then two neighbours are merged, while records come in."""
    kinesis, name = client("kinesis", stand.stack.settings), stand.stack.settings.stream_name

    def ready() -> bool:
        summary = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
        return bool(summary["StreamStatus"] == "ACTIVE")

    def open_shards() -> list[tuple[int, int, str]]:
        shards = kinesis.list_shards(StreamName=name)["Shards"]
        alive = [shard for shard in shards if "EndingSequenceNumber" not in shard["SequenceNumberRange"]]
        ranges = ((shard["HashKeyRange"], shard["ShardId"]) for shard in alive)
        return sorted((int(r["StartingHashKey"]), int(r["EndingHashKey"]), shard) for r, shard in ranges)

    low, high, parent = open_shards()[0]
    kinesis.split_shard(StreamName=name, ShardToSplit=parent, NewStartingHashKey=str((low + high + 1) // 2))
    wait_until(ready, "the split", seconds=60)
    time.sleep(2.0)  # records come by the children before they are merged
    _, right, last = open_shards()
    kinesis.merge_shards(StreamName=name, ShardToMerge=right[2], AdjacentShardToMerge=last[2])
    wait_until(ready, "the merge", seconds=60)
    return time.monotonic()


def _kill(stand: Stand, service: str) -> float:
    began = time.monotonic()
    os.kill(stand.stack.supervisor.pid(service), signal.SIGKILL)
    return began


def _answers(stand: Stand) -> bool:
    try:
        stand.redis.present([VERSION])
    except StoreError:
        return False
    return True
