"""``make destroy ENV=…``: everything that costs by the hour goes; data stays, and it is said what that costs."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from botocore.exceptions import ClientError

from deploy.cloud import understood
from deploy.database import CLUSTER, INSTANCE, SNAPSHOT, delete_cluster, is_there, snapshots_of
from deploy.deployment import FOUNDATION, Deployment, add_common, run
from deploy.remains import DELETABLE, Remains, delete, empty, found_in, monthly, priced, recorded, standing

__all__ = ["destroy", "main"]

_DESCRIPTION: Final = """\
Stop the stream and delete the stacks, the newest first. What holds data stays: buckets, the table, the event stream,
a PostgreSQL cluster, and the stack foundation with the key that all of it is encrypted with. The command ends with a
list of what remains and what that costs a month. A later make deploy takes it over by its names.

A PostgreSQL cluster (--aurora) stays, too, and with it the stacks stores and network, whose subnet group and subnets it
uses: their cache and their endpoints go on costing by the hour, the list has them.

With --delete-data NAME, where NAME is the deployment's (liveshelf-dev), the data is deleted too, for good; secrets at
once, the key is scheduled for deletion in 30 days. A PostgreSQL cluster is deleted after a last snapshot. That snapshot
and images of the service are yours to delete in their consoles; the foundation stays with the key until they are gone
and the command is repeated."""

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
    foundation = place.stack_name(FOUNDATION)
    every = place.stacks.named(f"{place.prefix}-")
    if not every:
        place.say(f"  no stack of {place.prefix} in {place.cloud.region}; nothing to delete")
        return _tell(place, [])
    base = found_in(place.stacks, [name for name in every if name == foundation])
    databases = {name: _databases(place, name) for name in every if name != foundation}
    stay = _in_use(place, databases) if not delete_data else []
    names = [name for name in every if name not in (foundation, *stay)]
    bucket = place.stacks.outputs(foundation).get("ArtefactBucket")
    found = found_in(place.stacks, [name for name in every if name != foundation])
    kept = recorded(place.cloud, bucket, found, write=not dry_run)
    if dry_run:
        for name in [*names, *([foundation] if delete_data else [])]:
            place.say(f"  would delete stack {name}")
        return _tell(place, [*base, *kept, *standing(place.stacks, stay)])
    if place.application.status() == "RUNNING":
        place.application.stop(force=True)
    pages = place.stacks.outputs(place.stack_name("serving")).get("PagesBucket")
    if pages:
        empty(place.cloud, pages)  # goes with its stack, and CloudFormation deletes no bucket that holds anything
    for name in names:
        for database in databases[name] if delete_data else ():
            delete_cluster(place, database)
        place.say(f"  {name}: deleting")
        place.stacks.delete(name)
    if not delete_data:
        return _tell(place, [*base, *_alive(place, kept), *standing(place.stacks, stay)])
    return _tell(place, _delete_data(place, base, kept))


def _databases(place: Deployment, name: str) -> list[str]:
    return [each.name for each in found_in(place.stacks, [name]) if each.kind == CLUSTER]


def _in_use(place: Deployment, databases: Mapping[str, Sequence[str]]) -> list[str]:
    """The stacks that cannot go because a cluster stays: its subnet group is in use, and the subnets are."""
    holders = [name for name, found in databases.items() if any(is_there(place.cloud, each) for each in found)]
    if not holders:
        return []
    stay = [name for name in databases if name in (*holders, place.stack_name("network"))]
    place.say(f"  the database stays, and with it, as it is in them: {', '.join(stay)}; they go on costing by the hour")
    return stay


def _alive(place: Deployment, kept: Sequence[Remains]) -> list[Remains]:
    """Databases as they are now: the cluster, or the snapshots that are left of it; instances are the cluster's."""
    found: list[Remains] = []
    for each in kept:
        if each.kind == CLUSTER and not is_there(place.cloud, each.name):
            found += [Remains(SNAPSHOT, name) for name in snapshots_of(place.cloud, each.name)]
        elif each.kind != INSTANCE:
            found.append(each)
    return found


def _delete_data(place: Deployment, base: Sequence[Remains], kept: Sequence[Remains]) -> list[Remains]:
    """The foundation goes last, and only when nothing else remains: a repetition finds by it what is left, and what
    is encrypted with its key could not be read without it.
    """
    for each in kept:
        if each.kind in DELETABLE:
            place.say(f"  {each.kind} {each.name}: deleting its data")
            delete(place.cloud, each)
        elif each.kind == CLUSTER:  # of a stack that is gone
            delete_cluster(place, each.name)
    left = [each for each in _alive(place, kept) if each.kind not in DELETABLE]
    left += [each for each in base if each.kind not in DELETABLE and not _is_empty(place, each)]
    if left:
        place.say(f"  {place.stack_name(FOUNDATION)} stays with the key of what is left; delete that, then repeat")
        return [*[each for each in base if each not in left], *left]
    for each in sorted(base, key=lambda each: each.kind == "AWS::KMS::Key"):  # the key last
        if each.kind in DELETABLE:
            place.say(f"  {each.kind} {each.name}: deleting its data")
            delete(place.cloud, each)
    place.say(f"  {place.stack_name(FOUNDATION)}: deleting")
    place.stacks.delete(place.stack_name(FOUNDATION))
    return []


def _is_empty(place: Deployment, each: Remains) -> bool:
    """Whether it is a repository without images, which is deleted at once, or one that is gone."""
    if each.kind != "AWS::ECR::Repository":
        return False
    with understood(f"repository {each.name}"):
        try:
            place.cloud.client("ecr").delete_repository(repositoryName=each.name, force=False)
        except ClientError as exc:
            if exc.response["Error"]["Code"] == "RepositoryNotEmptyException":
                return False
            if exc.response["Error"]["Code"] != "RepositoryNotFoundException":
                raise
    return True


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
