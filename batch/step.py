"""One step of a run on AWS: a command of this package under ``spark-submit``, and its outcome as an object.

Neither EMR Serverless nor a step of a cluster tells the exit status of a job, only whether it was 0. So the status says
here whether another try may help, and the object at :func:`contracts.lake.outcome_path` says what came out::

    0 of the command             published   the step ends with 0
    3 of the command             refused     the step ends with 0: the gate did its work, the live model stays
    4 of the command             overtaken   the step ends with 0: another run published first
    2 of the command             invalid     the step ends with 0: the same again would end the same way
    5, or a fault                            the step ends with 1, and may be tried again; no object

This file is also uploaded on its own, as the script that ``spark-submit`` is given: it imports what it needs from the
archive that comes with it.
"""

import argparse
import base64
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Final, TextIO

__all__ = ["COMMANDS", "OUTCOMES", "main"]

COMMANDS: Final = (
    "batch.attribution",
    "batch.compact",
    "batch.models",
    "batch.parity",
    "batch.rebuild",
    "batch.train",
)
OUTCOMES: Final = {0: "published", 2: "invalid", 3: "refused", 4: "overtaken"}
_DIFFERS: Final = {"batch.parity": {1: "differs"}, "batch.compact": {3: "incomplete"}}
_DONE: Final = "done"


class _Tee(io.TextIOBase):
    """Passes everything on, and keeps the last whole line."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._line = ""
        self.last = ""

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        self.last = next((line for line in reversed(lines) if line.strip()), self.last)
        return self._out.write(text)

    def flush(self) -> None:
        self._out.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="step.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("command", choices=COMMANDS, help="what to run")
    parser.add_argument("--run", required=True, help="name of the run; its outcomes lie below it")
    parser.add_argument("--step", required=True, help="name of the step within the run")
    parser.add_argument("--shop", required=True, help="shop id")
    parser.add_argument("--arguments", default="[]", metavar="JSON", help="further words of the command, a JSON list")
    parser.add_argument("--settings", metavar="BASE64", help="content of the settings file (default: as everywhere)")
    return parser


def main(argv: Sequence[str] | None = None, put: Callable[[Any, str, bytes], None] | None = None) -> int:
    """Run the step; ``put`` stands in for S3."""
    given = _parser().parse_args(argv)
    from contracts.lake import outcome_path
    from contracts.settings import ENVIRONMENT_VARIABLE, load

    if given.settings:
        os.environ[ENVIRONMENT_VARIABLE] = base64.b64decode(given.settings).decode()
    status, last = _call(given.command, ["--shop", given.shop, *json.loads(given.arguments)])
    outcome = _outcome(given.command, status)
    if outcome is None:
        print(f"step: {given.command} ended with {status}; another try may help", file=sys.stderr, flush=True)
        return 1
    told = {"outcome": outcome, "status": status, "command": given.command, "summary": _summary(last)}
    path = outcome_path(given.shop, given.run, given.step)
    (put or _put)(load(), path, json.dumps(told).encode())
    print(f"step: {given.command} ended with {status}: {outcome}; noted in {path}", flush=True)
    return 0


def _call(command: str, arguments: Sequence[str]) -> tuple[int, str]:
    tee = _Tee(sys.stdout)
    before = sys.stdout
    sys.stdout = tee
    try:
        status = import_module(command).main(arguments)
    except SystemExit as exc:  # of argparse: the arguments are wrong
        status = exc.code if isinstance(exc.code, int) else 2
    finally:
        sys.stdout = before
    return int(status), tee.last


def _outcome(command: str, status: int) -> str | None:
    """
    >>> _outcome("batch.train", 3), _outcome("batch.train", 5), _outcome("batch.compact", 0)
    ('refused', None, 'done')
    """
    if command == "batch.train":
        return OUTCOMES.get(status)
    if status == 0:
        return _DONE
    return _DIFFERS.get(command, {}).get(status) or (OUTCOMES[2] if status == 2 else None)


def _summary(line: str) -> Any:
    """The JSON object behind the word of a command's last line, or that line.

    >>> _summary('TRAINED {"version": "v1"}'), _summary("nothing to do")
    ({'version': 'v1'}, 'nothing to do')
    """
    word, _, rest = line.partition(" ")
    try:
        return json.loads(rest) if word.isupper() else line
    except ValueError:
        return line


def _put(settings: Any, path: str, data: bytes) -> None:
    from stores.objects import Objects

    Objects.from_settings(settings).put(path, data)


if __name__ == "__main__":
    sys.exit(main())
