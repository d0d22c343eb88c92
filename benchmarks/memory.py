"""The peak memory of this process and everything it started, JVM and Python workers included."""

import threading
from types import TracebackType
from typing import Self

import psutil

__all__ = ["PeakMemory"]


class PeakMemory:
    """Samples while the block runs; ``mib`` is the largest sum of proportional set sizes (shared pages count once).

    ``resident_mib`` is the largest sum of resident set sizes, in which every process counts the pages that it shares.
    ``driver_mib`` is the peak of this process alone, ``jvm_mib`` that of the largest Java process, ``worker_mib`` that
    of the largest other one, each by its proportional set size.
    """

    def __init__(self, every_s: float = 0.5) -> None:
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak-memory", daemon=True)
        self.mib = self.resident_mib = 0
        self.driver_mib = self.jvm_mib = self.worker_mib = 0

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
            total = resident = 0
            for process in (own, *own.children(recursive=True)):
                try:
                    sizes, name = process.memory_full_info(), process.name()
                    size = sizes.pss
                except (psutil.Error, AttributeError):
                    continue
                total += size
                resident += sizes.rss
                self._note("driver" if process.pid == own.pid else "jvm" if name == "java" else "worker", size)
            self.mib = max(self.mib, total >> 20)
            self.resident_mib = max(self.resident_mib, resident >> 20)

    def _note(self, kind: str, size: int) -> None:
        name = f"{kind}_mib"
        setattr(self, name, max(getattr(self, name), size >> 20))
