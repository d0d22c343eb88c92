"""``make drill``: Redis and the stream's state are lost at once; how long until everything live is right again.

The whole loop runs here on real parts. Two thousand events come in and are accounted for. Then both nodes of Redis are
killed and come back empty, and the job is cancelled without a savepoint. What is left is what a deployment has left:
the lake, the model's snapshot, the persistent store and the stream. The commands of docs/runbook/disaster-recovery.md
bring the rest back, and every value in Redis is compared with one computed from the events that were sent.

The last line is RESULT: seconds of each step, and how many values were wrong in the end (0).
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from batch.result import machine, result_line
from benchmarks import survival_faults as faults
from benchmarks.survival_rounds import mismatches_of, settle
from benchmarks.survival_stand import Stand, running_stand
from benchmarks.survival_traffic import Mix, Traffic
from contracts.errors import LiveshelfError, LocalStackError
from local.health import wait_until
from local.probe_accounts import LedgerReader
from local.replay import Account, new_run

__all__ = ["drill", "main"]

T = TypeVar("T")
_SHOP: Final = "drill"
_COMMAND_SECONDS: Final = 300
_RIGHT_SECONDS: Final = 180


def drill(stand: Stand, say: Callable[[str], None]) -> dict[str, Any]:
    """Lose everything that lives in memory, bring it back; seconds of each step and what is still wrong.

    Raises:
        LocalStackError: a step did not end.
    """
    run = new_run()
    traffic, account = Traffic(run, _SHOP, Mix(), seed=1), Account(run)
    reader = LedgerReader(stand.objects, run, _SHOP)
    stand.put(traffic.take(traffic.left, datetime.now(UTC)), account)
    if wrong := settle(reader, account) + mismatches_of(stand, traffic):
        message = f"the loop was not right before the drill: {wrong[0]}"
        raise LocalStackError(message)
    say(f"drill: {len(account.events):,} events are in the lake and every live value is right; now all of it is lost")
    seconds: dict[str, float] = {}

    def timed(name: str, work: Callable[[], T]) -> T:
        began = time.monotonic()
        done = work()
        seconds[name] = round(time.monotonic() - began, 1)
        say(f"drill: {name:<28} {seconds[name]:6.1f} s")
        return done

    began = time.monotonic()
    stand.stack.flink.rest.cancel(stand.job)
    timed("Redis is back, empty", lambda: faults.restart_redis_empty(stand))
    rebuilt = timed("rebuild --lists", lambda: _rebuild(stand))
    timed("job submitted without state", stand.stack.submit)
    timed("first new list", lambda: stand.recovered(traffic, account, time.monotonic()))
    stand.put_events(traffic.once_more(datetime.now(UTC)), account)
    timed("everything right", lambda: _right(stand, traffic))
    seconds["all"] = round(time.monotonic() - began, 1)
    say(f"drill: {'all':<28} {seconds['all']:6.1f} s")
    missing = stand.missing_lists(_SHOP)
    mismatches = mismatches_of(stand, traffic)
    return {
        "events": len(account.events),
        "seconds": seconds,
        "rebuilt": rebuilt,
        "mismatches": len(mismatches),
        "lists_missing": len(missing),
        "wrong": [*mismatches[:3], *missing[:3]],
    }


def _rebuild(stand: Stand) -> dict[str, Any]:
    """The command of the runbook; what its last line says."""
    command = [sys.executable, "-m", "batch.rebuild", "--shop", _SHOP, "--days", "1", "--lists"]
    done = subprocess.run(
        command, env=stand.batch_environment(), capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False
    )
    last = done.stdout.strip().rpartition("\n")[2]
    if done.returncode or not last.startswith("REBUILT "):
        message = f"{' '.join(command[1:])} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        raise LocalStackError(message)
    found: dict[str, Any] = json.loads(last.removeprefix("REBUILT "))
    return found


def _right(stand: Stand, traffic: Traffic) -> None:
    """Wait until every bucket, history and list in Redis is what the events that were sent make of it."""
    wait_until(
        lambda: not mismatches_of(stand, traffic),
        "every live value",
        seconds=_RIGHT_SECONDS,
        dead=stand.dead,
        every=0.5,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command: 0 where everything came back, 1 where a value is wrong, 2 where the loop did not run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.drill", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(argv)
    here = machine()
    try:
        with running_stand([_SHOP], print) as stand:
            figures = drill(stand, lambda text: print(text, flush=True))
            settings = asdict(stand.stack.settings.streaming)
    except LiveshelfError as exc:
        print(f"drill: {exc}", file=sys.stderr)
        return 2
    for sentence in figures["wrong"]:
        print(f"drill: WRONG {sentence}", file=sys.stderr)
    print(result_line(figures, machine=here, settings=settings, repeats=1), flush=True)
    return 1 if figures["mismatches"] or figures["lists_missing"] else 0


if __name__ == "__main__":
    sys.exit(main())
