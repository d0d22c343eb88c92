"""What outlives a deployment's stacks: found by their templates, measured, priced, and deleted on demand."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from botocore.exceptions import ClientError

from contracts.errors import DeploymentError
from deploy.cloud import Cloud, understood
from deploy.stacks import Stacks

__all__ = ["USD", "Remains", "delete", "empty", "found_in", "monthly", "priced"]

USD: Final[Mapping[str, float]] = {
    "AWS::S3::Bucket": 0.0245,  # a GB
    "AWS::DynamoDB::Table": 0.306,  # a GB
    "AWS::Kinesis::Stream": 13.14,  # a shard, 730 h; on demand costs 35.04 a stream
    "AWS::KMS::Key": 1.0,
    "AWS::RDS::DBCluster": 0.119,  # a GB of storage; the writer at rest below
    "AWS::Logs::LogGroup": 0.0324,  # a GB
}
"""A month, eu-central-1, by AWS's public price lists of 2026-11; what make cost reckons with is in its own file."""
_GB: Final = 1e9


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
    if measure is None:
        return each
    try:
        with understood(each.name):
            size, units = measure(cloud, each.name)
    except (DeploymentError, KeyError, IndexError):
        return each
    return replace(each, size=size, usd=units * USD[each.kind])


def _bucket(cloud: Cloud, name: str) -> tuple[str, float]:
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
    size = max(found, key=lambda point: point["Timestamp"])["Average"] if found else 0.0
    return f"{size / _GB:.2f} GB", size / _GB


def _table(cloud: Cloud, name: str) -> tuple[str, float]:
    size = cloud.client("dynamodb").describe_table(TableName=name)["Table"]["TableSizeBytes"]
    return f"{size / _GB:.2f} GB", size / _GB


def _stream(cloud: Cloud, name: str) -> tuple[str, float]:
    found = cloud.client("kinesis").describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    if found.get("StreamModeDetails", {}).get("StreamMode") == "ON_DEMAND":
        return "on demand", 35.04 / USD["AWS::Kinesis::Stream"]
    return f"{found['OpenShardCount']} shards", float(found["OpenShardCount"])


def _group(cloud: Cloud, name: str) -> tuple[str, float]:
    found = cloud.client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"][0]
    return f"{found.get('storedBytes', 0) / _GB:.2f} GB", found.get("storedBytes", 0) / _GB


_MEASURES: Final[Mapping[str, Callable[[Cloud, str], tuple[str, float]]]] = {
    "AWS::S3::Bucket": _bucket,
    "AWS::DynamoDB::Table": _table,
    "AWS::Kinesis::Stream": _stream,
    "AWS::KMS::Key": lambda _cloud, _name: ("1 key", 1.0),
    "AWS::Logs::LogGroup": _group,
}


# --- deletion -----------------------------------------------------------------------------------------------------


def delete(cloud: Cloud, each: Remains) -> None:
    """Delete what remains, for good; what is gone already does no harm.

    Raises:
        DeploymentError: AWS refused, or this kind has to be deleted by hand.
    """
    work = _DELETIONS.get(each.kind)
    if work is None:
        message = f"{each.kind} {each.name} has to be deleted by hand, in the console of its service"
        raise DeploymentError(message)
    with understood(f"deletion of {each.name}"):
        try:
            work(cloud, each.name)
        except ClientError as exc:
            if exc.response["Error"]["Code"] not in _GONE:
                raise


_GONE: Final = ("NoSuchBucket", "ResourceNotFoundException", "NotFoundException", "DBClusterNotFoundFault")


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


def _delete_group(cloud: Cloud, name: str) -> None:
    cloud.client("logs").delete_log_group(logGroupName=name)


_DELETIONS: Final[Mapping[str, Callable[[Cloud, str], None]]] = {
    "AWS::S3::Bucket": _delete_bucket,
    "AWS::DynamoDB::Table": _delete_table,
    "AWS::Kinesis::Stream": _delete_stream,
    "AWS::KMS::Key": _delete_key,
    "AWS::Logs::LogGroup": _delete_group,
}
