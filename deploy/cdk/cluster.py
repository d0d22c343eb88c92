"""Training on a transient EMR cluster on EC2, which an execution starts and ends: what it needs beside the machine."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aws_cdk import aws_emr as emr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms

from deploy.artefacts import Artefacts
from deploy.cdk.access import allow, explain, service_role
from deploy.cdk.names import Names, account_arn
from deploy.cdk.network import Network
from deploy.cdk.profiles import Profile
from deploy.cdk.training_access import grant_data

__all__ = ["LOGS", "Cluster"]

LOGS: Final = "emr-logs/"
_PYTHON: Final = "/opt/liveshelf/environment/bin/python"
_DISK: Final = ("Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo", "GenerateDataKey", "DescribeKey")


class Cluster:
    """Roles and security of the cluster; the cluster itself is made by the state machine."""

    def __init__(
        self, scope: Any, *, names: Names, network: Network, shops: Sequence[str], artefacts: Artefacts, key: kms.IKey
    ) -> None:
        self._names, self._network, self._artefacts, self._key = names, network, artefacts, key
        self.node_role = _node_role(scope, names, shops, artefacts, key)
        self._profile = iam.CfnInstanceProfile(scope, "NodeProfile", roles=[self.node_role.role_name])
        self.service_role = _service_role(scope, self.node_role, key)
        self._security = emr.CfnSecurityConfiguration(
            scope, "Security", name=names.prefix, security_configuration=_security(key)
        )

    def substitutions(self, size: Profile, release: str) -> Mapping[str, str]:
        """What the machine's definition wants to know of the cluster."""
        bucket, groups = self._names.artefact_bucket, self._network.groups
        return {
            "Release": release,
            "InstanceType": size.cluster_instance,
            "ClusterRole": self.service_role.role_arn,
            "InstanceProfile": self._profile.ref,
            "LogUri": f"s3://{self._names.lake_bucket}/{LOGS}",
            "SecurityConfiguration": self._security.ref,
            "Bootstrap": f"s3://{bucket}/{self._artefacts.spark_bootstrap.key}",
            "Environment": f"s3://{bucket}/{self._artefacts.spark_environment.key}",
            "Subnet": self._network.inside.subnet_ids[0],
            "ClusterGroup": groups["training"].security_group_id,
            "ServiceGroup": groups["emr"].security_group_id,
        }

    @staticmethod
    def submit_words(size: Profile) -> list[str]:
        """The words of ``spark-submit`` before the script."""
        options = {
            "spark.pyspark.python": _PYTHON,
            "spark.pyspark.driver.python": _PYTHON,
            "spark.driver.memory": f"{size.driver_memory_gb}g",
            "spark.executor.cores": size.executor_cores,
            "spark.executor.memory": f"{size.executor_memory_gb}g",
        }
        return ["--deploy-mode", "client", *(w for k, v in options.items() for w in ("--conf", f"{k}={v}"))]

    def grant_runner(self, role: iam.Role) -> None:
        """The machine starts clusters with our tag and ends them, and no other."""
        clusters = account_arn("elasticmapreduce", "cluster/*")
        ours = {"StringEquals": {"elasticmapreduce:ResourceTag/liveshelf": self._names.prefix}}
        asked = {"StringEquals": {"elasticmapreduce:RequestTag/liveshelf": self._names.prefix}}
        because = "A cluster's id is not known before it runs; its tag is."
        begun = ["elasticmapreduce:RunJobFlow", "elasticmapreduce:AddTags"]
        allow(role, begun, [clusters], because=because, conditions=asked)
        used = ("DescribeCluster", "TerminateJobFlows", "AddJobFlowSteps", "DescribeStep", "CancelSteps")
        allow(role, [f"elasticmapreduce:{each}" for each in used], [clusters], because=because, conditions=ours)
        for passed, service in ((self.service_role, "elasticmapreduce"), (self.node_role, "ec2")):
            allow(
                role,
                ["iam:PassRole"],
                [passed.role_arn],
                conditions={"StringEquals": {"iam:PassedToService": f"{service}.amazonaws.com"}},
            )
        rules = ("StepFunctionsGetEventForEMRRunJobFlowRule", "StepFunctionsGetEventForEMRAddJobFlowStepsRule")
        arns = [account_arn("events", f"rule/{rule}") for rule in rules]
        allow(role, ["events:PutTargets", "events:PutRule", "events:DescribeRule"], arns)


def _node_role(scope: Any, names: Names, shops: Sequence[str], artefacts: Artefacts, key: kms.IKey) -> iam.Role:
    role = iam.Role(
        scope,
        "NodeRole",
        assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
        description="Nodes of the training cluster: read events, write sums, models and lists",
    )
    grant_data(role, names, shops, key)
    keys = (artefacts.spark_environment.key, artefacts.spark_main.key, artefacts.spark_bootstrap.key)
    allow(role, ["s3:GetObject"], [names.bucket_arn(names.artefact_bucket, each) for each in keys])
    allow(
        role,
        ["s3:PutObject"],
        [names.bucket_arn(names.lake_bucket, f"{LOGS}*")],
        because="EMR writes the logs of a cluster below its id.",
    )
    allow(role, [f"kms:{each}" for each in _DISK], [key.key_arn])
    return role


def _service_role(scope: Any, nodes: iam.Role, key: kms.IKey) -> iam.Role:
    role = service_role(
        scope, "ClusterRole", "elasticmapreduce.amazonaws.com", description="EMR: starts and ends the training cluster"
    )
    managed = "service-role/AmazonEMRServicePolicy_v2"
    role.add_managed_policy(iam.ManagedPolicy.from_aws_managed_policy_name(managed))
    reason = "What EMR needs of EC2 is AWS's to say; this policy acts on resources that carry EMR's tag alone."
    explain(role, {f"IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{managed}]": reason})
    allow(
        role,
        ["iam:PassRole"],
        [nodes.role_arn],
        conditions={"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
    )
    allow(role, [f"kms:{each}" for each in (*_DISK, "GenerateDataKeyWithoutPlaintext")], [key.key_arn])
    allow(role, ["kms:CreateGrant"], [key.key_arn], conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}})
    return role


def _security(key: kms.IKey) -> dict[str, Any]:
    """Everything at rest under our key, and instance metadata by sessions only."""
    return {
        "EncryptionConfiguration": {
            "EnableInTransitEncryption": False,
            "EnableAtRestEncryption": True,
            "AtRestEncryptionConfiguration": {
                "S3EncryptionConfiguration": {"EncryptionMode": "SSE-KMS", "AwsKmsKey": key.key_arn},
                "LocalDiskEncryptionConfiguration": {
                    "EncryptionKeyProviderType": "AwsKms",
                    "AwsKmsKey": key.key_arn,
                    "EnableEbsEncryption": True,
                },
            },
        },
        "InstanceMetadataServiceConfiguration": {
            "MinimumInstanceMetadataServiceVersion": 2,
            "HttpPutResponseHopLimit": 1,
        },
    }
