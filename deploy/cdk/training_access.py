"""What the training's roles may do: the jobs touch data, the machine starts jobs and reads what came out."""

from collections.abc import Sequence

from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms

from contracts.lake import ERRORS_PREFIX, EVENTS_PREFIX, UNKNOWN_SHOP, dataset_prefix
from deploy.artefacts import Artefacts
from deploy.cdk.access import allow
from deploy.cdk.names import Names, account_arn

__all__ = ["grant_data", "grant_job", "grant_machine"]


def grant_job(role: iam.Role, names: Names, shops: Sequence[str], artefacts: Artefacts, key: kms.IKey) -> None:
    """The role of the jobs on EMR Serverless."""
    grant_data(role, names, shops, key)
    keys = (artefacts.spark_environment.key, artefacts.spark_main.key)
    allow(role, ["s3:GetObject"], [names.bucket_arn(names.artefact_bucket, each) for each in keys])
    allow(
        role,
        ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
        [f"{names.log_group_arn('training')}:*"],
        because="EMR Serverless makes one log stream a worker, named after the job.",
    )
    allow(
        role,
        ["logs:DescribeLogGroups"],
        [account_arn("logs", "*")],
        because="EMR Serverless looks its group up by a listing, which knows no single resource.",
    )


def grant_data(role: iam.Role, names: Names, shops: Sequence[str], key: kms.IKey) -> None:
    """The data that a Spark job reads and writes, wherever it runs.

    Every training begins with the deletions that are due (:mod:`batch.forget`), and those go through all of a shop's
    objects, the lake's included, and through what a versioned bucket keeps of their past; so it may write there, and is
    the only part that may.
    """
    lake = names.bucket_arn(names.lake_bucket)
    allow(role, ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketVersions"], [lake])
    below = (EVENTS_PREFIX, ERRORS_PREFIX, *(f"shop={shop}/" for shop in shops))
    allow(
        role,
        ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion", "s3:AbortMultipartUpload"],
        [f"{lake}/{prefix}*" for prefix in (*below, dataset_prefix(UNKNOWN_SHOP, "dead-letter"))],
        because="Days, versions and files of the stream come and go, and a deleted person may be in any of them.",
    )
    rows = ("GetItem", "BatchGetItem", "PutItem", "BatchWriteItem")
    allow(role, [f"dynamodb:{each}" for each in rows], [names.table_arn])
    allow(role, ["elasticache:Connect"], names.cache_arns("trainer"))
    allow(role, ["kms:Decrypt", "kms:GenerateDataKey"], [key.key_arn])


def grant_machine(role: iam.Role, names: Names, application: str, job_role: iam.Role, key: kms.IKey) -> None:
    """The state machine: starts jobs of one application as one role, and tells how it went."""
    where = account_arn("emr-serverless", f"/applications/{application}")
    allow(role, ["emr-serverless:StartJobRun"], [where])
    allow(
        role,
        ["emr-serverless:GetJobRun", "emr-serverless:CancelJobRun"],
        [f"{where}/jobruns/*"],
        because="A job's id is not known before it was started.",
        known={application: "Spark.ApplicationId"},
    )
    role.add_to_policy(
        iam.PolicyStatement(
            actions=["iam:PassRole"],
            resources=[job_role.role_arn],
            conditions={"StringEquals": {"iam:PassedToService": "emr-serverless.amazonaws.com"}},
        )
    )
    # Step Functions waits for a job by a rule that it makes under this name (its guide, "EMR Serverless").
    rule = account_arn("events", "rule/StepFunctionsGetEventsForEMRServerlessJobRule")
    allow(role, ["events:PutTargets", "events:PutRule", "events:DescribeRule"], [rule])
    allow(
        role,
        ["s3:GetObject"],
        [names.bucket_arn(names.lake_bucket, "shop=*/runs/*")],
        because="The outcome of a run lies below the run's name.",
    )
    allow(role, ["sns:Publish"], [names.topic_arn])
    allow(role, ["kms:Decrypt", "kms:GenerateDataKey"], [key.key_arn])
    logs = ("CreateLogDelivery", "GetLogDelivery", "UpdateLogDelivery", "DeleteLogDelivery", "ListLogDeliveries")
    more = ("PutResourcePolicy", "DescribeResourcePolicies", "DescribeLogGroups")
    allow(
        role,
        [f"logs:{each}" for each in (*logs, *more)],
        ["*"],
        because="Log delivery of a state machine: CloudWatch Logs lets these be granted on everything only.",
    )
    allow(
        role,
        ["xray:PutTraceSegments", "xray:PutTelemetryRecords", "xray:GetSamplingRules", "xray:GetSamplingTargets"],
        ["*"],
        because="X-Ray knows no resources for traces.",
    )
