"""Model versions as text for a terminal: one line a version, or one manifest in full."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from contracts.pointer import Pointer
from contracts.snapshot import Manifest

__all__ = ["list_text", "mirror_words", "show_text"]

_METRIC: Final = "HR@20"
_MODELS: Final = ("live", "batch", "popularity")
_MOST: Final = 12
_COLUMNS: Final = ("names", "coefficients", "standard_errors", "t")
_SHOWN: Final = frozenset(
    {"format_version", "shop_id", "version", "parent", "trained_at", "window_start", "window_end"}
    | {"metrics", "days", "feature_names", "coefficients"}
)
_ABOVE: Final[dict[str, Collection[str]]] = {
    "ranker": _COLUMNS,
    "evaluation": ("intervals",),
    "gate": ("decision", "sentences"),
}


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
        *_gate(manifest.gate),
        *_coefficients(manifest.ranker or {"names": manifest.feature_names, "coefficients": manifest.coefficients}),
    ]
    for name in (name for name in document if name not in _SHOWN):
        value = document[name]
        if name in _ABOVE:
            value = {key: part for key, part in value.items() if key not in _ABOVE[name]}
        if value:
            lines += ["", name, *_lines(value, 1)]
    if days := manifest.days:
        lines += ["", f"days        {len(days)}, {min(days)} to {max(days)}"]
    return "\n".join(lines)


def _metrics(manifest: Manifest) -> list[str]:
    """A row a model, each value with its interval where the run drew one."""
    if not manifest.metrics:
        return ["", "metrics     none: the run did not evaluate"]
    names = list(dict.fromkeys(name for values in manifest.metrics.values() for name in values))
    intervals = manifest.evaluation.get("intervals") or {}
    rows = [["metrics", *names]]
    for model, values in manifest.metrics.items():
        cells = [_with_interval(values.get(name), (intervals.get(model) or {}).get(name)) for name in names]
        rows.append([f"  {model}", *cells])
    return ["", *_columns(rows)]


def _with_interval(value: float | None, interval: Sequence[float] | None) -> str:
    """A metric as text.

    >>> _with_interval(0.31234, [0.3, 0.325]), _with_interval(None, None)
    ('0.3123 [0.300, 0.325]', '–')
    """
    if value is None:
        return "–"
    return f"{value:.4f}" + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")


def _gate(gate: Mapping[str, Any]) -> list[str]:
    if not gate:
        return []
    return ["", f"gate        {gate.get('decision', '–')}", *(f"  {line}" for line in gate.get("sentences", ()))]


def _coefficients(ranker: Mapping[str, Any]) -> list[str]:
    """The regression's table: one row a feature."""
    names = ranker.get("names") or []
    if not names:
        return []
    columns = [name for name in _COLUMNS[1:] if len(ranker.get(name) or ()) == len(names)]
    rows = [["ranker", *(name.replace("_", " ") for name in columns)]]
    rows += [[f"  {name}", *(f"{ranker[column][at]:.4g}" for column in columns)] for at, name in enumerate(names)]
    return ["", *_columns(rows)]


def _lines(value: Any, depth: int) -> list[str]:
    """Nested values, one a line where they are short.

    >>> _lines({"a": 1, "b": {"low": 0.12345678, "high": 0.2}, "c": [{"x": 1}, {"x": 2}]}, 0)
    ['a = 1', 'b = low 0.1235, high 0.2', 'c', '  - x 1', '  - x 2']
    """
    pad = "  " * depth
    if _short(value):
        return [pad + _inline(value)]
    if isinstance(value, dict):
        lines = []
        for name, part in _first(value.items()):
            lines += [f"{pad}{name} = {_inline(part)}"] if _short(part) else [f"{pad}{name}", *_lines(part, depth + 1)]
        return lines + _more(len(value), pad)
    lines = []
    for part in _first(value):
        first, *rest = _lines(part, depth + 1)
        lines += [f"{pad}- {first.lstrip()}", *rest]
    return lines + _more(len(value), pad)


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
        more = [f"… {len(value) - _MOST} more"] if len(value) > _MOST else []
        return "[" + ", ".join([*map(_inline, _first(value)), *more]) + "]"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, datetime):
        return value.isoformat()
    return "–" if value is None else str(value)
