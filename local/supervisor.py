"""Starts, watches, restarts and stops the processes of one run; nothing of a run outlives it.

Three nets, each for what the one before cannot hold: an orderly stop; on Linux the kernel kills a child when its
parent dies; and the guardian, a process of its own, ends whatever still carries the run's marker.
"""

import contextlib
import fcntl
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self, TextIO

import psutil

from contracts.errors import LocalStackError
from local.guardian import MARKER, sweep
from local.health import tail, wait_until
from local.paths import data_dir
from local.processes import describe, end, end_with_parent, spawn

__all__ = ["Service", "Supervisor", "stop_running"]

Command = Sequence[str | Path]
TIED = "LIVESHELF_TIED"  # set by make: the run ends when the process that started it does
PATIENCE_SECONDS = 60
CALM_SECONDS = 60.0  # a service that ran this long starts again with the shortest back-off


@dataclass(frozen=True, kw_only=True)
class Service:
    """One process to keep running.

    ``command`` may be a function: it is called before every start, so that a restart can differ from the first start.
    ``ready`` is polled until it is true, at most ``ready_seconds``. With ``restart`` the process is started again after
    a back-off that doubles from half a second to ten, at most ``most_restarts`` times in a row without a minute of
    calm; without it, an exit (of any code) is a failure of the whole run. ``on_exit`` gets every unexpected exit code;
    ``on_restart`` runs once a restarted process is ready, and its failure is a failure of the run. ``nice`` above 0
    lets the others have the processors first: people wait for pages, nobody waits for a checkpoint.
    """

    name: str
    command: Command | Callable[[], Command]
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] | None = None
    ready_seconds: float = 120
    restart: bool = False
    most_restarts: int = 10
    on_exit: Callable[[int], None] | None = None
    on_restart: Callable[[], None] | None = None
    stop_seconds: float = 10
    nice: int = 0


@dataclass
class _Child:
    service: Service
    log: Path
    process: subprocess.Popen[bytes]
    since: float
    quick_restarts: int = 0
    restarts: int = 0
    watched: bool = False  # from ready until its end; before that whoever waits for it deals with an exit


