"""Processes are started, watched, restarted and stopped; nothing of a run outlives it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from contracts.errors import LocalStackError
from local.guardian import MARKER, marked
from local.health import wait_until
from local.supervisor import Service, Supervisor, stop_running

pytestmark = pytest.mark.e2e

FOREVER = ["sleep", "600"]
# A child that leaves its process group and loses its parent: only the marker still leads to it.
DAEMON = ["bash", "-c", "setsid sleep 601 & disown; exec sleep 600"]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(tmp_path, said):
    with Supervisor(tmp_path, say=said.append) as running:
        yield running


def test_a_process_that_dies_before_it_is_ready_is_reported_with_the_end_of_its_log(supervisor):
    broken = Service(name="broken", command=["bash", "-c", "echo out of paper; exit 3"], ready=lambda: False)
    with pytest.raises(LocalStackError, match=r"(?s)broken ended with exit code 3.*broken\.log.*out of paper"):
        supervisor.start(broken)


def test_a_process_that_is_never_ready_is_reported_at_its_deadline(supervisor):
    slow = Service(name="slow", command=FOREVER, ready=lambda: False, ready_seconds=0.3)
    with pytest.raises(LocalStackError, match="slow was not ready after"):
        supervisor.start(slow)


def test_a_command_that_does_not_exist_is_named(supervisor):
    with pytest.raises(LocalStackError, match="ghost could not be started"):
        supervisor.start(Service(name="ghost", command=["/no/such/program"]))


def test_a_killed_process_comes_back_with_a_fresh_command_and_its_dependants_are_told(supervisor, said):
    commands = iter([["sleep", "601"], ["sleep", "602"]])
    exits: list[int] = []
    back: list[str] = []
    service = Service(
        name="worker",
        command=lambda: next(commands),
        restart=True,
        on_exit=exits.append,
        on_restart=lambda: back.append("back"),
    )
    supervisor.start(service)
    os.kill(supervisor.pid("worker"), signal.SIGKILL)
    wait_until(lambda: back == ["back"], "the restart", seconds=10)
    assert exits == [-signal.SIGKILL]
    assert supervisor.restarts() == {"worker": 1}
    assert psutil.Process(supervisor.pid("worker")).cmdline() == ["sleep", "602"]
    supervisor.check()
    assert any("worker ended with signal SIGKILL" in line for line in said)


def test_the_exit_of_a_process_that_may_not_restart_ends_the_wait(supervisor):
    supervisor.start(Service(name="engine", command=["bash", "-c", "echo no fuel; exit 1"]))
    with pytest.raises(LocalStackError, match=r"(?s)engine ended with exit code 1.*no fuel"):
        supervisor.wait(10)


def test_a_process_that_keeps_dying_is_given_up(supervisor):
    supervisor.start(Service(name="loop", command=["false"], restart=True, most_restarts=1))
    with pytest.raises(LocalStackError, match=r"loop .* \(restarted 1 times in a row\)"):
        supervisor.wait(10)


def test_a_dead_process_takes_the_children_of_its_group_along(supervisor):
    supervisor.start(Service(name="parent", command=["bash", "-c", "sleep 603 & exec sleep 600"], restart=True))
    wait_until(lambda: len(sleepers(supervisor.run, "603")) == 1, "the child", seconds=5)
    orphan = sleepers(supervisor.run, "603")[0]
    os.kill(supervisor.pid("parent"), signal.SIGKILL)
    wait_until(lambda: not orphan.is_running(), "the end of the orphan", seconds=5)


def test_the_stop_is_in_reverse_order_and_leaves_nothing(tmp_path):
    ends = tmp_path / "ends"
    script = f"trap 'echo $0 >> {ends}; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    before = os.environ.get(MARKER)  # of a supervisor that other tests of this process share
    with Supervisor(tmp_path) as running:
        for name in ("first", "second"):
            up = (running.log(name).exists, running.log(name).read_text)
            running.start(
                Service(name=name, command=["bash", "-c", script, name], ready=lambda up=up: all(c() for c in up))
            )
        running.start(Service(name="daemon", command=DAEMON))
        wait_until(lambda: len(sleepers(running.run, "601")) == 1, "the daemon", seconds=5)
    assert ends.read_text().split() == ["second", "first"]
    assert marked(running.run) == []
    assert os.environ.get(MARKER) == before


def test_a_process_that_ignores_the_stop_is_killed(tmp_path):
    with Supervisor(tmp_path) as running:
        deaf = ["bash", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"]
        log = running.log("deaf")
        running.start(Service(name="deaf", command=deaf, ready=lambda: "up" in log.read_text(), stop_seconds=0.2))
    assert marked(running.run) == []


def test_a_second_supervisor_on_the_same_folder_is_refused(supervisor, tmp_path):
    with pytest.raises(LocalStackError, match=f"in use by process {os.getpid()}"), Supervisor(tmp_path):
        pass


# --- a killed parent ----------------------------------------------------------------------------------------------

PARENT = """
import sys, pathlib
from local.supervisor import Service, Supervisor
with Supervisor(pathlib.Path(sys.argv[1])) as supervisor:
    supervisor.start(Service(name="daemon", command=sys.argv[2:]))
    print(supervisor.run, flush=True)
    supervisor.wait()
