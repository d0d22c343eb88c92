"""``python -m batch.train``: read the lake, choose settings, judge, solve, publish."""

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from batch.arguments import whole_number
from batch.gate import check_accepted
from batch.pipeline import Options, run
from batch.recipe import Recipe, read_recipe
from contracts.errors import LiveshelfError, PublishConflict, SettingsError, TrainingError
from contracts.settings import ENVIRONMENT_VARIABLE, MANAGED_PATH, load

__all__ = ["main"]

_DESCRIPTION = """\
Train the least-squares model of a shop from its event lake and publish it.

Days whose lake objects did not change are not read again: their sums are stored under shop=<id>/moments/ and reused,
closed months as one sum, so a daily run costs the new days plus the solves. Publishing switches the live pointer last;
killed before that, nothing changes for anybody, and the next run repeats what is missing.

A candidate goes live only if it is not worse than the live model and better than popularity, on newest days that
neither has seen, and if the days themselves look sane. Each run leaves a report beside its model (report.html), a
refused one below reports/.

The last line is TRAINED and one JSON object: version, parent, rows, metrics, the gate, seconds of each stage."""

_EPILOG = """\
examples:
  python -m batch.train                                     everything in the lake up to now
  python -m batch.train --window-days 365 --until 2026-01-31
  python -m batch.train --since 2025-06-01 --full           make every sum of these days again
  python -m batch.train --dry-run                           which days would be read, and which are stored
  python -m batch.train --no-publish --set solve.l0=60      try a setting; metrics only
  python -m batch.train --search always                     choose the settings anew
  python -m batch.train --settings FILE                     pin them, for example those of a manifest
  python -m batch.train --targets touched                   hourly: only what the newest days touched
  python -m batch.train --accept volume:2026-01-31          the quiet day was a holiday

exit status: 0 published (or done), 2 the data or the settings do not allow a training, 3 the gate or a data check
refused and the live model stays, 4 another run published first, 5 a store did not answer.

Credentials come from the environment, as everywhere on AWS. Outside of EMR, LIVESHELF_SPARK_JARS names the jars that
let Spark read S3 (hadoop-aws and the AWS SDK), separated by colons."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m batch.train",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what to train on")
    what.add_argument("--shop", help="shop id (default: the first one of the settings)")
    begin = what.add_mutually_exclusive_group()
    begin.add_argument(
        "--since",
        type=date.fromisoformat,
        metavar="DAY",
        help="first UTC day of the window (default: the lake's first)",
    )
    begin.add_argument("--window-days", type=int, metavar="N", help="or: how many days the window has")
    what.add_argument(
        "--until", type=date.fromisoformat, metavar="DAY", help="last UTC day of the window (default: today)"
    )
    what.add_argument(
        "--full", action="store_true", help="read the window's events and make its sums again, whatever is stored"
    )
    how = parser.add_argument_group("how")
    how.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        help="settings of the model as JSON, whole or in part: nothing is searched, these hold (see --show-settings)",
    )
    how.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="GROUP.NAME=VALUE",
        help="change one setting, whatever the others come from",
    )
    how.add_argument("--show-settings", action="store_true", help="print the settings as JSON and stop")
    how.add_argument(
        "--search",
        choices=("auto", "always", "never"),
        default="auto",
        help="choose settings on the days before those that judge: auto does where the live model's were not chosen "
        "in the last 28 days (default: auto)",
    )
    how.add_argument(
        "--targets",
        choices=("all", "touched"),
        default="all",
        help="touched solves only items of visits that are new since the live model, and keeps its other columns "
        "(default: all)",
    )
    how.add_argument(
        "--accept",
        action="append",
        default=[],
        metavar="CHECK[:DAY]",
        help="publish although this check refuses, as its sentence names it",
    )
    how.add_argument(
        "--evaluate",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure HR, recall, MRR and NDCG at 20 on the newest days, unseen by that model (default: yes)",
    )
    how.add_argument(
        "--holdout-days", type=whole_number, default=7, metavar="N", help="how many days that is (default: 7)"
    )
    how.add_argument(
        "--cases", type=whole_number, default=2000, metavar="N", help="at most so many test units (default: 2000)"
    )
    how.add_argument("--publish", action=argparse.BooleanOptionalAction, default=True, help="publish (default: yes)")
    how.add_argument("--dry-run", action="store_true", help="only print what would be read; starts no Spark")
    where = parser.add_argument_group("where")
    where.add_argument(
        "--properties",
        type=Path,
        metavar="FILE",
        help=f"where the stores are (default: ${ENVIRONMENT_VARIABLE}, then {MANAGED_PATH})",
    )
    where.add_argument("--master", default="local[2]", help="Spark master; spark-submit's own wins (default: local[2])")
    where.add_argument("--driver-memory", default="1g", help="heap of a local Spark (default: 1g)")
    where.add_argument(
        "--scratch", type=Path, metavar="FOLDER", help="where arrays are shared with the tasks (default: temporary)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    arguments = _parser().parse_args(argv)
    try:
        pinned = read_recipe(arguments.settings) if arguments.settings else None
        recipe = (pinned or Recipe()).with_options(arguments.set)
        if arguments.show_settings:
            print(recipe.json())
            return 0
        check_accepted(arguments.accept)
        settings = load(arguments.properties)
        until = arguments.until or datetime.now(UTC).date()
        options = Options(
            shop=arguments.shop or settings.shops[0],
            until=until,
            since=_first_day(arguments, until),
            full=arguments.full,
            holdout_days=arguments.holdout_days if arguments.evaluate else 0,
            cases=arguments.cases,
            publish=arguments.publish,
            dry_run=arguments.dry_run,
            pinned=pinned,
            sets=arguments.set,
            search=arguments.search,
            targets=arguments.targets,
            accept=arguments.accept,
            master=arguments.master,
            driver_memory=arguments.driver_memory,
            scratch=arguments.scratch,
        )
        summary = run(settings, options)
    except PublishConflict as exc:
        return _fail("not published", exc, 4)
    except (TrainingError, SettingsError) as exc:
        return _fail("cannot train", exc, 2)
    except LiveshelfError as exc:
        return _fail("a store failed", exc, 5)
    print("TRAINED " + json.dumps(summary), flush=True)
    return 3 if summary.get("gate", {}).get("decision") == "refuse" else 0


def _first_day(arguments: argparse.Namespace, until: date) -> date | None:
    """The window's first day; None is the lake's first.

    Raises:
        TrainingError: the window would be empty.
    """
    days = arguments.window_days
    first: date | None = arguments.since if days is None else until - timedelta(days=days - 1)
    if first is not None and first > until:
        message = (
            f"the window would begin on {first} and end on {until}; expected at least one day: see --since, --until"
        )
        raise TrainingError(message)
    return first


def _fail(what: str, exc: Exception, status: int) -> int:
    print(f"train: {what}: {exc}", file=sys.stderr, flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
