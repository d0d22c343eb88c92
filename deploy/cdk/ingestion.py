"""Stack ``ingestion``: the stream of events, the lake, the delivery from one to the other, and tables to read it by."""

from collections.abc import Sequence
from typing import Any, Final

from aws_cdk import Aws, CfnOutput, Duration, RemovalPolicy, Stack
from aws_cdk import aws_athena as athena
from aws_cdk import aws_glue as glue
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_kinesisfirehose as firehose
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3

from contracts.lake import ERRORS_PREFIX, EVENTS_PREFIX
from deploy.cdk.access import allow, explain, service_role
from deploy.cdk.catalogue import add_tables
from deploy.cdk.cluster import LOGS as CLUSTER_LOGS
from deploy.cdk.foundation import private_bucket
from deploy.cdk.names import Names
from deploy.cdk.network import log_group
from deploy.cdk.profiles import Profile

__all__ = ["HALF_UPLOAD_DAYS", "SNAPSHOT_DAYS", "Ingestion"]

SNAPSHOT_DAYS: Final = 30
"""For so long a snapshot of the stream may be restored. Its sinks finish uploads that were under way when it was taken,
so those are kept longer; of an older snapshot the unfinished files are lost."""
HALF_UPLOAD_DAYS: Final = SNAPSHOT_DAYS + 7
_RESULTS: Final = "athena-results/"
_STAMP: Final = "year=!{timestamp:yyyy}/month=!{timestamp:MM}/day=!{timestamp:dd}/"


