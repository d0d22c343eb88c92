"""HTML built from small pieces that escape what they are given, and numbers as a reader wants them."""

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any, Final

__all__ = [
    "DASH",
    "Html",
    "amount",
    "between",
    "duration",
    "finite",
    "join",
    "named",
    "p_value",
    "rounded",
    "share",
    "signed",
    "table",
    "tag",
    "utc",
]

DASH: Final = "–"
_VOID: Final = frozenset({"br", "circle", "line", "meta", "path", "polygon", "polyline", "rect"})


class Html(str):
    """Text that is HTML already; every other value is escaped where it is put in."""

    __slots__ = ()


def tag(element: str, *children: object, **attributes: object) -> Html:
    """One element. Children that are not :class:`Html` are escaped; ``None`` and ``False`` attributes are left out.

    A trailing ``_`` keeps an attribute's name from being a Python keyword, other ``_`` become ``-``.

    >>> tag("p", "1 < 2 ", tag("b", "yes"), class_="note", aria_label='a "b"')
    '<p class="note" aria-label="a &quot;b&quot;">1 &lt; 2 <b>yes</b></p>'
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    if element in _VOID and not children:
        return Html(f"<{element}{written}{'/' if element not in ('br', 'meta') else ''}>")
    return Html(f"<{element}{written}>{join(children)}</{element}>")


def join(parts: Iterable[object], between: str = "") -> Html:
    """The parts one after another, escaped where they are not HTML."""
    return Html(between.join(part if isinstance(part, Html) else escape(str(part), quote=False) for part in parts))


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]], *, words: Sequence[int] = ()) -> Html:
    """A table that scrolls sideways by itself on a narrow screen; the first cell of a row heads it.

    Args:
        words: places of the columns that hold words (aligned left); the others hold numbers.
    """
    left = {0, *words}
    kinds = ["words" if at in left else None for at in range(len(columns))]
    head = tag("tr", *(tag("th", name, scope="col", class_=kind) for name, kind in zip(columns, kinds, strict=True)))
    body = [
        tag(
            "tr",
            tag("th", row[0], scope="row", class_="words"),
            *(tag("td", cell, class_=kind) for cell, kind in zip(row[1:], kinds[1:], strict=True)),
        )
        for row in rows
    ]
    inner = tag("table", tag("caption", tag("span", caption)), tag("thead", head), tag("tbody", *body))
    return tag("div", inner, class_="scroll", tabindex="0", role="region", aria_label=caption)


def finite(value: Any) -> float | None:
    """The value as a number, or None where it is none (missing, text, NaN, infinite).

    >>> finite("x"), finite(None), finite(float("nan")), finite(2)
    (None, None, None, 2.0)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def rounded(value: Any, digits: int = 3) -> str:
    """A measure between 0 and about 1, to so many digits behind the point.

    >>> rounded(0.68766), rounded(None)
    ('0.688', '–')
    """
    number = finite(value)
    return DASH if number is None else f"{number:.{digits}f}".replace("-", "−")


def signed(value: Any, digits: int = 3) -> str:
    """A difference.

    >>> signed(0.35412), signed(-0.0123), signed(0.0)
    ('+0.354', '−0.012', '0.000')
    """
    number = finite(value)
    if number is None:
        return DASH
    text = f"{abs(number):.{digits}f}"
    return text if float(text) == 0 else f"{'+' if number > 0 else '−'}{text}"


def between(low: Any, high: Any, *, sign: bool = False, digits: int = 3) -> str:
    """An interval.

    >>> between(0.6654, 0.7111), between(-0.01, 0.02, sign=True), between(None, 1)
    ('0.665 to 0.711', '−0.010 to +0.020', '–')
    """
    if finite(low) is None or finite(high) is None:
        return DASH
    form = signed if sign else rounded
    return f"{form(low, digits)} to {form(high, digits)}"


def amount(value: Any, unit: str = "") -> str:
    """A count in full, any other number with four significant digits, and its unit.

    >>> amount(1346898), amount(0.0312345), amount(20.0), amount(12.5, "MiB"), amount(3.2e-9)
    ('1,346,898', '0.03123', '20', '12.5 MiB', '3.2e-09')
    """
    number = finite(value)
    if number is None:
        return DASH
    if number == int(number) and abs(number) < 1e15:
        text = f"{int(number):,}"
    elif abs(number) >= 1000:
        text = f"{number:,.0f}"
    else:
        text = f"{number:.4g}"
    return (text + (f" {unit}" if unit else "")).replace("-", "−") if "e" not in text else text


def share(part: Any, digits: int = 1) -> str:
    """A fraction as per cent.

    >>> share(0.1234), share(1), share(None)
    ('12.3 %', '100.0 %', '–')
    """
    number = finite(part)
    return DASH if number is None else f"{100 * number:.{digits}f} %".replace("-", "−")


def p_value(value: Any) -> str:
    """The probability of a difference at least this large by chance.

    >>> p_value(0.00004), p_value(0.0312), p_value(0.4)
    ('< 0.001', '0.031', '0.400')
    """
    number = finite(value)
    return DASH if number is None else ("< 0.001" if number < 0.001 else f"{number:.3f}")


def duration(seconds: Any) -> str:
    """A time span in the unit one would say it in.

    >>> duration(0.31), duration(61.0), duration(125), duration(7500)
    ('0.3 s', '61 s', '2 min 5 s', '2 h 5 min')
    """
    number = finite(seconds)
    if number is None:
        return DASH
    if number < 119.5:
        return f"{number:.1f} s" if number < 9.95 else f"{number:.0f} s"
    minutes, rest = divmod(round(number), 60)
    return f"{minutes} min {rest} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def utc(moment: datetime) -> str:
    """To the minute, in UTC, which is said.

    >>> utc(datetime(2026, 11, 22, 17, 39, 45, tzinfo=UTC))
    '2026-11-22 17:39 UTC'
    """
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def named(name: str) -> str:
    """A program's name for something, as words.

    >>> named("days_made")
    'days made'
    """
    return name.replace("_", " ")
