"""The pointer to the live model version; apart from :mod:`contracts.snapshot`, so that readers of it need no NumPy."""

from datetime import datetime

import msgspec

__all__ = ["Pointer"]


class Pointer(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``models/current.json``, of the Redis pointer and of the DynamoDB CURRENT item.

    ``rev`` is 16 hex digits that rise with every switch, also where clocks disagree and where a table was lost and made
    anew: the authority gives it, so that a mirror can tell a late writer from a new one. Empty: not given yet.
    """

    version: str
    switched_at: datetime
    rev: str = ""
