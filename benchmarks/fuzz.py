"""``make fuzz``: thousands of malformed and hostile requests; the running service must refuse each with a reason.

After them come requests made from the service's own OpenAPI document: see :mod:`benchmarks.fuzz_api`.
"""

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.fuzz_api import Explored, explore
from benchmarks.fuzz_cases import Case, Keys, make_case
from benchmarks.report import finish, machine, result_line
from contracts.access import KeyDocument, make_key
from contracts.items import Item, encode_catalogue
from contracts.lake import catalogue_path
from contracts.settings import ServingSettings, Settings, to_properties
from local import valkey
from local.emulator_process import running_emulator
from local.health import http_ok
from local.ports import free_port
from local.supervisor import Service, Supervisor
from stores.aws import client
from stores.keys import KeyStore
from stores.objects import Objects
from stores.tables import Tables

__all__ = ["Target", "main", "running_service"]

_AT_ONCE: Final = 16
_WARM: Final = 1000
_WHOLE: Final = 10_000
"""From so many requests on a run is kept in the history."""
_ROOM_MIB: Final = 24.0
"""How much the process may grow: parsers and pools reach their size within the first requests, and stay there."""


@dataclass
class Seen:
    """What came back. ``faults`` are answers that no hostile request may get."""

    statuses: Counter[int] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def note(self, case: Case, answer: bytes) -> None:
        """Take an answer in."""
        head, _, body = answer.partition(b"\r\n\r\n")
        words = head.split(b" ", 2)
        status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        self.statuses[status] += 1
        self.kinds[case.kind] += 1
        headless = case.data[:5] == b"HEAD "
        if not 400 <= status < 500 or not (headless or _has_reason(body)):
            self.faults.append(f"{case.kind}: {status} {body[:120]!r} to {case.data[:160]!r}")


def _has_reason(body: bytes) -> bool:
    """An error with a code and a sentence, or a reason for every record, or faults with their lines."""
    try:
        told = json.loads(body)
    except ValueError:
        return False
    if "error" in told:
        return bool(told["error"]["code"] and told["error"]["message"])
    return all(r.get("reason") for r in told.get("results", [{}])) if "results" in told else bool(told.get("faults"))


