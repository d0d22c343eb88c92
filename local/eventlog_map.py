"""Which column of an own log is what: detected by name, overridden by hand, and explained where it cannot be."""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from contracts.errors import SettingsError
from contracts.events import EVENT_TYPES

__all__ = [
    "FIELDS",
    "IGNORE",
    "OPTIONS",
    "TYPE_WORDS",
    "Given",
    "find_columns",
    "guess",
    "plain",
    "read_given",
    "type_of",
]

IGNORE: Final = "ignore"
"""The type of rows that are left out on purpose."""

_NAMES: Final = {
    "user_id": (
        "userid user visitorid visitor customerid customer customerno clientid client householdid household memberid "
        "member buyerid buyer accountid account shopperid shopper personid person uid"
    ),
    "anonymous_id": "anonymousid anonymous anonid cookieid cookie deviceid device",
    "item_id": (
        "itemid item productid product articleid article sku skuid stockcode goodsid goods asin offerid variantid "
        "productcode itemcode productno articleno movieid pid iid"
    ),
    "time": (
        "timestamp eventtime occurredat time datetime date createdat ts eventdate eventtimestamp transactiontimestamp "
        "transactiondate tdat invoicedate orderdate purchasedate unixtime unixtimestamp zeit datum zeitpunkt"
    ),
    "event_type": "eventtype event action actiontype behavior behaviour behaviortype type activity ereignis",
    "session_id": "sessionid session visitid visit usersession",
    "order_id": (
        "orderid order ordernumber transactionid transaction basketid basket invoiceno invoice receiptid receipt"
    ),
    "price": "price unitprice itemprice saleprice listprice preis einzelpreis",
    "quantity": "quantity qty menge anzahl",
    "currency": "currency currencycode waehrung",
    "event_id": "eventid eventuuid uuid",
    "title": "title itemname productname name itemtitle producttitle productdescription description titel producttype",
    "category": "category categorycode categoryname productcategory itemcategory categoryid department kategorie",
    "image": "image imageurl picture",
}
FIELDS: Final = {name: tuple(words.split()) for name, words in _NAMES.items()}
"""The names by which each field is known, :func:`plain`, the surest first."""

OPTIONS: Final = ("type", "decimal", "delimiter", "encoding", "columns", "currency_code")

TYPE_WORDS: Final[dict[str, str]] = {
    word: kind
    for kind, words in {
        "view": "view views pageview pv productview viewitem itemview detail detailview productdetailview seen",
        "click": "click clicks selectitem itemclick",
        "add_to_cart": "addtocart cart addcart carted basketadd addtobasket addtobag",
        "remove_from_cart": "removefromcart removecart cartremove removefrombasket",
        "purchase": "purchase purchases buy bought transaction order ordered checkout sale sold conversion",
        "impression": "impression impressions",
        IGNORE: "search login logout",
    }.items()
    for word in words.split()
}


@dataclass(frozen=True)
class Given:
    """What a person said of their log: columns by field, event types by word, options; nothing of it is needed."""

    columns: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    time_format: str = ""


def plain(name: str) -> str:
    """A name without case, spaces and signs, as names are compared.

    >>> plain("User_ID"), plain("addToCart")
    ('userid', 'addtocart')
    """
    return re.sub(r"[\W_]+", "", name).lower()


def read_given(text: str | None) -> Given:
    """The mapping of a TOML file, or of ``key=value`` pairs separated by commas.

    >>> read_given("user_id=visitorid, time=timestamp:ms, types.seen=view, type=purchase")
    Given(columns={'user_id': 'visitorid', 'time': 'timestamp'}, types={'seen': 'view'}, options={'type': 'purchase'},
        time_format='ms')

    Raises:
        SettingsError: a key or a type is unknown, or the file cannot be read.
    """
    if not text:
        return Given()
    pairs = _toml(Path(text).expanduser()) if text.endswith(".toml") else _pairs(text)
    given = Given()
    form = ""
    for key, value in pairs:
        if key.startswith("types."):
            given.types[plain(key.removeprefix("types."))] = _known_type(value)
        elif key in FIELDS:
            if key == "time":
                value, _, form = value.partition(":")
            given.columns[key] = value
        elif key in OPTIONS:
            given.options[key] = _known_type(value) if key == "type" else value
        else:
            expected = ", ".join((*FIELDS, *OPTIONS, "types.WORD"))
            message = f"{key!r} in the mapping is unknown{guess(key, (*FIELDS, *OPTIONS))}; expected {expected}"
            raise SettingsError(message)
    return Given(given.columns, given.types, given.options, form)


