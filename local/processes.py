"""Starting and ending one child process so that neither it nor its children stay behind."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

__all__ = ["describe", "end", "end_with_parent", "spawn", "step_back"]

PR_SET_PDEATHSIG = 1
_LIBC = ctypes.PyDLL(None) if sys.platform == "linux" else None


def spawn(
    command: Sequence[str | Path], *, log: Path, append: bool, env: Mapping[str, str], nice: int = 0
) -> subprocess.Popen[bytes]:
    """Start a process in a group of its own, its output in the log; the kernel kills it when the calling *thread* ends.

    ``nice`` above 0 lets others have the processors first.

    Raises OSError when the program cannot be started.
    """
    with log.open("ab" if append else "wb") as out:
        return subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=log.parent,
            env={**os.environ, **env},
            start_new_session=True,  # Ctrl-C reaches the supervisor alone, which stops all in order
            preexec_fn=partial(_prepare, nice),
        )


def _prepare(nice: int) -> None:
    end_with_parent(signal.SIGKILL)
    if nice:
        step_back(nice)


def step_back(nice: int) -> None:
    """Let others have the processors first: this process, and the session's group where the kernel shares by session.

    With automatic groups (``sched_autogroup_enabled``, see sched(7)) a process' own nice value counts within its
    session alone.
    """
    os.nice(nice)
    with contextlib.suppress(OSError):
        group = os.open("/proc/self/autogroup", os.O_WRONLY)
        try:
            os.write(group, str(nice).encode())
        finally:
            os.close(group)


def end_with_parent(number: signal.Signals) -> None:
    """Ask the kernel for a signal to this process when its parent dies (Linux; elsewhere nothing happens).

    Also runs between fork and exec, where nothing but this one call is safe.
    """
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, number)


def end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """SIGTERM, then after the time given SIGKILL, to the process and all of its group."""
    if process.poll() is None and seconds > 0:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)


def describe(code: int) -> str:
    """
    >>> describe(-9), describe(1)
    ('signal SIGKILL', 'exit code 1')
    """
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
