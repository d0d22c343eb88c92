"""Lambda functions on this machine: fresh processes with the small lock alone, each for one request at a time."""

import fcntl
import hashlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from contracts.errors import LocalStackError
from local.paths import cache_dir, checkout

__all__ = ["Environment", "Function", "lean_python", "staged"]

LOCK: Final = Path("deploy") / "locks" / "functions.txt"
PACKAGES: Final = ("contracts", "stores", "serving")
_CONCURRENCY: Final = 8


def lean_python() -> Path:
    """The interpreter of a virtual environment that holds what the functions' lock names and nothing else.

    Made once for each content of the lock, in the cache folder.

    Raises:
        LocalStackError: it could not be made.
    """
    lock = checkout() / LOCK
    digest = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:12]
    home = cache_dir() / "functions" / digest
    home.mkdir(parents=True, exist_ok=True)
    python, ready = home / "venv" / "bin" / "python", home / "ready"
    with (home / "lock").open("a") as mutex:
        fcntl.flock(mutex, fcntl.LOCK_EX)
        if not ready.exists():
            uv = Path(sys.executable).parent / "uv"
            _run(uv, "venv", "-q", "--clear", "--python", sys.executable, home / "venv")
            _run(uv, "pip", "install", "-q", "--python", python, "--no-deps", "--require-hashes", "-r", lock)
            ready.touch()
    return python


def _run(*command: Path | str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"VIRTUAL_ENV": ""})
    if done.returncode:
        message = f"{' '.join(map(str, command))} failed: {done.stderr[-2000:]}; check the network and the disk"
        raise LocalStackError(message)


def staged(folder: Path) -> Path:
    """A folder with the packages of the functions' zip and no others, to be the import path."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PACKAGES:
        if not (folder / name).exists():
            (folder / name).symlink_to(checkout() / name)
    return folder


class Environment:
    """One execution environment: a process that has imported the handler and answers one event at a time."""

    def __init__(self, handler: str, python: Path, packages: Path, env: Mapping[str, str]) -> None:
        command = [str(python), "-s", str(checkout() / "local" / "function_process.py"), handler]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**kept, **env, "PYTHONPATH": str(packages), "_HANDLER": handler},
        )
        self.init_ms = float(self._read()["init_ms"])

    def invoke(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """The handler's answer.

        Raises:
            LocalStackError: the handler raised, or its process ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(event) + "\n")
            self._process.stdin.flush()
        except OSError as exc:
            message = f"the function's process ended with code {self._process.poll()}; see its messages above"
            raise LocalStackError(message) from exc
        answer = self._read()
        if "error" in answer:
            message = f"the function failed: {answer['error']}"
            raise LocalStackError(message)
        return dict(answer["payload"])

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            message = f"the function's process ended with code {self._process.wait(10)}; see its messages above"
            raise LocalStackError(message)
        return dict(json.loads(line))

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


class Function:
    """A function: as many environments as there are requests at a time, kept for the next ones. A context manager."""

    def __init__(self, handler: str, python: Path, packages: Path, env: Mapping[str, str]) -> None:
        self._parts = handler, python, packages, env
        self._idle: queue.LifoQueue[Environment] = queue.LifoQueue()
        self._all: list[Environment] = []
        self._free = threading.Semaphore(_CONCURRENCY)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for environment in self._all:
            environment.close()

    def invoke(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """One invocation, in an idle environment or a new one; from any thread."""
        with self._free:
            try:
                environment = self._idle.get_nowait()
            except queue.Empty:
                environment = Environment(*self._parts)
                self._all.append(environment)
            answer = environment.invoke(event)
            self._idle.put(environment)
            return answer
