"""How far a long stage is, on the console: a line every few seconds, or one line that changes on a terminal."""

import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TextIO

__all__ = ["Progress", "completed_tasks", "spark_progress"]

_POLL_S: Final = 1.0
_CLEAR: Final = "\r\x1b[K"


class Progress:
    """Says "train: solve 37 % (12 of 32 blocks), 14 s left" now and then.

    On a terminal the line replaces itself at most once a second and disappears at the end; elsewhere (a log file, EMR)
    lines are complete, free of control characters, and ``every_s`` apart. A stage shorter than that says nothing.
    """

    def __init__(
        self,
        stage: str,
        total: int,
        unit: str = "blocks",
        *,
        who: str = "train",
        out: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        every_s: float = 10.0,
    ) -> None:
        self._stage, self._total, self._unit = f"{who}: {stage}", total, unit
        self._out = out if out is not None else sys.stdout
        self._clock = clock
        self._terminal = self._out.isatty()
        self._every_s = min(every_s, 1.0) if self._terminal else every_s
        self._began = self._said = clock()
        self._shown = False

    def at(self, done: int) -> None:
        """``done`` of the total are finished; cheap enough to be called for every one of them."""
        now = self._clock()
        if now - self._said < self._every_s or not 0 <= done < self._total:
            return
        self._said = now
        line = self.line(done, now - self._began)
        self._out.write(f"{_CLEAR}{line}" if self._terminal else f"{line}\n")
        self._out.flush()
        self._shown = True

    def line(self, done: int, seconds: float) -> str:
        """What is said after ``seconds``; how long is left follows from the rate so far.

        >>> Progress("solve", 32).line(12, 8.4), Progress("lists", 40).line(0, 5)
        ('train: solve 37 % (12 of 32 blocks), 14 s left', 'train: lists 0 % (0 of 40 blocks)')
        """
        said = f"{self._stage} {100 * done // self._total} % ({done:,} of {self._total:,} {self._unit})"
        return said + (f", {_span(seconds * (self._total - done) / done)} left" if done else "")

    def end(self) -> None:
        """Wipe the line off a terminal, so that what is printed next begins on a clean one."""
        if self._shown and self._terminal:
            self._out.write(_CLEAR)
            self._out.flush()


def _span(seconds: float) -> str:
    """
    >>> _span(0.2), _span(89), _span(400)
    ('1 s', '89 s', '7 min')
    """
    return f"{max(round(seconds), 1)} s" if seconds < 90 else f"{round(seconds / 60)} min"


def completed_tasks(tracker: Any, group: str) -> int:
    """Tasks that Spark has finished in all jobs of a group, by its status tracker."""
    jobs = (tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup(group))
    stages = (tracker.getStageInfo(stage) for job in jobs if job is not None for stage in job.stageIds)
    return sum(int(stage.numCompletedTasks) for stage in stages if stage is not None)


@contextmanager
def spark_progress(context: Any, stage: str, total: int, unit: str = "blocks", **options: Any) -> Iterator[Progress]:
    """Watch the Spark jobs that this thread starts inside the block, one task a block of work.

    Args:
        context: the ``SparkContext``; its job group is set for the block and cleared after it.
        total: tasks to come.
        options: ``who``, ``out``, ``clock``, ``every_s`` of :class:`Progress`.

    Trap: Spark forgets finished stages beyond ``spark.ui.retainedStages``; a single job is always counted in full.
    """
    progress, over, group = Progress(stage, total, unit, **options), threading.Event(), f"{stage}-{uuid.uuid4().hex}"

    def watch() -> None:
        tracker = context.statusTracker()
        while not over.wait(_POLL_S):
            try:
                progress.at(completed_tasks(tracker, group))
            except Exception:  # the session ends, or the JVM is busy: a figure less, never a failed run
                continue

    watcher = threading.Thread(target=watch, name=f"progress-{stage}", daemon=True)
    context.setJobGroup(group, stage)
    watcher.start()
    try:
        yield progress
    finally:
        over.set()
        watcher.join()
        context.setLocalProperty("spark.jobGroup.id", None)
        progress.end()
