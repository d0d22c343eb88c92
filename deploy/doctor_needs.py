"""What a deployment of a size asks of an account: services in the region, and room in its quotas. Pure."""

from dataclasses import dataclass
from typing import Final

from deploy.cdk.profiles import Profile

__all__ = ["SERVICES", "Need", "needs_of"]

SERVICES: Final = (
    "kinesis",
    "firehose",
    "kinesisanalyticsv2",
    "s3",
    "glue",
    "elasticache",
    "dynamodb",
    "lambda",
    "apigatewayv2",
    "stepfunctions",
    "scheduler",
    "emr-serverless",
    "kms",
    "secretsmanager",
    "cloudwatch",
)
"""Names of boto3; ``rds``, ``emr`` and ``ecs`` come with the choices that use them."""


@dataclass(frozen=True, slots=True)
class Need:
    """How much of a quota a deployment uses at its largest.

    ``code`` is the service in Service Quotas, ``name`` the quota there, in lower case, or the part of it that tells.
    """

    what: str
    code: str
    name: str
    amount: int
    unit: str


def needs_of(profile: Profile) -> list[Need]:
    """The quotas that can be too small for a profile, beyond those that :mod:`deploy.doctor_checks` reads directly.

    >>> from deploy.cdk.profiles import PROFILES
    >>> [(need.what, need.amount) for need in needs_of(PROFILES["dev"])][:2]
    [('KPUs of the Flink application', 2), ('vCPUs of EMR Serverless', 6)]
    """
    kpus = -(-profile.flink_parallelism // profile.flink_per_kpu) + 1  # one more orchestrates
    found = [Need("KPUs of the Flink application", "kinesisanalytics", "kpu", kpus, "KPUs")]
    if profile.training == "serverless":
        vcpus = profile.driver_cores + profile.executors * profile.executor_cores
        found.append(Need("vCPUs of EMR Serverless", "emr-serverless", "vcpu", vcpus, "vCPUs"))
    found.append(Need("VPCs", "vpc", "vpcs per region", 1, "VPC"))
    if profile.egress == "nat":
        found.append(Need("NAT gateways", "vpc", "nat gateways per availability zone", 1, "NAT gateway"))
    else:
        found.append(Need("interface endpoints", "vpc", "interface vpc endpoints per vpc", 10, "endpoints"))
    found.append(Need("caches", "elasticache", "serverless caches", 1, "cache"))
    return found
