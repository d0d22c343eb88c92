"""The peak memory of this process and everything it started, JVM and Python workers included."""

import threading
from types import TracebackType
from typing import Self

import psutil

__all__ = ["PeakMemory"]


class PeakMemory:
    """Samples while the block runs; ``mib`` is the largest sum of proportional set sizes (shared pages count once).

    ``driver_mib`` is the peak of this process alone.
    """

    def __init__(self, every_s: float = 0.5) -> None:
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak-memory", daemon=True)
        self.mib = 0
        self.driver_mib = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        own = psutil.Process()
        while not self._over.wait(self._every_s):
            total = 0
            for process in (own, *own.children(recursive=True)):
                try:
                    size = process.memory_full_info().pss
                except (psutil.Error, AttributeError):
                    continue
                total += size
                if process.pid == own.pid:
                    self.driver_mib = max(self.driver_mib, size >> 20)
            self.mib = max(self.mib, total >> 20)
