"""What a request reads of people: every key once, and afterwards known, for that is what its answer was made of."""

from collections.abc import Sequence
from typing import Any

from serving.budget import Budget
from serving.reader import Reader

__all__ = ["Reads"]


class Reads:
    """Values by key, from Redis where they are not ``known`` yet; ``used`` are those that were asked for.

    Where Redis did not answer in time, a :class:`contracts.errors.StoreError` stands in the place of the value.
    """

    __slots__ = ("_budget", "_known", "_reader", "used")

    def __init__(self, reader: Reader, budget: Budget, known: dict[str, Any] | None = None) -> None:
        self._reader, self._budget = reader, budget
        self._known: dict[str, Any] = known or {}
        self.used: dict[str, Any] = {}

    async def get(self, keys: Sequence[str]) -> list[Any]:
        """The values of the keys, in one exchange at most."""
        if missing := [key for key in keys if key not in self._known]:
            answers = await self._reader.ask([("GET", key) for key in missing], self._budget)
            self._known.update(zip(missing, answers, strict=True))
        found = [self._known[key] for key in keys]
        self.used.update(zip(keys, found, strict=True))
        return found
