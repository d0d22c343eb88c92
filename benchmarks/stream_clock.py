"""Where the serving step's Python spends its processor time, by step, measured around the functions that do it.

Not by samples: a thread that looks at others has the interpreter when they give it up, so nearly all of what it sees is
the place where they do, at sockets.
"""

import importlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from threading import Lock, local
from typing import Any, Final

from pyflink.table.udf import FunctionContext

from contracts.settings import Settings
from streaming import serve

__all__ = ["STEPS", "Clock", "clocked_serve"]

STEPS: Final = {
    "parse and validate": ("streaming.parsing:parse_records",),
    "group a batch": ("streaming.shelf_writer:changes_of",),
    "items and trends": ("streaming.shelf_writer:ShelfWriter._item_commands",),
    "Redis client": ("stores.cluster:Cluster.start", "stores.cluster:Started.results"),
    "decode people": ("streaming.stored:StoredPeople.values",),
    "lists of the training": ("streaming.batch_lists:BatchLists.missing", "streaming.batch_lists:BatchLists.learn"),
    "merge people": ("streaming.shelf_writer:ShelfWriter._merge",),
    "score": ("streaming.shelf_writer:ShelfWriter._score",),
    "put lists together": ("streaming.live_blocks:live_blocks",),
    "encode people": ("streaming.shelf_writer:ShelfWriter._replacements",),
    "recommend, the rest": ("streaming.shelf_writer:ShelfWriter.write_columns",),
}
"""Step → the functions that do it, ``module:name``; what a function of another step does within it is not counted."""

_WRITE_S: Final = 1.0


class Clock:
    """Processor seconds by step of the threads that call timed functions, written to a file every second.

    Args:
        path: the file (JSON, seconds by step).
        now: processor seconds of the calling thread. A call that is timed takes about 1 µs longer, so what is called
            for each person is not.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.thread_time) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)
        self._path, self._now = path, now
        self._written = 0.0
        self._within, self._writing = local(), Lock()

    def timed(self, function: Callable[..., Any], step: str) -> Callable[..., Any]:
        """The function, its time put down to ``step``; that of timed functions which it calls is theirs."""

        @wraps(function)
        def run(*given: Any, **named: Any) -> Any:
            outer = self._within.__dict__.setdefault("outer", [])
            outer.append(0.0)
            began = self._now()
            try:
                return function(*given, **named)
            finally:
                whole = self._now() - began
                self.spent[step] += whole - outer.pop()
                if outer:
                    outer[-1] += whole
                else:
                    self._write()

        return run

    def _write(self) -> None:
        with self._writing:
            if time.monotonic() - self._written > _WRITE_S:
                self._written = time.monotonic()
                fresh = self._path.with_suffix(".new")
                fresh.write_text(json.dumps(self.spent))
                fresh.replace(self._path)


def _time_steps(clock: Clock) -> None:
    for step, functions in STEPS.items():
        for place in functions:
            module, _, name = place.partition(":")
            *owners, last = name.split(".")
            owner: Any = importlib.import_module(module)
            for part in owners:
                owner = getattr(owner, part)
            function = getattr(owner, last)
            if not hasattr(function, "__wrapped__"):  # another subtask in this process was first
                setattr(owner, last, clock.timed(function, step))


class ClockedServe(serve.Serve):
    """The serving step with a clock at each of its steps."""

    def __init__(self, settings: Settings, folder: str) -> None:
        super().__init__(settings)
        self._folder = folder

    def open(self, context: FunctionContext) -> None:
        """Open the step, then begin to measure."""
        super().open(context)
        _time_steps(Clock(Path(self._folder) / f"{os.getpid()}.json"))


def clocked_serve(settings: Settings, folder: str) -> Any:
    """What :func:`streaming.serve.serve_function` gives, measured."""
    function = serve.serve_function(settings)
    function._func = ClockedServe(settings, folder)
    return function
