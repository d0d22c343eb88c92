"""The RESULT line that every measuring command prints last, and the history that keeps all of them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batch.result import machine, result_line

__all__ = ["HISTORY", "finish", "machine", "result_line"]

HISTORY = Path(__file__).parent / "history.jsonl"
"""One RESULT a line, oldest first, with ``command`` and ``date``: how figures went on, and what the README quotes."""


def finish(
    command: str,
    figures: Mapping[str, Any],
    *,
    machine: Mapping[str, Any],
    settings: Any,
    repeats: int = 1,
    history: Path = HISTORY,
) -> None:
    """Append the result to ``history`` and print its RESULT line, the last one of a command."""
    line = result_line(figures, machine=machine, settings=settings, repeats=repeats)
    about = {"command": command, "date": datetime.now(UTC).isoformat(timespec="seconds")}
    with history.open("a") as file:
        file.write(json.dumps(about | json.loads(line.removeprefix("RESULT "))) + "\n")
    print(line, flush=True)
