"""The request id of an answer: it says itself which list, model and variants made the answer, so nothing is stored.

The pages send it back with impressions and clicks, and the batch reads from the id alone what these are to be credited
to. It is the same for the same answer to the same person within an hour, so an answer keeps its entity tag, and a page
that is reloaded does not count twice. A client can make ids up as it can make events up; what it cannot do is choose
its variant, because the batch computes the assignment anew and drops what does not fit.
"""

import re
from collections.abc import Collection, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final, Literal, NamedTuple, get_args

from contracts.errors import ContractError

__all__ = ["KINDS", "RequestFacts", "Via", "explored", "make_request_id", "read_request_id"]

KINDS: Final = {
    "live": "l",
    "batch": "b",
    "trending": "t",
    "popular": "p",
    "baked": "d",
    "similar": "s",
    "together": "g",
    "cart": "c",
    "none": "n",
}
"""The kinds of lists, and how an id writes them."""

Via = Literal["user", "visitor", "alias"]
"""Who asked: a user by their id, an anonymous visitor, or an anonymous id that is known to be a user's by now."""

_VIAS: Final[dict[str, Via]] = {via[0]: via for via in get_args(Via)}
_KIND_OF: Final = {letter: kind for kind, letter in KINDS.items()}
_HOUR_MS: Final = 3_600_000
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_HEAD: Final = re.compile("1[a-z][a-z][0-9a-z]{1,5}")
_MARK: Final = 3  # characters an explored item
_MOST_LENGTH: Final = 128


class RequestFacts(NamedTuple):
    """What a request id says.

    ``variants`` are ``experiment:variant`` as in :func:`contracts.assignment.label`; ``new_items`` are marks of the
    items that were on the list to be explored (:func:`explored` tells); ``hour_ms`` is the hour of the answer.
    """

    kind: str
    via: Via
    placement: str
    model_version: str
    variants: tuple[str, ...]
    new_items: tuple[str, ...]
    hour_ms: int


def make_request_id(
    kind: str,
    *,
    via: Via,
    subject: str,
    items: Sequence[str],
    now_ms: int,
    placement: str = "",
    model_version: str = "",
    variants: Sequence[str] = (),
    new_items: Collection[str] = (),
) -> str:
    """The id of an answer: a version, the facts, and a digest of them with the person and the items.

    Args:
        kind: one of :data:`KINDS`.
        via: how the person asked; ``user`` where nobody in particular did.
        subject: the person the answer is for.
        items: the ids on the list, in order.
        new_items: those of them that are there to be explored.

    >>> make_request_id("live", via="user", subject="u.7", items=["A", "B"], now_ms=0, placement="home",
    ...                 model_version="v1", variants=["e:a"], new_items=["B"])
    '1lu0~home~v1~e:a~yp9~z8hXLF'

    Raises:
        ContractError: the facts do not fit into 128 characters, or hold a ``~``.
    """
    marks = "".join(_mark(item) for item in items if item in new_items)
    hour = _base36(now_ms // _HOUR_MS)
    facts = f"1{KINDS[kind]}{via[0]}{hour}~{placement}~{model_version}~{','.join(variants)}~{marks}"
    made = f"{facts}~{_short(chr(0).join([facts, subject, *items]), 6)}"
    if len(made) > _MOST_LENGTH or facts.count("~") != 4:
        message = (
            f"request id {made[:160]!r} has {len(made)} characters; expected at most {_MOST_LENGTH}, facts without ~"
        )
        raise ContractError(message)
    return made


def read_request_id(request_id: str) -> RequestFacts | None:
    """What the id says; ``None`` for an id that is not of :func:`make_request_id` (a shop may have its own).

    >>> read_request_id('1lu0~home~v1~e:a~yp9~z8hXLF')
    RequestFacts(kind='live', via='user', placement='home', model_version='v1', variants=('e:a',), new_items=('yp9',),
    hour_ms=0)
    >>> read_request_id("01HZX5") is None
    True
    """
    parts = request_id.split("~")
    if len(parts) != 6 or not _HEAD.fullmatch(parts[0]) or len(parts[4]) % _MARK:
        return None
    head = parts[0]
    kind, via, hour = _KIND_OF.get(head[1]), _VIAS.get(head[2]), head[3:]
    if kind is None or via is None:
        return None
    variants = tuple(parts[3].split(",")) if parts[3] else ()
    marks = tuple(parts[4][at : at + _MARK] for at in range(0, len(parts[4]), _MARK))
    return RequestFacts(kind, via, parts[1], parts[2], variants, marks, int(hour, 36) * _HOUR_MS)


def explored(facts: RequestFacts, item_id: str) -> bool:
    """Whether the item was on the list to be explored; wrongly so for one other item in 260,000.

    >>> facts = read_request_id('1lu0~home~v1~e:a~yp9~z8hXLF')
    >>> explored(facts, "B"), explored(facts, "A")
    (True, False)
    """
    return bool(facts.new_items) and _mark(item_id) in facts.new_items


def _mark(item_id: str) -> str:
    return _short(item_id, _MARK)


_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def _short(text: str, length: int) -> str:
    """``length`` characters of 6 bits each."""
    number = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
    return "".join(_LETTERS[number >> 6 * at & 63] for at in range(length))


@lru_cache(maxsize=8)  # asked for every answer, for the same hour
def _base36(number: int) -> str:
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
        if not number:
            return digits
