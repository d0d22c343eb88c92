"""What the stream has to survive: one entry a scenario, used by the tests (once) and by the benchmark (many rounds)."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Final

from benchmarks import survival_faults as faults
from benchmarks.survival_code import await_mark, upgrade
from benchmarks.survival_stand import Stand
from benchmarks.survival_traffic import Mix, Traffic
from benchmarks.survival_windows import window_mismatches
from contracts.errors import LocalStackError
from local.replay import Account

__all__ = ["SCENARIOS", "Scenario"]

_COMMAND_SECONDS: Final = 180


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """``act`` is done while ``mix`` is sent over ``seconds``; it returns the instant from which recovery is timed.

    ``quiet`` says that nothing fails. ``after`` is what a person would do then; the accounts are compared after it.
    ``last`` may end the job; it returns what it found wrong. A scenario's name is also the shop that its events are of:
    no other scenario writes there.
    """

    name: str
    act: Callable[[Stand], float]
    mix: Mix = field(default_factory=Mix)
    seconds: float = 20.0
    quiet: bool = False
    after: Callable[[Stand, Traffic, Account], None] | None = None
    last: Callable[[Stand], list[str]] | None = None


def rebuild(stand: Stand, traffic: Traffic, account: Account) -> None:
    """The one command after Redis lost everything; then everybody acts once more, which brings their lists back.

    Raises:
        LocalStackError: the command failed, or did not bring back the batch lists.
    """
    command = [sys.executable, "-m", "batch.rebuild", "--shop", traffic.shop, "--days", "1", "--lists"]
    done = subprocess.run(
        command, env=stand.batch_environment(), capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False
    )
    if done.returncode != 0:
        msg = f"{' '.join(command[1:])} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        raise LocalStackError(msg)
    if missing := stand.missing_lists(traffic.shop):
        msg = f"batch.rebuild did not bring back {len(missing)} batch lists, such as {missing[0]}"
        raise LocalStackError(msg)
    stand.put_events(traffic.once_more(datetime.now(UTC)), account)


def close_windows(stand: Stand) -> list[str]:
    """Stop the job and let it close its windows; the Parquet features of all that was sent on this stand so far."""
    stand.stack.flink.stop_job(stand.job, drain=True)
    return [wrong for shop, events in stand.sent.items() for wrong in window_mismatches(stand.objects, shop, events)]


SCENARIOS: Final = {
    scenario.name: scenario
    for scenario in (
        Scenario(name="poison", act=faults.nothing, mix=Mix(poison=0.05), seconds=5, quiet=True),
        Scenario(name="duplicates", act=faults.nothing, mix=Mix(duplicates=0.2), seconds=5, quiet=True),
        Scenario(name="taskmanager", act=faults.kill_taskmanager),
        Scenario(name="worker", act=faults.kill_worker),
        Scenario(name="reshard", act=faults.reshard, seconds=25),
        Scenario(name="redis-gone", act=faults.stop_redis, seconds=45),
        Scenario(name="redis-empty", act=faults.restart_redis_empty, seconds=25, after=rebuild),
        Scenario(name="kinesis-fails", act=partial(faults.fail_service, service="kinesis"), seconds=45),
        Scenario(name="s3-fails", act=partial(faults.fail_service, service="s3"), seconds=45),
        Scenario(name="jobmanager", act=faults.kill_jobmanager),
        Scenario(name="code-changes", act=upgrade, after=await_mark),
        Scenario(name="windows", act=faults.nothing, seconds=5, quiet=True, last=close_windows),
    )
}
"""In the order in which a round runs them on one stack; the last one ends the job."""
