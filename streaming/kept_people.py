"""Values of people as this worker wrote them last, so that whoever acts again in a moment is not read again."""

from collections import OrderedDict
from typing import Final

from contracts.features import BUCKET_MS
from contracts.packed import Packed
from streaming.batching import Person, Who

__all__ = ["Kept", "KeptPeople"]

Kept = tuple[str, Packed]
"""A revision, and the value that was written with it."""

_NOWHERE: Final = -1
_PAST_S: Final = 2 * BUCKET_MS // 1000


class KeptPeople:
    """The values of at most ``size`` people, those written last; for one thread.

    A value need not be up to date: it is written back under the guard of its revision, so where somebody else has
    written, or Redis has lost the key, the write is refused and the person is read. A value is given out once: whoever
    takes it changes it.

    That guard is of one key. So a visitor who is known, or becomes known with this news, is always read: their actions
    go to their owner's value as well, which would take in what the visitor's own key no longer holds (of a person who
    was deleted, or on a device that has been somebody else's since).

    A value is kept for the events of its newest bucket only. A later bucket of the person may be counted by another
    subtask, and a value from before that would be refused nearly always. When a later bucket begins, values of buckets
    long past go, even where there is room.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._newest = _NOWHERE
        self._values: OrderedDict[Who, tuple[int, Kept]] = OrderedDict()

    def take(self, who: Who, person: Person) -> Kept | None:
        """The value to go on with, if there is one for this news."""
        found = self._values.pop(who, None)
        return found[1] if found and found[0] == _bucket(person) and not person.owner else None

    def keep(self, who: Who, person: Person, rev: str, packed: Packed) -> None:
        """This value was written with this revision, for this news."""
        bucket = _bucket(person)
        self._values.pop(who, None)
        if bucket == _NOWHERE or packed.owner:
            return
        self._values[who] = bucket, (rev, packed)
        if len(self._values) > self._size:
            self._values.popitem(last=False)
        if bucket > self._newest:
            self._newest = bucket
            while self._oldest() < bucket - _PAST_S:
                self._values.popitem(last=False)

    def __len__(self) -> int:
        return len(self._values)

    def _oldest(self) -> int:
        """The bucket of the value that was written first."""
        return next(iter(self._values.values()))[0]


def _bucket(person: Person) -> int:
    return max(person.buckets, default=_NOWHERE)
