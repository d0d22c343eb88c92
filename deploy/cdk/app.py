"""``python -m deploy.cdk.app``: synthesise the stacks of a profile, without an account and without a network."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from aws_cdk import App, BootstraplessSynthesizer, Tags, Validations
from cdk_nag import AwsSolutionsChecks

from contracts.errors import SettingsError
from contracts.ids import check_shop
from deploy.artefacts import PATH, Artefacts, read_artefacts
from deploy.cdk.foundation import Foundation
from deploy.cdk.ingestion import Ingestion
from deploy.cdk.monitoring import Monitoring
from deploy.cdk.names import names_of
from deploy.cdk.network import Network
from deploy.cdk.profiles import PROFILES, Profile, profile
from deploy.cdk.serving import Serving
from deploy.cdk.stores import Stores
from deploy.cdk.streaming import Streaming
from deploy.cdk.training import Training

__all__ = ["FLAGS", "Choices", "build", "main"]

FLAGS: Final = {
    "@aws-cdk/aws-iam:minimizePolicies": True,
    "@aws-cdk/aws-s3:serverAccessLogsUseBucketPolicy": True,
}
"""Behaviour of the CDK that new apps are advised to choose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a deployment is asked to be, apart from its size."""

    shops: tuple[str, ...] = ("default",)
    alarm_email: str | None = None
    domain: str | None = None
    certificate_arn: str | None = None

    def __post_init__(self) -> None:
        if len(set(self.shops)) < len(self.shops):
            message = f"--shops names a shop twice: {','.join(self.shops)}"
            raise SettingsError(message)
        if bool(self.domain) != bool(self.certificate_arn):
            lacking = "--certificate-arn" if self.domain else "--domain"
            message = f"a domain needs its certificate, and a certificate its domain: {lacking} is not given"
            raise SettingsError(message)
        if self.certificate_arn and ":us-east-1:" not in self.certificate_arn:
            message = f"--certificate-arn is {self.certificate_arn}; CloudFront takes certificates of us-east-1 alone"
            raise SettingsError(message)


def build(app: App, size: Profile, choices: Choices, artefacts: Artefacts) -> None:
    """Add all stacks of a deployment to the app, each behind what it needs."""
    names = names_of(size)

    def common(unit: str) -> dict[str, Any]:
        # Without the CDK's bootstrap stack: nothing here is uploaded by the CDK.
        return {
            "names": names,
            "stack_name": f"{names.prefix}-{unit}",
            "synthesizer": BootstraplessSynthesizer(),
            "description": f"Liveshelf {size.name}: {unit}",
            "termination_protection": unit in {"foundation", "ingestion", "stores"} and size.name != "dev",
        }

    foundation = Foundation(
        app, "foundation", alarm_email=choices.alarm_email, images=size.service, **common("foundation")
    )
    key = foundation.key
    network = Network(app, "network", profile=size, key=key, **common("network"))
    ingestion = Ingestion(
        app,
        "ingestion",
        profile=size,
        shops=choices.shops,
        key=key,
        **common("ingestion"),
    )
    stores = Stores(app, "stores", profile=size, network=network, key=key, **common("stores"))
    parts = {
        "profile": size,
        "network": network,
        "stores": stores,
        "shops": choices.shops,
        "artefacts": artefacts,
        "key": key,
    }
    streaming = Streaming(app, "streaming", **parts, **common("streaming"))
    training = Training(app, "training", **parts, **common("training"))
    serving = Serving(
        app,
        "serving",
        domain=choices.domain,
        certificate_arn=choices.certificate_arn,
        topic_arn=foundation.topic.topic_arn,
        **parts,
        **common("serving"),
    )
    Monitoring(
        app,
        "monitoring",
        profile=size,
        api_id=serving.api.api.ref,
        topic_arn=foundation.topic.topic_arn,
        beside=serving.alarms,
        **common("monitoring"),
    )
    for later in (streaming, training, serving):
        later.add_stack_dependency(ingestion)
    Tags.of(app).add("liveshelf", names.prefix)
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deploy.cdk.app", description=__doc__)
    parser.add_argument("--env", default="dev", choices=sorted(PROFILES), help="size (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build") / "cdk.out", help="folder (default: %(default)s)")
    parser.add_argument("--artefacts", type=Path, default=PATH, help="what was built (default: %(default)s)")
    parser.add_argument("--shops", default="default", help="shop ids, separated by commas (default: %(default)s)")
    parser.add_argument("--alarm-email", help="who is told of alarms")
    parser.add_argument("--domain", help="own domain of the API and the pages; needs --certificate-arn")
    parser.add_argument("--certificate-arn", help="ACM certificate of --domain")
    parser.add_argument("--aurora", action="store_true", help="Aurora PostgreSQL as the persistent store")
    parser.add_argument("--training", choices=("serverless", "cluster"), help="EMR Serverless, or EMR on EC2")
    parser.add_argument("--service", action="store_true", help="the ASGI service on Fargate, for server-sent events")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status: 1 where a check of the stacks fails, 2 where
    the arguments do not fit."""
    given = _parser().parse_args(argv)
    try:
        size = profile(given.env)
        size = replace(
            size,
            aurora=size.aurora or given.aurora,
            service=size.service or given.service,
            training=given.training or size.training,
        )
        choices = Choices(
            shops=tuple(check_shop(shop.strip()) for shop in given.shops.split(",")),
            alarm_email=given.alarm_email,
            domain=given.domain,
            certificate_arn=given.certificate_arn,
        )
        artefacts = read_artefacts(given.artefacts)
    except (SettingsError, ValueError) as exc:
        print(f"synth: {exc}", file=sys.stderr)
        return 2
    app = App(outdir=str(given.out), analytics_reporting=False, context=FLAGS)
    build(app, size, choices, artefacts)
    try:
        assembly = app.synth()
    except RuntimeError as exc:  # of the CDK's own process; what it found is printed above
        print(f"synth: {str(exc).splitlines()[0]}", file=sys.stderr)
        return 1
    for stack in assembly.stacks:
        print(f"synth: {stack.stack_name:<32} {given.out}/{stack.template_file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
