"""What outlives a deployment's stacks: found by their templates, measured, priced, and deleted on demand."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from botocore.exceptions import ClientError

from contracts.errors import DeploymentError
from deploy.cloud import Cloud, understood
from deploy.cost import prices
from deploy.stacks import Stacks

__all__ = ["DELETABLE", "Remains", "delete", "empty", "found_in", "monthly", "priced", "recorded", "standing"]

_HOURS: Final = 730
_MORE: Final = {"secret_month": 0.40, "log_gb_month": 0.03, "aurora_backup_gb_month": 0.021}
"""USD a month, us-east-1, as last known; the other prices are those of ``make cost``, which have sources."""
_GB: Final = 1e9
Usd = Mapping[str, float]


_RECORD: Final = "destroy/remains.json"
"""In the bucket of artefacts: what was retained by stacks that are gone, so that a later run finds it."""


@dataclass(frozen=True)
class Remains:
    """A resource that is retained: its CloudFormation type, its name, and once it was looked at size and price."""

    kind: str
    name: str
    size: str = "?"
    usd: float | None = None


def found_in(stacks: Stacks, names: Iterable[str]) -> list[Remains]:
    """What the stacks' templates say is to outlive them."""
    kept = []
    for name in names:
        template = stacks.template(name).get("Resources", {})
        retained = {id for id, each in template.items() if each.get("DeletionPolicy", "Delete") != "Delete"}
        for each in stacks.resources(name):
            if each["LogicalResourceId"] in retained and each.get("PhysicalResourceId"):
                kept.append(Remains(each["ResourceType"], each["PhysicalResourceId"]))
    return kept


def recorded(cloud: Cloud, bucket: str | None, found: Iterable[Remains], *, write: bool) -> list[Remains]:
    """What was found now and by earlier runs, each once; with ``write`` remembered for later ones.

    Raises:
        DeploymentError: AWS refused, or the record cannot be read.
    """
    if bucket is None:
        return list(dict.fromkeys(found))
    s3 = cloud.client("s3")
    with understood(f"s3://{bucket}/{_RECORD}"):
        try:
            data = s3.get_object(Bucket=bucket, Key=_RECORD)["Body"].read()
        except ClientError as exc:
            if exc.response["Error"]["Code"] not in ("NoSuchKey", "NoSuchBucket", "404"):
                raise
            data, write = b"[]", write and exc.response["Error"]["Code"] != "NoSuchBucket"
        try:
            earlier = msgspec.json.decode(data, type=list[tuple[str, str]])
        except msgspec.MsgspecError as exc:
            message = f"s3://{bucket}/{_RECORD} cannot be read: {exc}; restore an older version of it"
            raise DeploymentError(message) from exc
        every = list(dict.fromkeys([*found, *(Remains(kind, name) for kind, name in earlier)]))
        if write:
            pairs = [(each.kind, each.name) for each in every]
            s3.put_object(Bucket=bucket, Key=_RECORD, Body=msgspec.json.encode(pairs))
    return every


def standing(stacks: Stacks, names: Iterable[str]) -> list[Remains]:
    """What costs by the hour in stacks that stay, by their templates."""
    usd = {name: float(price["usd"]) for name, price in prices()["prices"].items()}
    found = []
    for name in names:
        for id, each in stacks.template(name).get("Resources", {}).items():
            kind, properties = each["Type"], each.get("Properties", {})
            if kind == "AWS::EC2::VPCEndpoint" and properties.get("VpcEndpointType") == "Interface":
                zones = len(properties["SubnetIds"])
                found.append(Remains(kind, id, f"{zones} zones", zones * _HOURS * usd["endpoint_hour"]))
            elif kind == "AWS::EC2::NatGateway":
                found.append(Remains(kind, id, "1 gateway", _HOURS * usd["nat_hour"]))
            elif kind == "AWS::ElastiCache::ServerlessCache":
                found.append(Remains(kind, id, "0.1 GB least", 0.1 * _HOURS * usd["cache_gb_hour"]))
    return found


