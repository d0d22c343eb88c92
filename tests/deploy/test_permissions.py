"""The list of what a deployment must be allowed to do keeps up with the stacks."""

import json
from pathlib import Path
from typing import Final

import pytest

from deploy.cdk.app import main
from deploy.cdk.names import account_arn, names_of, shown
from deploy.cdk.permissions import COMMANDS_ON, RESOURCES, actions_of
from deploy.cdk.profiles import PROFILES

PREFIXES: Final = {
    "ApiGatewayV2": "apigateway",
    "ApplicationAutoScaling": "application-autoscaling",
    "EMR": "elasticmapreduce",
    "EMRServerless": "emr-serverless",
    "ElasticLoadBalancingV2": "elasticloadbalancing",
    "KinesisAnalyticsV2": "kinesisanalytics",
    "KinesisFirehose": "firehose",
    "StepFunctions": "states",
}
"""Namespaces of CloudFormation that IAM calls otherwise; the rest is the same in lower case."""


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Of everything that can be chosen."""
    out = tmp_path_factory.mktemp("cdk")
    words = ["--env", "large", "--aurora", "--service", "--out", str(out), "--artefacts", str(out / "none.json")]
    assert main(words) == 0
    return sorted(out.glob("*.template.json"))


def test_every_service_of_the_templates_has_its_actions_in_the_list(templates: list[Path]) -> None:
    known = {action.partition(":")[0] for action in actions_of(RESOURCES)}
    lacking = {}
    for path in templates:
        for resource in json.loads(path.read_text())["Resources"].values():
            vendor, service, _ = resource["Type"].split("::")
            if vendor == "AWS" and service != "CDK" and PREFIXES.get(service, service.lower()) not in known:
                lacking[resource["Type"]] = path.name
    assert lacking == {}, "add what making these takes to deploy/cdk/permissions.py"


def test_what_commands_act_on_has_the_names_of_the_deployment() -> None:
    names = names_of(PROFILES["large"])
    filled = {
        arn.format(
            partition="<AWS::Partition>", region="<AWS::Region>", account="<AWS::AccountId>", prefix=names.prefix
        )
        for arn in COMMANDS_ON.values()
    }
    real = (
        names.bucket_arn(names.artefact_bucket),
        names.bucket_arn(names.artefact_bucket, "*"),
        account_arn("kinesisanalytics", f"application/{names.flink}"),
        names.machine_arn,
        names.stream_arn,
        names.table_arn,
        account_arn("ecr", f"repository/{names.images}"),
        account_arn("secretsmanager", f"secret:{names.keys_secret}-*"),
    )
    assert filled == {shown(arn) for arn in real}
