"""Outlives a supervisor by a moment: when it dies for any reason, every process of its run is ended.

A run is recognised by an environment variable that every descendant inherits, however it was started: process groups
and parent links are lost by daemons and by workers whose parent was killed, the environment is not.
"""

import os
import sys
import time

import psutil

__all__ = ["MARKER", "main", "marked", "sweep"]

MARKER = "LIVESHELF_RUN"


def marked(run: str) -> list[psutil.Process]:
    """The processes of this user that carry the run's marker, without the calling one."""
    found = []
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            if process.uids().real == os.getuid() and process.environ().get(MARKER) == run:
                found.append(process)
        except (psutil.Error, OSError):
            continue  # it ended while we looked, or is not ours to read
    return found


def sweep(run: str, *, seconds: float = 10) -> int:
    """Kill every process of the run; returns how many there were.

    Repeats until none is found, because a dying parent may have started one more child while we looked.
    """
    killed: set[int] = set()
    deadline = time.monotonic() + seconds
    while (left := marked(run)) and time.monotonic() < deadline:
        for process in left:
            try:
                process.kill()
            except psutil.Error:
                continue
            killed.add(process.pid)
        psutil.wait_procs(left, timeout=1)
    return len(killed)


def main() -> int:
    """Wait on standard input: ``bye`` means an orderly end, end-of-file without it that the supervisor is gone."""
    os.setsid()
    run = sys.argv[1]
    print("watching", flush=True)
    if sys.stdin.read() != "bye":
        sweep(run)
    return 0


if __name__ == "__main__":
    sys.exit(main())
