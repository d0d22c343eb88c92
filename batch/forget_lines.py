"""Which lines of the lake are a person's: pure, a few lines of bytes at a time."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import msgspec

from contracts.ids import DEFAULT_SHOP

__all__ = ["People", "Sifted", "people_of"]


class _Who(msgspec.Struct):
    shop_id: str = DEFAULT_SHOP
    user_id: str | None = None
    anonymous_id: str | None = None
    event_type: str = ""
    occurred_at: datetime | None = None
    received_at: datetime | None = None


_who = msgspec.json.Decoder(_Who).decode
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Sifted(NamedTuple):
    """The lines that stay, how many went or lost a name, and visitors that turned out to be the person."""

    kept: list[bytes]
    removed: int
    found: frozenset[str]


@dataclass(frozen=True, slots=True)
class People:
    """One person: a user, and the anonymous visitors they were, or one visitor; up to the moment ``until``."""

    shop: str
    user: str | None
    anonymous: frozenset[str]
    until: datetime
    needles: tuple[bytes, ...]
    quoted: re.Pattern[bytes]

    def touches(self, data: bytes) -> bool:
        """Whether bytes may name the person: an id stands there, or something is escaped and could spell one."""
        return any(needle in data for needle in self.needles) or b"\\u" in data or b"\\/" in data

    def sift(self, lines: Iterable[bytes]) -> Sifted:
        """Leave the person's lines out, and with them what could not be parsed but holds an id as a JSON string.

        Another user's line that names one of the visitors (a browser that two people used) loses that name and stays.

        >>> people = people_of("default", "7", [], datetime.fromisoformat("2026-01-01T00:00:00Z"))
        >>> people.sift([b'{"user_id":"7","anonymous_id":"x","item_id":"A"}', b'{"user_id":"8","item_id":"7"}'])
        Sifted(kept=[b'{"user_id":"8","item_id":"7"}'], removed=1, found=frozenset({'x'}))
        """
        kept, removed, found = [], 0, set[str]()
        for line in lines:
            if not self.touches(line):
                kept.append(line)
                continue
            stays, name = self._judge(line)
            if name is not None and name not in self.anonymous:
                found.add(name)
            if stays is not None:
                kept.append(stays)
            removed += stays is not line
        return Sifted(kept, removed, frozenset(found))

    def _judge(self, line: bytes) -> tuple[bytes | None, str | None]:
        """The line as it stays (``None``: not at all), and a visitor that it shows to be the person."""
        try:
            who = _who(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return (None if self.quoted.search(line) else line), None
        if who.shop_id != self.shop:
            return line, None
        if self.user is not None and who.user_id == self.user:
            return (line, None) if self._later(who) else (None, who.anonymous_id)
        if who.anonymous_id not in self.anonymous or self._later(who):
            return line, None
        if who.user_id is None or who.event_type == "identify":
            return None, None
        return msgspec.json.encode({name: raw for name, raw in _fields(line).items() if name != "anonymous_id"}), None

    def _later(self, who: _Who) -> bool:
        """Whether it was done after that moment; of the two clocks the earlier counts, as in the stream."""
        times = [time for time in (who.occurred_at, who.received_at) if time and time.tzinfo]
        return bool(times) and min(times) > self.until


def people_of(shop: str, user: str | None, anonymous: Sequence[str], until: datetime) -> People:
    """The person with these ids."""
    names = ([] if user is None else [user]) + list(anonymous)
    written = [msgspec.json.encode(name)[1:-1] for name in names]  # with quotes and backslashes escaped
    needles = tuple(dict.fromkeys([*(name.encode() for name in names), *written]))
    quoted = re.compile(b'"(?:' + b"|".join(map(re.escape, needles)) + b')"')
    return People(shop, user, frozenset(anonymous), until, needles, quoted)
