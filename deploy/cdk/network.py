"""Stack ``network``: the VPC, its ways to AWS, and who may talk to whom in it."""

from typing import Any, Final

from aws_cdk import Fn, RemovalPolicy, Stack, Tags
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs

from deploy.cdk.access import service_role
from deploy.cdk.names import Names
from deploy.cdk.profiles import Profile

__all__ = ["CACHE_PORTS", "EMR_TAG", "Network", "log_group"]

CACHE_PORTS: Final = (6379, 6380)
"""ElastiCache Serverless: reads and writes, and reads from replicas."""
EMR_TAG: Final = "for-use-with-amazon-emr-managed-policies"
"""EMR's own service policy acts on what carries this tag."""
_CIDR: Final = "10.20.0.0/16"
_CLIENTS: Final = ("flink", "training", "serving")
_ENDPOINTS: Final = ("kinesis-streams", "logs", "monitoring", "kms", "secretsmanager", "sts")
_CLUSTER_ENDPOINTS: Final = ("elasticmapreduce", "ec2")
_SERVICE_ENDPOINTS: Final = ("ecr.api", "ecr.dkr", "sqs")


class Network(Stack):
    """``vpc``, the security group of each part (``groups``) and the ``inside`` subnets, where everything runs."""

    def __init__(self, scope: Any, id: str, *, names: Names, profile: Profile, key: kms.IKey, **rest: Any) -> None:
        super().__init__(scope, id, **rest)
        nat = profile.egress == "nat"
        inside = ec2.SubnetType.PRIVATE_WITH_EGRESS if nat else ec2.SubnetType.PRIVATE_ISOLATED
        subnets = [ec2.SubnetConfiguration(name="inside", subnet_type=inside, cidr_mask=20)]
        if nat:
            subnets.append(ec2.SubnetConfiguration(name="outside", subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=24))
        self.vpc = ec2.Vpc(
            self,
            "Vpc",
            vpc_name=names.prefix,
            ip_addresses=ec2.IpAddresses.cidr(_CIDR),
            availability_zones=[Fn.select(i, Fn.get_azs()) for i in range(profile.zones)],
            nat_gateways=1 if nat else 0,
            subnet_configuration=subnets,
        )
        for subnet in self.vpc.public_subnets:
            child: Any = subnet.node.default_child
            child.map_public_ip_on_launch = False
        self.inside = self.vpc.select_subnets(subnet_type=inside)
        self._flow_logs(names, profile, key)
        self.groups = self._groups(names)
        self._gateways()
        if not nat:
            self._endpoints(profile)
        if profile.service and not nat:
            self._mark_as_origin()
        if profile.training == "cluster":
            for owned in (self.vpc, self.groups["training"], self.groups["emr"]):
                Tags.of(owned).add(EMR_TAG, "true")

    def _flow_logs(self, names: Names, profile: Profile, key: kms.IKey) -> None:
        group = log_group(self, "FlowLogs", names=names, part="network", key=key, days=profile.log_days)
        role = service_role(self, "FlowRole", "vpc-flow-logs.amazonaws.com", description="Writes the VPC's flow logs")
        self.vpc.add_flow_log(
            "Flow",
            destination=ec2.FlowLogDestination.to_cloud_watch_logs(group, role),
            traffic_type=ec2.FlowLogTrafficType.REJECT,
        )

    def _groups(self, names: Names) -> dict[str, ec2.SecurityGroup]:
        """Clients talk to the cache, to the database, and to AWS over TLS; nothing else goes anywhere."""
        groups = {
            part: ec2.SecurityGroup(
                self,
                f"{part.title()}Group",
                vpc=self.vpc,
                description=f"{part} of {names.prefix}",
                allow_all_outbound=False,
            )
            for part in (*_CLIENTS, "cache", "database", "endpoints", "balancer", "emr")
        }
        tls = ec2.Port.tcp(443)
        for part in _CLIENTS:
            client = groups[part]
            client.add_egress_rule(ec2.Peer.any_ipv4(), tls, "AWS, by endpoints or NAT")
            for port in CACHE_PORTS:
                client.add_egress_rule(groups["cache"], ec2.Port.tcp(port), "cache")
                groups["cache"].add_ingress_rule(client, ec2.Port.tcp(port), part)
            client.add_egress_rule(groups["database"], ec2.Port.tcp(5432), "database")
            groups["database"].add_ingress_rule(client, ec2.Port.tcp(5432), part)
            groups["endpoints"].add_ingress_rule(client, tls, part)
        # Spark's driver and its workers talk to each other on ports they pick.
        groups["training"].add_ingress_rule(groups["training"], ec2.Port.all_tcp(), "Spark")
        groups["training"].add_egress_rule(groups["training"], ec2.Port.all_tcp(), "Spark")
        groups["serving"].add_ingress_rule(groups["balancer"], ec2.Port.tcp(8000), "service behind its balancer")
        # CloudFront reaches the balancer by interfaces of its own inside these subnets.
        groups["balancer"].add_ingress_rule(ec2.Peer.ipv4(_CIDR), ec2.Port.tcp(80), "CloudFront")
        groups["balancer"].add_egress_rule(groups["serving"], ec2.Port.tcp(8000), "service")
        return groups

    def _gateways(self) -> None:
        where = [ec2.SubnetSelection(subnets=self.inside.subnets)]
        for name in ("S3", "DYNAMODB"):
            service = getattr(ec2.GatewayVpcEndpointAwsService, name)
            self.vpc.add_gateway_endpoint(name.title(), service=service, subnets=where)

    def _mark_as_origin(self) -> None:
        """CloudFront takes origins only in a VPC that has an internet gateway. No route leads to it, so nothing comes
        or goes that way.
        """
        gateway = ec2.CfnInternetGateway(self, "OriginGateway")
        ec2.CfnVPCGatewayAttachment(
            self, "OriginGatewayAttachment", vpc_id=self.vpc.vpc_id, internet_gateway_id=gateway.ref
        )

    def _endpoints(self, profile: Profile) -> None:
        wanted = (
            *_ENDPOINTS,
            *(_CLUSTER_ENDPOINTS if profile.training == "cluster" else ()),
            *(_SERVICE_ENDPOINTS if profile.service else ()),
        )
        for name in wanted:
            self.vpc.add_interface_endpoint(
                "".join(part.title() for part in name.replace(".", "-").split("-")),
                service=ec2.InterfaceVpcEndpointAwsService(name),
                security_groups=[self.groups["endpoints"]],
                subnets=ec2.SubnetSelection(subnets=self.inside.subnets),
                open=False,
            )


def log_group(scope: Any, id: str, *, names: Names, part: str, key: kms.IKey, days: int) -> logs.LogGroup:
    """The log group of a part: encrypted, and forgotten after so many days."""
    retention = {
        14: logs.RetentionDays.TWO_WEEKS,
        30: logs.RetentionDays.ONE_MONTH,
        90: logs.RetentionDays.THREE_MONTHS,
    }[days]
    return logs.LogGroup(
        scope,
        id,
        log_group_name=names.log_group(part),
        encryption_key=key,
        retention=retention,
        removal_policy=RemovalPolicy.DESTROY,
    )
