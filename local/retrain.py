"""Trains by the same command as a shop's scheduler would, once or every few minutes, one run at a time."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from contracts.errors import LocalStackError
from local.health import tail

__all__ = ["Refused", "Trainer"]

_RESULT: Final = "TRAINED "
_STAGE: Final = "train: "
_SECONDS: Final = 1200
_REFUSED: Final = 3  # batch.train's exit status


class Refused(LocalStackError):
    """The gate or a data check kept the live model: the run did its work, and nothing is broken."""


class Trainer:
    """Runs ``python -m batch.train`` with the stack's environment; each run's output is appended to ``log``."""

    def __init__(
        self, env: Mapping[str, str], log: Path, say: Callable[[str], None], arguments: Sequence[str] = ()
    ) -> None:
        """``arguments`` are added to the command."""
        self._env = {**os.environ, **env}
        self._arguments = list(arguments)
        self._log = log
        self._say = say
        self._one = threading.Lock()
        self._stop = threading.Event()
        self.versions: list[str] = []
        log.unlink(missing_ok=True)

    def train(self, *, echo: bool = False) -> dict[str, Any]:
        """Train and publish once; return the run's summary. With ``echo`` each stage is told as it ends.

        Raises:
            Refused: the run decided that the live model stays; the message is its reason.
            LocalStackError: the run failed; the message holds the end of its log.
        """
        found = ""
        with self._one, self._log.open("a") as log, self._start() as process:
            limit = threading.Timer(_SECONDS, process.kill)
            limit.start()
            try:
                for line in process.stdout or ():
                    log.write(line)
                    found = line if line.startswith(_RESULT) else found
                    if echo and line.startswith(_STAGE):
                        self._say(f"    {line.rstrip()}")
                code = process.wait()
            finally:
                limit.cancel()
                process.kill()
        if code == _REFUSED and found:
            raise Refused(" ".join(json.loads(found.removeprefix(_RESULT))["gate"]["sentences"][:2]))
        if code or not found:
            message = f"the trainer ended with code {code}; the end of {self._log}:\n{tail(self._log)}"
            raise LocalStackError(message)
        summary: dict[str, Any] = json.loads(found.removeprefix(_RESULT))
        self.versions.append(summary["version"])
        return summary

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["nice", "-n", "15", sys.executable, "-m", "batch.train", *self._arguments],  # nobody waits for it
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._env,
            text=True,
            errors="replace",
        )

    def attribute(self) -> str:
        """Credit clicks and purchases to the lists they came from, as a scheduler does after a training.

        Returns:
            What went wrong, with the end of the log; nothing where it went well.
        """
        with self._one, self._log.open("a") as log:
            try:
                code = subprocess.run(
                    [sys.executable, "-m", "batch.attribution"],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._env, timeout=_SECONDS, check=False,
                ).returncode  # fmt: skip
            except subprocess.TimeoutExpired:
                return f"no end after {_SECONDS} s"
        return f"code {code}; the end of {self._log}:\n{tail(self._log)}" if code else ""

    def every(self, minutes: float) -> threading.Thread:
        """Retrain on a schedule until :meth:`stop`; after a refused or failed one the old model stays live."""
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
            except Refused as exc:
                self._say(f"\nretrain: {exc}")
            except LocalStackError as exc:
                self._say(f"\nretrain failed, the live model stays: {exc}")
            else:
                self._say(f"\nretrained in {time.monotonic() - began:.0f} s: model {version} is published")
            if not self._stop.is_set() and (failed := self.attribute()):
                self._say(f"\nattribution failed, its figures stay as they were: {failed}")
