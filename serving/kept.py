"""Answers that were sent, kept as bytes: most requests for a shelf come while nothing about it has changed.

A person's values in Redis are read for every request, so what a visitor just did is in the next answer. Only the work
of choosing, describing and encoding is saved, where the values, the catalogue, the rules, the experiments and the items
that are explored are those of the answer before, and that is at most a minute old.
"""

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from operator import is_
from typing import Any, Final, NamedTuple

from serving.replies import encode, tag_of

__all__ = ["Encoded", "KeptAnswers", "MadeOf", "encoded_of"]

_MOST: Final = 8_000
"""Some 50 MB: a value and an answer are about three kilobytes each."""
_FOR_MS: Final = 60_000


class Encoded(NamedTuple):
    """A body and its entity tag."""

    body: bytes
    tag: str


class MadeOf(NamedTuple):
    """What an answer is made of: a person's values by key, objects shared by all and never changed, and the hour."""

    values: Mapping[str, Any]
    shared: tuple[Any, ...]
    hour: int

    def same(self, other: "MadeOf") -> bool:
        """Whether all of it is the same; of the shared objects it is whether they are the very same."""
        return self.values == other.values and self.hour == other.hour and all(map(is_, self.shared, other.shared))


class KeptAnswers:
    """Bounded in number (the longest unused go first) and in time: one that is too old goes when the next are kept.

    >>> kept, shared = KeptAnswers(most=1), (object(),)
    >>> kept.keep("ada", MadeOf({"k": b"1"}, shared, 0), Encoded(b"{}", "t"), now_ms=0)
    >>> kept.keys("ada"), kept.keys("bob")
    (('k',), ())
    >>> kept.get("ada", MadeOf({"k": b"1"}, shared, 0), now_ms=59_999)
    Encoded(body=b'{}', tag='t')
    >>> kept.get("ada", MadeOf({"k": b"2"}, shared, 0), 1), kept.get("ada", MadeOf({"k": b"1"}, (object(),), 0), 1)
    (None, None)
    >>> kept.get("ada", MadeOf({"k": b"1"}, shared, 0), now_ms=60_000) is None
    True
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, tuple[MadeOf, Encoded, int]] = OrderedDict()

    def keys(self, name: Hashable) -> tuple[str, ...]:
        """The keys of the values that the answer of before was made of; none where no answer is kept."""
        kept = self._kept.get(name)
        return tuple(kept[0].values) if kept else ()

    def get(self, name: Hashable, made_of: MadeOf, now_ms: int) -> Encoded | None:
        """The answer of before, where it would be made of the same."""
        kept = self._kept.get(name)
        if kept is None or now_ms >= kept[2] or not kept[0].same(made_of):
            return None
        self._kept.move_to_end(name)
        return kept[1]

    def keep(self, name: Hashable, made_of: MadeOf, encoded: Encoded, now_ms: int) -> None:
        """Keep an answer, and let go of those that nobody may get any more: they tell of people."""
        self._kept[name] = made_of, encoded, now_ms + _FOR_MS
        self._kept.move_to_end(name)
        while len(self._kept) > self._most or now_ms >= next(iter(self._kept.values()))[2]:
            self._kept.popitem(last=False)

    def __len__(self) -> int:
        return len(self._kept)


def encoded_of(value: Any) -> Encoded:
    """A value as JSON, with its tag."""
    body = encode(value)
    return Encoded(body, tag_of(body))
