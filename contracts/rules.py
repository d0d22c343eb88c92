"""Merchandising rules: what a shop pins, boosts, buries, hides and caps on its lists, as data.

    {"rules": [
      {"kind": "pin", "id": "spring", "items": ["A"], "placements": ["home"], "until": "2026-04-01T00:00:00Z"},
      {"kind": "boost", "id": "own-brand", "categories": ["TEA"], "factor": 2},
      {"kind": "per_category", "id": "mixed", "most": 3}]}

One object a shop (:func:`contracts.lake.rules_path`), replaced as a whole. A rule without ``placements`` holds on every
list, one without ``from`` and ``until`` always. In case of doubt: ``hide`` beats ``pin``, ``pin`` beats ``bury``,
``bury`` beats ``boost``; of two boosts the larger counts, of two ``per_category`` the smaller, of two ``bought_within``
the larger.
"""

from datetime import datetime
from typing import Annotated, Any, Final, cast, get_args

import msgspec

from contracts.errors import InvalidRules
from contracts.events import to_ms
from contracts.ids import is_id

__all__ = [
    "MAX_BYTES",
    "NO_RULES",
    "Boost",
    "BoughtWithin",
    "Bury",
    "Cap",
    "Hide",
    "PerCategory",
    "Pin",
    "Rule",
    "Rules",
    "active_rules",
    "decode_rules",
    "encode_rules",
]

MAX_BYTES: Final = 1024 * 1024
_MOST_RULES: Final = 1000

Time = Annotated[datetime, msgspec.Meta(tz=True, description="RFC 3339 with an offset")]
Ids = Annotated[list[str], msgspec.Meta(max_length=10_000)]
Most = Annotated[int, msgspec.Meta(ge=0, le=1000)]


class _Rule(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind"
):
    """What all rules have: an ``id`` of the shop's choosing, where and when they hold, a ``note`` for people.

    ``from`` is included in the time, ``until`` is not.
    """

    id: str
    placements: Annotated[list[str], msgspec.Meta(max_length=100)] = []
    begins: Time | None = msgspec.field(name="from", default=None)
    ends: Time | None = msgspec.field(name="until", default=None)
    note: Annotated[str, msgspec.Meta(max_length=1000)] = ""

    def holds(self, placement: str, now_ms: int) -> bool:
        """Whether the rule is in force on a list at an instant."""
        if self.placements and placement not in self.placements:
            return False
        if self.begins is not None and now_ms < to_ms(self.begins):
            return False
        return self.ends is None or now_ms < to_ms(self.ends)


class _Chosen(_Rule, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A rule about some items, and all items of some categories."""

    items: Ids = []
    categories: Annotated[list[str], msgspec.Meta(max_length=1000)] = []


class Pin(_Rule, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="pin"):
    """These items come first, in this order, also where no list holds them; never what must not be shown."""

    items: Annotated[list[str], msgspec.Meta(min_length=1, max_length=50)]


class Boost(_Chosen, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="boost"):
    """Their place on the list is divided by ``factor``: with 2 the tenth competes with the fifth.

    By place and not by score, because scores of different lists do not compare.
    """

    factor: Annotated[float, msgspec.Meta(gt=1, le=1000)]


class Bury(_Chosen, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="bury"):
    """They come behind everything else that may be shown."""


class Hide(_Chosen, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="hide"):
    """They are shown on no list."""


class Cap(_Chosen, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="cap"):
    """At most ``most`` of them on one list."""

    most: Most


class PerCategory(_Rule, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="per_category"):
    """At most ``most`` items of each category on one list; items without a category are not counted."""

    most: Annotated[int, msgspec.Meta(ge=1, le=1000)]


class BoughtWithin(
    _Rule, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="bought_within"
):
    """What somebody bought within so many days is not shown to them, unless it is ``repeatable``.

    In place of the deployment's ``bought.within.days``. A purchase is remembered for ``user.ttl.s`` of the stream.
    """

    days: Annotated[int, msgspec.Meta(ge=0, le=3650)]


Rule = Pin | Boost | Bury | Hide | Cap | PerCategory | BoughtWithin
KINDS: Final = tuple(cast("Any", kind).__struct_config__.tag for kind in get_args(Rule))


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All rules of a shop, the file's content."""

    rules: Annotated[list[Rule], msgspec.Meta(max_length=_MOST_RULES)] = []


NO_RULES: Final = Rules()
_decoder = msgspec.json.Decoder(Rules)


def encode_rules(rules: Rules) -> bytes:
    """The stored bytes.

    >>> decode_rules(encode_rules(NO_RULES)) == NO_RULES
    True
    """
    return msgspec.json.encode(rules)


def decode_rules(data: bytes) -> Rules:
    """Read rules, strictly: a field that is not known is an error, because it would be a rule that does nothing.

    Raises:
        InvalidRules: with the rule and the field that are wrong, and what was expected.

    >>> decode_rules(b'{"rules":[{"kind":"pin","id":"a","items":["A"],"placement":"home"}]}')
    Traceback (most recent call last):
    contracts.errors.InvalidRules: Object contains unknown field `placement` - at `$.rules[0]`
    """
    if len(data) > MAX_BYTES:
        message = f"the rules are {len(data)} bytes; expected at most {MAX_BYTES}"
        raise InvalidRules(message)
    try:
        rules = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        message = str(exc)
        if "Invalid value" in message and ".kind" in message:
            message += f"; expected one of {', '.join(KINDS)}"
        raise InvalidRules(message) from exc
    _check(rules)
    return rules


def _check(rules: Rules) -> None:
    seen: dict[str, int] = {}
    for at, rule in enumerate(rules.rules):
        if not is_id(rule.id):
            _refuse(at, rule, f"id is {rule.id[:40]!r}; expected 1 to 128 printable characters")
        if rule.id in seen:
            _refuse(at, rule, f"rule {seen[rule.id]} has the same id; expected ids of their own")
        seen[rule.id] = at
        if rule.begins is not None and rule.ends is not None and rule.begins >= rule.ends:
            _refuse(at, rule, f"from {rule.begins.isoformat()} is not before until {rule.ends.isoformat()}")
        names = [*rule.placements, *getattr(rule, "items", ()), *getattr(rule, "categories", ())]
        if wrong := [name for name in names if not is_id(name)]:
            _refuse(at, rule, f"{wrong[0][:40]!r} is no name; expected 1 to 128 printable characters")
        if isinstance(rule, _Chosen) and not (rule.items or rule.categories):
            _refuse(at, rule, "neither items nor categories are named; expected at least one")


def _refuse(at: int, rule: Rule, problem: str) -> None:
    message = f"rule {at} ({rule.id[:40]!r}): {problem}"
    raise InvalidRules(message)


def active_rules(rules: Rules, placement: str, now_ms: int) -> tuple[list[Rule], int | None]:
    """The rules in force on a list at an instant, and the next instant (epoch ms) at which they may be others.

    >>> data = b'{"rules":[{"kind":"hide","id":"a","items":["A"],"from":"1970-01-01T00:00:01Z"}]}'
    >>> [(len(found), until) for at in (0, 1000) for found, until in [active_rules(decode_rules(data), "home", at)]]
    [(0, 1000), (1, None)]
    """
    found = [rule for rule in rules.rules if rule.holds(placement, now_ms)]
    edges = {to_ms(edge) for rule in rules.rules for edge in (rule.begins, rule.ends) if edge is not None}
    return found, min((edge for edge in edges if edge > now_ms), default=None)
