"""``python -m batch.train``: read the lake, train, evaluate, publish."""

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from batch.pipeline import Options, run
from batch.recipe import Recipe
from contracts.errors import LiveshelfError, PublishConflict, PublishRefused, SettingsError, TrainingError
from contracts.settings import ENVIRONMENT_VARIABLE, MANAGED_PATH, load

__all__ = ["main"]

_DESCRIPTION = """\
Train the least-squares model of a shop from its event lake and publish it.

Days whose lake objects did not change are not read again: their sums are stored under shop=<id>/moments/ and reused,
closed months as one sum, so a daily run costs the new days plus the solves. Publishing switches the live pointer last;
killed before that, nothing changes for anybody, and the next run repeats what is missing.

The last line is TRAINED and one JSON object: version, parent, rows, metrics, seconds of each stage."""

_EPILOG = """\
examples:
  python -m batch.train                                     everything in the lake up to now
  python -m batch.train --window-days 365 --until 2026-01-31
  python -m batch.train --since 2025-06-01 --full           make every sum of these days again
  python -m batch.train --dry-run                           which days would be read, and which are stored
  python -m batch.train --no-publish --set solve.l0=60      try a setting; metrics only

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
        "--set", action="append", default=[], metavar="GROUP.NAME=VALUE", help="change a number of the recipe"
    )
    how.add_argument("--show-recipe", action="store_true", help="print the recipe as JSON and stop")
    how.add_argument(
        "--evaluate",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="measure HR, recall, MRR and NDCG at 20 on the newest days, unseen by that model (default: yes)",
    )
    how.add_argument("--holdout-days", type=int, default=7, metavar="N", help="how many days that is (default: 7)")
    how.add_argument("--cases", type=int, default=2000, metavar="N", help="at most so many test units (default: 2000)")
    how.add_argument("--publish", action=argparse.BooleanOptionalAction, default=True, help="publish (default: yes)")
    how.add_argument("--dry-run", action="store_true", help="only print what would be read; starts no Spark")
    where = parser.add_argument_group("where")
    where.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        help=f"settings file (default: ${ENVIRONMENT_VARIABLE}, then {MANAGED_PATH})",
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
        recipe = Recipe().with_options(arguments.set)
        if arguments.show_recipe:
            print(recipe.json())
            return 0
        settings = load(arguments.settings)
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
            master=arguments.master,
            driver_memory=arguments.driver_memory,
            scratch=arguments.scratch,
        )
        summary = run(settings, recipe, options)
    except PublishRefused as exc:
        return _fail("refused, the live model stays", exc, 3)
    except PublishConflict as exc:
        return _fail("not published", exc, 4)
    except (TrainingError, SettingsError) as exc:
        return _fail("cannot train", exc, 2)
    except LiveshelfError as exc:
        return _fail("a store failed", exc, 5)
    print("TRAINED " + json.dumps(summary), flush=True)
    return 0


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
