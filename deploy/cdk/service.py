"""The ASGI service on Fargate, for server-sent events: behind a balancer that only CloudFront reaches."""

import json
from typing import Any, Final

from aws_cdk import Duration
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cloudfront_origins as origins
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_elasticloadbalancingv2 as balancing
from aws_cdk import aws_kms as kms

from contracts.settings import ENVIRONMENT_VARIABLE, Settings
from deploy.artefacts import IMAGE_TAG
from deploy.cdk.access import allow, explain, service_role
from deploy.cdk.deployed import STREAM_ONLY, properties
from deploy.cdk.foundation import BALANCER_LOGS
from deploy.cdk.names import Names
from deploy.cdk.network import Network, log_group
from deploy.cdk.profiles import Profile

__all__ = ["Service"]

_PORT: Final = 8000


class Service:
    """``role``, ``repository``, ``balancer``, and ``origin`` for the distribution."""

    def __init__(
        self, scope: Any, *, names: Names, profile: Profile, network: Network, key: kms.IKey, settings: Settings
    ) -> None:
        # Made by the foundation: the image has to be there before the tasks start.
        self.repository = ecr.Repository.from_repository_name(scope, "Images", names.images)
        self.role = service_role(
            scope, "ServiceRole", "ecs-tasks.amazonaws.com", description="The service: reads lists, takes events"
        )
        cluster = ecs.Cluster(
            scope,
            "Tasks",
            cluster_name=names.prefix,
            vpc=network.vpc,
            container_insights_v2=ecs.ContainerInsights.ENABLED,
        )
        task = self._task(scope, names, profile, key, settings)
        running = ecs.FargateService(
            scope,
            "Service",
            service_name=names.service,
            cluster=cluster,
            task_definition=task,
            assign_public_ip=False,
            security_groups=[network.groups["serving"]],
            vpc_subnets=ec2.SubnetSelection(subnets=network.inside.subnets),
            circuit_breaker=ecs.DeploymentCircuitBreaker(rollback=True),
            min_healthy_percent=100,
        )
        child: Any = running.node.default_child
        child.add_metadata("cfn-lint", {"config": {"ignore_checks": ["W3005"]}})  # the CDK says it twice
        # Without a desired count of the template's: an update would bring the tasks back to it, whatever the load.
        scaling = running.auto_scale_task_count(
            min_capacity=profile.service_tasks, max_capacity=10 * profile.service_tasks
        )
        scaling.scale_on_cpu_utilization("Cpu", target_utilization_percent=60)
        self.balancer = _balancer(scope, names, network, running)
        self.origin = origins.VpcOrigin.with_application_load_balancer(
            self.balancer, protocol_policy=cloudfront.OriginProtocolPolicy.HTTP_ONLY, read_timeout=Duration.seconds(60)
        )

    def _task(
        self, scope: Any, names: Names, profile: Profile, key: kms.IKey, settings: Settings
    ) -> ecs.FargateTaskDefinition:
        group = log_group(scope, "ServiceLogs", names=names, part="service", key=key, days=profile.log_days)
        starter = service_role(
            scope,
            "ServiceStart",
            "ecs-tasks.amazonaws.com",
            description="ECS: fetches the service's image, writes logs",
        )
        pull = ("BatchCheckLayerAvailability", "GetDownloadUrlForLayer", "BatchGetImage")
        allow(starter, [f"ecr:{each}" for each in pull], [self.repository.repository_arn])
        because = "ECR hands tokens out for a registry, not for an image."
        allow(starter, ["ecr:GetAuthorizationToken"], ["*"], because=because)
        allow(starter, ["kms:Decrypt"], [key.key_arn])
        task = ecs.FargateTaskDefinition(
            scope, "Task", cpu=1024, memory_limit_mib=2048, task_role=self.role, execution_role=starter
        )
        task.add_container(
            "service",
            image=ecs.ContainerImage.from_ecr_repository(self.repository, IMAGE_TAG),
            command=["python", "-m", "serving", "--host", "0.0.0.0", "--port", str(_PORT)],
            port_mappings=[ecs.PortMapping(container_port=_PORT)],
            environment={
                ENVIRONMENT_VARIABLE: json.dumps(properties(settings, without=STREAM_ONLY)),
                "LIVESHELF_FLINK_APPLICATION": names.flink,
            },
            logging=ecs.LogDriver.aws_logs(stream_prefix="service", log_group=group),
            readonly_root_filesystem=False,
        )
        explain(task, {"ECS2": "The settings hold names and addresses; secrets are read from Secrets Manager."})
        return task


def _balancer(
    scope: Any, names: Names, network: Network, running: ecs.FargateService
) -> balancing.ApplicationLoadBalancer:
    balancer = balancing.ApplicationLoadBalancer(
        scope,
        "Balancer",
        vpc=network.vpc,
        internet_facing=False,
        security_group=network.groups["balancer"],
        vpc_subnets=ec2.SubnetSelection(subnets=network.inside.subnets),
        idle_timeout=Duration.seconds(120),  # longer than the pause between two heartbeats of a stream of events
        drop_invalid_header_fields=True,
        deletion_protection=False,
    )
    balancer.set_attribute("access_logs.s3.enabled", "true")
    balancer.set_attribute("access_logs.s3.bucket", names.access_log_bucket)
    balancer.set_attribute("access_logs.s3.prefix", BALANCER_LOGS)
    listener = balancer.add_listener("Http", port=80, protocol=balancing.ApplicationProtocol.HTTP, open=False)
    listener.add_targets(
        "Tasks",
        port=_PORT,
        protocol=balancing.ApplicationProtocol.HTTP,
        targets=[running],
        health_check=balancing.HealthCheck(path="/healthz", interval=Duration.seconds(10)),
        deregistration_delay=Duration.seconds(15),
    )
    return balancer
