"""A circuit breaker, pure: a store that failed several times in a row is left alone for a while, then tried once."""

from collections.abc import Callable
from typing import Final, Literal

__all__ = ["Breaker", "State"]

State = Literal["closed", "open", "half-open"]

_FAILURES: Final = 5
_FIRST_S: Final = 0.5
_LONGEST_S: Final = 5.0


class Breaker:
    """``closed`` lets everything pass, ``open`` nothing, ``half-open`` one attempt, which decides.

    It opens after ``failures`` in a row, for ``first_s``; an attempt that fails opens it for twice as long as before,
    at most ``longest_s``. One success closes it. An attempt that is never told how it ended counts as failed after
    ``longest_s``. ``clock`` is monotonic seconds.

    >>> now = 0.0
    >>> breaker = Breaker(lambda: now, failures=2, first_s=1.0)
    >>> breaker.failed(), breaker.failed(), breaker.state, breaker.allows()
    (None, None, 'open', False)
    >>> now = 1.0
    >>> breaker.state, breaker.allows(), breaker.allows()
    ('half-open', True, False)
    >>> breaker.succeeded(), breaker.state
    (None, 'closed')
    """

    __slots__ = ("_again", "_clock", "_count", "_failures", "_first_s", "_longest_s", "_pause_s", "_trying_until")

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        failures: int = _FAILURES,
        first_s: float = _FIRST_S,
        longest_s: float = _LONGEST_S,
    ) -> None:
        self._clock = clock
        self._failures, self._first_s, self._longest_s = failures, first_s, longest_s
        self._count = 0
        self._pause_s = first_s
        self._again: float | None = None
        self._trying_until: float | None = None

    @property
    def state(self) -> State:
        """What it does with the next attempt."""
        if self._again is None:
            return "closed"
        return "open" if self._clock() < self._again else "half-open"

    def allows(self) -> bool:
        """Whether to try; where it says so, tell it :meth:`succeeded` or :meth:`failed`."""
        if self._again is None:
            return True
        now = self._clock()
        if now < self._again or (self._trying_until is not None and now < self._trying_until):
            return False
        self._trying_until = now + self._longest_s
        return True

    def succeeded(self) -> None:
        """An attempt brought an answer."""
        if self._count or self._again is not None:
            self._count, self._pause_s, self._again, self._trying_until = 0, self._first_s, None, None

    def failed(self) -> None:
        """An attempt brought none. Late news of attempts from before it opened do not prolong the pause."""
        self._count += 1
        if self._again is None:
            if self._count >= self._failures:
                self._again = self._clock() + self._pause_s
        elif self._trying_until is not None:
            self._pause_s = min(2 * self._pause_s, self._longest_s)
            self._again, self._trying_until = self._clock() + self._pause_s, None
