"""The time that is left to answer a request."""

from collections.abc import Callable

__all__ = ["Budget"]


class Budget:
    """Counts down from ``seconds``; ``clock`` is monotonic, and that of the event loop where the loop waits.

    >>> now = 10.0
    >>> budget = Budget(0.05, lambda: now)
    >>> now = 10.03
    >>> round(budget.left(), 3), round(budget.share(0.015), 3), round(budget.share(0.2), 3)
    (0.02, 0.015, 0.02)
    """

    __slots__ = ("_clock", "_ends")

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ends = clock() + seconds

    def left(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self._ends - self._clock())

    def share(self, most_s: float) -> float:
        """How long a step may take that wants ``most_s``."""
        return min(most_s, self.left())
