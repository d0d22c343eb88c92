"""``make bench-freshness``: from an accepted event to the changed list over HTTP, through Kinesis, in an open loop.

A process of its own (``benchmarks/freshness_load.py``) posts to the collector at 100, 500 and 1,000 events a second and
polls the lists of its probes over HTTP until ``based_on`` covers their event; what never comes is counted, as the
time-out of 10 s. The time begins with the collector's stamp ``received_at``, before the event is on the stream. The
stream is read every 250 ms, what AWS allows beside Firehose (whose stand-in runs too) and the emulator enforces.

Two further runs change one thing: reads every 50 ms stand in for enhanced fan-out, to whom Kinesis pushes records; and
Flink's default bundles (1 s, 100,000 rows) show what a service costs that does not let a job set them. The model is
synthetic, so the share of the new taste tells that the list follows, not how good a model is: ``make demo-check`` does.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

import msgspec

from benchmarks.freshness_load import Load
from benchmarks.freshness_stages import arrivals, stages, summary
from benchmarks.report import changed, finish, machine
from benchmarks.stream_shop import StreamShop
from benchmarks.stream_world import cluster_options, fill_lists, publish, start_stack
from contracts.errors import LiveshelfError, LocalStackError
from contracts.settings import StreamingSettings, property_key
from deploy.stream_settings import stream_settings
from local.stack import Stack

__all__ = ["main", "property_of"]

RATES: Final = (100, 500, 1000)
_DEFAULT_BUNDLE: Final = {"bundle_time_ms": 1000, "bundle_rows": 1000, "buffer_timeout_ms": 100}
"""What Flink does where a job says nothing (Flink 1.20, "Python Options" and "Execution")."""
_WARM_S: Final = 10.0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.freshness", description=__doc__)
    parser.add_argument("--rates", default=",".join(map(str, RATES)), help="events a second, each measured")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each rate (default: 60)")
    parser.add_argument("--probes-per-s", type=float, default=10.0)
    parser.add_argument("--only", choices=("250ms", "50ms", "default-bundle"), help="one of the three settings")
    parser.add_argument("--flink", action="append", default=[], metavar="KEY=VALUE", help="another Flink option")
    parser.add_argument(
        "--set",
        type=property_of,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="another value of one of the job's numbers, as bundle.time.ms=20",
    )
    parser.add_argument("--quick", action="store_true", help="100 a second for 15 s as deployed, nothing else")
    given = parser.parse_args(argv)
    if given.quick:
        given.rates, given.seconds, given.only = "100", 15.0, "250ms"
    given.rates = [int(rate) for rate in given.rates.split(",")]
    given.flink = cluster_options(parser, given.flink, instead="--set")
    given.set = dict(given.set)
    return given


def property_of(text: str) -> tuple[str, int]:
    """Field and value of a property of the group ``liveshelf.streaming``."""
    key, _, value = text.partition("=")
    known = {property_key(f.name): f.name for f in fields(StreamingSettings) if f.type is int}
    if key not in known or not value.isdecimal():
        message = f"{text!r}; expected KEY=VALUE with a whole number, and as the key one of {', '.join(sorted(known))}"
        raise argparse.ArgumentTypeError(message)
    return known[key], int(value)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print a table, append to the history, print RESULT."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    given, before = _arguments(argv), machine()
    try:
        figures = _figures(given)
    except LiveshelfError as exc:
        print(f"bench-freshness: {exc}", file=sys.stderr)
        return 1
    other = changed(given, _arguments([]))
    finish("bench-freshness", figures, machine=before, settings=stream_settings().groups(), other=other)
    return 0


def _figures(given: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if given.only in (None, "250ms"):
        measured = _with_stack(given, given.rates, {"getrecords_interval_ms": 250} | given.set)
        found["rates"] = {rate: figures for rate, (figures, _) in measured.items()}
        shown = "500" if "500" in measured else next(iter(measured))
        found["stages_ms"] = measured[shown][1]
    if given.only in (None, "50ms"):
        measured = _with_stack(
            given, given.rates, {"getrecords_interval_ms": 50} | given.set, ("--reads-per-second", "25")
        )
        found["rates_50ms_reads"] = {rate: figures for rate, (figures, _) in measured.items()}
        shown = "500" if "500" in measured else next(iter(measured))
        found["stages_ms_50ms_reads"] = measured[shown][1]
    if given.only in (None, "default-bundle"):
        measured = _with_stack(given, [500], {"getrecords_interval_ms": 250} | _DEFAULT_BUNDLE | given.set)
        found["default_bundle"] = measured["500"][0]
        found["stages_ms_default_bundle"] = measured["500"][1]
    return found


def _with_stack(
    given: argparse.Namespace,
    rates: Sequence[int],
    changed: dict[str, Any],
    emulator: tuple[str, ...] = (),
) -> dict[str, tuple[dict[str, Any], dict[str, float]]]:
    """Start everything, warm it up, and measure each rate: the figures of the result line, and medians by stage."""
    shop = StreamShop(people=50_000)
    print(f"as in the settings file but for {changed}, Flink options beside it: {given.flink or 'none'}")
    with tempfile.TemporaryDirectory(prefix="bench-freshness-") as folder, Stack(print, Path(folder)) as stack:
        start_stack(stack, redis_mib=1024, options=given.flink, emulator=emulator)
        streaming = replace(stack.settings.streaming, **changed)
        stack.configure(replace(stack.settings, streaming=streaming))
        stack.stage("model", lambda: publish(stack, shop))
        stack.stage("lists", lambda: fill_lists(stack, shop))
        stack.stage("job", stack.submit)
        stack.start_delivery()
        url = stack.stage("serving", lambda: stack.start_serving(None))
        stack.stage("warm-up", lambda: _load(given, url, shop, 100, _WARM_S, seed=0))
        return {str(rate): _measure(given, stack, url, shop, rate) for rate in rates}


def _measure(
    given: argparse.Namespace, stack: Stack, url: str, shop: StreamShop, rate: int
) -> tuple[dict[str, Any], dict[str, float]]:
    load = _load(given, url, shop, rate, given.seconds, seed=rate)
    stack.supervisor.check()
    on_stream = arrivals(stack.settings, load.began_ms, f"p{rate}-")
    figures, by_stage = summary(load), stages(load.probes, on_stream)
    print(f"  {rate:5} events/s: {figures}")
    print(f"                  p50 by stage: {by_stage}; sent {load.sent}, the last one {load.behind_s:.3f} s behind")
    return figures, by_stage


def _load(given: argparse.Namespace, url: str, shop: StreamShop, rate: int, seconds: float, *, seed: int) -> Load:
    words = {"url": url, "rate": rate, "seconds": seconds, "probes-per-s": given.probes_per_s, "seed": seed}
    command = [sys.executable, "-m", "benchmarks.freshness_load", "--shop", msgspec.json.encode(shop).decode()]
    for name, value in words.items():
        command += [f"--{name}", str(value)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 240, check=False)
    if done.returncode != 0:
        message = f"the load at {rate} events/s ended with code {done.returncode}: {done.stderr[-2000:]}"
        raise LocalStackError(message)
    return msgspec.json.decode(done.stdout, type=Load)


if __name__ == "__main__":
    sys.exit(main())