@dataclass(frozen=True)
class Target:
    """The running service."""

    settings: Settings
    port: int
    keys: Keys
    pid: int

    def rss_mib(self) -> float:
        """Memory of the process."""
        return float(round(psutil.Process(self.pid).memory_info().rss / (1 << 20), 1))

    def in_stream(self) -> int:
        """Records on the stream."""
        kinesis, count = client("kinesis", self.settings), 0
        for shard in kinesis.list_shards(StreamName=self.settings.stream_name)["Shards"]:
            place = kinesis.get_shard_iterator(
                StreamName=self.settings.stream_name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            count += len(kinesis.get_records(ShardIterator=place)["Records"])
        return count


@contextmanager
def running_service() -> Iterator[Target]:
    """A service with API keys, a catalogue, Valkey and the emulator."""
    os.environ |= {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    with tempfile.TemporaryDirectory() as name, running_emulator() as endpoint, valkey.cluster(1) as nodes:
        folder, now = Path(name), datetime.now(UTC)
        given = Settings.from_properties({"liveshelf": {"redis.nodes": nodes, "aws.endpoint": endpoint}})
        serving = ServingSettings(keys=str(folder / "keys.json"), redis_timeout_ms=500, dynamodb_timeout_ms=2000)
        settings = replace(given, serving=serving)
        made = [make_key((scope,), now) for scope in ("events", "read")] + [make_key(("admin", "read", "events"), now)]
        KeyStore(settings).write(KeyDocument(keys=tuple(key for _, key in made), log_key="00"))
        s3, kinesis = client("s3", settings), client("kinesis", settings)
        region = {"LocationConstraint": settings.aws_region}
        s3.create_bucket(Bucket=settings.lake_bucket, CreateBucketConfiguration=region)
        kinesis.create_stream(StreamName=settings.stream_name, ShardCount=1)
        kinesis.get_waiter("stream_exists").wait(StreamName=settings.stream_name, WaiterConfig={"Delay": 1})
        Tables.from_settings(settings).ensure()
        items = [Item(item_id=f"i{n}", title=f"Item {n}") for n in range(100)]
        Objects.from_settings(settings).put(catalogue_path("default"), encode_catalogue(items))
        (folder / "p.json").write_text(json.dumps(to_properties(settings)))
        with Supervisor(folder / "run", say=lambda _: None) as supervisor:
            port = free_port()
            command = [sys.executable, "-m", "serving", "--port", str(port), "--properties", str(folder / "p.json")]
            ready = http_ok(f"http://127.0.0.1:{port}/readyz")
            supervisor.start(Service(name="serving", command=command, ready=ready))
            yield Target(settings, port, Keys(*(text for text, _ in made)), supervisor.pid("serving"))


async def _send(port: int, case: Case) -> bytes:
    """The whole answer; empty where the connection ended without one."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
    try:
        writer.write(case.data)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        length = int(lengths[0].partition(b":")[2]) if lengths and case.data[:5] != b"HEAD " else 0
        return head + (await asyncio.wait_for(reader.readexactly(length), 60) if length else b"")
    except (asyncio.IncompleteReadError, ConnectionError) as exc:
        return bytes(getattr(exc, "partial", b""))
    finally:
        writer.close()


async def _all(target: Target, cases: Iterator[Case], seen: Seen) -> None:
    """Several at a time; a slow one waits beside them."""

    async def work() -> None:
        for case in cases:
            seen.note(case, await _send(target.port, case))

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))


async def _slowly(target: Target, rng: random.Random, count: int, seen: Seen) -> None:
    cases = [make_case(rng, target.keys, slow=True) for _ in range(count)]
    for case, answer in zip(cases, await asyncio.gather(*(_send(target.port, case) for case in cases)), strict=True):
        seen.note(case, answer)


async def _run(target: Target, count: int, slow: int, seed: int) -> tuple[Seen, dict[str, float]]:
    rng, seen = random.Random(seed), Seen()
    warm = min(_WARM, count // 4)
    await _all(target, (make_case(rng, target.keys) for _ in range(warm)), seen)
    rss = {"before": target.rss_mib()}
    waiting = asyncio.create_task(_slowly(target, random.Random(seed + 1), slow, seen))
    await _all(target, (make_case(rng, target.keys) for _ in range(count - warm - slow)), seen)
    await waiting
    rss["after"] = target.rss_mib()
    return seen, rss


def main(argv: Sequence[str] | None = None) -> int:
    """Run; the last line is RESULT. Exit status 0 only if every request was refused with a reason and left nothing."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="requests (default: %(default)s)")
    parser.add_argument("--slow", type=int, default=20, help="of these, how many stop half-way (default: %(default)s)")
    parser.add_argument(
        "--examples",
        type=int,
        default=50,
        help="then so many of either kind to each operation of the OpenAPI document (default: %(default)s; 0: none)",
    )
    parser.add_argument("--seed", type=int, default=20260101)
    given = parser.parse_args(argv)
    began, given.machine = time.monotonic(), machine()
    with running_service() as target:
        print(f"fuzz: {given.count:,} requests to http://127.0.0.1:{target.port}, seed {given.seed}", flush=True)
        seen, rss = asyncio.run(_run(target, given.count, given.slow, given.seed))
        in_stream = target.in_stream()
        explored = _explore(target, given.examples) if given.examples else Explored()
    return _report(given, seen, rss, in_stream, explored, time.monotonic() - began)


def _explore(target: Target, examples: int) -> Explored:
    print(f"fuzz: {examples} requests of either kind to every operation of the OpenAPI document", flush=True)
    return explore(f"http://127.0.0.1:{target.port}", target.keys.admin, examples)


def _report(
    given: argparse.Namespace, seen: Seen, rss: dict[str, float], in_stream: int, explored: Explored, seconds: float
) -> int:
    for kind, number in sorted(seen.kinds.items()):
        print(f"fuzz: {number:>6,}  {kind}")
    print("fuzz: statuses " + ", ".join(f"{status}: {number:,}" for status, number in sorted(seen.statuses.items())))
    print("fuzz: by the document " + ", ".join(f"{status}: {n:,}" for status, n in sorted(explored.total.items())))
    for fault in (*seen.faults[:20], *explored.faults[:20]):
        print(f"fuzz: WRONG {fault}", file=sys.stderr)
    problems = []
    if seen.faults:
        problems.append(f"{len(seen.faults)} answers were no 4xx with a reason")
    if explored.faults:
        problems.append(f"{len(explored.faults)} answers were a 5xx or none that the OpenAPI document tells of")
    if in_stream:
        problems.append(f"{in_stream} records are on the stream")
    if rss["after"] - rss["before"] > _ROOM_MIB:
        problems.append(f"memory grew from {rss['before']} to {rss['after']} MiB")
    for problem in problems:
        print(f"fuzz: FAILED: {problem}", file=sys.stderr)
    result: dict[str, Any] = {
        "sent": sum(seen.statuses.values()),
        "status_4xx": sum(n for status, n in seen.statuses.items() if 400 <= status < 500),
        "status_5xx": sum(n for status, n in (seen.statuses + explored.total).items() if status >= 500),
        "in_stream": in_stream,
        "rss_mib": rss,
        "statuses": {str(status): number for status, number in sorted(seen.statuses.items())},
        "without_reason": len(seen.faults),
        "by_document": {"sent": explored.sent, "operations": len(explored.statuses), "wrong": len(explored.faults)},
        "seed": given.seed,
        "seconds": round(seconds, 1),
    }
    settings = {"count": given.count, "slow": given.slow, "examples": given.examples, "seed": given.seed}
    if given.count >= _WHOLE:
        finish("fuzz", result, machine=given.machine, settings=settings)
    else:
        print(result_line(result, machine=given.machine, settings=settings), flush=True)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
