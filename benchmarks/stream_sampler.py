"""Where the serving step's Python spends its processor time, by module, sampled inside the worker itself."""

import json
import os
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import FrameType
from typing import Any, Final

from pyflink.table.udf import FunctionContext

from contracts.settings import Settings
from streaming import serve

__all__ = ["Sampler", "module_of", "sampled_serve"]

_PACKAGES: Final = ("contracts", "streaming", "stores")
_EVERY_S: Final = 0.02
_WRITE_S: Final = 1.0


def module_of(frame: FrameType | None) -> str:
    """The innermost module of ours on a stack, such as ``stores.cluster``; ``pyflink`` where there is none."""
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.partition(".")[0] in _PACKAGES:
            return name
        frame = frame.f_back
    return "pyflink"


class Sampler:
    """Every 20 ms, what each thread has computed since is put down to the module that it is in.

    The sums (seconds by module) are written to ``folder/<pid>.json`` every second. Threads that wait cost nothing:
    processor time is counted, not time.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"{os.getpid()}.json"
        self._spent: defaultdict[str, float] = defaultdict(float)
        self._last: dict[int, float] = {}
        threading.Thread(target=self._run, name="sampler", daemon=True).start()

    def _run(self) -> None:
        own, written = threading.get_ident(), 0.0
        while True:
            time.sleep(_EVERY_S)
            for thread, frame in sys._current_frames().items():
                if thread != own:
                    self._note(thread, frame)
            if time.monotonic() - written > _WRITE_S:
                written = time.monotonic()
                fresh = self._path.with_suffix(".new")
                fresh.write_text(json.dumps(self._spent))
                fresh.replace(self._path)

    def _note(self, thread: int, frame: FrameType) -> None:
        try:
            now = time.clock_gettime(time.pthread_getcpuclockid(thread))
        except OSError:  # it has just ended
            return
        spent = now - self._last.get(thread, now)
        self._last[thread] = now
        if spent > 0:
            self._spent[module_of(frame)] += spent


class SampledServe(serve.Serve):
    """The serving step with a sampler beside it."""

    def __init__(self, settings: Settings, folder: str) -> None:
        super().__init__(settings)
        self._folder = folder

    def open(self, context: FunctionContext) -> None:
        """Open the step, then begin to sample."""
        super().open(context)
        Sampler(Path(self._folder))


def sampled_serve(settings: Settings, folder: str) -> Any:
    """What :func:`streaming.serve.serve_function` gives, sampled."""
    function = serve.serve_function(settings)
    function._func = SampledServe(settings, folder)
    return function
