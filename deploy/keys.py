"""``make keys ENV=…``: the API keys of a deployment, made, listed and revoked in its secret."""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from contracts.errors import DeploymentError
from contracts.settings import Settings, to_properties
from deploy.cdk.profiles import PROFILES
from deploy.cloud import Cloud, connect
from deploy.deployment import Deployment
from serving import keys

__all__ = ["first_key", "main", "manage"]

_DESCRIPTION = """\
Makes, lists and revokes the API keys of a deployment, in the secret of its stack `serving`. The words after the
environment are those of python -m serving.keys (create, list, expire, revoke; --help after one of them). A key is shown
once; running functions take up changes within a minute."""

_EPILOG = """\
examples:
  make keys ENV=dev ARGS="create --scopes read,events --note 'shop backend'"
  make keys ENV=dev ARGS="create --scopes admin,read --note Ada"
  make keys ENV=dev ARGS=list
  make keys ENV=dev ARGS="revoke abcdefghij"

exit status: 0 done, 1 it is not deployed there or AWS refused, 2 the arguments are wrong, 5 Secrets Manager did not
answer."""


def first_key(env: str) -> list[str]:
    """What to do for a first key, as lines to be read."""
    return [
        "API keys: until there is one, every request is answered with 401. To make one, and see it once:",
        f'  make keys ENV={env} ARGS="create --scopes admin,read,events --note first"',
    ]


def manage(cloud: Cloud, env: str, words: Sequence[str]) -> int:
    """Run a command of :mod:`serving.keys` on the deployment's secret; returns its exit status.

    Raises:
        DeploymentError: it is not deployed in this region and account.
    """
    place = Deployment(env, cloud)
    name = place.stacks.outputs(place.stack_name("serving")).get("KeysSecret")
    if name is None:
        message = f"{place.prefix} has no secret of keys in {cloud.region} of account {cloud.account}; is it deployed?"
        raise DeploymentError(message)
    settings = Settings(aws_region=cloud.region, aws_endpoint=cloud.endpoint)
    with tempfile.TemporaryDirectory() as made:
        file = Path(made) / "application_properties.json"
        file.write_text(json.dumps(to_properties(settings)))
        return keys.main([*words, "--at", f"secret:{name}", "--properties", str(file)])


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.keys",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--env", required=True, choices=sorted(PROFILES), help="which deployment")
    parser.add_argument("words", nargs=argparse.REMAINDER, help="of python -m serving.keys")
    given = parser.parse_args(argv)
    words = given.words[1:] if given.words[:1] == ["--"] else given.words
    if not words:
        parser.error("what about the keys? create, list, expire or revoke")
    try:
        return manage(connect(), given.env, words)
    except DeploymentError as exc:
        print(f"keys: {exc}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
