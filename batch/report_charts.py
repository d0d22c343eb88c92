"""Charts as inline SVG: text stays text, colours come from the page's style sheet, values show on hovering."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from batch.report_html import Html, amount, join, rounded, tag

__all__ = ["Range", "Series", "columns", "figure", "legend", "lines", "ranges", "spans", "stacks", "ticks"]

WIDTH: Final = 380
"""Every chart is drawn this wide and shown at most a little wider: its text is as large as the page's on a phone."""
_MARKS: Final = {"live": "circle", "batch": "square", "incumbent": "diamond", "popularity": "triangle"}


@dataclass(frozen=True, slots=True)
class Range:
    """A value with its interval; ``tone`` is the colour class of the style sheet."""

    label: str
    value: float
    low: float | None
    high: float | None
    tone: str


@dataclass(frozen=True, slots=True)
class Series:
    """Values by place, None where there is none, as a line with marks or only one of both.

    ``errors`` are half widths of intervals.
    """

    label: str
    values: Sequence[float | None]
    tone: str
    errors: Sequence[float | None] = ()
    joined: bool = True
    marked: bool = True


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers from ``low`` to ``high``, about ``most`` of them.

    >>> ticks(0.31, 0.72), ticks(0, 4), ticks(-0.012, 0.031)
    ([0.4, 0.5, 0.6, 0.7], [0.0, 1.0, 2.0, 3.0, 4.0], [-0.01, 0.0, 0.01, 0.02, 0.03])
    """
    raw = (high - low) / max(most - 0.5, 1)
    base = 10.0 ** math.floor(math.log10(raw))
    step = next(base * factor for factor in (1, 2, 2.5, 5, 10) if base * factor >= raw * 0.8)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(at * step, 12) + 0.0 for at in range(first, last + 1)]


def _extent(values: Sequence[float], room: float = 0.06) -> tuple[float, float]:
    """Where an axis begins and ends so that all values are well inside.

    >>> _extent([0.0, 1.0], 0.1), _extent([2.0, 2.0])
    ((-0.1, 1.1), (1.5, 2.5))
    """
    low, high = min(values), max(values)
    pad = (high - low) * room if high > low else abs(low) / 4 or 1.0
    return low - pad, high + pad


def figure(title: str, chart: Html, *notes: object, key: Html | None = None) -> Html:
    """A chart with its title, its key and what it says in words."""
    said = [tag("p", note) for note in notes if note]
    return tag("figure", tag("figcaption", tag("h4", title)), key or Html(), chart, *said)


def legend(entries: Sequence[tuple[str, str]]) -> Html:
    """The key of a chart: (label, tone) with the mark that the chart uses."""
    marks = []
    for label, tone in entries:
        swatch = tag("svg", _mark(7, 7, tone), width=14, height=14, viewBox="0 0 14 14", aria_hidden="true")
        marks.append(tag("li", swatch, label))
    return tag("ul", *marks, class_="key")


def _svg(height: float, said: str, *parts: Html) -> Html:
    return tag("svg", *parts, viewBox=f"0 0 {WIDTH} {height:g}", role="img", aria_label=said, class_="chart")


def _text(x: float, y: float, text: str, anchor: str = "start", class_: str | None = None) -> Html:
    return tag("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor, class_=class_)


def _line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Html:
    return tag("line", x1=f"{x1:.1f}", y1=f"{y1:.1f}", x2=f"{x2:.1f}", y2=f"{y2:.1f}", class_=class_)


def _mark(x: float, y: float, tone: str, title: str = "", radius: float = 4.5) -> Html:
    """A tone has its own shape as well as its colour, the same in every chart."""
    kind = _MARKS.get(tone, "bar")
    inner = [tag("title", title)] if title else []
    if kind == "circle":
        return tag("circle", *inner, cx=f"{x:.1f}", cy=f"{y:.1f}", r=radius, class_=f"mark {tone}")
    side = radius * 1.25
    shapes: dict[str, list[tuple[float, float]]] = {
        "square": [(-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)],
        "diamond": [(0, -1.1), (1.1, 0), (0, 1.1), (-1.1, 0)],
        "triangle": [(0, -1), (1, 0.8), (-1, 0.8)],
        "bar": [(-1, -0.35), (1, -0.35), (1, 0.35), (-1, 0.35)],
    }
    points = " ".join(f"{x + dx * side:.1f},{y + dy * side:.1f}" for dx, dy in shapes[kind])
    return tag("polygon", *inner, points=points, class_=f"mark {tone}")


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    return lambda value: start + (value - low) / (high - low) * (end - start)


def ranges(
    said: str, rows: Sequence[Range], *, form: Callable[[float], str] = rounded, zero: bool = False, left: float = 92
) -> Html:
    """Values with intervals below each other; ``zero`` draws the line of no difference."""
    ends = [end for row in rows for end in (row.value, row.low, row.high) if end is not None]
    span = _extent([*ends, 0.0] if zero else ends)
    marks, step = ticks(*span, 4), 28
    place, bottom = _scale(*span, left, WIDTH - 56), step * len(rows) + 6
    parts = [join((_line(place(m), 4, place(m), bottom, "grid"), _tick(place(m), bottom + 15, m))) for m in marks]
    if zero:
        parts.append(_line(place(0), 2, place(0), bottom, "axis"))
    for at, row in enumerate(rows):
        y = 4 + step * (at + 0.5)
        title = f"{row.label}: {form(row.value)}"
        if row.low is not None and row.high is not None:
            title += f" ({form(row.low)} to {form(row.high)})"
            parts.append(_line(place(row.low), y, place(row.high), y, f"whisker {row.tone}"))
        parts += [_text(0, y + 4, row.label), _mark(place(row.value), y, row.tone, title)]
        parts.append(_text(WIDTH, y + 4, form(row.value), "end", "value"))
    return _svg(bottom + 20, said, *parts)


def _tick(x: float, y: float, value: float) -> Html:
    return _text(x, y, amount(value), "middle", "tick")


def lines(
    said: str,
    places: Sequence[str],
    series: Sequence[Series],
    *,
    at: Sequence[float] | None = None,
    diagonal: bool = False,
    names: tuple[str, str] = ("", ""),
    form: Callable[[float], str] = rounded,
) -> Html:
    """Lines over ``places``, evenly spaced or ``at`` positions; ``diagonal`` draws where both axes are equal.

    ``names`` are those of the horizontal and the vertical axis.
    """
    xs = [float(value) for value in (at if at is not None else range(len(places)))]
    ys = [v for one in series for v in one.values if v is not None] + ([*xs] if diagonal else [])
    high = _extent(ys)
    marks = ticks(*high)
    top, bottom, left = (22.0 if names[1] else 8.0), 190.0, 44.0
    level = _scale(*high, bottom, top)
    span = (min(xs), max(xs)) if max(xs) > min(xs) else (xs[0] - 1, xs[0] + 1)
    place = _scale(*span, left + 10, WIDTH - 12)
    parts = [
        join((_line(left, level(m), WIDTH, level(m), "grid"), _text(left - 6, level(m) + 4, amount(m), "end", "tick")))
        for m in marks
    ]
    parts += [_text(0, 11, names[1], "start", "tick")] if names[1] else []
    parts += _feet([place(x) for x in xs], places, bottom)
    parts += [_text(WIDTH, bottom + 34, names[0], "end", "tick")] if names[0] else []
    if diagonal:
        first, last = max(span[0], high[0]), min(span[1], high[1])
        parts.append(_line(place(first), level(first), place(last), level(last), "axis dashed"))
    parts += [_curve(one, [place(x) for x in xs], level, places, form) for one in series]
    return _svg(bottom + (40 if names[0] else 22), said, *parts)


def _feet(xs: Sequence[float], places: Sequence[str], bottom: float) -> list[Html]:
    """Names below the horizontal axis, as many as fit beside each other."""
    room, shown, last = 10 + 6.6 * max((len(name) for name in places), default=1), list[Html](), -math.inf
    for x, name in zip(xs, places, strict=True):
        half = 3.1 * len(name)
        middle = min(max(x, half), WIDTH - half)
        if middle - last >= room:
            shown.append(_text(middle, bottom + 17, name, "middle", "tick"))
            last = middle
    return shown


def _curve(
    one: Series,
    xs: Sequence[float],
    level: Callable[[float], float],
    places: Sequence[str],
    form: Callable[[float], str],
) -> Html:
    known = [(x, value, at) for at, (x, value) in enumerate(zip(xs, one.values, strict=True)) if value is not None]
    points = " ".join(f"{x:.1f},{level(value):.1f}" for x, value, _ in known)
    parts = [tag("polyline", points=points, class_=f"curve {one.tone}")] if one.joined and len(known) > 1 else []
    for x, value, at in known if one.marked else ():
        error = one.errors[at] if at < len(one.errors) else None
        if error:
            parts.append(_line(x, level(value - error), x, level(value + error), f"error {one.tone}"))
        radius = 3.6 if len(known) <= 40 else 2.2
        parts.append(_mark(x, level(value), one.tone, f"{one.label}, {places[at]}: {form(value)}", radius))
    return join(parts)


def spans(said: str, rows: Sequence[tuple[str, float, str, str]], *, left: float = 92) -> Html:
    """Bars from zero: (label, value, value as text, tone)."""
    top, step = max((value for _, value, _, _ in rows), default=1.0) or 1.0, 25
    right = WIDTH - 76
    parts = []
    for at, (label, value, text, tone) in enumerate(rows):
        y, wide = step * at + 4, max((right - left) * value / top, 1.5)
        parts.append(_text(0, y + 13, label))
        bar = tag("title", f"{label}: {text}")
        parts.append(tag("rect", bar, x=left, y=y, width=f"{wide:.1f}", height=16, rx=3, class_=f"bar {tone}"))
        parts.append(_text(left + wide + 7, y + 13, text, class_="value"))
    return _svg(step * len(rows) + 4, said, *parts)


def stacks(said: str, rows: Sequence[tuple[str, Sequence[float]]], parts_named: Sequence[str]) -> Html:
    """Bars of 100 % in equally many parts, from weak to strong colour: (label, shares that sum to 1)."""
    left, step, parts = 112.0, 30, list[Html]()
    wide = WIDTH - left
    for at, (label, shares) in enumerate(rows):
        x, y = left, step * at + 2
        parts.append(_text(0, y + 16, label))
        for place, value in enumerate(shares):
            title = tag("title", f"{label}, {parts_named[place]}: {100 * value:.1f} %")
            strength = 0.16 + 0.84 * place / max(len(shares) - 1, 1)
            part = {"x": f"{x:.1f}", "y": y, "width": f"{value * wide:.2f}", "height": 22}
            parts.append(tag("rect", title, **part, fill_opacity=f"{strength:.2f}", class_="slice"))
            x += value * wide
    bottom = step * len(rows)
    for value in (0, 0.25, 0.5, 0.75, 1):
        anchor = "start" if value == 0 else "end" if value == 1 else "middle"
        parts.append(_text(left + value * wide, bottom + 10, f"{100 * value:.0f} %", anchor, "tick"))
    return _svg(bottom + 16, said, *parts)


def columns(said: str, places: Sequence[str], values: Sequence[float | None], limits: tuple[float, float]) -> Html:
    """Thin bars in time; those outside the limits in the colour of a warning.

    A bar of more than twice the upper limit is cut off there and says its value: the others stay readable.
    """
    top, bottom, left, known = 16.0, 140.0, 44.0, [value for value in values if value is not None]
    most = min(max(known, default=0.0), 2 * limits[1]) or 1.0
    level = _scale(0, most, bottom, top)
    parts = [
        join((_line(left, level(m), WIDTH, level(m), "grid"), _text(left - 6, level(m) + 4, _short(m), "end", "tick")))
        for m in ticks(0, most, 4)
    ]
    step = (WIDTH - left) / max(len(values), 1)
    for at, value in enumerate(values):
        if value is None:
            continue
        x, y = left + at * step, level(min(value, most))
        tone = "live" if limits[0] <= value <= limits[1] else "bad"
        title = tag("title", f"{places[at]}: {value:,.0f}")
        size = {"width": f"{max(step * 0.8, 0.8):.2f}", "height": f"{bottom - y:.1f}"}
        parts.append(tag("rect", title, x=f"{x + step * 0.1:.2f}", y=f"{y:.1f}", **size, class_=f"bar {tone}"))
        if value > most:
            anchor = "start" if x < left + 40 else "end" if x > WIDTH - 40 else "middle"
            parts.append(_text(x, 11, f"↑ {value:,.0f}", anchor, "tick"))
    parts += _feet([left + (at + 0.5) * step for at in range(len(values))], places, bottom)
    return _svg(bottom + 22, said, *parts)


def _short(value: float) -> str:
    """A large count for an axis.

    >>> _short(12000), _short(2500000), _short(800)
    ('12k', '2.5M', '800')
    """
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"
