"""``python -m contracts.live_table``: the table of live features in ``docs/features.md``, made of their definitions."""

from collections.abc import Iterable
from typing import Any

from contracts.live import FEATURES, LiveFeature

__all__ = ["table"]

_HEAD = ("of", "name", "meaning", "unit", "window", "default")


def table(features: Iterable[LiveFeature] = FEATURES) -> str:
    """A Markdown table with a row a feature.

    >>> print(table(FEATURES[:1]))
    | of | name | meaning | unit | window | default |
    |---|---|---|---|---|---|
    | user | `views` | items the visitor looked at | events | 5m, 1h, 24h | 0 |
    """
    rows = [
        (f.entity, f"`{f.name}`", f.meaning, f.unit, f.span, "none" if f.default is None else _number(f.default))
        for f in features
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in (_HEAD, *rows)).replace("\n", f"\n|{'---|' * len(_HEAD)}\n", 1)


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if isinstance(value, int) else "empty"


if __name__ == "__main__":
    print(table())
