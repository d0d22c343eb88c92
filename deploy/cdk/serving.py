"""Stack ``serving``: events in, recommendations out, pages beside them."""

from collections.abc import Sequence
from typing import Any

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as functions

from contracts.audit import audit_root
from contracts.forgetting import forgotten_prefix
from contracts.lake import (
    UNKNOWN_SHOP,
    catalogue_path,
    dataset_prefix,
    experiment_results_path,
    experiments_path,
    model_prefix,
    new_items_path,
    rules_path,
    visitors_path,
)
from deploy.artefacts import Artefacts
from deploy.cdk.access import allow
from deploy.cdk.alarm import add_alarm
from deploy.cdk.alarms import service_watches
from deploy.cdk.api import Api
from deploy.cdk.deployed import deployed_settings
from deploy.cdk.functions import Function, add_function, keys_secret, spool_queue
from deploy.cdk.names import Names
from deploy.cdk.network import Network, log_group
from deploy.cdk.pages import Pages
from deploy.cdk.profiles import Profile
from deploy.cdk.service import Service
from deploy.cdk.stores import Stores
from stores.forgetting import pruned_path

__all__ = ["Serving"]

_READ_FILES = (catalogue_path, experiments_path, new_items_path, rules_path, visitors_path)
_WRITTEN_FILES = (catalogue_path, experiments_path, rules_path)