def _pairs(text: str) -> Iterable[tuple[str, str]]:
    for part in re.split(r",(?=\s*[\w.]+\s*=)", text):  # a value may hold commas: columns=a,b,c
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            message = (
                f"the mapping {text!r} has a part {part.strip()!r}; expected field=column, as in user_id=visitorid"
            )
            raise SettingsError(message)
        yield key.strip(), value.strip() if value.strip() else value


def _toml(path: Path) -> Iterable[tuple[str, str]]:
    try:
        tables = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        message = f"the mapping {path} cannot be read: {exc}; expected TOML with [columns], [types] and [options]"
        raise SettingsError(message) from exc
    for name, table in tables.items():
        if name not in ("columns", "types", "options") or not isinstance(table, dict):
            message = f"{name!r} in the mapping {path} is unknown; expected [columns], [types] and [options]"
            raise SettingsError(message)
        for key, value in table.items():
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            yield (f"types.{key}" if name == "types" else key), text


def _known_type(word: str) -> str:
    kind = word if word in (*EVENT_TYPES, IGNORE) else TYPE_WORDS.get(plain(word))
    if kind in (*EVENT_TYPES, IGNORE) and kind != "identify":
        return kind
    expected = ", ".join(name for name in (*EVENT_TYPES, IGNORE) if name != "identify")
    message = f"event type {word!r} in the mapping is unknown{guess(word, EVENT_TYPES)}; expected {expected}"
    raise SettingsError(message)


def type_of(word: str, given: Mapping[str, str]) -> str | None:
    """The event type behind a word of the log, ``None`` where nobody knows it.

    >>> type_of("Add to cart", {}), type_of("fav", {"fav": "view"}), type_of("fav", {})
    ('add_to_cart', 'view', None)
    """
    return given.get(plain(word)) or TYPE_WORDS.get(plain(word))


def guess(word: str, among: Iterable[str]) -> str:
    """``; did you mean X?``, or nothing.

    >>> guess("user", ["user_id", "price"])
    '; did you mean user_id?'
    """
    names = {plain(name): name for name in among}
    near = get_close_matches(plain(word), names, 1, 0.6)
    return f"; did you mean {names[near[0]]}?" if near else ""


def find_columns(columns: Sequence[str], given: Given, what: str) -> dict[str, str]:
    """Column by field, for the fields that the log has; what was given comes first, ``-`` leaves a field out.

    Raises:
        SettingsError: a named column is absent, or item, time and person are not all found.
    """
    found = {name: _named(name, column, columns, what) for name, column in given.columns.items() if column != "-"}
    free = {plain(column): column for column in columns if column not in found.values()}
    for name, words in FIELDS.items():
        if name in given.columns:
            continue
        if column := next((free[word] for word in words if word in free), None):
            found[name] = column
            del free[plain(column)]
    lacking = [name for name in ("item_id", "time") if name not in found]
    if not {"user_id", "anonymous_id", "session_id"} & found.keys():
        lacking.insert(0, "user_id (or anonymous_id, or session_id)")
    if lacking:
        raise SettingsError(_lacking(lacking, found, columns, what))
    return found


def _named(name: str, column: str, columns: Sequence[str], what: str) -> str:
    if column in columns:
        return column
    same = [other for other in columns if plain(other) == plain(column)]
    if len(same) == 1:
        return same[0]
    message = f"{what} has no column {column!r} for {name}{guess(column, columns)}; columns found: {', '.join(columns)}"
    raise SettingsError(message)


def _lacking(lacking: Sequence[str], found: Mapping[str, Any], columns: Sequence[str], what: str) -> str:
    free = [column for column in columns if column not in found.values()]
    hints = []
    for name in lacking:
        short = name.partition(" ")[0]
        near = [column for column in free if get_close_matches(plain(column), FIELDS[short], 1, 0.7)]
        hints += [f"{short}={near[0]}"] if near else []
    mapped = ", ".join(f"{name}={column}" for name, column in found.items()) or "nothing"
    head = f"{what}: no column for {', '.join(lacking)}; columns found: {', '.join(columns)}; understood: {mapped}"
    if sum(bool(re.fullmatch(r"[\d.:TZ+-]+", column)) for column in columns) * 2 > len(columns):
        return f'{head}; the first line seems to be data already: name its columns, MAP="columns=user_id,item_id,time"'
    if hints:
        return f'{head}; did you mean MAP="{",".join(hints)}"?'
    return f'{head}; say which they are, as in MAP="user_id=COLUMN,item_id=COLUMN,time=COLUMN"'
