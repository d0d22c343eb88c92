"""``make evaluate EVENTS=…``: what a shop would gain, measured on its own log before anything is deployed.

The log is read, put into a lake of its own (an emulator of S3 on this machine, gone afterwards) and trained on by the
command that a shop's scheduler runs, without publishing. The newest days are kept from the model and then completed.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from contracts.errors import LiveshelfError, LocalStackError, TrainingError
from contracts.events import ACTION_TYPES
from contracts.settings import ENVIRONMENT_VARIABLE, Settings, to_properties
from local import fill, toolchain
from local.evaluate_words import summary_lines
from local.eventlog import OwnLog, add_arguments, findings, own_log
from local.health import tail, tcp_open
from local.paths import data_dir
from local.ports import LOOPBACK, free_port
from local.stack import CREDENTIALS
from local.supervisor import Service, Supervisor
from stores.aws import client
from stores.objects import Objects

__all__ = ["Trained", "main", "run_trainer"]

REFUSED: Final = 3
_TRAINED: Final = "TRAINED "
_STAGE: Final = "train: "

Say = Callable[[str], None]


class Trained(dict[str, Any]):
    """The object of the trainer's TRAINED line; ``refused`` holds the trainer's own words where its checks said no."""

    refused: Sequence[str] = ()


@contextmanager
def lake_of_its_own(folder: Path, say: Say) -> Iterator[tuple[Settings, dict[str, str], Path]]:
    """An emulator with the log as its lake, nothing else: settings, environment for a trainer, folder of logs."""
    with Supervisor(data_dir().parent / "evaluate", say=say) as supervisor:
        port = free_port()
        endpoint = f"http://{LOOPBACK}:{port}"
        command = [sys.executable, "-m", "local.emulator", "--port", str(port)]
        supervisor.start(Service(name="aws-emulator", command=command, ready=tcp_open(port)))
        settings = Settings.from_properties({"liveshelf": {"aws.endpoint": endpoint}})
        properties = supervisor.data / "application_properties.json"
        properties.write_text(json.dumps(to_properties(settings), indent=2))
        env = {ENVIRONMENT_VARIABLE: str(properties), **CREDENTIALS}
        os.environ.update(env)
        client("s3", settings).create_bucket(
            Bucket=settings.lake_bucket, CreateBucketConfiguration={"LocationConstraint": settings.aws_region}
        )
        fill.upload(folder, Objects.from_settings(settings), say=say)
        yield settings, env, supervisor.data / "logs"


def run_trainer(arguments: Sequence[str], env: Mapping[str, str], log: Path, say: Say, limit_s: float) -> Trained:
    """Run ``python -m batch.train`` and return its summary; every stage is told as it ends.

    Raises:
        TrainingError: the data does not allow a training (the trainer's own words).
        LocalStackError: it failed in another way.
    """
    found, told = "", list[str]()
    command = [sys.executable, "-m", "batch.train", *arguments]
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with (
        log.open("w") as file,
        subprocess.Popen(command, env={**os.environ, **env}, text=True, errors="replace", **pipes) as process,
    ):
        limit = threading.Timer(limit_s, process.kill)
        limit.start()
        try:
            for line in process.stdout or ():
                file.write(line)
                if line.startswith(_TRAINED):
                    found = line
                elif line.startswith(_STAGE):
                    told.append(line.removeprefix(_STAGE).rstrip())
                    say(f"    {line.rstrip()}")
            code = process.wait()
        finally:
            limit.cancel()
            process.kill()
    if code == 2:
        message = told[-1] if told else tail(log)
        raise TrainingError(message)
    if code not in (0, REFUSED) or (code == 0 and not found):
        message = f"the trainer ended with code {code}; the end of {log}:\n{tail(log)}"
        raise LocalStackError(message)
    trained = Trained(json.loads(found.removeprefix(_TRAINED)) if found else {})
    trained.refused = tuple(told[-3:]) if code == REFUSED else ()
    return trained


def holdout_days(days: Sequence[str]) -> int:
    """How many of the newest days the model must not see: a week, or a quarter of a log that is shorter than four.

    >>> holdout_days(["2026-01-01", "2026-02-28"]), holdout_days(["2026-01-01", "2026-01-10"])
    (7, 2)
    """
    first, last = date.fromisoformat(days[0]), date.fromisoformat(days[-1])
    span = (last - first).days + 1
    return max(1, min(7, span // 4))


def _evaluate(own: OwnLog, given: argparse.Namespace, say: Say) -> int:
    began = time.monotonic()
    folder = own.prepare(datetime.now(UTC), say)
    found = findings(folder)
    days = list(found.days)
    if len(days) < 2:
        message = f"all events are of one day ({days[0]}); expected at least two, because the newest days are the test"
        raise TrainingError(message)
    jars = ":".join(map(str, toolchain.jars().spark))
    held = given.holdout_days or holdout_days(days)
    arguments = ["--no-publish", "--until", days[-1], "--holdout-days", str(held)]
    # A log is cut off somewhere in its last day: that this one has fewer events is nothing to refuse for.
    for check in ("volume", *(f"volume.{name}" for name in ACTION_TYPES)):
        arguments += ["--accept", f"{check}:{days[-1]}"]
    arguments += given.train
    with lake_of_its_own(folder, say) as (_, env, logs):
        env |= {"JAVA_HOME": str(toolchain.java_home()), "LIVESHELF_SPARK_JARS": jars}
        say(f"  python -m batch.train {' '.join(arguments[:5])} …")
        trained = run_trainer(arguments, env, logs / "trainer.log", say, 60 * given.minutes)
    for line in summary_lines(found, trained, trained.refused, held):
        print(line)
    figures = {name: value for name, value in asdict(found).items() if name not in ("notes", "shown", "days")}
    result = {"log": figures, "holdout_days": held, "until": days[-1], "trained": trained}
    print("EVALUATED " + json.dumps(result | {"seconds": round(time.monotonic() - began, 1)}))
    return REFUSED if trained.refused else 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser, needed=True)
    parser.add_argument(
        "--holdout-days", type=int, metavar="N", help="newest days to test on (default: 7, fewer for a short log)"
    )
    parser.add_argument("--minutes", type=float, default=60.0, help="most for the trainer (default: %(default)g)")
    parser.add_argument(
        "--train", action="append", default=[], metavar="ARGUMENT", help="handed on to batch.train, may be repeated"
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Evaluate a log; exit code 0 with figures, 2 where the log or the mapping does not do, 3 where checks said no."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a log shows each line as it comes
    given = _arguments(argv)
    own = own_log(given.events, mapping=given.map, items=given.items, live=False)
    print("evaluate: your log, trained on this machine; nothing is published, nothing leaves it")
    try:
        with suppress(KeyboardInterrupt):
            return _evaluate(own, given, print)
    except LocalStackError as exc:
        print(f"evaluate failed: {exc}", file=sys.stderr)
        return 1
    except LiveshelfError as exc:
        print(f"evaluate: {exc}", file=sys.stderr)
        return 2
    return 130


if __name__ == "__main__":
    sys.exit(main())
