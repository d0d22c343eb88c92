"""``make bench-coldstart``: what the first request to a new execution environment of the Lambda function waits for.

Fresh interpreters that have the small lock alone, one after the other: import of the application, initialisation (it
connects to Valkey and to the emulated AWS, and reads the catalogue), and the first answer, a shelf. The last line is
RESULT. Lambda adds its own part, the sandbox and the code's way there, and has other cores: on AWS read the log's
``Init Duration``.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.report import finish, machine, result_line
from benchmarks.stream_shop import StreamShop
from benchmarks.stream_world import fill_lists, publish
from contracts.errors import LiveshelfError, LocalStackError
from local.functions import lean_python, staged
from local.gateway import event_of
from local.paths import checkout
from local.ports import LOOPBACK
from local.stack import Stack

__all__ = ["main"]

_SCRIPT: Final = """
import json, os, sys, time
began = time.perf_counter()
import serving.functions as module
imported = time.perf_counter()
from contracts.settings import load
function = module.Function(load(), reads=True)
function.warm()
ready = time.perf_counter()
answer = function(json.loads(os.environ["EVENT"]))
answered = time.perf_counter()
found = {"import_ms": imported - began, "init_ms": ready - imported, "first_answer_ms": answered - ready}
found = {name: round(1000 * value, 1) for name, value in found.items()}
print(json.dumps(found | {"status": answer["statusCode"], "source": json.loads(answer["body"])["source"]}))
"""
_PARTS: Final = ("import_ms", "init_ms", "first_answer_ms")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, append to the history."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coldstart", description=__doc__)
    parser.add_argument("--repeats", type=int, default=15, help="fresh interpreters (default: %(default)s)")
    parser.add_argument("--items", type=int, default=50_000, help="items of the catalogue (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="three of them, 2,000 items")
    given = parser.parse_args(argv)
    if given.quick:
        given.repeats, given.items = 3, 2000
    before = machine()
    try:
        runs = _runs(given.repeats, StreamShop(people=2000, items=given.items))
    except LiveshelfError as exc:
        print(f"bench-coldstart: {exc}", file=sys.stderr)
        return 1
    figures = _figures(runs, given.items)
    if given.quick:
        print(result_line(figures, machine=before, settings={"items": given.items}, repeats=given.repeats), flush=True)
    else:
        finish("bench-coldstart", figures, machine=before, settings={"items": given.items}, repeats=given.repeats)
    return 0


def _runs(repeats: int, shop: StreamShop) -> list[dict[str, Any]]:
    python = lean_python()
    with tempfile.TemporaryDirectory(prefix="bench-coldstart-") as folder, Stack(print, Path(folder) / "run") as stack:
        stack.stage("stores", stack.start_stores)
        stack.stage("model", lambda: publish(stack, shop))
        stack.stage("lists", lambda: fill_lists(stack, shop))
        packages = staged(Path(folder) / "packages")
        path = f"/v1/users/{shop.subject(0)[2:]}/recommendations"
        event = event_of("GET", path, [("Host", LOOPBACK)], b"", LOOPBACK)
        env = {**stack.environment, "EVENT": json.dumps(event), "PYTHONPATH": str(packages), "PATH": "/usr/bin:/bin"}
        _run(python, env)  # fills the system's file cache and writes the compiled files, as packaging does
        return [_run(python, env) for _ in range(repeats)]


def _run(python: Path, env: Mapping[str, str]) -> dict[str, Any]:
    command: list[Path | str] = [python, "-s", "-c", _SCRIPT]
    done = subprocess.run(command, env=env, cwd=checkout(), capture_output=True, text=True, timeout=60, check=False)
    found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
    if found.get("status") != 200 or found.get("source") == "none":
        message = f"a fresh environment did not answer with a shelf: {found or done.stderr[-2000:]}"
        raise LocalStackError(message)
    print("  " + json.dumps(found), flush=True)
    return found


def _figures(runs: Sequence[Mapping[str, Any]], items: int) -> dict[str, Any]:
    totals = [sum(run[part] for part in _PARTS) for run in runs]
    median = {part: round(statistics.median(run[part] for run in runs), 1) for part in _PARTS}
    return {
        "cold_ms": round(statistics.median(totals), 1),
        "spread": [round(min(totals), 1), round(max(totals), 1)],
        **median,
        "catalogue_items": items,
        "answered_from": runs[-1]["source"],
    }


if __name__ == "__main__":
    sys.exit(main())
