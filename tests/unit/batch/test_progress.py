"""Progress lines: now and then, true, without control characters where nobody looks at a terminal."""

import io
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from batch import progress
from batch.progress import Progress, completed_tasks, spark_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def told(out: io.StringIO, **options: Any) -> tuple[Progress, Clock]:
    clock = Clock()
    return Progress("solve", 32, out=out, clock=clock, **options), clock


def test_a_log_gets_whole_lines_some_seconds_apart_and_no_control_characters() -> None:
    out = io.StringIO()
    shown, clock = told(out, every_s=10)
    for done in range(33):
        clock.now += 1
        shown.at(done)
    shown.end()
    lines = out.getvalue().splitlines()
    assert lines == [
        "train: solve 28 % (9 of 32 blocks), 26 s left",
        "train: solve 59 % (19 of 32 blocks), 14 s left",
        "train: solve 90 % (29 of 32 blocks), 3 s left",
    ]
    assert all(line.isprintable() for line in lines)


def test_a_short_stage_says_nothing() -> None:
    out = io.StringIO()
    shown, clock = told(out)
    for done in range(33):
        clock.now += 0.1
        shown.at(done)
    shown.end()
    assert out.getvalue() == ""


def test_on_a_terminal_one_line_replaces_itself_and_is_gone_at_the_end() -> None:
    out = Terminal()
    shown, clock = told(out, every_s=10)
    for done in (4, 8):
        clock.now += 1
        shown.at(done)
    shown.end()
    said = out.getvalue()
    assert "\n" not in said
    assert said.endswith("\r\x1b[K")
    assert said.count("\r\x1b[K") == 3


def test_time_left_follows_the_rate_so_far_and_is_not_guessed_before_there_is_one() -> None:
    shown, _ = told(io.StringIO())
    assert shown.line(0, 60) == "train: solve 0 % (0 of 32 blocks)"
    assert shown.line(16, 300).endswith("5 min left")


class Context:
    """A SparkContext whose job group has one job of two stages, ``done`` tasks of which are finished."""

    def __init__(self) -> None:
        self.done = [3, 4]
        self.group: str | None = None
        self.asked = threading.Event()
        self.broken = False

    def setJobGroup(self, group: str, description: str) -> None:
        self.group = group

    def setLocalProperty(self, name: str, value: str | None) -> None:
        assert (name, value) == ("spark.jobGroup.id", None)
        self.group = None

    def statusTracker(self) -> "Context":
        return self

    def getJobIdsForGroup(self, group: str) -> list[int]:
        if self.broken:
            self.asked.set()
            raise ConnectionError(group)
        return [1, 2] if group == self.group else []

    def getJobInfo(self, job: int) -> Any:
        return SimpleNamespace(stageIds=[0, 1]) if job == 1 else None

    def getStageInfo(self, stage: int) -> Any:
        self.asked.set()
        return SimpleNamespace(numCompletedTasks=self.done[stage])


def test_finished_tasks_are_those_of_all_stages_of_the_group() -> None:
    context = Context()
    context.setJobGroup("mine", "")
    assert completed_tasks(context, "mine") == 7
    assert completed_tasks(context, "other") == 0


@pytest.mark.parametrize("broken", [False, True])
def test_watching_spark_ends_with_the_block_and_never_breaks_it(broken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_POLL_S", 0.001)
    context, out = Context(), io.StringIO()
    context.broken = broken
    with spark_progress(context, "solve", 32, out=out, every_s=0.0):
        assert context.asked.wait(10)
        context.asked.clear()
        assert context.asked.wait(10)
    assert context.group is None
    assert ("train: solve 21 % (7 of 32 blocks)" in out.getvalue()) != broken
    assert not [thread for thread in threading.enumerate() if thread.name == "progress-solve"]
