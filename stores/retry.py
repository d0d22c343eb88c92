"""Bounded retries with full jitter, the one rule for every write and read outside the process."""

import random
import time
from collections.abc import Callable, Iterator
from typing import Final

__all__ = ["delays"]

BASE_S: Final = 0.05
CAP_S: Final = 2.0


def delays(
    attempts: int,
    *,
    base_s: float = BASE_S,
    cap_s: float = CAP_S,
    sleep: Callable[[float], None] = time.sleep,
    uniform: Callable[[float, float], float] = random.uniform,
) -> Iterator[int]:
    """Yield the attempt numbers 0 … attempts−1, sleeping a random time below an exponential bound between them.

    Full jitter, as in AWS's Builders' Library, "Timeouts, retries and backoff with jitter".

    >>> slept = []
    >>> list(delays(3, base_s=1.0, cap_s=1.5, sleep=slept.append, uniform=lambda low, high: high)), slept
    ([0, 1, 2], [1.0, 1.5])
    """
    for attempt in range(attempts):
        if attempt:
            sleep(uniform(0.0, min(cap_s, base_s * 2 ** (attempt - 1))))
        yield attempt
