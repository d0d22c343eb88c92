"""``make bench-serve``: the shelf over HTTP while the real stream runs, in an open loop and as fast as it goes.

A process of its own (``benchmarks/serve_load.py``) asks for the shelves of people drawn by Zipf, over kept connections,
at 100, 500 and 1,000 requests a second, while the collector takes 500 events a second that Kinesis and Flink turn into
new lists; once more at 500 while the trainer works. Latency counts from the time at which a request was due. Then, with
the stream idle: shelves as fast as answers come, and in turns with them two references, the same server answering with
a constant of the same size, and Redis answering GET for the same people. Everything shares this machine's cores.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks import serve_world as world
from benchmarks.report import finish, machine, result_line
from benchmarks.serve_app import CONSTANT
from benchmarks.serve_load import Told
from benchmarks.stream_shop import StreamShop
from benchmarks.stream_world import fill_lists, publish, start_stack
from contracts.errors import LiveshelfError
from deploy.stream_settings import stream_settings
from local.ports import LOOPBACK
from local.stack import Stack

__all__ = ["main"]

RATES: Final = (100, 500, 1000)
_CONNECTIONS: Final = 32
_CLOSED: Final = 32
_SETTLE_S: Final = 3.0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serve", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rates", default=",".join(map(str, RATES)), help="requests a second, each measured")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each rate (default: %(default)s)")
    parser.add_argument("--events", type=int, default=500, help="events a second meanwhile (default: %(default)s)")
    parser.add_argument("--people", type=int, default=4000, help="who ask and act (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of the closed loop and its references")
    parser.add_argument("--retrain", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--quick", action="store_true", help="500 a second for 5 s, one round, no retrain")
    given = parser.parse_args(argv)
    if given.quick:
        given.rates, given.seconds, given.people, given.rounds, given.retrain = "500", 5.0, 1000, 1, False
    given.rates = [int(rate) for rate in given.rates.split(",")]
    return given


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, append to the history, print RESULT."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    given, before = _arguments(argv), machine()
    try:
        figures = _figures(given)
    except LiveshelfError as exc:
        print(f"bench-serve: {exc}", file=sys.stderr)
        return 1
    settings = {"stream": stream_settings().groups(), "people": given.people, "events": given.events}
    if given.quick:
        print(result_line(figures, machine=before, settings=settings, repeats=given.rounds), flush=True)
    else:
        finish("bench-serve", figures, machine=before, settings=settings, repeats=given.rounds)
    return 0


def _figures(given: argparse.Namespace) -> dict[str, Any]:
    shop = StreamShop(people=given.people)
    with tempfile.TemporaryDirectory(prefix="bench-serve-") as folder, Stack(print, Path(folder)) as stack:
        start_stack(stack, redis_mib=1024, options={})
        stack.stage("model", lambda: publish(stack, shop))
        stack.stage("lists", lambda: fill_lists(stack, shop))
        stack.stage("job", stack.submit)
        stack.start_delivery()
        port = stack.stage("serving", lambda: world.start_serving(stack))
        stack.stage("live lists", lambda: world.everybody_live(stack, shop, port))
        if given.retrain:
            stack.stage("lake", lambda: world.fill_lake(stack))
        found: dict[str, Any] = {"open_loop": {str(rate): _open(given, shop, port, rate) for rate in given.rates}}
        if given.retrain:
            with world.retraining(stack):
                found["during_retrain"] = _open(given, shop, port, 500, seed=1)
        stack.supervisor.check()
        return found | _closed(given, stack, shop, port)


def _open(given: argparse.Namespace, shop: StreamShop, port: int, rate: int, seed: int = 0) -> dict[str, Any]:
    """One rate beside the ingestion."""
    targets = world.shelf_targets(shop)
    lasts = given.seconds + _SETTLE_S + 1
    with world.ingestion(shop, port, given.events, lasts, seed=rate + seed) as ingested:
        time.sleep(_SETTLE_S)
        told = world.ask(LOOPBACK, port, targets, seconds=given.seconds, rate=rate, connections=_CONNECTIONS)
    figures = _summary(told) | {"ingested_per_s": ingested["events_per_s"]}
    print(f"  {rate:5} requests/s{' beside a retrain' if seed else ''}: {figures}")
    return figures


def _summary(told: Told) -> dict[str, Any]:
    shares = {rung: round(count / max(1, told.answered), 4) for rung, count in told.rungs.items()}
    return {
        "p50_ms": told.p50_ms,
        "p95_ms": told.p95_ms,
        "p99_ms": told.p99_ms,
        "max_ms": told.max_ms,
        "errors": sum(told.errors.values()),
        "causes": told.errors,
        "achieved_rps": told.achieved_rps,
        "rungs": told.rungs,
        "rung_shares": shares,
        "load_late_p99_ms": told.late_p99_ms,
    }


def _closed(given: argparse.Namespace, stack: Stack, shop: StreamShop, port: int) -> dict[str, Any]:
    """Throughput of shelf, constant and Redis, in turns, so that what else the machine does meets all of them."""
    (redis_host, redis_port), seconds = stack.settings.redis_nodes[0], max(2.0, given.seconds / 5)
    constant = [f"GET {CONSTANT} HTTP/1.1\r\nHost: {LOOPBACK}\r\n\r\n".encode()]
    asked: dict[str, tuple[str, int, list[bytes], str]] = {
        "shelf": (LOOPBACK, port, world.shelf_targets(shop), "http"),
        "constant": (LOOPBACK, port, constant, "http"),
        "redis": (redis_host, redis_port, world.redis_targets(shop), "redis"),
    }
    rates: dict[str, list[float]] = {name: [] for name in asked}
    errors = dict.fromkeys(asked, 0)
    for _ in range(given.rounds):
        for name, (host, at, targets, reply) in asked.items():
            told = world.ask(host, at, targets, seconds=seconds, rate=0, connections=_CLOSED, reply=reply)
            rates[name].append(told.achieved_rps)
            errors[name] += sum(told.errors.values())
    median = {name: round(statistics.median(each), 1) for name, each in rates.items()}
    print(f"  closed loop, requests/s: {median}; errors: {errors}")
    return {
        "closed_loop_rps": median["shelf"],
        "closed_loop_errors": errors["shelf"],
        "spread": [min(rates["shelf"]), max(rates["shelf"])],
        "references": {"constant_rps": median["constant"], "redis_get_rps": median["redis"]},
        "share_of_constant": round(median["shelf"] / median["constant"], 3),
    }


if __name__ == "__main__":
    sys.exit(main())
