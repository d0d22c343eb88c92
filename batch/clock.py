"""Says each stage of a run with its seconds, and keeps them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = ["Clock"]


@dataclass(slots=True)
class Clock:
    """``seconds`` by stage, in the order in which they ended; ``who`` begins each line, ``quiet`` says
    none."""

    seconds: dict[str, float] = field(default_factory=dict)
    who: str = "train"
    quiet: bool = False
    _began: float = field(default_factory=time.monotonic)

    @contextmanager
    def stage(self, name: str) -> Iterator[list[str]]:
        """Time the block; what is appended to the yielded list is printed behind the seconds. Stages may come twice."""
        began, notes = time.monotonic(), list[str]()
        yield notes
        spent = time.monotonic() - began
        self.seconds[name] = round(self.seconds.get(name, 0.0) + spent, 2)
        if self.quiet:
            return
        print(f"{self.who}: {name:<10} {spent:6.1f} s  {', '.join(notes)}", flush=True)

    def total(self) -> dict[str, float]:
        """Seconds by stage, and of all since the clock was made."""
        return {**self.seconds, "total": round(time.monotonic() - self._began, 2)}
