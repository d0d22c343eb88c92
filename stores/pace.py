"""A token bucket: bulk writes that leave a store free for those who serve from it."""

import time
from collections.abc import Callable
from typing import Final

__all__ = ["Pace"]

_LEAST: Final = 1 / 32
"""How far a store's refusals slow a pace down, as a share of its full rate."""


class Pace:
    """At most ``rate`` units a second, and what was saved up in idle moments of at most ``saved_s`` seconds.

    The bucket starts empty, so that many short users in a row are held to the rate as one long user is. A store that
    refuses halves the rate; each success brings a twentieth of it back (additive increase, multiplicative decrease:
    Chiu and Jain 1989, on how independent senders find their share). For one thread.

    >>> slept = []
    >>> pace = Pace(100, clock=lambda: 0.0, sleep=slept.append)
    >>> pace.take(50); pace.take(10); pace.refused(); pace.take(40)
    >>> slept
    [0.5, 0.6, 2.0]
    """

    def __init__(
        self,
        rate: float,
        *,
        saved_s: float = 0.25,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._full = self._rate = rate
        self._saved_s = saved_s
        self._clock, self._sleep = clock, sleep
        self._units = 0.0
        self._at = clock()

    @property
    def rate(self) -> float:
        """Units a second at present."""
        return self._rate

    def take(self, units: float) -> None:
        """Wait until ``units`` may be used; more than the bucket holds is paid by a longer wait."""
        now = self._clock()
        saved = min(self._units + (now - self._at) * self._rate, self._saved_s * self._rate)
        self._units, self._at = saved - units, now
        if self._units < 0:
            self._sleep(-self._units / self._rate)

    def refused(self) -> None:
        """The store took less than was offered: half the rate from now on."""
        self._rate = max(self._rate / 2, self._full * _LEAST)

    def taken(self) -> None:
        """The store took all that was offered."""
        self._rate = min(self._full, self._rate + self._full / 20)
