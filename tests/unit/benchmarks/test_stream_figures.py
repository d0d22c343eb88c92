"""Rates come from the steady part of a run, processor time from the steps that spent it, growth from later means."""

import importlib
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks import freshness, stream, survival
from benchmarks.freshness_load import Load, Probe
from benchmarks.freshness_stages import stages, summary
from benchmarks.stream_clock import STEPS, Clock
from benchmarks.stream_meter import java_names, share, step_of_thread
from benchmarks.stream_redis import written
from benchmarks.stream_run import Tick, steady
from benchmarks.stream_state import Sample, growth
from contracts.errors import LocalStackError


def test_the_start_and_the_end_of_a_run_are_not_measured() -> None:
    slow_start = [Tick(float(s), rows) for s, rows in enumerate([0, 1, 2, 100, 200, 300, 400, 500, 501])]
    first, last = steady(slow_start, 501)
    assert (last.rows - first.rows) / (last.at - first.at) == 100


def test_a_run_without_a_steady_part_is_refused() -> None:
    with pytest.raises(LocalStackError, match="send more events"):
        steady([Tick(0.0, 0.0), Tick(1.0, 100.0)], 100)


def test_subtasks_of_a_task_are_one_step() -> None:
    dump = "\n".join(
        f'"recommend (\U0001d465) ({n}/2)#0" #9{n} prio=5 os_prio=0 cpu=1.0ms elapsed=2s tid=0x0 nid=0x{n} runnable'
        for n in (1, 2)
    )
    assert {step_of_thread(name) for name in java_names(dump).values()} == {"recommend (\U0001d465)"}


def test_threads_that_help_a_task_are_not_the_task() -> None:
    helpers = ("OutputFlusher", "System Time Trigger", "Time Trigger")
    assert {step_of_thread(f"{helper} for sum up item_views (1/1)#0") for helper in helpers} == {"threads beside tasks"}
    assert step_of_thread("Source Data Fetcher for Source: records (1/1)#0") == "Source: records"


def test_a_step_is_charged_for_what_no_other_step_does_within_it(tmp_path: Path) -> None:
    ticks = iter([0.0, 1.0, 4.0, 6.0])
    clock = Clock(tmp_path / "1.json", now=lambda: next(ticks))
    inner = clock.timed(lambda: None, "send")
    clock.timed(inner, "write")()
    assert clock.spent == {"write": 3.0, "send": 3.0}
    assert json.loads((tmp_path / "1.json").read_text()) == clock.spent


def test_a_step_that_fails_is_charged_as_well(tmp_path: Path) -> None:
    ticks = iter([0.0, 2.0])
    with pytest.raises(ZeroDivisionError):
        Clock(tmp_path / "1.json", now=lambda: next(ticks)).timed(lambda: 1 // 0, "write")()
    assert json.loads((tmp_path / "1.json").read_text()) == {"write": 2.0}


def test_the_clocks_steps_are_functions_that_exist() -> None:
    for place in (place for places in STEPS.values() for place in places):
        module, _, name = place.partition(":")
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
        assert callable(found)


def test_shares_add_up_to_one() -> None:
    before, after = defaultdict(float, a=1.0), defaultdict(float, a=3.0, b=5.0, c=0.003)
    assert sum(share(before, after).values()) == pytest.approx(1.0, abs=1e-3)


def test_writes_inside_a_guard_count_once() -> None:
    assert written({}, {"evalsha": 10, "set": 10, "get": 10, "hset": 2, "expire": 5}) == 12


def test_a_list_that_never_came_counts_as_the_time_out_and_is_told() -> None:
    came = [Probe(f"p{n}", 0.0, 1.0, 100.0, 200.0 + n) for n in range(98)]
    load = Load(0, 100, 0.0, [*came, Probe("x", 0.0, 1.0), Probe("y", 0.0, 1.0)], 0.8, 0.1, 10)
    assert (summary(load)["timed_out"], summary(load)["p99_ms"], summary(load)["n"]) == (2, 10_000.0, 100)


@pytest.mark.parametrize("text", ["bundle.time.ms", "bundle.time.ms=soon", "pointer.poll.s=1", "snapshot.cache=1"])
def test_only_whole_numbers_of_the_job_can_be_set_otherwise(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        freshness.main(["--set", text])
    assert text in capsys.readouterr().err


def test_the_job_s_numbers_are_known_by_their_properties() -> None:
    assert freshness.property_of("bundle.time.ms=20") == ("bundle_time_ms", 20)


@pytest.mark.parametrize("command", [freshness.main, stream.main])
def test_an_option_of_the_job_is_no_option_of_the_cluster(command: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command(["--flink", "python.fn-execution.bundle.time=20"])
    assert "the job sets it itself" in capsys.readouterr().err


def test_rounds_are_counted_from_one_to_the_last(capsys: pytest.CaptureFixture[str]) -> None:
    for first in ("0", "4"):
        with pytest.raises(SystemExit):
            survival.main(["--rounds", "3", "--first", first])
        assert f"--first is {first}" in capsys.readouterr().err


def test_stages_of_a_probe_add_up_to_its_whole_time() -> None:
    probe = Probe("p", 1000.0, 1006.0, 1200.0, 1250.0)
    assert sum(stages([probe], {"p": 1003.0}).values()) == probe.seen_ms - probe.received_ms


def test_what_fills_during_the_first_time_to_live_is_no_growth_but_what_goes_on_is() -> None:
    flat = [Sample(float(s), min(s, 20), min(s, 20), 100.0, s) for s in range(100)]
    assert growth(flat, 20) == {"rocksdb_mib": 0.0, "redis_mib": 0.0, "rss_mib": 0.0}
    leak = [Sample(float(s), 10.0, 10.0 + s, 100.0, s) for s in range(100)]
    assert growth(leak, 20)["redis_mib"] > 1.0
