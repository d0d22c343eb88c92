"""Stack ``stores``: the cache, the table that is the authority, and PostgreSQL where it is wanted."""

from typing import Any

from aws_cdk import CfnOutput, CfnTag, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_elasticache as elasticache
from aws_cdk import aws_kms as kms
from aws_cdk import aws_rds as rds

from deploy.cdk.access import explain
from deploy.cdk.cache_users import ACCESS
from deploy.cdk.names import Names
from deploy.cdk.network import Network
from deploy.cdk.profiles import Profile

__all__ = ["DATABASE_NAME", "Stores"]

DATABASE_NAME = "liveshelf"
_POSTGRES = "16.8"


class Stores(Stack):
    """``cache`` (with ``cache_endpoint`` and ``cache_port``), ``table``, and ``database`` or None."""

    def __init__(
        self, scope: Any, id: str, *, names: Names, profile: Profile, network: Network, key: kms.IKey, **rest: Any
    ) -> None:
        super().__init__(scope, id, **rest)
        self.table = _table(self, names, key)
        self.cache = _cache(self, names, profile, network, key)
        self.cache_endpoint = self.cache.attr_endpoint_address
        self.cache_port = self.cache.attr_endpoint_port
        self.database = _database(self, names, profile, network, key) if profile.aurora else None
        CfnOutput(self, "TableName", value=names.table)
        CfnOutput(self, "CacheEndpoint", value=f"{self.cache_endpoint}:{self.cache_port}")
        if self.database is not None:
            CfnOutput(self, "DatabaseEndpoint", value=self.database.attr_endpoint_address)
            CfnOutput(self, "DatabaseSecret", value=self.database.attr_master_user_secret_secret_arn)


def _table(scope: Any, names: Names, key: kms.IKey) -> dynamodb.Table:
    """Partition key ``pk``, time to live ``ttl``: as :class:`stores.tables.Tables` reads and writes it."""
    return dynamodb.Table(
        scope,
        "Table",
        table_name=names.table,
        partition_key=dynamodb.Attribute(name="pk", type=dynamodb.AttributeType.STRING),
        time_to_live_attribute="ttl",
        billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
        encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED,
        encryption_key=key,
        point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
            point_in_time_recovery_enabled=True
        ),
        deletion_protection=True,
        removal_policy=RemovalPolicy.RETAIN,
    )


def _cache(
    scope: Any, names: Names, profile: Profile, network: Network, key: kms.IKey
) -> elasticache.CfnServerlessCache:
    """Valkey that scales itself: always TLS, always a cluster, and nobody logs in but by IAM."""
    users = [
        elasticache.CfnUser(
            scope,
            f"User{part.title()}",
            engine="valkey",
            user_id=names.cache_user(part),
            user_name=names.cache_user(part),
            authentication_mode={"Type": "iam"},
            access_string=access,
        )
        for part, access in ACCESS.items()
    ]
    group = elasticache.CfnUserGroup(
        scope,
        "Users",
        engine="valkey",
        user_group_id=names.prefix,
        user_ids=[names.cache_user(part) for part in ACCESS],
    )
    for user in users:
        group.add_resource_dependency(user)
    usage = elasticache.CfnServerlessCache
    cache = elasticache.CfnServerlessCache(
        scope,
        "Cache",
        engine="valkey",
        major_engine_version="8",
        serverless_cache_name=names.cache,
        description="Live values and lists; everything in it can be made again",
        cache_usage_limits=usage.CacheUsageLimitsProperty(
            data_storage=usage.DataStorageProperty(unit="GB", maximum=profile.cache_gb),
            ecpu_per_second=usage.ECPUPerSecondProperty(maximum=profile.cache_kilo_ecpu * 1000),
        ),
        kms_key_id=key.key_arn,
        security_group_ids=[network.groups["cache"].security_group_id],
        subnet_ids=network.inside.subnet_ids,
        user_group_id=names.prefix,
        snapshot_retention_limit=1,
        daily_snapshot_time="03:30",
        tags=[CfnTag(key="liveshelf", value=names.prefix)],
    )
    cache.add_resource_dependency(group)
    return cache


def _database(scope: Any, names: Names, profile: Profile, network: Network, key: kms.IKey) -> rds.CfnDBCluster:
    """Aurora PostgreSQL that scales to nothing at rest; RDS keeps its password in Secrets Manager and changes it."""
    subnets = rds.CfnDBSubnetGroup(
        scope,
        "DatabaseSubnets",
        db_subnet_group_description=f"inside subnets of {names.prefix}",
        subnet_ids=network.inside.subnet_ids,
    )
    parameters = rds.CfnDBClusterParameterGroup(
        scope,
        "DatabaseParameters",
        family=f"aurora-postgresql{_POSTGRES.partition('.')[0]}",
        description="TLS only",
        parameters={"rds.force_ssl": "1"},
    )
    cluster = rds.CfnDBCluster(
        scope,
        "Database",
        engine="aurora-postgresql",
        engine_version=_POSTGRES,
        database_name=DATABASE_NAME,
        db_cluster_identifier=names.prefix,
        db_cluster_parameter_group_name=parameters.ref,
        db_subnet_group_name=subnets.ref,
        vpc_security_group_ids=[network.groups["database"].security_group_id],
        master_username="liveshelf_admin",
        manage_master_user_password=True,
        master_user_secret=rds.CfnDBCluster.MasterUserSecretProperty(kms_key_id=key.key_arn),
        serverless_v2_scaling_configuration=rds.CfnDBCluster.ServerlessV2ScalingConfigurationProperty(
            min_capacity=profile.aurora_min_acu, max_capacity=profile.aurora_max_acu
        ),
        storage_encrypted=True,
        kms_key_id=key.key_arn,
        enable_iam_database_authentication=True,
        enable_cloudwatch_logs_exports=["postgresql"],
        backup_retention_period=7,
        copy_tags_to_snapshot=True,
        deletion_protection=True,
    )
    cluster.apply_removal_policy(RemovalPolicy.RETAIN)
    explain(cluster, {"RDS11": "Only the parts' security groups reach it: another port would hide it from nobody."})
    writer = rds.CfnDBInstance(
        scope,
        "DatabaseWriter",
        engine="aurora-postgresql",
        db_cluster_identifier=cluster.ref,
        db_instance_class="db.serverless",
        publicly_accessible=False,
        auto_minor_version_upgrade=True,
        enable_performance_insights=True,
        performance_insights_kms_key_id=key.key_arn,
    )
    writer.apply_removal_policy(RemovalPolicy.RETAIN)
    return cluster
