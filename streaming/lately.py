"""Which of very many keys were looked at lately, in memory of a fixed size."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

__all__ = ["Lately"]

_SLOTS: Final = 1 << 21
"""24 MiB: of 200,000 people who come by turns one in ten shares a place."""


class Lately:
    """Until when each key need not be looked at again.

    Keys share ``slots`` places (12 bytes each, by Python's hash of the key); of two with one place the newer is known,
    and the other is due early, which costs a look. So few keys are forgotten, by chance. A list of those used last
    would forget all of them, again and again, as soon as more come by turns than it has room for.
    """

    def __init__(self, slots: int = _SLOTS) -> None:
        if slots < 1 or slots & (slots - 1):
            message = f"slots is {slots}; expected a power of two"
            raise ValueError(message)
        self._mask = slots - 1
        self._hashes = np.zeros(slots, np.int64)
        self._until_s = np.zeros(slots, np.uint32)

    def due(self, keys: Sequence[str], now_s: int) -> list[str]:
        """Those of the keys that are to be looked at now."""
        hashes = _hashes(keys)
        places = hashes & self._mask
        known = (self._hashes[places] == hashes) & (self._until_s[places] > now_s)
        return [key for key, is_known in zip(keys, known.tolist(), strict=True) if not is_known]

    def note(self, keys: Sequence[str], until_s: Sequence[int]) -> None:
        """The keys were looked at; they are due again at these epoch seconds."""
        hashes = _hashes(keys)
        places = hashes & self._mask
        self._hashes[places] = hashes
        self._until_s[places] = until_s


def _hashes(keys: Sequence[str]) -> npt.NDArray[np.int64]:
    return np.fromiter(map(hash, keys), np.int64, count=len(keys))
