"""``make audit``: the pinned packages of every lock against the public advisories; says where it could not look."""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from local.paths import checkout

__all__ = ["locks", "main", "verdict"]


def locks(root: Path) -> list[Path]:
    """The locks of Python packages: every ``requirements*.txt`` of the checkout, its own folders alone."""
    found = [*root.glob("requirements*.txt"), *root.glob("*/requirements*.txt"), *root.glob("*/*/requirements*.txt")]
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(root).parts))


def verdict(status: int, out: str, err: str) -> tuple[str, list[str]]:
    """What a run of pip-audit means: ``clean``, ``vulnerable`` with the findings, or ``unchecked`` with the reason.

    >>> report = '{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}]}'
    >>> verdict(1, report, ""), verdict(1, "", "ERROR: no route to host")[0]
    (('vulnerable', ['a 1: CVE-1, fixed in 2']), 'unchecked')
    """
    try:
        report: dict[str, Any] = json.loads(out)
    except ValueError:
        last = [line for line in err.strip().splitlines() if line.strip()]
        return "unchecked", [last[-1][:300] if last else f"pip-audit ended with {status} and said nothing"]
    skipped = [row for row in report["dependencies"] if "skip_reason" in row]
    if skipped:
        return "unchecked", [f"{row['name']}: {row['skip_reason']}" for row in skipped]
    found = [
        f"{row['name']} {row['version']}: {each['id']}, fixed in {', '.join(each['fix_versions']) or 'no version yet'}"
        for row in report["dependencies"]
        for each in row["vulns"]
    ]
    return ("vulnerable", found) if found else ("clean", [])


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0: all locks were checked and nothing is known; 1: something is; 3: at least one was not checked."""
    parser = argparse.ArgumentParser(prog="python -m local.audit", description=__doc__)
    parser.add_argument("--service", choices=["pypi", "osv"], default="pypi", help="whose advisories (default: pypi)")
    given = parser.parse_args(argv)
    worst = 0
    for lock in locks(checkout()):
        command = [sys.executable, "-m", "pip_audit", "-r", str(lock), "--no-deps", "--disable-pip", "-f", "json"]
        command += ["--progress-spinner", "off", "--timeout", "20", "-s", given.service]
        done = subprocess.run(command, capture_output=True, text=True)
        kind, lines = verdict(done.returncode, done.stdout, done.stderr)
        name = lock.relative_to(checkout())
        words = {"clean": "nothing known", "vulnerable": f"{len(lines)} KNOWN", "unchecked": "COULD NOT BE CHECKED"}
        print(f"audit: {name}: {words[kind]}", flush=True)
        shown = lines if kind == "vulnerable" else lines[:3]
        for line in [*shown, *([f"… and {len(lines) - len(shown)} more"] if len(lines) > len(shown) else [])]:
            print(f"audit:   {line}", flush=True)
        worst = max(worst, {"clean": 0, "vulnerable": 1, "unchecked": 3}[kind])
    if worst == 3:
        print("audit: no verdict: the advisories were out of reach; run it where the internet is", file=sys.stderr)
    return worst


if __name__ == "__main__":
    sys.exit(main())