def monthly(each: Remains) -> str:
    """
    >>> monthly(Remains("AWS::KMS::Key", "k", "1 key", 1.0)), monthly(Remains("AWS::X::Y", "k"))
    ('1.00', '?')
    """
    return "?" if each.usd is None else f"{each.usd:.2f}"


# --- size and price -----------------------------------------------------------------------------------------------


def priced(cloud: Cloud, each: Remains) -> Remains:
    """The same with its size and its price; with neither where it is gone, unknown or may not be looked at."""
    measure = _MEASURES.get(each.kind)
    if measure is None or each.usd is not None:
        return each
    usd = {name: float(price["usd"]) for name, price in prices()["prices"].items()} | _MORE
    try:
        with understood(each.name):
            size, price = measure(cloud, each.name, usd)
    except (DeploymentError, KeyError, IndexError):
        return each
    return replace(each, size=size, usd=price)


def _gb(size: float, price: float) -> tuple[str, float]:
    return f"{size / _GB:.2f} GB", size / _GB * price


def _bucket(cloud: Cloud, name: str, usd: Usd) -> tuple[str, float]:
    """CloudWatch's daily figure: to list a large lake would cost more than it says."""
    now = datetime.now(UTC)
    found = cloud.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/S3",
        MetricName="BucketSizeBytes",
        Dimensions=[{"Name": "BucketName", "Value": name}, {"Name": "StorageType", "Value": "StandardStorage"}],
        StartTime=now - timedelta(days=3),
        EndTime=now,
        Period=86400,
        Statistics=["Average"],
    )["Datapoints"]
    return _gb(max(found, key=lambda p: p["Timestamp"])["Average"] if found else 0.0, usd["s3_gb_month"])


def _table(cloud: Cloud, name: str, usd: Usd) -> tuple[str, float]:
    """With point-in-time recovery, which it has."""
    size = cloud.client("dynamodb").describe_table(TableName=name)["Table"]["TableSizeBytes"]
    return _gb(size, usd["dynamodb_gb_month"] + usd["dynamodb_pitr_gb_month"])


def _stream(cloud: Cloud, name: str, usd: Usd) -> tuple[str, float]:
    found = cloud.client("kinesis").describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    if found.get("StreamModeDetails", {}).get("StreamMode") == "ON_DEMAND":
        return "on demand", _HOURS * usd["kinesis_stream_hour"]
    return f"{found['OpenShardCount']} shards", found["OpenShardCount"] * _HOURS * usd["kinesis_shard_hour"]


def _group(cloud: Cloud, name: str, usd: Usd) -> tuple[str, float]:
    found = cloud.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"][0]
    return _gb(found.get("storedBytes", 0), usd["log_gb_month"])


def _cluster(cloud: Cloud, name: str, usd: Usd) -> tuple[str, float]:
    """The capacity that it never goes below; storage is added by RDS as it is used, and is not known here."""
    found = cloud.client("rds").describe_db_clusters(DBClusterIdentifier=name)["DBClusters"][0]
    least = found["ServerlessV2ScalingConfiguration"]["MinCapacity"]
    return f"{least:g} ACU least", least * _HOURS * usd["aurora_acu_hour"]


def _snapshot(cloud: Cloud, name: str, usd: Usd) -> tuple[str, float]:
    api = cloud.client("rds")
    found = api.describe_db_cluster_snapshots(DBClusterSnapshotIdentifier=name)["DBClusterSnapshots"][0]
    return _gb(found["AllocatedStorage"] * _GB, usd["aurora_backup_gb_month"])


_MEASURES: Final[Mapping[str, Callable[[Cloud, str, Usd], tuple[str, float]]]] = {
    "AWS::S3::Bucket": _bucket,
    "AWS::DynamoDB::Table": _table,
    "AWS::Kinesis::Stream": _stream,
    "AWS::KMS::Key": lambda _cloud, _name, usd: ("1 key", usd["key_month"]),
    "AWS::Logs::LogGroup": _group,
    "AWS::SQS::Queue": lambda _cloud, _name, _usd: ("1 queue", 0.0),
    "AWS::SecretsManager::Secret": lambda _cloud, _name, usd: ("1 secret", usd["secret_month"]),
    "AWS::RDS::DBCluster": _cluster,
    "AWS::RDS::DBClusterSnapshot": _snapshot,
}


