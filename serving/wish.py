"""How a list is wanted: the query parameters of every list, read once for all routes and documented from here."""

from functools import lru_cache
from typing import Any, Final, NamedTuple, NoReturn
from urllib.parse import parse_qsl

from contracts.ids import is_id
from serving.replies import ApiError

__all__ = ["DEFAULT", "MOST_ITEMS", "Asked", "Wish", "asked_of", "documented"]

MOST_ITEMS: Final = 200
_MOST_NAMES: Final = 200


class Wish(NamedTuple):
    """How a list is wanted. ``hide_bought`` is off only for measuring; ``in_stock`` off shows what is sold out, too."""

    n: int = 20
    explain: bool = False
    hide_bought: bool = True
    placement: str = ""
    category: str = ""
    exclude: frozenset[str] = frozenset()
    min_price: float | None = None
    max_price: float | None = None
    in_stock: bool = True

    @property
    def narrow(self) -> bool:
        """Whether only some of the shop's items are wanted."""
        return bool(self.category) or self.min_price is not None or self.max_price is not None


DEFAULT: Final = Wish()


class Asked(NamedTuple):
    """A wish, and what else stands in the query: the shop, the person whom a list is for, and items."""

    wish: Wish
    shop: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    items: tuple[str, ...] = ()


_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}
_DESCRIBED: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "n": ({"type": "integer", "minimum": 1, "maximum": MOST_ITEMS, "default": 20}, "how many items"),
    "placement": (
        {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,15}$"},
        "where on the pages the list goes: rules and experiments may be for some places only",
    ),
    "category": ({"type": "string"}, "only items of this category"),
    "exclude": (
        {"type": "array", "items": {"type": "string"}, "maxItems": _MOST_NAMES},
        "item ids that are not wanted; repeat the parameter for several",
    ),
    "min_price": ({"type": "number", "minimum": 0}, "only items that cost as much or more"),
    "max_price": ({"type": "number", "minimum": 0}, "only items that cost as much or less"),
    "in_stock": ({"type": "boolean", "default": True}, "`false` shows what is sold out, too"),
    "explain": ({"type": "boolean", "default": False}, "add the reasons of each item"),
    "filter": (
        {"type": "boolean", "default": True},
        "`false` shows what was bought and what is in the cart; only for measuring",
    ),
    "user_id": ({"type": "string"}, "the user who will see the list: what they bought or have in the cart is left out"),
    "anonymous_id": ({"type": "string"}, "the same of an anonymous visitor"),
    "item_id": (
        {"type": "array", "items": {"type": "string"}, "maxItems": _MOST_NAMES},
        "items of the cart; repeat the parameter for several. Default: the cart as the events tell it",
    ),
    "shop": ({"type": "string"}, "the shop; the header `X-Shop` does the same"),
}
_COMMON: Final = (
    "n",
    "placement",
    "category",
    "exclude",
    "min_price",
    "max_price",
    "in_stock",
    "explain",
    "filter",
    "shop",
)


def documented(*more: str) -> dict[str, Any]:
    """The parameters for a route's ``openapi_extra``.

    >>> [parameter["name"] for parameter in documented("user_id")["parameters"]][-2:]
    ['shop', 'user_id']
    """
    return {
        "parameters": [
            {"name": name, "in": "query", "required": False, "schema": schema, "description": text}
            for name in (*_COMMON, *more)
            for schema, text in [_DESCRIBED[name]]
        ]
    }


@lru_cache(maxsize=2048)  # pages ask in the same few ways
def asked_of(query: bytes) -> Asked:
    """What a query string asks; parameters that are not known are ignored.

    >>> asked_of(b"n=5&exclude=A&exclude=B%2C").wish.exclude == {"A", "B,"}
    True

    Raises:
        ApiError: a value cannot be read; the message names it and what was expected.
    """
    if not query:
        return Asked(DEFAULT)
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=1000)
    except ValueError as exc:
        raise ApiError(400, "bad_parameter", f"the query cannot be read: {exc}; expected name=value pairs") from exc
    values = dict(pairs)
    wish = Wish(
        n=_whole(values, "n", DEFAULT.n),
        explain=_flag(values, "explain", DEFAULT.explain),
        hide_bought=_flag(values, "filter", DEFAULT.hide_bought),
        placement=_placement(values.get("placement", "")),
        category=_text(values, "category"),
        exclude=frozenset(_names(pairs, "exclude")),
        min_price=_price(values, "min_price"),
        max_price=_price(values, "max_price"),
        in_stock=_flag(values, "in_stock", DEFAULT.in_stock),
    )
    if wish.min_price is not None and wish.max_price is not None and wish.min_price > wish.max_price:
        _refuse("min_price", values["min_price"], f"at most max_price, which is {wish.max_price:g}")
    people = {name: _id(values, name) for name in ("user_id", "anonymous_id")}
    return Asked(wish, values.get("shop"), items=_names(pairs, "item_id"), **people)


def _refuse(name: str, value: str, expected: str) -> NoReturn:
    raise ApiError(400, "bad_parameter", f"{name} is {value[:80]!r}; expected {expected}")


def _whole(values: dict[str, str], name: str, default: int) -> int:
    text = values.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 5 and 1 <= int(text) <= MOST_ITEMS):
        _refuse(name, text, f"a whole number from 1 to {MOST_ITEMS}")
    return int(text)


def _flag(values: dict[str, str], name: str, default: bool) -> bool:
    text = values.get(name)
    if text is None:
        return default
    if (found := _BOOLEANS.get(text.lower())) is None:
        _refuse(name, text, "true or false")
    return found


def _price(values: dict[str, str], name: str) -> float | None:
    text = values.get(name)
    if text is None:
        return None
    try:
        found = float(text)
    except ValueError as exc:
        _refuse(name, text, f"a number, 0 or more: {exc}")
    if not 0 <= found <= 1e12:  # also not a NaN
        _refuse(name, text, "a number, 0 or more")
    return found


def _text(values: dict[str, str], name: str) -> str:
    text = values.get(name, "")
    if text and not is_id(text):
        _refuse(name, text, "1 to 128 printable characters")
    return text


def _id(values: dict[str, str], name: str) -> str | None:
    text = values.get(name)
    if text is not None and not is_id(text):
        _refuse(name, text, "1 to 128 printable characters")
    return text


def _names(pairs: list[tuple[str, str]], name: str) -> tuple[str, ...]:
    found = [value for key, value in pairs if key == name]
    if len(found) > _MOST_NAMES:
        _refuse(name, found[0], f"at most {_MOST_NAMES} of them, not {len(found)}")
    for value in found:
        if not is_id(value):
            _refuse(name, value, "1 to 128 printable characters")
    return tuple(found)


_PLACEMENT: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")


def _placement(text: str) -> str:
    if text and (len(text) > 16 or text[0] in "-_" or not _PLACEMENT.issuperset(text)):
        _refuse("placement", text, "1 to 16 of a-z, 0-9, '-' and '_'")
    return text
