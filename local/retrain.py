"""Trains by the same command as a shop's scheduler would, once or every few minutes, one run at a time."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from contracts.errors import LocalStackError
from local.health import tail

__all__ = ["Trainer"]

_RESULT: Final = "TRAINED "
_SECONDS: Final = 1200


class Trainer:
    """Runs ``python -m batch.train`` with the stack's environment; each run's output is appended to ``log``."""

    def __init__(self, env: Mapping[str, str], log: Path, say: Callable[[str], None]) -> None:
        self._env = {**os.environ, **env}
        self._log = log
        self._say = say
        self._one = threading.Lock()
        self._stop = threading.Event()
        self.versions: list[str] = []

    def train(self) -> dict[str, Any]:
        """Train and publish once; return the run's summary.

        Raises:
            LocalStackError: the run failed; the message holds the end of its log.
        """
        with self._one, self._log.open("a") as out:
            began = out.tell()
            done = subprocess.run(
                [sys.executable, "-m", "batch.train"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=self._env,
                timeout=_SECONDS,
                check=False,
            )
        text = self._log.read_bytes()[began:].decode(errors="replace")
        found = [line for line in text.splitlines() if line.startswith(_RESULT)]
        if done.returncode or not found:
            message = f"the trainer ended with code {done.returncode}; the end of {self._log}:\n{tail(self._log)}"
            raise LocalStackError(message)
        summary: dict[str, Any] = json.loads(found[-1].removeprefix(_RESULT))
        self.versions.append(summary["version"])
        return summary

    def every(self, minutes: float) -> threading.Thread:
        """Retrain on a schedule until :meth:`stop`; a failed run is reported and the old model stays live."""
        thread = threading.Thread(target=self._repeat, args=(60 * minutes,), name="retrain", daemon=True)
        thread.start()
        return thread

    def stop(self) -> None:
        """No further scheduled run."""
        self._stop.set()

    def _repeat(self, seconds: float) -> None:
        while not self._stop.wait(seconds):
            began = time.monotonic()
            try:
                version = self.train()["version"]
            except (LocalStackError, subprocess.TimeoutExpired) as exc:
                self._say(f"\nretrain failed, the live model stays: {exc}")
            else:
                self._say(f"\nretrained in {time.monotonic() - began:.0f} s: model {version} is published")
