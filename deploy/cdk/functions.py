"""The functions of the stack ``serving``: the collector with its spool queue, and the recommendations."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from aws_cdk import Duration, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as functions
from aws_cdk import aws_secretsmanager as secrets
from aws_cdk import aws_sqs as sqs

from contracts.settings import ENVIRONMENT_VARIABLE, Settings
from deploy.artefacts import Artefacts
from deploy.cdk.access import allow, explain, service_role
from deploy.cdk.deployed import STREAM_ONLY, properties
from deploy.cdk.names import Names
from deploy.cdk.network import Network, log_group
from deploy.cdk.profiles import Profile

__all__ = ["HANDLERS", "NO_KEYS", "Function", "add_function", "keys_secret", "spool_queue"]

HANDLERS: Final = {
    "collector": "serving.functions.collect",
    "drain": "serving.functions.drain",
    "recommend": "serving.functions.recommend",
    "control": "serving.functions.recommend",
}
"""Where Lambda begins, by part."""
NO_KEYS: Final = '{"keys":[],"log_key":""}'
"""A :class:`contracts.access.KeyDocument` of no keys."""
_TRIES: Final = 12
_VISIBLE: Final = 120


class Function(NamedTuple):
    """A function, its role, its ARN, which is known before it is made, and ``entry``: what the API calls."""

    made: functions.CfnFunction
    role: iam.Role
    arn: str
    entry: str


def spool_queue(scope: Any, names: Names, key: kms.IKey) -> tuple[sqs.Queue, sqs.Queue]:
    """The queue that keeps accepted events while Kinesis is away, and the one for what was tried too often."""
    common: dict[str, Any] = {
        "encryption": sqs.QueueEncryption.KMS,
        "encryption_master_key": key,
        "enforce_ssl": True,
        "retention_period": Duration.days(14),
        "removal_policy": RemovalPolicy.RETAIN,
    }
    dead = sqs.Queue(scope, "DeadSpool", queue_name=f"{names.prefix}-spool-dead", **common)
    spool = sqs.Queue(
        scope,
        "Spool",
        queue_name=f"{names.prefix}-spool",
        visibility_timeout=Duration.seconds(6 * _VISIBLE),  # six times the function's time-out, as AWS advises
        dead_letter_queue=sqs.DeadLetterQueue(max_receive_count=_TRIES, queue=dead),
        **common,
    )
    return spool, dead


def keys_secret(scope: Any, names: Names, key: kms.IKey) -> secrets.CfnSecret:
    """The secret of the API keys, which holds none at first: its content is the operator's (``make keys``).

    A secret without any content could not be read, and a function that cannot read its keys does not start. The content
    here must stay as it is: CloudFormation writes it when it changes, over the keys that are there by then.
    """
    secret = secrets.CfnSecret(
        scope,
        "Keys",
        name=names.keys_secret,
        description="API keys of the shop, as hashes: make keys",
        secret_string=NO_KEYS,
        kms_key_id=key.key_arn,
    )
    secret.apply_removal_policy(RemovalPolicy.RETAIN)
    explain(
        secret, {"SMG4": "Keys are handed to shops: who owns them rotates them, by a second key and the end of one."}
    )
    return secret


def add_function(
    scope: Any,
    part: str,
    *,
    names: Names,
    profile: Profile,
    artefacts: Artefacts,
    key: kms.IKey,
    settings: Settings,
    description: str,
    network: Network | None = None,
    seconds: int = 10,
    warm: int = 0,
    environment: Mapping[str, str] | None = None,
) -> Function:
    """One Lambda function with a role and a log group of its own; in the VPC only where ``network`` is given.

    ``warm`` of its environments are ready before they are asked for.
    """
    title = part.title()
    group = log_group(scope, f"{title}Logs", names=names, part=part, key=key, days=profile.log_days)
    role = service_role(scope, f"{title}Role", "lambda.amazonaws.com", description=description)
    streams = f"{names.log_group_arn(part)}:log-stream:*"
    allow(
        role,
        ["logs:CreateLogStream", "logs:PutLogEvents"],
        [streams],
        because="Lambda makes one log stream an instance.",
    )
    allow(role, ["kms:Decrypt", "kms:GenerateDataKey"], [key.key_arn])
    if network is not None:
        _join_vpc(role)
    made = functions.CfnFunction(
        scope,
        title,
        function_name=f"{names.prefix}-{part}",
        description=description,
        runtime="python3.11",
        architectures=["x86_64"],
        handler=HANDLERS[part],
        code=functions.CfnFunction.CodeProperty(s3_bucket=names.artefact_bucket, s3_key=artefacts.functions.key),
        role=role.role_arn,
        memory_size=profile.function_memory_mb,
        timeout=seconds,
        kms_key_arn=key.key_arn,
        environment=functions.CfnFunction.EnvironmentProperty(
            variables={
                ENVIRONMENT_VARIABLE: json.dumps(properties(settings, without=STREAM_ONLY)),
                **(environment or {}),
            }
        ),
        logging_config=functions.CfnFunction.LoggingConfigProperty(
            log_group=group.log_group_name, log_format="JSON", system_log_level="WARN", application_log_level="INFO"
        ),
        vpc_config=None
        if network is None
        else functions.CfnFunction.VpcConfigProperty(
            security_group_ids=[network.groups["serving"].security_group_id], subnet_ids=network.inside.subnet_ids
        ),
    )
    explain(made, {"L1": "Python 3.11, the one version that all parts of the loop and their runtimes share."})
    made.node.add_dependency(role.node.find_child("DefaultPolicy"))
    entry = _kept_warm(scope, title, made, artefacts, warm) if warm else made.attr_arn
    return Function(made, role, names.function_arn(part), entry)


def _kept_warm(scope: Any, title: str, made: functions.CfnFunction, artefacts: Artefacts, count: int) -> str:
    """The ARN of the alias whose environments are kept. Lambda keeps those of a version, and a version stays as it is:
    so whatever changes the function has to make another one, under another logical name."""
    told = made.environment.variables if isinstance(made.environment, made.EnvironmentProperty) else None
    content = Stack.of(scope).resolve([artefacts.functions.key, made.memory_size, made.timeout, told])
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
    version = functions.CfnVersion(scope, f"{title}Version{digest}", function_name=made.ref)
    alias = functions.CfnAlias(
        scope,
        f"{title}Alias",
        name="live",
        function_name=made.ref,
        function_version=version.attr_version,
        provisioned_concurrency_config=functions.CfnAlias.ProvisionedConcurrencyConfigurationProperty(
            provisioned_concurrent_executions=count
        ),
    )
    return str(alias.ref)


def _join_vpc(role: iam.Role) -> None:
    allow(
        role,
        [
            "ec2:CreateNetworkInterface",
            "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSubnets",
            "ec2:DeleteNetworkInterface",
            "ec2:AssignPrivateIpAddresses",
            "ec2:UnassignPrivateIpAddresses",
        ],
        ["*"],
        because="As Lambda prescribes it for a function in a VPC (its guide, execution role): interfaces that it makes "
        "itself.",
    )
