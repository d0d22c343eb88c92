"""A visitor as the stores know them: read as blocks, made into objects only where a request wants them."""

import struct
from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from typing import Final

import msgspec

from contracts.errors import ContractError
from contracts.held import in_cart, merge_bought, merge_cart
from contracts.lists import (
    REV_BYTES,
    Action,
    Brief,
    RecommendationList,
    UserValue,
    actions_of,
    bought_of,
    brief_of,
    cart_of,
    live_of,
    merge_actions,
    unpack_user,
    value_of,
)
from contracts.live import joined
from contracts.packed import LETTERS, Packed, split_ids
from serving.choosing import Held

__all__ = ["DAMAGED", "Memory", "Person", "Stored"]

DAMAGED: Final = (ContractError, msgspec.MsgspecError, struct.error, ValueError, LookupError, OverflowError)
"""What reading a block of a stored value raises where its bytes are not what they should be."""

_PURCHASE: Final = LETTERS["purchase"]
_MOST_REMEMBERED: Final = 200_000
_REMEMBERED_MS: Final = 24 * 60 * 60 * 1000


class Stored:
    """One stored value: its revision and its blocks."""

    __slots__ = ("packed", "rev")

    def __init__(self, data: bytes) -> None:
        """Read it.

        Raises:
            ContractError: the bytes are not such a value.
        """
        self.packed: Packed = unpack_user(data)
        self.rev = data[:REV_BYTES].decode()

    @property
    def value(self) -> UserValue:
        """As objects."""
        return value_of(self.rev, self.packed)


class Person:
    """A visitor under all their names. ``readable`` is false where Redis did not answer.

    ``stored`` is the value under the name that counts; ``visitors`` are those of the anonymous visitors they were.
    """

    def __init__(
        self,
        subject: str,
        known_as: str | None,
        keys: tuple[str, ...],
        stored: Stored | None = None,
        visitors: Sequence[Stored] = (),
        *,
        readable: bool = True,
    ) -> None:
        self.subject, self.known_as, self.keys, self.readable = subject, known_as, keys, readable
        self._stored, self._all_visitors = stored, visitors
        mine = [one.packed for one in visitors if one.packed.owner is None or one.packed.owner.subject == subject]
        self._parts = [stored.packed, *mine] if stored else mine

    def live(self, *, explained: bool) -> RecommendationList | Brief | None:
        """The list that the stream keeps for them; with its reasons where it is to be explained."""
        if self._stored is None:
            return None
        return live_of(self._stored.packed) if explained else brief_of(self._stored.packed)

    @cached_property
    def actions(self) -> list[Action]:
        """Their recent actions, oldest first."""
        if len(self._parts) == 1:
            return actions_of(self._parts[0])
        found: list[Action] = []
        keep = max((len(part.letters) for part in self._parts), default=0)
        for part in self._parts:
            found = merge_actions(found, actions_of(part), max(keep, 20))
        return found

    @cached_property
    def held(self) -> Held:
        """What they bought, and what is in the cart."""
        bought: dict[str, int] = {}
        for part in self._parts:
            if part.bought:
                own = bought_of(part)
                bought = merge_bought(bought, own, -1) if bought else own
        marked = [part for part in self._parts if part.cart]
        cart = cart_of(marked[0]) if marked else []
        for part in marked[1:]:
            cart = merge_cart(cart, cart_of(part), -1)
        inside = in_cart(bought, cart)
        for part in self._parts:  # also of values from before purchases were kept
            if _PURCHASE in part.letters:
                _add_purchases(bought, part)
        return Held(bought, inside, self.readable)

    @property
    def value(self) -> UserValue | None:
        """All of it as objects, as one."""
        own = self._stored.value if self._stored else None
        return joined(self.subject, own, [visitor.value for visitor in self._all_visitors])


def _add_purchases(bought: dict[str, int], part: Packed) -> None:
    items = split_ids(part.items)
    for place, letter in enumerate(part.letters):
        if letter == _PURCHASE:
            at = int.from_bytes(part.times[8 * place : 8 * place + 8], "little", signed=True)
            bought[items[place]] = max(at, bought.get(items[place], 0))


class Memory:
    """What persons held when they were last read: for the time when they cannot be read.

    Bounded by item ids, and to a day, so that a process does not go on holding what was deleted everywhere else.

    >>> memory = Memory(most=2)
    >>> for name in "abc":
    ...     memory.keep(name, Held({"A": 1}), now_ms=0)
    >>> memory.get("a", 1).bought, memory.get("c", 1).bought, memory.get("c", 1).known
    ({}, {'A': 1}, False)
    >>> memory.get("c", now_ms=86_400_000).bought
    {}
    """

    def __init__(self, most: int = _MOST_REMEMBERED) -> None:
        self._most, self._size = most, 0
        self._held: OrderedDict[str, tuple[Held, int]] = OrderedDict()  # the longest unread first

    def keep(self, name: str, held: Held, now_ms: int) -> None:
        """Remember what somebody holds."""
        self._forget(name)
        if held.bought or held.cart:
            self._held[name] = held, now_ms + _REMEMBERED_MS
            self._size += _size(held)
        while self._held and (self._size > self._most or now_ms >= next(iter(self._held.values()))[1]):
            self._forget(next(iter(self._held)))

    def get(self, name: str, now_ms: int) -> Held:
        """What somebody held when they were last read; not ``known``."""
        held, until_ms = self._held.get(name, (_NOTHING, 0))
        return Held(held.bought, held.cart, known=False) if now_ms < until_ms else _NOTHING

    def _forget(self, name: str) -> None:
        if (before := self._held.pop(name, None)) is not None:
            self._size -= _size(before[0])


_NOTHING: Final = Held({}, known=False)


def _size(held: Held) -> int:
    return len(held.bought) + len(held.cart)