"""


@pytest.fixture
def parent(tmp_path):
    command = [sys.executable, "-c", PARENT, str(tmp_path), *DAEMON]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        run = process.stdout.readline().strip()
        wait_until(lambda: len(sleepers(run, "601")) == 1, "the daemon", seconds=5)
        yield process, run
        process.kill()


def sleepers(run: str, seconds: str) -> list[psutil.Process]:
    """The processes of the run that are ``sleep <seconds>`` (not the shells that start them)."""
    found = []
    for process in marked(run):
        try:
            if process.cmdline() == ["sleep", seconds]:
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_after_kill_9_of_the_parent_the_guardian_ends_even_what_left_its_group(parent):
    process, run = parent
    process.kill()
    wait_until(lambda: not marked(run), "the end of every process", seconds=10)


def test_sigterm_stops_the_run_in_order(parent, tmp_path):
    process, run = parent
    process.terminate()
    assert process.wait(20) == 128 + signal.SIGTERM
    assert marked(run) == []
    assert not (tmp_path / "run.json").exists()


def test_the_next_start_ends_what_a_killed_run_and_guardian_left(parent, tmp_path, said):
    process, run = parent
    guardian = next(child for child in psutil.Process(process.pid).children() if "local.guardian" in child.cmdline())
    guardian.kill()
    process.kill()
    process.wait()
    assert sleepers(run, "601"), "without its guardian the daemon is expected to be left"
    with Supervisor(tmp_path, say=said.append):
        assert marked(run) == []
    assert "interrupted run" in said[0]


def test_a_running_stack_can_be_stopped_from_outside(parent, tmp_path):
    process, run = parent
    assert stop_running(tmp_path)
    process.wait(5)
    assert marked(run) == []
    assert not stop_running(tmp_path)


def test_a_tied_run_ends_with_the_process_that_started_it_and_the_next_start_waits_for_that(tmp_path):
    command = ["bash", "-c", '"$@" & wait', "bash", sys.executable, "-c", PARENT, str(tmp_path), *DAEMON]
    env = os.environ | {"LIVESHELF_TIED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as starter:
        assert starter.stdout is not None
        run = starter.stdout.readline().strip()
        starter.kill()
        starter.wait()
        wait_until(lambda: "stopping" in recorded(tmp_path), "the stop", seconds=10)
        with Supervisor(tmp_path, say=lambda _: None):
            assert marked(run) == []


def recorded(folder: Path) -> str:
    """What the run file says now; an ended run has none, and had to stop for that."""
    try:
        return (folder / "run.json").read_text()
    except FileNotFoundError:
        return "stopping is over"


def test_waiting_is_bounded(supervisor):
    began = time.monotonic()
    supervisor.wait(0.05)
    assert time.monotonic() - began >= 0.05


def test_logs_are_one_file_a_process(supervisor, tmp_path):
    supervisor.start(Service(name="talker", command=["bash", "-c", "echo hello; exec sleep 600"]))
    log = supervisor.log("talker")
    assert log == Path(tmp_path) / "logs" / "talker.log"
    wait_until(lambda: log.read_text() == "hello\n", "the line", seconds=5)
