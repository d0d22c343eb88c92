"""``make bench-state``: millions of people who come once, over five times to live: what is kept does not grow.

Every time to live that the settings have is shortened to ``--ttl-s``, and event time runs so much faster than the clock
that a window is open for one of them as well (5 min and the windows' delay). Each second a file with new people's views
joins the folder that the job watches. RocksDB's files, Redis and the processes are looked at every few seconds; after
the first time to live the means over each further one must be alike. The last line is RESULT.
"""

import argparse
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.report import changed, finish, machine
from benchmarks.stream_redis import memory_mib
from benchmarks.stream_run import Progress
from benchmarks.stream_shop import StreamShop
from benchmarks.stream_state import People, Sample, growth
from benchmarks.stream_world import cluster_options, publish, start_stack
from contracts.errors import LiveshelfError, LocalStackError
from contracts.features import BUCKET_MS
from deploy.stream_settings import stream_settings
from local.health import wait_until
from local.paths import checkout
from local.stack import Stack

__all__ = ["main"]

_LEAST_FLAT: Final = 0.10


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.state", description=__doc__)
    parser.add_argument("--users", type=int, default=5_000_000, help="distinct people (default: 5,000,000)")
    parser.add_argument("--ttl-s", type=int, default=120, help="every time to live (default: 120)")
    parser.add_argument("--ttls", type=float, default=5.0, help="how many of them the run takes (default: 5)")
    parser.add_argument("--every-s", type=float, default=5.0, help="between looks")
    parser.add_argument("--redis-mib", type=int, default=6144, help="memory of each of the two nodes")
    parser.add_argument("--flink", action="append", default=[], metavar="KEY=VALUE", help="another Flink option")
    parser.add_argument("--quick", action="store_true", help="30,000 people, times to live of 20 s: does it work")
    given = parser.parse_args(argv)
    if given.quick:
        given.users, given.ttl_s, given.ttls, given.every_s, given.redis_mib = 30_000, 20, 3.0, 2.0, 1024
    given.flink = cluster_options(parser, given.flink, instead="contracts/settings.py (StreamingSettings)")
    return given


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print the series, append to the history, print RESULT; status 1 where something grew by more than 10 %."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    given, before = _arguments(argv), machine()
    scratch = Path(tempfile.mkdtemp(prefix="bench-state-"))
    try:
        with Stack(print, scratch / "stack") as stack:
            series = _run(given, stack, scratch / "records")
    except LiveshelfError as exc:
        print(f"bench-state: {exc}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    grew = growth(series, given.ttl_s)
    worst = max(grew.values(), default=0.0)
    figures = {
        "users": given.users,
        "ttl_s": given.ttl_s,
        "series": [sample.figures() for sample in series],
        "growth_after_first_ttl": round(worst, 4),
        "growth": {name: round(value, 4) for name, value in grew.items()},
    }
    print(f"  growth after the first time to live: {figures['growth']}; expected at most {_LEAST_FLAT:.0%}")
    other = changed(given, _arguments([]))
    finish("bench-state", figures, machine=before, settings=stream_settings().groups(), other=other)
    return 0 if given.quick else int(worst > _LEAST_FLAT)


def _run(given: argparse.Namespace, stack: Stack, folder: Path) -> list[Sample]:
    shop = StreamShop(people=given.users, items=5_000, groups=100)
    ttl = given.ttl_s
    seconds = given.ttls * ttl
    start_stack(stack, redis_mib=given.redis_mib, options=given.flink)
    streaming = replace(
        stack.settings.streaming, dedup_horizon_s=ttl, sums_ttl_s=ttl, user_ttl_s=ttl, item_ttl_s=ttl, list_size=50
    )
    stack.configure(replace(stack.settings, streaming=streaming))
    stack.stage("model", lambda: publish(stack, shop))
    open_ms = BUCKET_MS + 1000 * streaming.window_delay_s
    people = People(shop, folder, seconds=seconds, users=given.users, faster=open_ms / 1000 / ttl)
    folder.mkdir()
    job = stack.stage("job", lambda: _submit(stack, folder))
    wait_until(lambda: stack.flink.rest.running(job), "the job", seconds=180)
    writer = threading.Thread(target=people.write, name="people", daemon=True)
    writer.start()
    try:
        return _watch(given, stack, people, Progress(stack.flink.rest, job), seconds)
    finally:
        people.stop()
        writer.join(30)


def _submit(stack: Stack, folder: Path) -> str:
    script = checkout() / "benchmarks" / "stream_job.py"
    return stack.submit(script, ["--part", "whole", "--folder", str(folder), "--every-s", "1"])


def _watch(given: argparse.Namespace, stack: Stack, people: People, progress: Progress, seconds: float) -> list[Sample]:
    """Look at everything until the last person was counted; the clock begins when the first was.

    Raises:
        LocalStackError: the job stands still, or is more than a time to live behind.
    """
    series, began = list[Sample](), 0.0
    deadline = time.monotonic() + 3 * seconds + 120
    print("       s   RocksDB     Redis       RSS   people counted")
    while not series or series[-1].rows < given.users:
        time.sleep(given.every_s)
        stack.supervisor.check()
        rows = progress.rows()
        if not rows and time.monotonic() < deadline:
            continue
        began = began or time.monotonic()
        series.append(_look(stack, time.monotonic() - began, rows))
        last = series[-1]
        print(
            f"  {last.s:6.0f} {last.rocksdb_mib:7.0f} M {last.redis_mib:7.0f} M {last.rss_mib:7.0f} M   "
            f"{rows:,.0f} of {people.written:,}"
        )
        if time.monotonic() > deadline:
            message = f"{rows:,.0f} of {given.users:,} people were counted in {3 * seconds:.0f} s; the job is too slow"
            raise LocalStackError(message)
    return series


def _look(stack: Stack, s: float, rows: float) -> Sample:
    rss = 0
    manager = psutil.Process(stack.supervisor.pid("flink-taskmanager"))
    for process in (manager, *manager.children(recursive=True)):
        try:
            rss += process.memory_info().rss
        except psutil.Error:  # it has just ended
            continue
    files = (stack.flink.home / "tmp").rglob("*.sst")
    return Sample(round(s, 1), _size(files) / 2**20, memory_mib(stack.settings.redis_nodes), rss / 2**20, rows)


def _size(files: Any) -> int:
    total = 0
    for file in files:
        try:
            total += file.stat().st_size
        except OSError:  # compacted away
            continue
    return total


if __name__ == "__main__":
    sys.exit(main())
