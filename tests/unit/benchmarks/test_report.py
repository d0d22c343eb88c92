"""A result is one line that a program reads, and the history keeps all of them."""

import json
import threading
import time
from pathlib import Path

import pytest

from benchmarks.memory import PeakMemory
from benchmarks.report import finish, result_line

MACHINE = {"cores": 2, "memory_gib": 8.0, "load_before": 0.1}


def test_a_result_names_commit_machine_repeats_and_settings() -> None:
    line = result_line({"lost": 0}, machine=MACHINE, settings={"a": 1}, repeats=3)
    head, _, text = line.partition(" ")
    found = json.loads(text)
    assert head == "RESULT"
    assert found.keys() >= {"commit", "machine", "repeats", "settings_digest", "lost"}
    assert (found["machine"], found["repeats"]) == (MACHINE, 3)


def test_equal_settings_have_equal_digests_in_any_order_and_others_do_not() -> None:
    def digest(settings: dict[str, int]) -> str:
        line = result_line({}, machine=MACHINE, settings=settings)
        return str(json.loads(line.removeprefix("RESULT "))["settings_digest"])

    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1, "b": 3})


def test_each_result_is_added_to_the_history_and_printed_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = tmp_path / "history.jsonl"
    for value in (1, 2):
        finish("bench-some", {"value": value}, machine=MACHINE, settings={}, history=history)
    rows = [json.loads(line) for line in history.read_text().splitlines()]
    assert [(row["command"], row["value"]) for row in rows] == [("bench-some", 1), ("bench-some", 2)]
    assert all(row["date"].endswith("+00:00") for row in rows)
    last = capsys.readouterr().out.splitlines()[-1]
    assert json.loads(last.removeprefix("RESULT "))["value"] == 2


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="proportional set sizes need Linux")
def test_the_peak_of_memory_counts_what_was_held_in_between() -> None:
    def wait_for(mib: int) -> int:
        deadline = time.monotonic() + 20
        while memory.driver_mib < mib and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        return memory.driver_mib

    with PeakMemory(every_s=0.01) as memory:
        before = wait_for(1)
        held = b"x" * (200 << 20)
        assert wait_for(before + 190) >= before + 190
        del held
    assert memory.mib >= memory.driver_mib >= before + 190
    assert memory.resident_mib >= memory.driver_mib
    assert memory.jvm_mib == 0
