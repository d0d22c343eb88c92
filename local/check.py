"""``make demo-check``: the whole loop, headless and bounded; verifies every promise and ends with a RESULT line."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.report import machine, result_line
from contracts.errors import LiveshelfError
from contracts.items import decode_catalogue
from contracts.lake import EVENTS_PREFIX, catalogue_path
from contracts.settings import Settings, to_properties
from contracts.snapshot import Snapshot
from local import journey, probe_completion, probe_freshness, probe_taste
from local.clients import Api
from local.loop import Loop, whole_line
from local.probe_accounts import LedgerReader, reconcile
from local.probe_outcome import counted_features, failures, stored_lists
from local.probe_reader import ShelfReader
from local.replay import Replay, new_run

__all__ = ["main"]

SHOP: Final = "default"
SEED: Final = 20


class Check:
    """One run of the check against a loop that is up."""

    def __init__(self, loop: Loop, say: Callable[[str], None], rate: float, limit: int | None) -> None:
        self._loop = loop
        self._say = say
        self._rate = rate
        self._limit = limit
        self._probe = new_run()
        self.figures: dict[str, Any] = {}

    def run(self) -> dict[str, Any]:
        """Everything in order; returns the figures of the RESULT line."""
        initial = self._loop.objects.list(EVENTS_PREFIX)
        replay = self._start_replay()
        self._retrain()
        with ShelfReader(self._loop.url) as reader:
            self._measure(reader)
            self._loop.stack.stage("replay", self._await_replay)
            self._loop.stack.stage("completion", self._completion)
        self.figures |= stored_lists(self._loop, SHOP)
        self._loop.stack.stage("drain", self._drain)
        self._loop.stack.stage("accounts", lambda: self._accounts(replay, initial))
        self.figures |= {"seconds": self._loop.seconds}
        return self.figures

    def _start_replay(self) -> Replay:
        lines = self._loop.held_out(self._loop.parts.replay)[: self._limit]
        replay = self._loop.replay(lines, Api(self._loop.url), self._rate, duplicates=0.01, malformed=0.005)
        self._say(f"  replay: {len(lines):,} events at {self._rate:g}/s, with duplicates and malformed records")
        self._replay = replay
        self._sending = ThreadPoolExecutor(1, thread_name_prefix="replay").submit(replay.run)
        self._loop.await_first_live(f"u.{lines[0].household}")
        return replay

    def _retrain(self) -> None:
        """A second model while the stream runs; the same job must take it up without a restart."""
        loop = self._loop
        first = loop.trained["version"]
        second = loop.stack.stage("retrain", loop.trainer.train)["version"]
        loop.stack.stage("switch", lambda: loop.await_version(second, self._probe))
        self.figures |= {"model_versions": [first, second], "switched_during_replay": not self._sending.done()}

    def _measure(self, reader: ShelfReader) -> None:
        loop = self._loop
        catalogue = decode_catalogue(loop.objects.get(catalogue_path(SHOP)))
        snapshot = Snapshot.open(Path(loop.stack.settings.streaming.snapshot_cache) / SHOP / self.version, verify=False)
        kinds = probe_taste.kinds_of(catalogue.values())
        lines = journey.load(loop.parts.lake).lines
        cases = probe_taste.choose(lines, kinds, set(snapshot.items), seed=SEED)
        shares, seconds = probe_taste.run(Api(loop.url), reader, cases, kinds, prefix=self._probe)
        for share in shares:
            self._say(f"    {share.kind}: {share.before:.2f} -> {share.after:.2f}, control {share.control:.2f}")
        fresh = probe_freshness.run(Api(loop.url), reader, snapshot.popular[:100], prefix=self._probe, seed=SEED)
        self._say(f"  freshness: p50 {fresh['p50']} ms, p99 {fresh['p99']} ms, {fresh['timed_out']} timed out")
        self.figures |= {"taste": probe_taste.judge(shares, seconds), "freshness_ms": fresh}

    @property
    def version(self) -> str:
        """The newest model's version."""
        return str(self.figures["model_versions"][-1])

    def _await_replay(self) -> None:
        while True:
            with suppress(TimeoutError):
                self._sending.result(10)  # raises what ended the replay early
                return
            self._say(f"    {self._replay.account.sent:,} of {self._replay.total:,} events sent")

    def _completion(self) -> None:
        loop = self._loop
        cases = probe_completion.rounds(journey.load(loop.parts.test).lines, seed=SEED)
        done = probe_completion.run(Api(loop.url), loop.redis, cases, shop=SHOP, prefix=self._probe, per_s=500)
        self.figures |= {"hr20": probe_completion.score(done)}

    def _drain(self) -> None:
        """Close every window and every file: what was sent must then be found everywhere."""
        flink = self._loop.stack.flink
        self.figures |= {"flink_job_ids": sorted(flink.rest.jobs()), "restarts": flink.rest.restarts(self._loop.job)}
        flink.stop_job(self._loop.job, drain=True)
        self._loop.stack.supervisor.stop("delivery")

    def _accounts(self, replay: Replay, initial: Sequence[str]) -> None:
        reader = LedgerReader(self._loop.objects, replay.account.run, SHOP, ignore=initial)
        deadline = time.monotonic() + 60
        while True:
            accounts = reconcile(replay.account, reader.read())
            if accounts["agreed"] or time.monotonic() > deadline:
                break
            time.sleep(1)
        self.figures |= accounts | counted_features(self._loop, SHOP)


def _placeless(settings: Settings) -> list[dict[str, Any]]:
    """The settings without this run's addresses and folders, so that equal runs have equal digests."""
    streaming = replace(settings.streaming, snapshot_cache="")
    return to_properties(replace(settings, aws_endpoint=None, redis_nodes=(), streaming=streaming))


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.check", description=__doc__)
    parser.add_argument("--rate", type=float, default=200.0, help="replayed events a second (default: %(default)s)")
    parser.add_argument("--limit", type=int, help="replay at most so many events (default: two weeks, about 56,000)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the check; exit code 0 only if every promise held."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a log shows each line as it comes
    given, before = _arguments(argv), machine()
    print(f"demo-check, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC: the whole loop on this machine, about ten minutes")
    try:
        with Loop() as loop:
            figures = Check(loop, whole_line, given.rate, given.limit).run()
            broken = failures(figures)
            settings = _placeless(loop.stack.settings)
    except LiveshelfError as exc:
        print(f"demo-check failed: {exc}", file=sys.stderr)
        return 1
    for failure in broken:
        print(f"NOT KEPT: {failure}")
    print(result_line(figures, machine=before, settings=settings))
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
