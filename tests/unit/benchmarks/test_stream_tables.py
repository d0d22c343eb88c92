"""A RESULT line of each benchmark has the promised keys, and its tables can be made from it."""

import json
from pathlib import Path
from typing import Any

from benchmarks.stream import Whole, result_of, summary_of
from benchmarks.stream_run import Run
from benchmarks.stream_shop import Sent
from benchmarks.stream_tables import tables

ABOUT = {"date": "2026-01-01T00:00:00+00:00", "commit": "c", "machine": {"cores": 2, "load_before": 0.1}, "repeats": 3}


def whole(rate: float) -> Whole:
    run = Run(rate, rate / 2, {"recommend": 0.6, "Valkey": 0.4}, 60.0, {"recommend": 30.0, "Valkey": 20.0}, {})
    return Whole(run, {"scored": 70, "superseded": 20, "noted": 10}, 500, 900)


def stream_result() -> dict[str, Any]:
    degrees = {"1": summary_of([whole(1.0), whole(3.0), whole(2.0)]), "2": summary_of([whole(4.0)])}
    others = {"redis_sets_per_s": 8, "redis_value_bytes": 900, "redis_depth": 10, "feature_us": {"item_views": 0.1}}
    return result_of(degrees, {"1": 4.0, "2": 8.0}, others, Sent(lines=100))


def test_rates_are_medians_with_their_spread_and_ratios_are_of_them() -> None:
    found = stream_result()
    one = found["parallelism"]["1"]
    assert (one["events_per_s"], one["spread"], one["rows_scored"], one["rows_superseded"]) == (2.0, [1.0, 3.0], 70, 20)
    assert found["references"]["parse_only_events_per_s"] == {"1": 4.0, "2": 8.0}
    assert found["ratios"]["1"] == {"to_parse_only": 0.5, "to_redis_sets": 0.25}
    assert found["share"] == {"recommend": 0.6, "Valkey": 0.4}
    assert found["feature_us"] == {"item_views": 0.1}
    assert "feature_us" not in found["references"]


def test_the_tables_are_made_from_the_newest_lines(tmp_path: Path) -> None:
    rate = {"p50_ms": 1, "p95_ms": 2, "p99_ms": 3, "max_ms": 4, "n": 5, "timed_out": 0}
    rate |= {"relevant_share": 0.9, "control_share": 0.1}
    stages = {"collector to stream": 1.0, "stream to list": 2.0, "list to seen": 3.0}
    freshness = {"rates": {"500": rate}, "rates_50ms_reads": {"500": rate}, "default_bundle": rate}
    freshness |= {"stages_ms": stages, "stages_ms_50ms_reads": stages, "stages_ms_default_bundle": stages}
    series = [{"s": float(s), "rocksdb_mib": 1.0, "redis_mib": 2.0, "rss_mib": 3} for s in range(0, 601, 5)]
    state = {"users": 5, "ttl_s": 120, "series": series, "growth_after_first_ttl": 0.01, "growth": {"rss_mib": 0.01}}
    lines = [
        ABOUT | {"command": "bench-stream"} | {"parallelism": "an older one"},
        ABOUT | {"command": "bench-stream"} | stream_result(),
        ABOUT | {"command": "bench-freshness"} | freshness,
        ABOUT | {"command": "bench-state"} | state,
    ]
    history = tmp_path / "history.jsonl"
    history.write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = tables(history)
    assert "| 1 | 2 (1–3) |" in text
    assert "| stream to list | 2.0 | 2.0 | 2.0 |" in text
    assert "rss 1.0 %" in text


def test_without_a_result_there_is_no_table(tmp_path: Path) -> None:
    history = tmp_path / "history.jsonl"
    history.write_text("")
    assert tables(history) == ""
