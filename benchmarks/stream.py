"""``make bench-stream``: what the whole job sustains on files, beside what Flink and Valkey do without it.

Records of all types, Zipf, over an hour that ends now, are read from local files (the emulated stream would be the
limit), parsed, de-duplicated, counted, scored and written to Redis and S3 by the product's own job with the product's
own settings (``deploy/stream-settings.json``). Rates are taken while the job is steady. The last line is RESULT.
"""

import argparse
import re
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.report import changed, finish, machine
from benchmarks.stream_outcomes import outcomes
from benchmarks.stream_redis import command_calls, sets_per_s, value_bytes, written
from benchmarks.stream_run import Run, measure
from benchmarks.stream_shop import Sent, StreamShop, write_files
from benchmarks.stream_world import clear, cluster_options, fill_lists, publish, start_stack
from contracts.errors import LiveshelfError, LocalStackError
from contracts.keys import user_key
from deploy.stream_settings import stream_settings
from local.stack import Stack
from streaming.stages import STAGES

__all__ = ["Whole", "feature_us", "main", "result_of", "summary_of"]

_FEATURE: Final = re.compile(r"\b(item|user)_\w+")
_QUICK: Final = 120_000
_FREE: Final = ("events", "repeats", "degrees")
"""What may be said of a run that is for the history; the last is told by another option."""
_USER_KEYS: Final = user_key("default", "*")


@dataclass(slots=True)
class Whole:
    """One repeat of the whole job: its run, and what it left behind."""

    run: Run
    outcomes: dict[str, int]
    redis_writes: int
    value_bytes: int


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stream", description=__doc__)
    parser.add_argument("--events", type=int, default=3_000_000, help="records a run (default: 3,000,000)")
    parser.add_argument("--people", type=int, default=200_000)
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument(
        "--people-exponent",
        type=float,
        default=StreamShop().person_exponent,
        help="shares of people fall as rank to the minus this: 0 is even, 1 is Zipf's law (default: %(default)s)",
    )
    parser.add_argument("--parallelism", default="1,2", help="degrees, each measured (default: 1,2)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--theta", type=float, default=0.0, help="weight of the ranker; above 0 it orders every list")
    parser.add_argument("--sink", choices=("s3", "files"), default="s3", help="the emulated S3, or local files")
    parser.add_argument("--flink", action="append", default=[], metavar="KEY=VALUE", help="another Flink option")
    parser.add_argument(
        "--try",
        dest="tried",
        action="append",
        default=[],
        metavar="KEY=VALUE,…",
        help="one more run with these options of the job, to see what a setting does",
    )
    parser.add_argument("--stages", action="store_true", help="also the job cut off behind each of its stages")
    parser.add_argument("--no-features", action="store_true", help="not what each feature's running value costs")
    parser.add_argument("--no-references", action="store_true")
    parser.add_argument("--quick", action="store_true", help=f"{_QUICK:,} events, one repeat: does it work")
    given = parser.parse_args(argv)
    if given.quick:
        given.events, given.repeats, given.people = min(given.events, _QUICK), 1, min(given.people, 20_000)
    given.flink = cluster_options(parser, given.flink, instead="--try")
    given.degrees = [int(degree) for degree in given.parallelism.split(",")]
    return given


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print tables, append to the history, print RESULT."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    given, before = _arguments(argv), machine()
    shop = StreamShop(
        events=given.events, people=given.people, items=given.items, person_exponent=given.people_exponent
    )
    scratch = Path(tempfile.mkdtemp(prefix="bench-stream-"))
    try:
        figures = _Bench(given, shop, scratch).figures()
    except LiveshelfError as exc:
        print(f"bench-stream: {exc}\nlogs stay below {scratch}", file=sys.stderr)
        return 1
    shutil.rmtree(scratch, ignore_errors=True)
    settings, other = stream_settings().groups(), changed(given, _arguments([]), _FREE)
    finish("bench-stream", figures, machine=before, settings=settings, repeats=given.repeats, other=other)
    return 0