class Ingestion(Stack):
    """``stream`` and ``lake``."""

    def __init__(
        self,
        scope: Any,
        id: str,
        *,
        names: Names,
        profile: Profile,
        shops: Sequence[str],
        key: kms.IKey,
        **rest: Any,
    ) -> None:
        super().__init__(scope, id, **rest)
        self.stream = kinesis.Stream(
            self,
            "Stream",
            stream_name=names.stream,
            stream_mode=kinesis.StreamMode.PROVISIONED if profile.shards else kinesis.StreamMode.ON_DEMAND,
            shard_count=profile.shards,
            retention_period=Duration.hours(profile.stream_hours),
            encryption=kinesis.StreamEncryption.KMS,
            encryption_key=key,
            removal_policy=RemovalPolicy.RETAIN,
        )
        explain(self.stream, {"KDS3": "Our own key, so that reading events needs a grant on it as well."})
        self.lake = private_bucket(
            self, "Lake", names=names, name=names.lake_bucket, key=key, lifecycle=_lifecycle(shops)
        )
        group = log_group(self, "DeliveryLogs", names=names, part="delivery", key=key, days=profile.log_days)
        self._delivery(names, key, group)
        self._queries(names, key, shops)
        CfnOutput(self, "StreamName", value=names.stream)
        CfnOutput(self, "LakeBucket", value=names.lake_bucket)

    def _delivery(self, names: Names, key: kms.IKey, group: logs.LogGroup) -> None:
        """Firehose reads the stream and writes gzipped lines below ``events/`` by the day of arrival, UTC."""
        role = self._delivery_role(names, key)
        log_stream = logs.LogStream(
            self, "DeliveryLog", log_group=group, log_stream_name="lake", removal_policy=RemovalPolicy.DESTROY
        )
        lake = firehose.CfnDeliveryStream.ExtendedS3DestinationConfigurationProperty(
            bucket_arn=names.bucket_arn(names.lake_bucket),
            role_arn=role.role_arn,
            prefix=f"{EVENTS_PREFIX}{_STAMP}",
            error_output_prefix=f"{ERRORS_PREFIX}!{{firehose:error-output-type}}/{_STAMP}",
            buffering_hints=firehose.CfnDeliveryStream.BufferingHintsProperty(interval_in_seconds=60, size_in_m_bs=64),
            compression_format="GZIP",
            encryption_configuration=firehose.CfnDeliveryStream.EncryptionConfigurationProperty(
                kms_encryption_config=firehose.CfnDeliveryStream.KMSEncryptionConfigProperty(awskms_key_arn=key.key_arn)
            ),
            # Without it records would stand behind one another without a line break.
            processing_configuration=firehose.CfnDeliveryStream.ProcessingConfigurationProperty(
                enabled=True,
                processors=[
                    firehose.CfnDeliveryStream.ProcessorProperty(
                        type="AppendDelimiterToRecord",
                        parameters=[
                            firehose.CfnDeliveryStream.ProcessorParameterProperty(
                                parameter_name="Delimiter", parameter_value="\\n"
                            )
                        ],
                    )
                ],
            ),
            cloud_watch_logging_options=firehose.CfnDeliveryStream.CloudWatchLoggingOptionsProperty(
                enabled=True, log_group_name=group.log_group_name, log_stream_name=log_stream.log_stream_name
            ),
        )
        delivery = firehose.CfnDeliveryStream(
            self,
            "Delivery",
            delivery_stream_name=names.delivery,
            delivery_stream_type="KinesisStreamAsSource",
            kinesis_stream_source_configuration=firehose.CfnDeliveryStream.KinesisStreamSourceConfigurationProperty(
                kinesis_stream_arn=self.stream.stream_arn, role_arn=role.role_arn
            ),
            extended_s3_destination_configuration=lake,
        )
        explain(
            delivery,
            {"KDF1": "Its source is a stream that is encrypted with our key, and so is what Firehose holds."},
        )
        # The policy too: Firehose tries the stream while it is created.
        delivery.node.add_dependency(role.node.find_child("DefaultPolicy"), self.lake)

    def _delivery_role(self, names: Names, key: kms.IKey) -> Any:
        role = service_role(
            self, "DeliveryRole", "firehose.amazonaws.com", description="Firehose: reads the stream, writes the lake"
        )
        read = ("DescribeStream", "GetShardIterator", "GetRecords", "ListShards")
        allow(role, [f"kinesis:{each}" for each in read], [names.stream_arn])
        bucket = names.bucket_arn(names.lake_bucket)
        allow(role, ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"], [bucket])
        because = "One object a delivery, named by Firehose: a prefix is as narrow as it gets."
        objects = [f"{bucket}/{EVENTS_PREFIX}*", f"{bucket}/{ERRORS_PREFIX}*"]
        allow(role, ["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"], objects, because=because)
        allow(role, ["kms:Decrypt", "kms:GenerateDataKey"], [key.key_arn])
        allow(role, ["logs:PutLogEvents"], [f"{names.log_group_arn('delivery')}:log-stream:lake"])
        return role

    def _queries(self, names: Names, key: kms.IKey, shops: Sequence[str]) -> None:
        database = glue.CfnDatabase(
            self,
            "Database",
            catalog_id=Aws.ACCOUNT_ID,
            database_input=glue.CfnDatabase.DatabaseInputProperty(
                name=names.database, description="The lake: events as they arrived, and what the stream made of them"
            ),
        )
        add_tables(self, database=database, bucket=names.lake_bucket, shops=shops)
        athena.CfnWorkGroup(
            self,
            "WorkGroup",
            name=names.prefix,
            recursive_delete_option=True,
            work_group_configuration=athena.CfnWorkGroup.WorkGroupConfigurationProperty(
                enforce_work_group_configuration=True,
                publish_cloud_watch_metrics_enabled=True,
                bytes_scanned_cutoff_per_query=100 * 1024**3,
                result_configuration=athena.CfnWorkGroup.ResultConfigurationProperty(
                    output_location=f"s3://{names.lake_bucket}/{_RESULTS}",
                    encryption_configuration=athena.CfnWorkGroup.EncryptionConfigurationProperty(
                        encryption_option="SSE_KMS", kms_key=key.key_arn
                    ),
                ),
            ),
        )


def _lifecycle(shops: Sequence[str]) -> list[s3.LifecycleRule]:
    """No versions are kept: the deletion of a person's records has to be final."""
    infrequent = s3.Transition(storage_class=s3.StorageClass.INTELLIGENT_TIERING, transition_after=Duration.days(30))
    return [
        s3.LifecycleRule(
            id="half uploads, kept longer than snapshots",
            abort_incomplete_multipart_upload_after=Duration.days(HALF_UPLOAD_DAYS),
        ),
        s3.LifecycleRule(id="events", prefix=EVENTS_PREFIX, transitions=[infrequent]),
        s3.LifecycleRule(id="query results", prefix=_RESULTS, expiration=Duration.days(7)),
        s3.LifecycleRule(id="logs of clusters", prefix=CLUSTER_LOGS, expiration=Duration.days(30)),
        *(
            s3.LifecycleRule(id=f"scratch of {shop}", prefix=f"shop={shop}/scratch/", expiration=Duration.days(3))
            for shop in shops
        ),
    ]
