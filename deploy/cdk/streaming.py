"""Stack ``streaming``: the managed Flink application. It is made, not started: ``make deploy`` does that."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aws_cdk import CfnOutput, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kinesisanalyticsv2 as flink
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs

from contracts.forgetting import tombstones_path
from contracts.lake import catalogue_path
from deploy.artefacts import Artefacts
from deploy.cdk.access import allow, service_role
from deploy.cdk.deployed import deployed_settings, properties
from deploy.cdk.names import Names, account_arn
from deploy.cdk.network import Network, log_group
from deploy.cdk.profiles import Profile
from deploy.cdk.stores import Stores
from deploy.flink_zip import RUN_OPTIONS, RUN_OPTIONS_GROUP
from deploy.stream_settings import stream_settings

__all__ = ["Streaming"]

_LOG_STREAM: Final = "application"
_UNITS: Final = {"ms": 1, "s": 1000, "min": 60_000}


class Streaming(Stack):
    """``application`` and ``role``."""

    def __init__(
        self,
        scope: Any,
        id: str,
        *,
        names: Names,
        profile: Profile,
        network: Network,
        stores: Stores,
        shops: Sequence[str],
        artefacts: Artefacts,
        key: kms.IKey,
        **rest: Any,
    ) -> None:
        super().__init__(scope, id, **rest)
        group = log_group(self, "Logs", names=names, part="stream", key=key, days=profile.log_days)
        logs.LogStream(self, "Log", log_group=group, log_stream_name=_LOG_STREAM, removal_policy=RemovalPolicy.DESTROY)
        log_stream = f"{names.log_group_arn('stream')}:log-stream:{_LOG_STREAM}"
        self.role = service_role(
            self,
            "Role",
            "kinesisanalytics.amazonaws.com",
            description="The stream: reads events and models, writes features, lists and rejected records",
            source_arn=account_arn("kinesisanalytics", f"application/{names.flink}"),
        )
        _grant_data(self.role, names, shops, artefacts, key)
        _grant_service(self.role, names, log_stream)
        settings = deployed_settings(names, stores, shops, "stream")
        groups = {each["PropertyGroupId"]: each["PropertyMap"] for each in properties(settings)}
        self.application = flink.CfnApplication(
            self,
            "Application",
            application_name=names.flink,
            application_description="Liveshelf's streaming job",
            application_mode="STREAMING",
            runtime_environment="FLINK-1_20",
            service_execution_role=self.role.role_arn,
            application_configuration=_configuration(
                names, profile, network, artefacts, groups | {RUN_OPTIONS_GROUP: RUN_OPTIONS}
            ),
        )
        self.application.node.add_dependency(self.role.node.find_child("DefaultPolicy"))
        logging = flink.CfnApplicationCloudWatchLoggingOption(
            self,
            "Logging",
            application_name=names.flink,
            cloud_watch_logging_option=flink.CfnApplicationCloudWatchLoggingOption.CloudWatchLoggingOptionProperty(
                log_stream_arn=log_stream
            ),
        )
        logging.add_resource_dependency(self.application)
        logging.node.add_dependency(group)
        CfnOutput(self, "ApplicationName", value=names.flink)
        CfnOutput(self, "LogGroup", value=names.log_group("stream"))


def _grant_data(role: iam.Role, names: Names, shops: Sequence[str], artefacts: Artefacts, key: kms.IKey) -> None:
    allow(role, ["s3:GetObject", "s3:GetObjectVersion"], [names.bucket_arn(names.artefact_bucket, artefacts.flink.key)])
    read = ("DescribeStream", "DescribeStreamSummary", "GetShardIterator", "GetRecords", "ListShards")
    allow(role, [f"kinesis:{each}" for each in read], [names.stream_arn])
    lake = names.bucket_arn(names.lake_bucket)
    allow(role, ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"], [lake])
    allow(
        role,
        ["s3:PutObject", "s3:GetObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
        [f"{lake}/shop=*/dataset=*"],
        because="Flink names the files of its sinks, below its datasets only; and an event of a shop that nobody "
        "configured must not stop the job: its record of what it served goes beside the others.",
    )
    allow(
        role,
        ["s3:GetObject"],
        [f"{lake}/shop={shop}/models/*" for shop in shops],
        because="Versions of models come and go; the prefix holds nothing else.",
    )
    files = (catalogue_path, tombstones_path)
    allow(role, ["s3:GetObject"], [f"{lake}/{path(shop)}" for shop in shops for path in files])
    allow(role, ["elasticache:Connect"], names.cache_arns("stream"))
    allow(role, ["kms:Decrypt", "kms:GenerateDataKey"], [key.key_arn])


def _grant_service(role: iam.Role, names: Names, log_stream: str) -> None:
    """What the managed service does in the application's name (Managed Flink guide, logging and VPC permissions)."""
    allow(role, ["logs:PutLogEvents"], [log_stream])
    allow(
        role,
        ["logs:DescribeLogStreams"],
        [f"{names.log_group_arn('stream')}:*"],
        because="The call is on the group; its ARN form ends in a star.",
    )
    look = ("DescribeVpcs", "DescribeSubnets", "DescribeSecurityGroups", "DescribeDhcpOptions")
    cards = ("CreateNetworkInterface", "CreateNetworkInterfacePermission", "DeleteNetworkInterface")
    allow(
        role,
        [f"ec2:{each}" for each in (*look, "DescribeNetworkInterfaces", *cards)],
        ["*"],
        because="As AWS prescribes it for an application in a VPC: Describe calls know no resources, and the "
        "interfaces do not exist before the service makes them.",
    )