# --- deletion -----------------------------------------------------------------------------------------------------


def delete(cloud: Cloud, each: Remains) -> None:
    """Delete what remains, for good; what is gone already does no harm.

    Raises:
        DeploymentError: AWS refused.
        KeyError: its kind is not in :data:`DELETABLE`.
    """
    with understood(f"deletion of {each.name}"):
        try:
            _DELETIONS[each.kind](cloud, each.name)
        except ClientError as exc:
            if exc.response["Error"]["Code"] not in _GONE:
                raise


_GONE: Final = (
    "NoSuchBucket",
    "ResourceNotFoundException",
    "NotFoundException",
    "AWS.SimpleQueueService.NonExistentQueue",
)


def empty(cloud: Cloud, name: str) -> None:
    """Delete all objects of a bucket, all versions of them; a bucket that is gone does no harm.

    Raises:
        DeploymentError: AWS refused.
    """
    with understood(f"objects of {name}"):
        try:
            _empty(cloud, name)
        except ClientError as exc:
            if exc.response["Error"]["Code"] not in _GONE:
                raise


def _delete_bucket(cloud: Cloud, name: str) -> None:
    _empty(cloud, name)
    cloud.client("s3").delete_bucket(Bucket=name)


def _empty(cloud: Cloud, name: str) -> None:
    s3 = cloud.client("s3")
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
        listed = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        objects = [{"Key": each["Key"], "VersionId": each["VersionId"]} for each in listed]
        if objects:
            _refused(name, s3.delete_objects(Bucket=name, Delete={"Objects": objects, "Quiet": True}))


def _refused(name: str, answer: Mapping[str, Any]) -> None:
    if errors := answer.get("Errors"):
        message = f"{len(errors)} objects of {name} could not be deleted: {errors[0].get('Message')}"
        raise DeploymentError(message)


def _delete_table(cloud: Cloud, name: str) -> None:
    api = cloud.client("dynamodb")
    api.update_table(TableName=name, DeletionProtectionEnabled=False)
    api.delete_table(TableName=name)


def _delete_stream(cloud: Cloud, name: str) -> None:
    cloud.client("kinesis").delete_stream(StreamName=name, EnforceConsumerDeletion=True)


def _delete_key(cloud: Cloud, name: str) -> None:
    api = cloud.client("kms")
    if api.describe_key(KeyId=name)["KeyMetadata"]["KeyState"] != "PendingDeletion":
        api.schedule_key_deletion(KeyId=name, PendingWindowInDays=30)


def _delete_queue(cloud: Cloud, name: str) -> None:
    cloud.client("sqs").delete_queue(QueueUrl=name)


def _delete_secret(cloud: Cloud, name: str) -> None:
    """At once: a secret that can be recovered keeps its name, and a deployment within that time would be refused."""
    cloud.client("secretsmanager").delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


def _delete_group(cloud: Cloud, name: str) -> None:
    cloud.client("logs").delete_log_group(logGroupName=name)


_DELETIONS: Final[Mapping[str, Callable[[Cloud, str], None]]] = {
    "AWS::S3::Bucket": _delete_bucket,
    "AWS::DynamoDB::Table": _delete_table,
    "AWS::Kinesis::Stream": _delete_stream,
    "AWS::KMS::Key": _delete_key,
    "AWS::Logs::LogGroup": _delete_group,
    "AWS::SQS::Queue": _delete_queue,
    "AWS::SecretsManager::Secret": _delete_secret,
}

DELETABLE: Final = frozenset(_DELETIONS)
"""The kinds that :func:`delete` deletes. A database has a way of its own, images are deleted by hand."""