class Serving(Stack):
    """``api``, ``pages``, ``spool``, ``dead_spool``, functions (``parts``), ``service`` or None, ``alarms``' names."""

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
        topic_arn: str,
        domain: str | None = None,
        certificate_arn: str | None = None,
        **rest: Any,
    ) -> None:
        super().__init__(scope, id, **rest)
        self._names, self._shops, self._key = names, shops, key
        self.spool, self.dead_spool = spool_queue(self, names, key)
        self.keys = keys_secret(self, names, key)
        own = {"spool_queue": self.spool.queue_url, "keys": f"secret:{names.keys_secret}"}
        settings = deployed_settings(names, stores, shops, "serving", **own)
        base: dict[str, Any] = {"names": names, "profile": profile, "artefacts": artefacts, "key": key}
        common = base | {"settings": settings}
        self.parts: dict[str, Function] = {
            "collector": add_function(
                self, "collector", description="Collector: checks events and puts them on the stream", **common
            ),
            "drain": add_function(
                self, "drain", description="Puts spooled events on the stream", seconds=120, **common
            ),
            "recommend": add_function(
                self,
                "recommend",
                description="Recommendations: reads lists",
                network=network,
                warm=profile.warm_functions,
                **common,
            ),
            "control": add_function(
                self,
                "control",
                description="Control room and admin routes: figures, rules, experiments, catalogue, deletions",
                network=network,
                seconds=29,  # a deletion looks through all aliases of the cache
                environment={"LIVESHELF_FLINK_APPLICATION": names.flink},
                settings=deployed_settings(names, stores, shops, "control", **own),
                **base,
            ),
        }
        self._grant(stores)
        self._feed_drain()
        self.service = self._service(profile, network, stores, settings)
        self.alarms = self._watch(topic_arn)
        group = log_group(self, "ApiLogs", names=names, part="api", key=key, days=profile.log_days)
        self.api = Api(self, names=names, profile=profile, group=group, parts=self.parts)
        self.pages = Pages(
            self,
            names=names,
            api_host=self.api.host,
            domain=domain,
            certificate_arn=certificate_arn,
            service=self.service.origin if self.service else None,
        )
        self._outputs(domain)

    def _grant(self, stores: Stores) -> None:
        names = self._names
        for part in ("collector", "drain"):
            allow(self.parts[part].role, ["kinesis:PutRecords"], [names.stream_arn])
        allow(self.parts["collector"].role, ["sqs:SendMessage"], [self.spool.queue_arn])
        take = ("ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "GetQueueAttributes")
        allow(self.parts["drain"].role, [f"sqs:{each}" for each in take], [self.spool.queue_arn])
        self._grant_reading(self.parts["recommend"].role, stores)
        control = self.parts["control"].role
        self._grant_reading(control, stores, "control")
        self._grant_control(control)
        self._grant_admin(control)
        for part in ("collector", "recommend", "control"):
            allow(self.parts[part].role, ["secretsmanager:GetSecretValue"], [self.keys.ref])

    def _grant_reading(self, role: iam.Role, stores: Stores, user: str = "serving") -> None:
        """What answers are made of: lists in cache and table, and a few files of the lake."""
        names = self._names
        lake = names.bucket_arn(names.lake_bucket)
        allow(role, ["elasticache:Connect"], names.cache_arns(user))
        allow(role, ["dynamodb:GetItem"], [names.table_arn])
        files = [f"{lake}/{path(shop)}" for shop in self._shops for path in _READ_FILES]
        allow(role, ["s3:GetObject"], files)
        allow(role, ["s3:ListBucket"], [lake])  # without it a file that is not there yet looks forbidden
        if stores.database is not None:
            secret = stores.database.attr_master_user_secret_secret_arn
            allow(role, ["secretsmanager:GetSecretValue"], [secret])

    def _grant_control(self, role: iam.Role) -> None:
        """What operators look at: figures of the job, versions of the model, rejected records, experiments' results."""
        lake = self._names.bucket_arn(self._names.lake_bucket)
        because = "CloudWatch lets figures be read on everything or on nothing."
        allow(role, ["cloudwatch:GetMetricData", "cloudwatch:ListMetrics"], ["*"], because=because)
        allow(role, ["kinesis:DescribeStreamSummary"], [self._names.stream_arn])
        read = [f"{model_prefix(shop, '*')}manifest.json" for shop in self._shops]
        read += [f"{dataset_prefix(shop, 'dead-letter')}*" for shop in (*self._shops, UNKNOWN_SHOP)]
        read += [experiment_results_path(shop, "*") for shop in self._shops]
        because = "Versions, files of the stream and experiments come and go below these."
        allow(role, ["s3:GetObject"], [f"{lake}/{path}" for path in read], because=because)

    def _grant_admin(self, role: iam.Role) -> None:
        """What the admin routes write: three documents of a shop, the log of changes, and deletions of people.

        A deletion goes through the lists of all versions at once; the lake's share is the next training's
        (:mod:`batch.forget`).
        Making another version live is not here: it takes the trainer's code, which no function carries.
        """
        lake = self._names.bucket_arn(self._names.lake_bucket)
        documents = [f"{lake}/{path(shop)}" for shop in self._shops for path in _WRITTEN_FILES]
        allow(role, ["s3:PutObject"], documents)
        grown = [f"{lake}/{prefix(shop)}*" for shop in self._shops for prefix in (audit_root, forgotten_prefix)]
        because = "Every change and every deletion has files of its own below these."
        allow(role, ["s3:GetObject", "s3:PutObject"], grown, because=because)
        allow(role, ["s3:GetObject"], [f"{lake}/{pruned_path(shop)}" for shop in self._shops])
        rows = ("BatchGetItem", "BatchWriteItem")
        allow(role, [f"dynamodb:{each}" for each in rows], [self._names.table_arn])

    def _feed_drain(self) -> None:
        functions.CfnEventSourceMapping(
            self,
            "DrainSource",
            event_source_arn=self.spool.queue_arn,
            function_name=self.parts["drain"].made.ref,
            batch_size=10,
            function_response_types=["ReportBatchItemFailures"],
            scaling_config=functions.CfnEventSourceMapping.ScalingConfigProperty(maximum_concurrency=2),
        )

    def _service(self, profile: Profile, network: Network, stores: Stores, settings: Any) -> Service | None:
        if not profile.service:
            return None
        service = Service(self, names=self._names, profile=profile, network=network, key=self._key, settings=settings)
        self._grant_reading(service.role, stores)
        self._grant_control(service.role)
        allow(service.role, ["kinesis:PutRecords"], [self._names.stream_arn])
        allow(service.role, ["sqs:SendMessage"], [self.spool.queue_arn])
        allow(service.role, ["secretsmanager:GetSecretValue"], [self.keys.ref])
        allow(service.role, ["kms:Decrypt", "kms:GenerateDataKey"], [self._key.key_arn])
        return service

    def _watch(self, topic_arn: str) -> list[str]:
        """Alarms of the service; their names.

        Here and not beside the others: the balancer's name would bind the two stacks, and neither a service that is no
        longer wanted nor the release before could be deployed, as CloudFormation keeps what another stack imports.
        """
        if self.service is None:
            return []
        found = service_watches(self._names, self.service.balancer.load_balancer_full_name)
        for watch in found:
            add_alarm(self, self._names, watch, topic_arn)
        return [watch.name for watch in found]

    def _outputs(self, domain: str | None) -> None:
        CfnOutput(self, "ApiUrl", value=self.api.endpoint)
        CfnOutput(self, "PagesUrl", value=f"https://{domain or self.pages.distribution.domain_name}")
        if domain:
            # Where the domain's CNAME has to point: AWS knows it only now.
            CfnOutput(self, "DomainTarget", value=self.pages.distribution.distribution_domain_name)
        CfnOutput(self, "PagesBucket", value=self._names.pages_bucket)
        CfnOutput(self, "DistributionId", value=self.pages.distribution.distribution_id)
        CfnOutput(self, "KeysSecret", value=self._names.keys_secret)
        CfnOutput(self, "SpoolQueue", value=self.spool.queue_url)