def _configuration(
    names: Names, profile: Profile, network: Network, artefacts: Artefacts, groups: Mapping[str, Mapping[str, str]]
) -> flink.CfnApplication.ApplicationConfigurationProperty:
    options = stream_settings().flink
    own = flink.CfnApplication
    return own.ApplicationConfigurationProperty(
        application_code_configuration=own.ApplicationCodeConfigurationProperty(
            code_content_type="ZIPFILE",
            code_content=own.CodeContentProperty(
                s3_content_location=own.S3ContentLocationProperty(
                    bucket_arn=names.bucket_arn(names.artefact_bucket), file_key=artefacts.flink.key
                )
            ),
        ),
        application_snapshot_configuration=own.ApplicationSnapshotConfigurationProperty(snapshots_enabled=True),
        environment_properties=own.EnvironmentPropertiesProperty(
            property_groups=[
                own.PropertyGroupProperty(property_group_id=name, property_map=dict(values))
                for name, values in groups.items()
            ]
        ),
        # The state backend is the service's own, RocksDB; what the job may not set in code is set here.
        flink_application_configuration=own.FlinkApplicationConfigurationProperty(
            checkpoint_configuration=own.CheckpointConfigurationProperty(
                configuration_type="CUSTOM",
                checkpointing_enabled=True,
                checkpoint_interval=milliseconds(options["execution.checkpointing.interval"]),
                min_pause_between_checkpoints=milliseconds(options["execution.checkpointing.min-pause"]),
            ),
            monitoring_configuration=own.MonitoringConfigurationProperty(
                configuration_type="CUSTOM", metrics_level=profile.flink_metrics, log_level="INFO"
            ),
            parallelism_configuration=own.ParallelismConfigurationProperty(
                configuration_type="CUSTOM",
                parallelism=profile.flink_parallelism,
                parallelism_per_kpu=profile.flink_per_kpu,
                auto_scaling_enabled=profile.flink_autoscaling,
            ),
        ),
        vpc_configurations=[
            own.VpcConfigurationProperty(
                security_group_ids=[network.groups["flink"].security_group_id], subnet_ids=network.inside.subnet_ids
            )
        ],
    )


def milliseconds(text: str) -> int:
    """A duration of Flink's options.

    >>> milliseconds("10 s"), milliseconds("2 min"), milliseconds("5 ms")
    (10000, 120000, 5)
    """
    number, _, unit = text.partition(" ")
    return int(number) * _UNITS[unit]
