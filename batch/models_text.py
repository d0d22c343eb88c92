"""Model versions as text for a terminal: one line a version, or one manifest in full."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from contracts.pointer import Pointer
from contracts.snapshot import Manifest

__all__ = ["list_text", "mirror_words", "show_text"]

_METRIC: Final = "HR@20"
_MODELS: Final = ("live", "batch", "popularity")
_MOST: Final = 12
_HEAD: Final = frozenset({"format_version", "shop_id", "version", "parent", "trained_at", "window_start", "window_end"})


def list_text(manifests: Mapping[str, Manifest | None], live: str | None) -> str:
    """A table of versions, newest first; ``*`` is live, ``None`` a folder that a run left behind before it was done."""
    head = ["  version", "trained (UTC)", "window", "parent", *(f"{_METRIC} {name}" for name in _MODELS), "gate"]
    rows = [_row(version, manifest, live) for version, manifest in sorted(manifests.items(), reverse=True)]
    return "\n".join(_columns([head, *rows]))


def _row(version: str, manifest: Manifest | None, live: str | None) -> list[str]:
    name = f"{'*' if version == live else ' '} {version}"
    if manifest is None:
        return [name, "incomplete: no manifest"]
    window = f"{manifest.window_start:%Y-%m-%d} to {manifest.window_end:%Y-%m-%d}"
    values = [manifest.metrics.get(model, {}).get(_METRIC) for model in _MODELS]
    figures = ["–" if value is None else f"{value:.3f}" for value in values]
    decision = str(manifest.gate.get("decision", "–"))
    return [name, f"{manifest.trained_at:%Y-%m-%d %H:%M}", window, manifest.parent or "–", *figures, decision]


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Left-aligned columns; a row that is shorter than the first one may be wider than its last column.

    >>> _columns([["a", "bb"], ["ccc", "d"], ["e"]])
    ['a    bb', 'ccc  d', 'e']
    """
    whole = [row for row in rows if len(row) == len(rows[0])]
    widths = [max(len(row[at]) for row in whole) for at in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False)).rstrip() for row in rows]


def mirror_words(live: Pointer | None, in_s3: Pointer | None, in_redis: Pointer | None) -> str:
    """Whether the mirrors say what the authority says, and what to do where they do not."""
    if live is None:
        return "no version is live yet"
    behind = [
        f"{store} says {found.version if found else 'nothing'}"
        for store, found in (("S3", in_s3), ("Redis", in_redis))
        if found != live
    ]
    head = f"live: {live.version} since {live.switched_at:%Y-%m-%d %H:%M:%S} UTC (DynamoDB, the authority)"
    if not behind:
        return f"{head}; S3 and Redis are in step"
    remedy = f"run python -m batch.models activate {live.version} (the next training does it too)"
    return f"{head}; NOT IN STEP: {', '.join(behind)}; {remedy}"


def show_text(manifest: Manifest, document: Mapping[str, Any], live: str | None) -> str:
    """A manifest to read; ``document`` is the same as plain values. Long parts are cut short."""
    lines = [
        f"version     {manifest.version}{'  (live)' if manifest.version == live else ''}",
        f"parent      {manifest.parent or '– (the first)'}",
        f"trained at  {manifest.trained_at:%Y-%m-%d %H:%M:%S} UTC",
        f"window      {manifest.window_start:%Y-%m-%d %H:%M} to {manifest.window_end:%Y-%m-%d %H:%M} UTC",
        *_metrics(manifest),
    ]
    order = ["gate", "evaluation", "ranker", "search", "model", "training", "rows", "checks", "seconds", "files"]
    rest = [name for name in document if name not in {*order, *_HEAD, "metrics", "days"}]
    for name in [*order, *rest]:
        if document.get(name):
            lines += ["", name, *_lines(document[name], 1)]
    if days := manifest.days:
        lines += ["", f"days        {len(days)}, {min(days)} to {max(days)}"]
    return "\n".join(lines)


def _metrics(manifest: Manifest) -> Iterable[str]:
    if not manifest.metrics:
        return ["", "metrics     none: the run did not evaluate"]
    names = list(dict.fromkeys(name for values in manifest.metrics.values() for name in values))
    rows = [["metrics", *names]]
    for model, values in manifest.metrics.items():
        rows.append([f"  {model}", *(f"{values[name]:.4f}" if name in values else "–" for name in names)])
    return ["", *_columns(rows)]


def _lines(value: Any, depth: int) -> list[str]:
    """Nested values, one a line where they are short.

    >>> _lines({"a": 1, "b": {"low": 0.12345678, "high": 0.2}, "c": [{"x": 1}, {"x": 2}]}, 0)
    ['a = 1', 'b = low 0.1235, high 0.2', 'c', '  x 1', '  x 2']
    """
    pad = "  " * depth
    if _short(value):
        return [pad + _inline(value)]
    if isinstance(value, dict):
        lines = []
        for name, part in _first(value.items()):
            lines += [f"{pad}{name} = {_inline(part)}"] if _short(part) else [f"{pad}{name}", *_lines(part, depth + 1)]
        return lines + _more(len(value), pad)
    lines = [line for part in _first(value) for line in _lines(part, depth + 1)]
    return lines + _more(len(value), pad + "  ")


def _first(values: Iterable[Any]) -> list[Any]:
    return list(values)[:_MOST]


def _more(count: int, pad: str) -> list[str]:
    return [f"{pad}… {count - _MOST} more; --json shows all"] if count > _MOST else []


def _short(value: Any) -> bool:
    if isinstance(value, dict):
        return len(_inline(value)) <= 80 and not any(isinstance(part, dict | list) for part in value.values())
    if isinstance(value, list):
        return len(_inline(value)) <= 80 and not any(isinstance(part, dict | list) for part in value)
    return True


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_inline(part)}" for name, part in value.items())
    if isinstance(value, list):
        return "[" + ", ".join(_inline(part) for part in value) + "]"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, datetime):
        return value.isoformat()
    return "–" if value is None else str(value)
