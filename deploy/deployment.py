"""What deploy, upgrade and destroy have in common: one deployment's stacks, application, releases and probe."""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from contracts.errors import DeploymentError, LiveshelfError
from contracts.settings import Settings
from deploy.application import Application
from deploy.assembly import Template
from deploy.cdk.profiles import PROFILES
from deploy.cloud import Cloud, connect, understood
from deploy.pages import publish_pages
from deploy.probe import Probe
from deploy.releases import Releases
from deploy.stacks import Stacks
from local.paths import checkout
from stores.objects import Objects
from stores.streams import Stream

__all__ = ["FOUNDATION", "Deployment", "add_common", "commit", "run"]

FOUNDATION: Final = "foundation"
OUTPUT_SECONDS: Final = 900.0
"""From the start of the application to its first file: the service starts machines, Flink, Python, and a checkpoint."""


@dataclass
class Deployment:
    """One deployment ``liveshelf-<env>`` in an account and region."""

    env: str
    cloud: Cloud
    say: Callable[[str], None] = print
    pause: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    root: Path = field(default_factory=checkout)

    @property
    def prefix(self) -> str:
        """What every name of the deployment begins with."""
        return f"liveshelf-{self.env}"

    @property
    def tags(self) -> Mapping[str, str]:
        """Of every stack, and through it of every resource."""
        return {"liveshelf": self.prefix}

    @property
    def stacks(self) -> Stacks:
        """Its stacks."""
        return Stacks(self.cloud, self.say, self.pause, self.clock)

    @property
    def application(self) -> Application:
        """Its stream job."""
        return Application(self.cloud, f"{self.prefix}-stream", self.say, self.pause, self.clock)

    def stack_name(self, unit: str) -> str:
        """The name of one of its stacks."""
        return f"{self.prefix}-{unit}"

    def releases(self) -> Releases:
        """Its releases.

        Raises:
            DeploymentError: it is not deployed in this region.
        """
        bucket = self.stacks.outputs(self.stack_name(FOUNDATION)).get("ArtefactBucket")
        if bucket is None:
            message = (
                f"{self.prefix} is not deployed in {self.cloud.region} of account {self.cloud.account}; is it another "
                f"region (AWS_REGION) or account (AWS_PROFILE)? Otherwise: make deploy ENV={self.env}"
            )
            raise DeploymentError(message)
        return Releases(self.cloud, bucket, self.say)

    @property
    def repository(self) -> str:
        """The name of the repository of the service's image, where the deployment has a service."""
        return f"{self.prefix}-service"

    def settle(self, templates: list[Template], bucket: str) -> list[str]:
        """Bring all stacks to their templates, in order; returns the names of those that changed."""
        return [each.name for each in templates if self.stacks.deploy(each, bucket, self.tags)]

    def publish_pages(self) -> None:
        """The pages into their bucket, where the deployment has one."""
        found = self.stacks.outputs(self.stack_name("serving"))
        if "PagesBucket" in found:
            publish_pages(self.cloud, self.root, found["PagesBucket"], found["DistributionId"], self.say)

    def check_output(self, seconds: float = OUTPUT_SECONDS) -> None:
        """Wait until the job's output flows.

        Raises:
            DeploymentError: none came, or the application stopped; the message holds the last words of its log.
        """
        ingestion = self.stacks.outputs(self.stack_name("ingestion"))
        settings = Settings(
            aws_region=self.cloud.region,
            aws_endpoint=self.cloud.endpoint,
            stream_name=ingestion["StreamName"],
            lake_bucket=ingestion["LakeBucket"],
        )
        probe = Probe(Stream.from_settings(settings), Objects.from_settings(settings), pause=self.pause)
        self.say(
            f"  output: an event of the shop deploy-probe goes in; waiting for its record on S3 (up to {seconds:.0f} s)"
        )
        began = self.clock()
        try:
            outcome = probe.check(seconds, self._stopped)
        except DeploymentError as exc:
            message = "\n    ".join([str(exc), *self.last_words()])
            raise DeploymentError(message) from exc
        self.say(f"  output: flows after {self.clock() - began:.0f} s (outcome: {outcome})")

    def _stopped(self) -> str | None:
        status = self.application.status()
        if status in ("RUNNING", "AUTOSCALING", "UPDATING", "MAINTENANCE"):
            return None
        return f"application {self.application.name} is {status} while its output is waited for"

    def last_words(self, count: int = 8) -> list[str]:
        """The newest errors in the application's log group, oldest first; empty where it cannot be read."""
        logs = self.cloud.client("logs")
        group = self.stacks.outputs(self.stack_name("streaming")).get("LogGroup", "")
        try:
            with understood(f"log group {group}"):
                since = int((time.time() - 3600) * 1000)
                pattern = '?ERROR ?PythonDriver ?"Caused by" ?Traceback'
                found = logs.filter_log_events(logGroupName=group, startTime=since, filterPattern=pattern, limit=1000)
        except DeploymentError as exc:
            return [f"({exc})"]
        return [each["message"].strip()[:400] for each in found.get("events", ())][-count:]

    def addresses(self) -> list[str]:
        """Every output of every stack, as lines to be read."""
        lines = []
        for name in self.names():
            for key, value in self.stacks.outputs(name).items():
                lines.append(f"  {name.removeprefix(self.prefix + '-'):<12} {key:<22} {value}")
        return lines

    def names(self) -> list[str]:
        """The stacks of the current release in the order of deployment; before the first one, the foundation's."""
        release = self.releases().current()
        return list(release.templates) if release else [self.stack_name(FOUNDATION)]


def commit(root: Path) -> str:
    """The checked-out commit; ``unknown`` outside a repository."""
    command = ["git", "rev-parse", "--short=12", "HEAD"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def add_common(parser: argparse.ArgumentParser) -> None:
    """Arguments of all three commands."""
    parser.add_argument(
        "--env", choices=sorted(PROFILES), required=True, help="which deployment: its size, and part of every name"
    )
    parser.add_argument("--region", default=os.environ.get("REGION") or None, help="AWS region (default: AWS_REGION)")
    parser.add_argument("--endpoint", help=argparse.SUPPRESS)  # an emulator's address, for tests
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")


def run(name: str, given: argparse.Namespace, work: Callable[[Deployment], Any]) -> int:
    """Connect, say where, and do the work; exit code 1 with the reason where it cannot be done."""
    try:
        cloud = connect(given.region, given.endpoint)
        print(f"{name}: liveshelf-{given.env} in {cloud.region}, account {cloud.account}", flush=True)
        work(Deployment(given.env, cloud, say=lambda text: print(text, flush=True)))
    except LiveshelfError as exc:
        print(f"{name}: {exc}", file=sys.stderr, flush=True)
        return 1
    except KeyboardInterrupt:
        print(
            f"\n{name}: interrupted; AWS goes on with what is under way. Repeat the command to go on.", file=sys.stderr
        )
        return 130
    return 0
