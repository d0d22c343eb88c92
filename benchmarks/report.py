"""The RESULT line that every measuring command prints last, and the history that keeps all of them."""

import argparse
import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batch.result import machine, result_line

__all__ = ["HISTORY", "changed", "finish", "machine", "result_line"]

HISTORY = Path(__file__).parent / "history.jsonl"
"""One RESULT a line, oldest first, with ``command`` and ``date``: how figures went on, and what the README quotes."""


def changed(given: argparse.Namespace, usual: argparse.Namespace, free: Collection[str] = ()) -> dict[str, Any]:
    """The options that are not as they are when nothing is said; those that are ``free`` may be.

    >>> changed(argparse.Namespace(events=9, theta=0.5), argparse.Namespace(events=3, theta=0.0), ("events",))
    {'theta': 0.5}
    """
    return {key: value for key, value in vars(given).items() if key not in free and value != getattr(usual, key)}


def finish(
    command: str,
    figures: Mapping[str, Any],
    *,
    machine: Mapping[str, Any],
    settings: Any,
    repeats: int = 1,
    other: Mapping[str, Any] | None = None,
    history: Path = HISTORY,
) -> None:
    """Append the result to ``history`` and print its RESULT line, the last one of a command.

    What was measured with ``other`` options than the usual ones is printed alone: lines of the history compare.
    """
    line = result_line(figures, machine=machine, settings=settings, repeats=repeats)
    if other:
        print(f"not for the history: {', '.join(f'{key} is {value}' for key, value in other.items())}")
        print(line, flush=True)
        return
    about = {"command": command, "date": datetime.now(UTC).isoformat(timespec="seconds")}
    with history.open("a") as file:
        file.write(json.dumps(about | json.loads(line.removeprefix("RESULT "))) + "\n")
    print(line, flush=True)