class _Bench:
    """The runs of one command over one stack a degree of parallelism."""

    def __init__(self, given: argparse.Namespace, shop: StreamShop, scratch: Path) -> None:
        self._given, self._shop, self._scratch = given, shop, scratch

    def figures(self) -> dict[str, Any]:
        """What the RESULT line holds."""
        whole: dict[str, Any] = {}
        parse: dict[str, float] = {}
        others: dict[str, Any] = {}
        for degree in self._given.degrees:
            options = _container(degree) | self._given.flink
            with Stack(print, self._scratch / f"stack-{degree}") as stack:
                start_stack(stack, redis_mib=3072, options=options)
                stack.stage("model", lambda: publish(stack, self._shop, theta=self._given.theta))
                sent = self._write(degree)
                runs = [self._whole(stack, degree, sent) for _ in range(self._given.repeats)]
                whole |= {str(degree): summary_of(runs)} if runs else {}
                for tried in self._given.tried:
                    print(f"  with {tried}:")
                    self._whole(stack, degree, sent, [f"--option={option}" for option in tried.split(",")])
                for stage in STAGES if self._given.stages else ():
                    self._stage(stack, degree, sent, stage)
                if not self._given.no_references:
                    reference = measure(stack, "json", self._files(degree), sent.lines)
                    parse[str(degree)] = reference.events_per_s
                    print(f"  parallelism {degree}: parse only {reference.events_per_s:,.0f} events/s")
                if degree == self._given.degrees[-1] and runs:
                    others = self._last(stack, degree, sent, runs)
            shutil.rmtree(self._files(degree))
        return result_of(whole, parse, others, sent)

    def _files(self, degree: int) -> Path:
        return self._scratch / f"records-{degree}"

    def _write(self, degree: int) -> Sent:
        began = time.monotonic()
        sent = write_files(self._shop, self._files(degree), degree, time.time_ns() // 1_000_000)
        print(f"  records: {sent} in {time.monotonic() - began:.1f} s")
        return sent

    def _whole(self, stack: Stack, degree: int, sent: Sent, options: Sequence[str] = ()) -> Whole:
        clear(stack)
        fill_lists(stack, self._shop)
        nodes = stack.settings.redis_nodes
        before = command_calls(nodes)
        sink = self._scratch / "sink"
        shutil.rmtree(sink, ignore_errors=True)
        words = ["--sink", str(sink)] if self._given.sink == "files" else []
        run = measure(stack, "whole", self._files(degree), sent.lines, [*options, *words])
        done = Whole(
            run,
            outcomes(stack, sink if words else None),
            written(before, command_calls(nodes)),
            value_bytes(nodes, _USER_KEYS),
        )
        _tell(degree, done, sent)
        return done

    def _stage(self, stack: Stack, degree: int, sent: Sent, stage: str) -> None:
        clear(stack)
        fill_lists(stack, self._shop)
        try:
            run = measure(stack, stage, self._files(degree), sent.lines)
        except LocalStackError as exc:  # a short stage needs more records than a long one
            print(f"bench-stream: the job up to {stage} could not be measured: {exc}", file=sys.stderr)
            return
        processor = f", {run.events_per_cpu_s:,.0f} a CPU-second" if run.events_per_cpu_s else ""  # a single task: none
        print(f"  parallelism {degree}, the job up to {stage}: {run.events_per_s:,.0f} events/s{processor}")
        _tell_shares(run)

    def _last(self, stack: Stack, degree: int, sent: Sent, runs: Sequence[Whole]) -> dict[str, Any]:
        """The references and figures that are taken once, on the stack of the last degree."""
        found: dict[str, Any] = {}
        nodes = stack.settings.redis_nodes
        value = runs[-1].value_bytes
        depth = max(1, round(runs[-1].run.gauges.get("batch_rows", 500) / len(nodes)))
        if not self._given.no_references:
            fill_lists(stack, self._shop)
            rate = sets_per_s(nodes, value=value, depth=depth)
            print(f"  Valkey alone: {rate:,.0f} SETs/s of {value} bytes, {depth} a round trip")
            found |= {"redis_sets_per_s": round(rate), "redis_value_bytes": value, "redis_depth": depth}
        if not self._given.no_features:
            try:
                found["feature_us"] = feature_us(measure(stack, "features", self._files(degree), sent.lines).us)
            except LocalStackError as exc:  # what took half an hour is told all the same
                print(f"bench-stream: what a feature costs could not be measured: {exc}", file=sys.stderr)
        return found


def feature_us(spent: dict[str, float]) -> dict[str, float]:
    """From µs an event by step to µs a feature: its running value alone, less one that adds up nothing.

    ``none`` is what any running value of that entity costs (the way to its key, reading and writing its state), ``all``
    what the job pays: one state for all of them.

    >>> feature_us({"Over[1] -> item_none[2]": 3.0, "Over[3] -> item_views[4]": 3.5, "item_all": 5.0, "other": 9.0})
    {'item_none': 3.0, 'item_views': 0.5, 'item_all': 5.0}
    """
    found: dict[str, float] = defaultdict(float)
    for step, us in spent.items():
        if name := _FEATURE.search(step):
            found[name[0]] += us
    none = {name.partition("_")[0]: us for name, us in found.items() if name.endswith("_none")}
    return {
        name: us if name.endswith(("_none", "_all")) else round(max(0.0, us - none[name.partition("_")[0]]), 3)
        for name, us in found.items()
    }


def _tell(degree: int, done: Whole, sent: Sent) -> None:
    run = done.run
    print(
        f"  parallelism {degree}: {run.events_per_s:,.0f} events/s, {run.events_per_cpu_s:,.0f} a CPU-second, "
        f"{done.outcomes}, {done.redis_writes:,} Redis writes, {done.value_bytes} bytes a person, {run.seconds:.0f} s; "
        f"sent {sent.lines:,}; gauges {run.gauges}"
    )
    _tell_shares(run)


def _tell_shares(run: Run) -> None:
    for step, part in run.share.items():
        print(f"    {100 * part:5.1f} %  {run.us.get(step, 0.0):7.2f} µs an event  {step}")


def _container(degree: int) -> dict[str, str]:
    """One slot for each degree, with the memory of a managed service's unit (4 GiB, of which Flink gets 3).

    Figures are asked for seldom: answering takes the JobManager as long as hundreds of events take the job.
    """
    return {
        "parallelism.default": str(degree),
        "taskmanager.numberOfTaskSlots": str(degree),
        "taskmanager.memory.process.size": f"{3072 * degree}m",
        "metrics.fetcher.update-interval": "2 s",
    }


def summary_of(runs: Sequence[Whole]) -> dict[str, Any]:
    """The figures of one degree of parallelism: medians of the rates, counts and shares of the last repeat."""
    rates, per_cpu = [r.run.events_per_s for r in runs], [r.run.events_per_cpu_s for r in runs]
    last = runs[-1]
    return {
        "events_per_s": median(rates),
        "spread": [min(rates), max(rates)],
        "events_per_cpu_s": median(per_cpu),
        "rows_scored": last.outcomes.get("scored", 0),
        "rows_superseded": last.outcomes.get("superseded", 0),
        "redis_writes": last.redis_writes,
        "outcomes": last.outcomes,
        "share": last.run.share,
        "us": last.run.us,
    }


def result_of(whole: dict[str, Any], parse: dict[str, float], others: dict[str, Any], sent: Sent) -> dict[str, Any]:
    """The figures of the RESULT line."""
    shares = {degree: figures.pop("share") for degree, figures in whole.items()}
    redis = others.get("redis_sets_per_s")
    ratios = {}
    for degree, figures in whole.items():
        rate = figures["events_per_s"]
        ratios[degree] = {
            "to_parse_only": round(rate / parse[degree], 3) if degree in parse else None,
            "to_redis_sets": round(rate / redis, 3) if redis else None,
        }
    return {
        "events": sent.lines,
        "parallelism": whole,
        "references": {"parse_only_events_per_s": parse} | {k: v for k, v in others.items() if k != "feature_us"},
        "ratios": ratios,
        "share": next(iter(shares.values()), {}),
        "share_by_parallelism": shares,
        "feature_us": others.get("feature_us", {}),
    }


if __name__ == "__main__":
    sys.exit(main())