class Supervisor:
    """A context manager around one run in one data folder.

    A second supervisor on the same folder is refused while the first lives; what a killed one left behind is ended
    first. SIGTERM and SIGHUP end the ``with`` block like Ctrl-C does, if it was entered in the main thread.
    """

    def __init__(self, data: Path | None = None, *, say: Callable[[str], None] = print) -> None:
        self.data = data if data is not None else data_dir()
        self.run = uuid.uuid4().hex
        self._say = say
        self._children: dict[str, _Child] = {}
        self._requests: queue.SimpleQueue[tuple[Callable[[], _Child], Future[_Child]]] = queue.SimpleQueue()
        self._failure = ""
        self._failed = threading.Event()
        self._closing = threading.Event()  # no more starts
        self._ended = threading.Event()  # the keeper may go, and with it every child still alive
        self._signals: dict[int, object] = {}
        self._marker_before = os.environ.get(MARKER)
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)

    # --- a run's beginning and end --------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        (self.data / "logs").mkdir(parents=True, exist_ok=True)
        self._lock = self._take_folder()
        if (run := _recorded(self.data).get("run")) and (left := sweep(str(run))):
            self._say(f"ended {left} processes that an interrupted run had left behind")
        _record(self.data, {"run": self.run, "pid": os.getpid()})
        os.environ[MARKER] = self.run
        self._guardian = subprocess.Popen(
            [sys.executable, "-m", "local.guardian", self.run],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={k: v for k, v in os.environ.items() if k != MARKER},  # else it would find itself
        )
        assert self._guardian.stdout is not None
        self._guardian.stdout.readline()  # from here on it has left our process group and is watching
        if os.environ.get(TIED):
            end_with_parent(signal.SIGTERM)
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGHUP):
                self._signals[number] = signal.signal(number, _raise_exit)
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in self._signals:
            signal.signal(number, signal.SIG_IGN)  # a second signal must not tear the stop; the guardian covers a kill
        self._closing.set()
        _record(self.data, {"run": self.run, "pid": os.getpid(), "stopping": True})
        try:
            self._stop_all()
            sweep(self.run)
            assert self._guardian.stdin is not None
            assert self._guardian.stdout is not None
            with contextlib.suppress(OSError):
                self._guardian.communicate(b"bye", timeout=5)
        finally:
            self._ended.set()
            self._keeper.join(timeout=5)
            (self.data / "run.json").unlink(missing_ok=True)
            self._lock.close()
            if self._marker_before is None:
                os.environ.pop(MARKER, None)
            else:
                os.environ[MARKER] = self._marker_before
            for number, handler in self._signals.items():
                signal.signal(number, handler)  # type: ignore[arg-type]

    def _take_folder(self) -> TextIO:
        """The folder's lock, which the system gives back whatever happens to us; waits for a run that is stopping."""
        lock = (self.data / "lock").open("a")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as exc:
                owner = _recorded(self.data)
                # No record: the owner is just beginning or has just ended; the next look will tell.
                if (owner and not owner.get("stopping")) or time.monotonic() > deadline:
                    lock.close()
                    msg = (
                        f"{self.data} is in use by process {owner.get('pid', 'unknown')}. "
                        "Stop it, or set LIVESHELF_DATA to another folder."
                    )
                    raise LocalStackError(msg) from exc
                time.sleep(0.1)
            else:
                return lock

    # --- what callers do ------------------------------------------------------------------------------------------

    def start(self, *services: Service) -> None:
        """Start the services together and return when all are ready; from any thread.

        Raises LocalStackError naming the first one that died or was not ready in time, with the end of its log.
        """
        children = [self._ask(partial(self._spawn, service)) for service in services]
        for child in children:
            self._await_ready(child)

    def stop(self, name: str) -> None:
        """Stop one service for good."""
        child = self._children[name]
        child.watched = False
        end(child.process, child.service.stop_seconds)

    def pid(self, name: str) -> int:
        """The process id a service has now."""
        return self._children[name].process.pid

    def log(self, name: str) -> Path:
        """The log file of a service; it exists once the service was started."""
        return self.data / "logs" / f"{name}.log"

    def restarts(self) -> dict[str, int]:
        """How often each service was restarted in this run."""
        return {name: child.restarts for name, child in self._children.items()}

    def check(self) -> None:
        """Raise LocalStackError if a service failed for good."""
        if self._failed.is_set():
            raise LocalStackError(self._failure)

    def wait(self, seconds: float | None = None) -> None:
        """Block for the time given (for ever if None); raises LocalStackError as soon as a service fails for good."""
        self._failed.wait(seconds)
        self.check()

    # --- the keeper thread ----------------------------------------------------------------------------------------

    def _keep(self) -> None:
        """Starts and reaps every child: the kernel ties a child's life to the *thread* that started it."""
        while not self._ended.is_set():
            try:
                request, answer = self._requests.get(timeout=0.1)
            except queue.Empty:
                pass
            else:
                try:
                    answer.set_result(request())
                except Exception as exc:
                    answer.set_exception(exc)
            for child in list(self._children.values()):
                if child.watched and (code := child.process.poll()) is not None and not self._closing.is_set():
                    child.watched = False
                    threading.Thread(target=self._exited, args=(child, code), daemon=True).start()

    def _ask(self, request: Callable[[], _Child]) -> _Child:
        answer: Future[_Child] = Future()
        self._requests.put((request, answer))
        return answer.result(timeout=30)

    def _spawn(self, service: Service, before: _Child | None = None) -> _Child:
        if self._closing.is_set():
            msg = f"{service.name} is not started: the run is ending"
            raise LocalStackError(msg)
        log = self.log(service.name)
        command = service.command() if callable(service.command) else service.command
        try:
            process = spawn(command, log=log, append=before is not None, env=service.env, nice=service.nice)
        except OSError as exc:
            msg = f"{service.name} could not be started: {exc}"
            raise LocalStackError(msg) from exc
        child = _Child(service, log, process, time.monotonic())
        if before:
            calm = child.since - before.since > CALM_SECONDS
            child.quick_restarts = 1 if calm else before.quick_restarts + 1
            child.restarts = before.restarts + 1
        self._children[service.name] = child
        return child

    def _await_ready(self, child: _Child) -> None:
        def dead() -> str | None:
            code = child.process.poll()
            return None if code is None else f"ended with {describe(code)} before it was ready"

        service = child.service
        if service.ready is not None:
            wait_until(service.ready, service.name, seconds=service.ready_seconds, dead=dead, log=child.log)
        child.watched = True

    # --- after an exit nobody asked for ---------------------------------------------------------------------------

    def _exited(self, child: _Child, code: int) -> None:
        service = child.service
        with contextlib.suppress(OSError):
            os.killpg(child.process.pid, signal.SIGKILL)  # what it had started goes with it
        if service.on_exit:
            service.on_exit(code)
        if service.restart:
            self._revive(child, code)
        else:
            self._fail(child, f"ended with {describe(code)}")

    def _revive(self, child: _Child, code: int) -> None:
        """Start again until ready, with growing pauses; a failure for good once that was tried too often."""
        why = f"ended with {describe(code)}"
        while child.quick_restarts < child.service.most_restarts:
            pause = min(10.0, 0.5 * 2**child.quick_restarts)
            self._say(f"{child.service.name} {why}; starting it again in {pause:g} s (log: {child.log})")
            if self._closing.wait(pause):
                return
            before = child
            try:
                child = self._ask(partial(self._spawn, before.service, before))
                self._await_ready(child)
            except LocalStackError as exc:
                if self._closing.is_set():
                    return
                why = f"was started again, but {exc}"
                end(child.process, 0)
                continue
            self._say(f"{child.service.name} is back")
            self._recover(child)
            return
        self._fail(child, f"{why} (restarted {child.quick_restarts} times in a row)")

    def _recover(self, child: _Child) -> None:
        if child.service.on_restart is None:
            return
        try:
            child.service.on_restart()
        except Exception as exc:  # whatever the callback raises must be said, and this thread has no caller
            if not self._closing.is_set():
                self._fail(child, f"is back, but what depends on it could not be brought back: {exc}")

    def _fail(self, child: _Child, why: str) -> None:
        self._failure = f"{child.service.name} {why}; the end of its log {child.log}:\n{tail(child.log)}"
        self._failed.set()

    def _stop_all(self) -> None:
        """In reverse order of start, so that a client ends before what it talks to."""
        for child in reversed(list(self._children.values())):
            end(child.process, child.service.stop_seconds)


def _raise_exit(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _record(data: Path, run: Mapping[str, object]) -> None:
    fresh = data / "run.json.new"
    fresh.write_text(json.dumps(run))
    fresh.replace(data / "run.json")


def _recorded(data: Path) -> dict[str, object]:
    try:
        found = json.loads((data / "run.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def stop_running(data: Path | None = None, *, seconds: float = 60) -> bool:
    """Stop the run that uses the data folder, if any, and end what an interrupted one left; True if there was one."""
    data = data if data is not None else data_dir()
    recorded = _recorded(data)
    run, pid = str(recorded.get("run", "")), recorded.get("pid")
    if not run:
        return False
    with (data / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # held, so the process recorded is alive and is the one
            with contextlib.suppress(psutil.Error):
                owner = psutil.Process(int(str(pid)))
                owner.terminate()
                owner.wait(seconds)
    return bool(sweep(run)) or pid is not None


def main() -> int:
    """``python -m local.supervisor --stop`` ends the run of the data folder."""
    if sys.argv[1:] != ["--stop"]:
        print("usage: python -m local.supervisor --stop", file=sys.stderr)
        return 2
    print("stopped the running stack" if stop_running() else "nothing was running")
    return 0


if __name__ == "__main__":
    sys.exit(main())
