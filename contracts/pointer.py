"""The pointer to the live model version; apart from :mod:`contracts.snapshot`, so that readers of it need no NumPy."""

from datetime import datetime

import msgspec

__all__ = ["Pointer"]


class Pointer(msgspec.Struct, frozen=True, kw_only=True):
    """The content of ``models/current.json``, of the Redis pointer and of the DynamoDB CURRENT item."""

    version: str
    switched_at: datetime
