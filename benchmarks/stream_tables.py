"""``python -m benchmarks.stream_tables``: the tables of docs/streaming.md from the newest lines of the history."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.report import HISTORY

__all__ = ["main", "newest", "tables"]

_COMMANDS: Final = ("bench-stream", "bench-freshness", "bench-state")


def newest(command: str, history: Path = HISTORY) -> dict[str, Any] | None:
    """The newest result of a command; ``None`` where there is none."""
    lines = [json.loads(line) for line in history.read_text().splitlines() if line.strip()]
    return next((line for line in reversed(lines) if line["command"] == command), None)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Markdown.

    >>> print(_table(("a", "b"), [(1, 2.5)]))
    | a | b |
    |---|---|
    | 1 | 2.5 |
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("|" + "|".join(f" {c} " if c != "---" else c for c in map(str, line)) + "|" for line in lines)


def _stream(result: Mapping[str, Any]) -> list[str]:
    references, ratios = result["references"], result["ratios"]
    rows = [
        (
            degree,
            f"{f['events_per_s']:,.0f} ({f['spread'][0]:,.0f}–{f['spread'][1]:,.0f})",
            f"{f['events_per_cpu_s']:,.0f}",
            f"{f['rows_scored']:,}",
            f"{f['rows_superseded']:,}",
            f"{f['redis_writes']:,}",
            f"{references['parse_only_events_per_s'][degree]:,.0f}",
            ratios[degree]["to_parse_only"],
            ratios[degree]["to_redis_sets"],
        )
        for degree, f in result["parallelism"].items()
    ]
    head = ("parallelism", "events/s", "a CPU-second", "lists", "superseded", "Redis writes", "parse only, events/s")
    sets = (
        f"Valkey alone takes {references['redis_sets_per_s']:,} SETs/s of {references['redis_value_bytes']} bytes, "
        f"{references['redis_depth']} a round trip."
    )
    parts = [_table((*head, "of parse only", "of SETs"), rows), sets]
    for degree, spent in result["share_by_parallelism"].items():
        us = result["parallelism"][degree]["us"]
        shares = [(step, f"{100 * part:.1f} %", us.get(step, "")) for step, part in spent.items()]
        parts.append(_table((f"step (parallelism {degree})", "share", "CPU µs an event"), shares))
    if result["feature_us"]:
        parts.append(_table(("feature", "CPU µs an event"), list(result["feature_us"].items())))
    return parts


def _freshness(result: Mapping[str, Any]) -> list[str]:
    sets = [("250 ms reads, as deployed", rate, f) for rate, f in result["rates"].items()]
    sets += [("50 ms reads (stand-in for enhanced fan-out)", rate, f) for rate, f in result["rates_50ms_reads"].items()]
    sets += [("250 ms reads, Flink's default bundles", "500", result["default_bundle"])]
    keys = ("p50_ms", "p95_ms", "p99_ms", "max_ms", "n", "timed_out", "relevant_share", "control_share")
    head = ("", "events/s", "p50 ms", "p95", "p99", "max", "probes", "never came", "new taste", "control")
    rows = [(name, rate, *(f[key] for key in keys)) for name, rate, f in sets]
    columns = [result[k] for k in ("stages_ms", "stages_ms_50ms_reads", "stages_ms_default_bundle")]
    stages = [(stage, *(column.get(stage, "") for column in columns)) for stage in columns[0]]
    return [
        _table(head, rows),
        _table(("stage, p50 ms at 500 events/s", "250 ms reads", "50 ms reads", "default bundles"), stages),
    ]


def _state(result: Mapping[str, Any]) -> list[str]:
    ttl = result["ttl_s"]
    rows = []
    for at in range(1, round(result["series"][-1]["s"] / ttl) + 1):
        near = min(result["series"], key=lambda sample: abs(sample["s"] - at * ttl))
        rows.append((f"{near['s']:.0f}", *(round(near[k]) for k in ("rocksdb_mib", "redis_mib", "rss_mib"))))
    grew = ", ".join(f"{name.removesuffix('_mib')} {100 * value:.1f} %" for name, value in result["growth"].items())
    return [
        _table(("seconds", "RocksDB MiB", "Redis MiB", "processes MiB"), rows),
        f"{result['users']:,} people, times to live of {ttl} s; growth after the first: {grew}.",
    ]


_MAKERS: Final = {"bench-stream": _stream, "bench-freshness": _freshness, "bench-state": _state}


def tables(history: Path = HISTORY) -> str:
    """All tables, each below the command, date, commit and machine that made it."""
    parts = []
    for command in _COMMANDS:
        if result := newest(command, history):
            machine = f"{result['machine']['cores']} cores, load before {result['machine']['load_before']}"
            parts.append(f"### make {command}")
            parts.append(f"{result['date'][:10]}, commit {result['commit']}, {machine}, {result['repeats']} repeats.")
            parts += _MAKERS[command](result)
    return "\n\n".join(parts)


def main() -> int:
    """Print them."""
    print(tables())
    return 0


if __name__ == "__main__":
    sys.exit(main())
