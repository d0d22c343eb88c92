"""A result is one line that a program reads, and the history keeps all of them."""

import json
import subprocess
import threading
import time
from pathlib import Path

import pytest

from batch.result import commit_of
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


def test_a_commit_is_marked_where_files_were_changed_but_not_where_a_result_was_kept(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *who, *words], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    for name in ("batch/result.py", "benchmarks/history.jsonl"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("1\n")
    git("init", "-q")
    git("add", "-A")
    git("commit", "-qm", "first")
    head = git("rev-parse", "--short=12", "HEAD")
    (tmp_path / "benchmarks/history.jsonl").write_text("1\n2\n")
    assert commit_of(tmp_path / "batch") == head
    (tmp_path / "batch/result.py").write_text("2\n")
    assert commit_of(tmp_path / "batch") == commit_of(tmp_path / "benchmarks") == head + "+"


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


def test_what_was_measured_with_other_options_is_printed_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = tmp_path / "history.jsonl"
    finish("bench-some", {"value": 3}, machine=MACHINE, settings={}, other={"people": 9}, history=history)
    assert not history.exists()
    said, result = capsys.readouterr().out.splitlines()
    assert said == "not for the history: people is 9"
    assert json.loads(result.removeprefix("RESULT "))["value"] == 3


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
