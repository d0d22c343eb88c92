"""Stack ``foundation``: the key that encrypts every store, the bucket of artefacts, and the topic of alarms.

It comes first: artefacts are uploaded into its bucket before the other stacks can refer to them.
"""

from typing import Any, Final

from aws_cdk import Aws, CfnOutput, Duration, RemovalPolicy, Stack
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions

from deploy.cdk.access import explain
from deploy.cdk.names import Names, account_arn

__all__ = ["BALANCER_LOGS", "Foundation"]

BALANCER_LOGS: Final = "balancer"
"""The folder of the balancer's logs in the bucket of access logs."""

_ENCRYPT = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey"]
_PUBLISHERS = ("cloudwatch", "events", "budgets")
"""Services that say something on the topic themselves; the state machine does so by its role."""


class Foundation(Stack):
    """``key``, ``artefacts`` and ``topic``."""

    def __init__(
        self, scope: Any, id: str, *, names: Names, alarm_email: str | None, images: bool = False, **rest: Any
    ) -> None:
        super().__init__(scope, id, **rest)
        self.key = _key(self, names)
        _access_logs(self, names)
        self.artefacts = private_bucket(
            self,
            "Artefacts",
            names=names,
            name=names.artefact_bucket,
            key=self.key,
            versioned=True,
            lifecycle=[
                s3.LifecycleRule(
                    id="half uploads and what was overwritten",
                    abort_incomplete_multipart_upload_after=Duration.days(1),
                    noncurrent_version_expiration=Duration.days(30),
                )
            ],
        )
        self.topic = _topic(self, names, self.key, alarm_email)
        if images:
            repository = _images(self, names, self.key)
            CfnOutput(self, "ImageRepository", value=repository.repository_uri, description="of the service's image")
        CfnOutput(self, "ArtefactBucket", value=self.artefacts.bucket_name, description="where make deploy uploads")
        CfnOutput(self, "AlarmTopic", value=self.topic.topic_arn, description="what alarms and trainings say")
        CfnOutput(self, "KeyArn", value=self.key.key_arn, description="what every store is encrypted with")


def private_bucket(
    scope: Any, id: str, *, names: Names, name: str, key: kms.IKey, versioned: bool = False, lifecycle: Any = ()
) -> s3.Bucket:
    """A bucket that nobody reads without TLS, without the key, or from outside the account; it outlives its stack."""
    # Known by its name: a reference from here to its stack and one of its policy to here would be a circle.
    logs = s3.Bucket.from_bucket_name(scope, f"{id}Logs", names.access_log_bucket)
    return s3.Bucket(
        scope,
        id,
        bucket_name=name,
        encryption=s3.BucketEncryption.KMS,
        encryption_key=key,
        bucket_key_enabled=True,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        enforce_ssl=True,
        minimum_tls_version=1.2,
        versioned=versioned,
        lifecycle_rules=list(lifecycle),
        server_access_logs_bucket=logs,
        server_access_logs_prefix=f"{id.lower()}/",
        removal_policy=RemovalPolicy.RETAIN,
    )


def _key(scope: Any, names: Names) -> kms.Key:
    key = kms.Key(
        scope,
        "Key",
        alias=f"alias/{names.prefix}",
        description=f"Stores of {names.prefix}: stream, lake, tables, cache, queues, logs, secrets",
        enable_key_rotation=True,
        removal_policy=RemovalPolicy.RETAIN,
    )
    logs = account_arn("logs", f"log-group:{names.log_group('*')}")
    key.add_to_resource_policy(
        iam.PolicyStatement(
            sid="LogGroups",
            actions=_ENCRYPT,
            principals=[iam.ServicePrincipal(f"logs.{Aws.REGION}.amazonaws.com")],
            resources=["*"],
            conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": logs}},
        )
    )
    key.add_to_resource_policy(
        iam.PolicyStatement(
            sid="Publishers",
            actions=["kms:Decrypt", "kms:GenerateDataKey"],
            principals=[iam.ServicePrincipal(f"{each}.amazonaws.com") for each in _PUBLISHERS],
            resources=["*"],
            conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
        )
    )
    return key


def _images(scope: Any, names: Names, key: kms.IKey) -> ecr.Repository:
    return ecr.Repository(
        scope,
        "Images",
        repository_name=names.images,
        encryption=ecr.RepositoryEncryption.KMS,
        encryption_key=key,
        image_scan_on_push=True,
        lifecycle_rules=[ecr.LifecycleRule(max_image_count=20)],
        removal_policy=RemovalPolicy.RETAIN,
    )


def _access_logs(scope: Any, names: Names) -> s3.Bucket:
    bucket = s3.Bucket(
        scope,
        "AccessLogs",
        bucket_name=names.access_log_bucket,
        encryption=s3.BucketEncryption.S3_MANAGED,  # the only one that S3 writes access logs with
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_PREFERRED,  # CloudFront writes its logs with an ACL
        enforce_ssl=True,
        minimum_tls_version=1.2,
        lifecycle_rules=[s3.LifecycleRule(id="old logs", expiration=Duration.days(90))],
        removal_policy=RemovalPolicy.RETAIN,
    )
    bucket.add_to_resource_policy(
        iam.PolicyStatement(
            sid="ServerAccessLogs",
            actions=["s3:PutObject"],
            principals=[iam.ServicePrincipal("logging.s3.amazonaws.com")],
            resources=[names.bucket_arn(names.access_log_bucket, "*")],
            conditions={
                "StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID},
                "ArnLike": {"aws:SourceArn": names.bucket_arn(f"{names.prefix}-*")},
            },
        )
    )
    # The balancer of the service (docs/stacks.md) refuses to be made where it may not write its logs.
    below = f"{BALANCER_LOGS}/AWSLogs/{Aws.ACCOUNT_ID}/*"
    bucket.add_to_resource_policy(
        iam.PolicyStatement(
            sid="BalancerLogs",
            actions=["s3:PutObject"],
            principals=[iam.ServicePrincipal("logdelivery.elasticloadbalancing.amazonaws.com")],
            resources=[names.bucket_arn(names.access_log_bucket, below)],
        )
    )
    explain(bucket, {"S1": "This is the bucket that access logs are written to."})
    return bucket


def _topic(scope: Any, names: Names, key: kms.IKey, email: str | None) -> sns.Topic:
    topic = sns.Topic(scope, "Topic", topic_name=names.topic, master_key=key, enforce_ssl=True)
    topic.add_to_resource_policy(
        iam.PolicyStatement(
            sid="Publishers",
            actions=["sns:Publish"],
            principals=[iam.ServicePrincipal(f"{each}.amazonaws.com") for each in _PUBLISHERS],
            resources=[names.topic_arn],
            conditions={"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}},
        )
    )
    if email:
        topic.add_subscription(subscriptions.EmailSubscription(email))
    return topic
