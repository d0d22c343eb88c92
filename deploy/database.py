"""The PostgreSQL cluster of a deployment when it is destroyed: whether it is there, and how it goes.

Its subnet group, its parameter group and the subnets are in use as long as it exists: CloudFormation cannot delete the
stacks ``stores`` and ``network`` before.
"""

from datetime import UTC, datetime
from typing import Any, Final

from botocore.exceptions import ClientError

from contracts.errors import DeploymentError
from deploy.cloud import Cloud, understood
from deploy.deployment import Deployment

__all__ = ["CLUSTER", "INSTANCE", "SNAPSHOT", "delete_cluster", "is_there", "snapshots_of"]

CLUSTER: Final = "AWS::RDS::DBCluster"
INSTANCE: Final = "AWS::RDS::DBInstance"
SNAPSHOT: Final = "AWS::RDS::DBClusterSnapshot"
_POLL_S: Final = 15.0
_SECONDS: Final = 3600.0


def is_there(cloud: Cloud, name: str) -> bool:
    """Whether the cluster exists.

    Raises:
        DeploymentError: AWS refused.
    """
    return _found(cloud, name) is not None


def snapshots_of(cloud: Cloud, name: str) -> list[str]:
    """Snapshots that outlive the cluster, the last one among them; those that RDS makes itself go with it.

    Raises:
        DeploymentError: AWS refused.
    """
    with understood(f"snapshots of {name}"):
        pages = cloud.client("rds").get_paginator("describe_db_cluster_snapshots")
        found = pages.paginate(DBClusterIdentifier=name, SnapshotType="manual")
        return [each["DBClusterSnapshotIdentifier"] for page in found for each in page["DBClusterSnapshots"]]


def delete_cluster(place: Deployment, name: str) -> None:
    """Delete the cluster with its instances, after a last snapshot, and wait until it is gone; none does no harm.

    Raises:
        DeploymentError: AWS refused, or it is not gone after an hour; repeat the command.
    """
    cluster = _found(place.cloud, name)
    if cluster is None:
        return
    if cluster["Status"] != "deleting":  # by an interrupted run
        _begin(place, name, cluster)
    began = place.clock()
    while is_there(place.cloud, name):
        if place.clock() - began > _SECONDS:
            message = (
                f"cluster {name} is not gone after {_SECONDS / 60:.0f} minutes; repeat the command to go on waiting"
            )
            raise DeploymentError(message)
        place.pause(_POLL_S)


def _begin(place: Deployment, name: str, cluster: dict[str, Any]) -> None:
    """AWS deletes no protected cluster, and none that has an instance which is not being deleted."""
    api = place.cloud.client("rds")
    snapshot = f"{name}-final-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    place.say(f"  database {name}: deleting, after the snapshot {snapshot}")
    with understood(f"deletion of {name}"):
        api.modify_db_cluster(DBClusterIdentifier=name, DeletionProtection=False, ApplyImmediately=True)
        for member in cluster.get("DBClusterMembers", ()):
            try:
                api.delete_db_instance(DBInstanceIdentifier=member["DBInstanceIdentifier"], SkipFinalSnapshot=True)
            except ClientError as exc:
                if exc.response["Error"]["Code"] not in ("DBInstanceNotFound", "InvalidDBInstanceState"):
                    raise  # else it is gone or going, from an earlier run
        api.delete_db_cluster(DBClusterIdentifier=name, SkipFinalSnapshot=False, FinalDBSnapshotIdentifier=snapshot)


def _found(cloud: Cloud, name: str) -> dict[str, Any] | None:
    with understood(f"database {name}"):
        try:
            found: dict[str, Any] = cloud.client("rds").describe_db_clusters(DBClusterIdentifier=name)["DBClusters"][0]
        except ClientError as exc:
            if exc.response["Error"]["Code"] in ("DBClusterNotFoundFault", "DBClusterNotFound"):
                return None
            raise
    return found
