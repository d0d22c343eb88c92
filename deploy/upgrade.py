"""``make upgrade ENV=…``: new code and settings with a snapshot before, a look at the output after, and a way back."""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final

from contracts.errors import DeploymentError
from deploy.artefacts import IMAGE_TAG, Artefacts
from deploy.assembly import Template
from deploy.deployment import FOUNDATION, Deployment, add_common, commit, run
from deploy.images import has_service, image_of, with_image
from deploy.releases import Release
from deploy.up import prepared

__all__ = ["main", "roll_back", "upgrade"]

_DESCRIPTION: Final = """\
Upgrade a running deployment: take a snapshot of the stream, upload what is new, update the stacks in order, and wait
until output flows. If a stack fails or no output comes, everything goes back by itself to the templates and the code
of the release before, the stream to that snapshot; what arrived since is read again from the stream, and counted once.
A service on Fargate gets the image that its repository's tag names now, and goes back to its own.

The words of the CDK app are those of the last deployment unless others are given."""

_EPILOG: Final = """\
examples:
  make upgrade ENV=dev ARGS=--dry-run        what would change; asks AWS, changes nothing
  make upgrade ENV=dev

exit status: 0 upgraded, or nothing to do; 1 it was rolled back or could not begin; the reason is printed."""


def upgrade(place: Deployment, words: Sequence[str], dry_run: bool) -> None:
    """The command's work, see :data:`_DESCRIPTION`.

    Raises:
        DeploymentError: nothing runs that could be upgraded, or the upgrade failed and was rolled back.
    """
    releases = place.releases()
    before = releases.current()
    if before is None:
        message = f"{place.prefix} was never seen to work; make deploy ENV={place.env} comes first"
        raise DeploymentError(message)
    words = list(words) or before.words
    artefacts, templates = prepared(place.env, words)
    was = image_of([releases.template(name, key) for name, key in before.templates.items()], place.repository)
    templates = _with_new_image(place, templates, was, dry_run)
    keys = {each.name: each.key for each in templates}
    if artefacts == before.artefacts and keys == before.templates:
        place.say(f"nothing to do: release {before.at:%Y-%m-%d %H:%M} UTC (commit {before.commit}) is this one")
        return
    for line in changes(before, artefacts, keys):
        place.say(line)
    if dry_run:
        return
    now = datetime.now(UTC)
    snapshot = _snapshot(place, now)
    try:
        _bring_forward(place, artefacts, templates)
    except DeploymentError as exc:
        place.say(f"failed: {exc}\nrolling back to the release of {before.at:%Y-%m-%d %H:%M} UTC")
        roll_back(place, before, snapshot, was)
        message = f"the upgrade failed and was rolled back, output flows again; why it failed: {exc}"
        raise DeploymentError(message) from exc
    releases.record(
        Release(
            at=now,
            commit=commit(place.root),
            artefacts=artefacts,
            templates=keys,
            words=words,
            snapshot=snapshot,
        )
    )
    place.say("upgraded")
    for line in place.addresses():
        place.say(line)


def changes(before: Release, artefacts: Artefacts, keys: dict[str, str]) -> list[str]:
    """What differs from the release before, as lines to be read."""
    lines = []
    for name in artefacts.__struct_fields__:
        old, new = getattr(before.artefacts, name).key, getattr(artefacts, name).key
        if old != new:
            lines.append(f"  artefact  {old} -> {new}")
    lines += [f"  stack     {name}: its template changed" for name in keys if before.templates.get(name) != keys[name]]
    return lines + [
        f"  stack     {name}: no longer in the app, it is left alone" for name in before.templates.keys() - keys
    ]


def _with_new_image(place: Deployment, templates: list[Template], was: str | None, dry_run: bool) -> list[Template]:
    """The templates with the service's image by its digest; where it is another one than it ``was``, that is said.

    For a deployment's first service the foundation comes before everything else: it makes the repository into which the
    image is pushed.
    """
    if was is None and has_service(templates):
        if dry_run:
            place.say("  image     none -> the service's, which has to be pushed first (docs/deploy.md)")
            return templates
        releases = place.releases()
        foundation = [each for each in templates if each.unit == FOUNDATION]
        releases.upload_templates(foundation)
        place.settle(foundation, releases.bucket)
    templates = with_image(place.cloud, place.repository, templates)
    image = image_of(templates, place.repository)
    if image != was:
        place.say(f"  image     {was or 'none'} -> {image or 'none'}")
    return templates


def _snapshot(place: Deployment, now: datetime) -> str:
    place.say("stream")
    status = place.application.settled()
    if status != "RUNNING":
        message = f"application {place.application.name} is {status}; make deploy ENV={place.env} starts it first"
        raise DeploymentError(message)
    name = place.application.snapshot(f"upgrade-{now:%Y%m%dT%H%M%SZ}")
    place.say(f"  snapshot {name}: ready")
    return name


def _bring_forward(place: Deployment, artefacts: Artefacts, templates: list[Template]) -> None:
    place.say("artefacts and stacks")
    releases = place.releases()
    releases.upload(artefacts, place.root)
    releases.upload_templates(templates)
    place.settle(templates, releases.bucket)
    place.application.start()
    place.check_output()
    place.publish_pages()  # last: a browser holds them, and they cannot be called back


def roll_back(place: Deployment, before: Release, snapshot: str, image: str | None) -> None:
    """Back to a release, the stream to a snapshot; then its output is looked at. ``image`` was the service's.

    The stream is stopped first and without a snapshot of its own: code that does not work might not end otherwise, and
    CloudFormation does not wait for it twice.

    Raises:
        DeploymentError: that failed too; the message says how to go on by hand.
    """
    try:
        place.application.stop(force=True)
        releases = place.releases()
        place.settle([releases.template(name, key) for name, key in before.templates.items()], releases.bucket)
        place.application.start(snapshot=snapshot)
        place.check_output()
    except DeploymentError as exc:
        tagged = f"give {image} the tag {IMAGE_TAG} again (docs/deploy.md); " if image else ""
        message = (
            f"the rollback failed: {exc}\n    By hand: look at the stacks in CloudFormation; {tagged}check out commit "
            f"{before.commit}, make deploy ENV={place.env}; snapshot {snapshot} holds the state before the upgrade"
        )
        raise DeploymentError(message) from exc


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.upgrade",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_common(parser)
    given, words = parser.parse_known_args(argv)
    return run("upgrade", given, partial(upgrade, words=words, dry_run=given.dry_run))


if __name__ == "__main__":
    sys.exit(main())
