"""The RESULT line: one JSON object, comparable by a program, with the commit and the machine behind it."""

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

__all__ = ["commit_of", "machine", "result_line"]

_HISTORY: Final = "history.jsonl"


def machine() -> dict[str, Any]:
    """Cores, memory and the load average of the last minute, to be taken *before* measuring."""
    _commit()  # what is measured is what stands here now, whatever is checked out when the run ends
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {"cores": os.cpu_count(), "memory_gib": round(memory, 1), "load_before": round(os.getloadavg()[0], 2)}


def result_line(figures: Mapping[str, Any], *, machine: Mapping[str, Any], settings: Any, repeats: int = 1) -> str:
    """``RESULT`` and one JSON object: the figures with commit, machine, repeats and a digest of the settings.

    >>> result_line({"lost": 0}, machine={"cores": 2}, settings={"a": 1}).startswith('RESULT {"commit":')
    True
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:12]
    about = {"commit": _commit(), "machine": dict(machine), "repeats": repeats, "settings_digest": digest}
    return "RESULT " + json.dumps(about | dict(figures))


@cache
def _commit() -> str:
    """The commit at the first call."""
    return commit_of(Path(__file__).parent)


def commit_of(folder: Path) -> str:
    """The checked-out commit, with ``+`` where files were changed since; ``unknown`` outside a checkout.

    The history of results is no change, or the second result of a day would be of another commit than the first.
    """
    changes = ["git", "status", "--porcelain", "-uno", "--", ":/", f":(top,exclude,glob)**/{_HISTORY}"]
    try:
        head = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=folder, capture_output=True, text=True)
        changed = subprocess.run(changes, cwd=folder, capture_output=True, text=True)
    except OSError:
        return "unknown"
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "") if head.returncode == 0 else "unknown"
