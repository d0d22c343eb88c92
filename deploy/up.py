"""``make deploy ENV=…``: from an empty account to output that flows, in one command that can be repeated."""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final

from contracts.errors import DeploymentError, LiveshelfError
from deploy.artefacts import PATH, Artefacts, read_artefacts
from deploy.assembly import Template, synthesise
from deploy.deployment import FOUNDATION, Deployment, add_common, commit, run
from deploy.images import has_service, with_image
from deploy.keys import first_key
from deploy.releases import Release
from local.paths import checkout

__all__ = ["bring_up", "main", "plan", "prepared"]

_DESCRIPTION: Final = """\
Deploy everything, in this order: the foundation (key, bucket of artefacts, alarm topic), the artefacts, the other
stacks in the order of their needs, the start of the stream, and a probe that waits until its output flows. Then all
addresses are printed. With a service on Fargate its image is asked for behind the foundation, which makes the image's
repository: where it was not pushed yet, the commands that do it are printed, and this one ends.

Every step looks first whether it is done: after an interruption or a failure repeat the command. Words that are not
listed here go to the CDK app (python -m deploy.cdk.app --help), for example --shops tea,cups, and are remembered for
make upgrade."""

_EPILOG: Final = """\
examples:
  make deploy ENV=dev ARGS=--dry-run                 what would be deployed; needs no account
  make deploy ENV=dev
  make deploy ENV=small REGION=eu-west-1 ARGS="--shops tea,cups --alarm-email me@example.com"

exit status: 0 output flows, 1 it could not be deployed (the reason is printed), 2 the arguments are wrong."""


def prepared(env: str, words: Sequence[str]) -> tuple[Artefacts, list[Template]]:
    """What was built, and the stacks that refer to it.

    Raises:
        DeploymentError: nothing was built, or the stacks cannot be synthesised.
    """
    root = checkout()
    artefacts = read_artefacts(root / PATH)
    if not artefacts.built:
        message = f"{PATH} is not there: run make package (make deploy does)"
        raise DeploymentError(message)
    chosen = ["--artefacts", str(root / PATH), *words]
    return artefacts, synthesise(env, root / "build" / f"cdk.{env}", chosen)


def plan(artefacts: Artefacts, templates: Sequence[Template]) -> list[str]:
    """What a deployment consists of, as lines to be read."""
    lines = []
    for template in templates:
        types = Counter(each["Type"].removeprefix("AWS::") for each in template.resources.values())
        most = ", ".join(f"{count} {name}" for name, count in types.most_common(3))
        lines.append(f"  stack     {template.name:<26} {len(template.resources):>3} resources ({most}, …)")
        if template.unit == FOUNDATION:
            for name in artefacts.__struct_fields__:
                lines.append(f"  upload    {getattr(artefacts, name).key}")
    if has_service(templates):
        lines.append("  image     of the service, which has to be pushed first, by its digest")
    return [*lines, "  start     the stream's application", "  probe     until output flows"]


def bring_up(place: Deployment, artefacts: Artefacts, templates: list[Template], words: Sequence[str]) -> None:
    """The command's work, see :data:`_DESCRIPTION`.

    Raises:
        DeploymentError: AWS refused, output does not flow, or running code would be replaced.
    """
    (foundation,) = (each for each in templates if each.unit == FOUNDATION)
    running = place.application.status() == "RUNNING" and place.application.code_key()
    if running and running != artefacts.flink.key:
        message = (
            f"{place.prefix} runs {running}; make upgrade ENV={place.env} replaces running code: it takes a snapshot "
            "first, and goes back by itself if no output flows"
        )
        raise DeploymentError(message)
    place.say("stacks and artefacts")
    known = place.stacks.outputs(foundation.name).get("ArtefactBucket")
    if known:
        place.releases().upload_templates([foundation])
    place.stacks.deploy(foundation, known, place.tags)
    templates = with_image(place.cloud, place.repository, templates)  # only now: the foundation makes the repository
    releases = place.releases()
    releases.upload(artefacts, place.root)
    releases.upload_templates(templates)
    place.settle([each for each in templates if each.unit != FOUNDATION], releases.bucket)
    place.say("stream")
    place.application.start()
    place.check_output()
    place.publish_pages()
    releases.record(
        Release(
            at=datetime.now(UTC),
            commit=commit(place.root),
            artefacts=artefacts,
            templates={each.name: each.key for each in templates},
            words=list(words),
        )
    )
    place.say("deployed")
    for line in [*place.addresses(), *first_key(place.env)]:
        place.say(line)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.up",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_common(parser)
    given, words = parser.parse_known_args(argv)
    try:
        artefacts, templates = prepared(given.env, words)
    except LiveshelfError as exc:
        print(f"deploy: {exc}", file=sys.stderr)
        return 1
    if given.dry_run:
        print(f"deploy: liveshelf-{given.env}, a dry run: this would be done")
        print("\n".join(plan(artefacts, templates)))
        return 0
    return run("deploy", given, partial(bring_up, artefacts=artefacts, templates=templates, words=words))


if __name__ == "__main__":
    sys.exit(main())
