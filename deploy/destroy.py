"""``make destroy ENV=…``: everything that costs by the hour goes; data stays, and it is said what that costs."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from typing import Final

from deploy.deployment import FOUNDATION, Deployment, add_common, run
from deploy.remains import DELETABLE, Remains, delete, empty, found_in, monthly, priced

__all__ = ["destroy", "main"]

_DESCRIPTION: Final = """\
Stop the stream and delete the stacks, the newest first. What holds data stays: buckets, the table, the event stream,
a PostgreSQL cluster, and the stack foundation with the key that all of it is encrypted with. The command ends with a
list of what remains and what that costs a month. A later make deploy takes it over by its names.

With --delete-data NAME, where NAME is the deployment's (liveshelf-dev), the data is deleted too, for good; the key is
scheduled for deletion in 30 days, until then the backups that were made with it can be read. A PostgreSQL cluster and
images of the service are yours to delete in their consoles; where there are any, the key stays, too: they are encrypted
with it."""

_EPILOG: Final = """\
examples:
  make destroy ENV=dev ARGS=--dry-run
  make destroy ENV=dev                                         asks before it begins
  make destroy ENV=dev ARGS="--yes --delete-data liveshelf-dev"

exit status: 0 done, 1 something could not be deleted (repeat the command), 2 the arguments are wrong."""


def destroy(place: Deployment, *, delete_data: bool, dry_run: bool) -> list[Remains]:
    """The command's work, see :data:`_DESCRIPTION`; returns what remains.

    Raises:
        DeploymentError: AWS refused; repeat the command.
    """
    every = place.stacks.named(f"{place.prefix}-")
    names = [name for name in every if delete_data or name != place.stack_name(FOUNDATION)]
    kept = found_in(place.stacks, every)
    if not names:
        place.say(f"  no stack of {place.prefix} in {place.cloud.region}; nothing to delete")
    if dry_run:
        for name in names:
            place.say(f"  would delete stack {name}")
        return _tell(place, kept)
    if place.application.status() == "RUNNING":
        place.application.stop(force=True)
    pages = place.stacks.outputs(place.stack_name("serving")).get("PagesBucket")
    if pages:
        empty(place.cloud, pages)  # goes with its stack, and CloudFormation deletes no bucket that holds anything
    for name in names:
        place.say(f"  {name}: deleting")
        place.stacks.delete(name)
    if delete_data:
        # What has to be deleted by hand, a database for one, could not be read any more without the key.
        kinds = {each.kind for each in kept}
        deleted = DELETABLE if kinds <= DELETABLE else DELETABLE - {"AWS::KMS::Key"}
        for each in sorted(kept, key=lambda each: each.kind == "AWS::KMS::Key"):  # the key last
            if each.kind in deleted:
                place.say(f"  {each.kind} {each.name}: deleting its data")
                delete(place.cloud, each)
        kept = [each for each in kept if each.kind not in deleted]
    return _tell(place, kept)


def _tell(place: Deployment, kept: Sequence[Remains]) -> list[Remains]:
    remains = [priced(place.cloud, each) for each in kept]
    if not remains:
        place.say("nothing remains")
        return []
    place.say("what remains, and what it costs a month (USD, without requests):")
    for each in remains:
        place.say(f"  {each.kind:<24} {each.name:<52} {each.size:>12} {monthly(each):>9}")
    total = sum(each.usd or 0.0 for each in remains)
    place.say(f'  about {total:.2f} a month; ARGS="--delete-data {place.prefix}" deletes it for good')
    return remains


def _confirmed(given: argparse.Namespace) -> bool:
    if given.yes or given.dry_run:
        return True
    name = f"liveshelf-{given.env}"
    what = "the stacks AND ALL DATA" if given.delete_data else "the stacks; data stays"
    try:
        return input(f"destroy: {name}: {what}. Type {name} to go on: ").strip() == name
    except EOFError:
        return False


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.destroy",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_common(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--delete-data", metavar="NAME", help="delete the data too; NAME must be the deployment's")
    given = parser.parse_args(argv)
    if given.delete_data not in (None, f"liveshelf-{given.env}"):
        parser.error(f"--delete-data is {given.delete_data!r}; expected liveshelf-{given.env}, or leave it out")
    if not _confirmed(given):
        print("destroy: not confirmed, nothing was touched", file=sys.stderr)
        return 1
    return run("destroy", given, partial(destroy, delete_data=bool(given.delete_data), dry_run=given.dry_run))


if __name__ == "__main__":
    sys.exit(main())
