"""What a deployment must be allowed to do, by logical unit: what ``make doctor`` asks IAM about.

Whoever runs the commands of the Makefile acts: by what the commands call themselves (``COMMANDS``), and through
CloudFormation, which makes the resources with the same rights (``RESOURCES``). Not for granting: roles of the
deployment's own parts are made in their stacks. A test holds the list against the resource types of the templates.
"""

from collections.abc import Mapping
from typing import Final

__all__ = ["COMMANDS", "COMMANDS_ON", "RESOURCES", "actions_of"]

COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    "stacks": (
        "cloudformation:CreateChangeSet",
        "cloudformation:DescribeChangeSet",
        "cloudformation:ExecuteChangeSet",
        "cloudformation:DeleteChangeSet",
        "cloudformation:DeleteStack",
        "cloudformation:DescribeStacks",
        "cloudformation:DescribeStackEvents",
        "cloudformation:GetTemplate",
        "cloudformation:ListStackResources",
    ),
    "artefacts": ("s3:PutObject", "s3:GetObject", "s3:ListBucket"),
    "stream": (
        "kinesisanalytics:StartApplication",
        "kinesisanalytics:StopApplication",
        "kinesisanalytics:UpdateApplication",
        "kinesisanalytics:CreateApplicationSnapshot",
        "kinesisanalytics:DescribeApplicationSnapshot",
        "kinesisanalytics:ListApplicationSnapshots",
        "kinesisanalytics:DescribeApplication",
        "kinesis:PutRecords",
        "logs:FilterLogEvents",
    ),
    "service": ("ecr:DescribeImages",),
    "pages": ("cloudfront:CreateInvalidation",),
    "keys": ("secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue"),
    "what remains": (
        "cloudwatch:GetMetricStatistics",
        "dynamodb:DescribeTable",
        "kinesis:DescribeStreamSummary",
    ),
    "training": ("states:StartExecution", "states:DescribeExecution", "states:GetExecutionHistory"),
}
"""By purpose: what ``make deploy``, ``upgrade`` and ``destroy`` call themselves."""

COMMANDS_ON: Final[Mapping[str, str]] = {
    "s3:PutObject": "arn:{partition}:s3:::{prefix}-artefacts-{account}-{region}/*",
    "s3:GetObject": "arn:{partition}:s3:::{prefix}-artefacts-{account}-{region}/*",
    "s3:ListBucket": "arn:{partition}:s3:::{prefix}-artefacts-{account}-{region}",
    **{
        action: "arn:{partition}:kinesisanalytics:{region}:{account}:application/{prefix}-stream"
        for action in COMMANDS["stream"]
        if action.startswith("kinesisanalytics:")
    },
    "ecr:DescribeImages": "arn:{partition}:ecr:{region}:{account}:repository/{prefix}-service",
    "kinesis:PutRecords": "arn:{partition}:kinesis:{region}:{account}:stream/{prefix}-behaviour",
    "kinesis:DescribeStreamSummary": "arn:{partition}:kinesis:{region}:{account}:stream/{prefix}-behaviour",
    "dynamodb:DescribeTable": "arn:{partition}:dynamodb:{region}:{account}:table/{prefix}",
    **dict.fromkeys(COMMANDS["keys"], "arn:{partition}:secretsmanager:{region}:{account}:secret:{prefix}/keys-*"),
    "states:StartExecution": "arn:{partition}:states:{region}:{account}:stateMachine:{prefix}-training",
}
"""On what: policies are scoped to resources, and a simulation without one would call them too small."""

RESOURCES: Final[Mapping[str, tuple[str, ...]]] = {
    "foundation": (
        "kms:CreateKey",
        "kms:CreateAlias",
        "kms:PutKeyPolicy",
        "s3:CreateBucket",
        "s3:PutBucketPolicy",
        "s3:PutEncryptionConfiguration",
        "s3:PutLifecycleConfiguration",
        "s3:PutBucketPublicAccessBlock",
        "s3:PutBucketVersioning",
        "sns:CreateTopic",
        "sns:Subscribe",
        "sns:SetTopicAttributes",
        "iam:CreateRole",
        "iam:PassRole",
        "iam:PutRolePolicy",
        "iam:AttachRolePolicy",
        "iam:DeleteRole",
        "iam:TagRole",
        "iam:CreatePolicy",
        "iam:CreateServiceLinkedRole",
    ),
    "network": (
        "ec2:CreateVpc",
        "ec2:CreateSubnet",
        "ec2:CreateRouteTable",
        "ec2:CreateRoute",
        "ec2:CreateSecurityGroup",
        "ec2:AuthorizeSecurityGroupIngress",
        "ec2:AuthorizeSecurityGroupEgress",
        "ec2:CreateVpcEndpoint",
        "ec2:CreateNatGateway",
        "ec2:CreateInternetGateway",
        "ec2:AllocateAddress",
        "ec2:CreateFlowLogs",
        "logs:CreateLogGroup",
        "logs:PutRetentionPolicy",
    ),
    "ingestion": (
        "kinesis:CreateStream",
        "kinesis:StartStreamEncryption",
        "kinesis:UpdateStreamMode",
        "firehose:CreateDeliveryStream",
        "glue:CreateDatabase",
        "glue:CreateTable",
        "athena:CreateWorkGroup",
    ),
    "stores": (
        "dynamodb:CreateTable",
        "dynamodb:UpdateContinuousBackups",
        "dynamodb:UpdateTimeToLive",
        "elasticache:CreateServerlessCache",
        "elasticache:CreateUser",
        "elasticache:CreateUserGroup",
        "rds:CreateDBCluster",
        "rds:CreateDBInstance",
        "rds:CreateDBSubnetGroup",
        "rds:CreateDBClusterParameterGroup",
        "secretsmanager:CreateSecret",
    ),
    "streaming": ("kinesisanalytics:CreateApplication", "kinesisanalytics:AddApplicationCloudWatchLoggingOption"),
    "training": (
        "emr-serverless:CreateApplication",
        "elasticmapreduce:CreateSecurityConfiguration",
        "states:CreateStateMachine",
        "scheduler:CreateSchedule",
        "scheduler:CreateScheduleGroup",
        "events:PutRule",
        "events:PutTargets",
    ),
    "serving": (
        "lambda:CreateFunction",
        "lambda:PublishVersion",
        "lambda:CreateAlias",
        "lambda:PutProvisionedConcurrencyConfig",
        "lambda:AddPermission",
        "lambda:CreateEventSourceMapping",
        "apigateway:POST",
        "apigateway:PUT",
        "sqs:CreateQueue",
        "cloudfront:CreateDistribution",
        "cloudfront:CreateOriginAccessControl",
        "ecs:CreateCluster",
        "ecs:CreateService",
        "ecs:RegisterTaskDefinition",
        "ecr:CreateRepository",
        "elasticloadbalancing:CreateLoadBalancer",
        "application-autoscaling:RegisterScalableTarget",
    ),
    "monitoring": (
        "cloudwatch:PutMetricAlarm",
        "cloudwatch:PutDashboard",
        "logs:PutQueryDefinition",
        "budgets:ModifyBudget",
    ),
}
"""By stack: what making its resources takes. The first action of each kind of resource; AWS needs a few more to read
and to change them, which policies give together with these."""


def actions_of(groups: Mapping[str, tuple[str, ...]]) -> list[str]:
    """All actions, each once, sorted.

    >>> actions_of({"a": ("s3:PutObject", "kms:Decrypt"), "b": ("s3:PutObject",)})
    ['kms:Decrypt', 's3:PutObject']
    """
    return sorted({action for group in groups.values() for action in group})
