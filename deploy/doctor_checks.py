"""The single checks of ``make doctor``: each asks AWS one thing and answers with findings, never with an exception."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from botocore.exceptions import BotoCoreError, ClientError, ConnectTimeoutError, EndpointConnectionError

from deploy.cdk.permissions import COMMANDS, COMMANDS_ON, RESOURCES, actions_of
from deploy.cdk.profiles import Profile
from deploy.doctor_needs import SERVICES, Need

__all__ = [
    "Account",
    "Finding",
    "addresses",
    "concurrency",
    "identity",
    "permissions",
    "quotas",
    "services",
    "shards",
]

_ACTIONS_A_CALL: Final = 40
Clients = Callable[[str], Any]
State = Literal["ok", "missing", "unknown"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found: ``missing`` has to be mended before a deployment, ``unknown`` could not be looked at."""

    check: str
    state: State
    says: str


@dataclass(frozen=True, slots=True)
class Account:
    """Who asks, where."""

    id: str
    region: str
    principal: str
    """ARN of the user or role, as IAM simulates it; empty for the root user."""

    @property
    def partition(self) -> str:
        return self.principal.split(":")[1] if self.principal else "aws"


def why(exc: Exception) -> str:
    """An AWS error in a few words.

    >>> why(ClientError({"Error": {"Code": "AccessDenied", "Message": "User x may not"}}, "GetParameter"))
    'AccessDenied: User x may not'
    """
    if isinstance(exc, ClientError):
        error = exc.response.get("Error", {})
        return f"{error.get('Code', 'error')}: {error.get('Message', '')}".strip()
    return " ".join(str(exc).split())


def _code(exc: Exception) -> str:
    return str(exc.response.get("Error", {}).get("Code", "")) if isinstance(exc, ClientError) else ""


def identity(clients: Clients, region: str) -> tuple[Account | None, list[Finding]]:
    """Who the credentials belong to; the role behind a session, since IAM simulates no sessions."""
    try:
        who = clients("sts").get_caller_identity()
    except (EndpointConnectionError, ConnectTimeoutError) as exc:
        says = f"AWS cannot be reached ({why(exc)}): look at the network, a proxy, and the region's name."
        return None, [Finding("credentials", "missing", says)]
    except (ClientError, BotoCoreError) as exc:
        says = f"No valid AWS credentials ({why(exc)}): run `aws configure sso` or set AWS_PROFILE, then try again."
        return None, [Finding("credentials", "missing", says)]
    arn, account = str(who["Arn"]), str(who["Account"])
    found = [Finding("credentials", "ok", f"account {account} as {arn.rpartition(':')[2]}")]
    if arn.endswith(":root"):
        says = "These are the root user's credentials: make an administrator in IAM Identity Center and use that."
        return Account(account, region, ""), [*found, Finding("credentials", "missing", says)]
    if ":assumed-role/" in arn:
        name = arn.split("/")[1]
        try:
            arn = str(clients("iam").get_role(RoleName=name)["Role"]["Arn"])  # its path is not in the session's ARN
        except (ClientError, BotoCoreError):
            arn = f"arn:{arn.split(':')[1]}:iam::{account}:role/{name}"
    return Account(account, region, arn), found


def permissions(clients: Clients, account: Account, prefix: str) -> list[Finding]:
    """What the caller's policies allow, to the commands and to CloudFormation, which acts with the caller's rights.

    A boundary or an SCP may still deny.
    """
    if not account.principal:
        return []
    names = {"partition": account.partition, "account": account.id, "region": account.region, "prefix": prefix}
    on = {action: [arn.format(**names)] for action, arn in COMMANDS_ON.items()}
    found = _simulate(clients, "the commands'", account.principal, COMMANDS, on)
    return found + _simulate(clients, "the stacks'", account.principal, RESOURCES, {})


def _simulate(
    clients: Clients,
    whose: str,
    principal: str,
    groups: Mapping[str, tuple[str, ...]],
    resources: Mapping[str, list[str]],
) -> list[Finding]:
    """One finding a group that lacks something, or one that all is allowed."""
    try:
        denied = set(_denied(clients("iam"), principal, actions_of(groups), resources))
    except (ClientError, BotoCoreError) as exc:
        says = f"{whose[0].upper()}{whose[1:]} permissions could not be simulated ({why(exc)})."
        return [Finding("permissions", "unknown", says)]
    found = []
    for unit, actions in groups.items():
        if lacking := [action for action in actions if action in denied]:
            says = f"{principal.rpartition(':')[2]} may not {', '.join(lacking)} ({unit}): extend its policy."
            found.append(Finding("permissions", "missing", says))
    number = len(actions_of(groups))
    return found or [Finding("permissions", "ok", f"{whose} {number} actions are allowed")]


def _denied(iam: Any, principal: str, actions: list[str], resources: Mapping[str, list[str]]) -> Iterable[str]:
    """Actions on ``resources`` where they are given, else on all."""
    together: dict[tuple[str, ...], list[str]] = {}
    for action in actions:
        together.setdefault(tuple(resources.get(action, ())), []).append(action)
    calls: list[dict[str, Any]] = []
    for arns, names in together.items():
        on = {"ResourceArns": list(arns)} if arns else {}
        parts = range(0, len(names), _ACTIONS_A_CALL)
        calls += [{"ActionNames": names[start : start + _ACTIONS_A_CALL], **on} for start in parts]
    for call in calls:
        marker: dict[str, str] = {}
        while True:
            answer = iam.simulate_principal_policy(PolicySourceArn=principal, **call, **marker)
            for result in answer["EvaluationResults"]:
                if result["EvalDecision"] != "allowed":
                    yield result["EvalActionName"]
            if not answer.get("IsTruncated"):
                break
            marker = {"Marker": answer["Marker"]}


def services(region: str, regions_of: Callable[[str], list[str]], profile: Profile) -> list[Finding]:
    """Whether every service is offered in the region, as far as this version of boto3 knows; asks nobody."""
    wanted = [*SERVICES, *(["rds"] if profile.aurora else []), *(["ecs"] if profile.service else [])]
    wanted += ["emr"] if profile.training == "cluster" else []
    lacking = [name for name in wanted if region not in regions_of(name)]
    if lacking:
        says = f"{region} does not offer {', '.join(lacking)}, as far as boto3 knows: choose another region."
        return [Finding("region", "missing", says)]
    return [Finding("region", "ok", f"{region} offers all {len(wanted)} services")]


def shards(clients: Clients, profile: Profile) -> list[Finding]:
    """Room for the stream."""
    try:
        limits = clients("kinesis").describe_limits()
    except (ClientError, BotoCoreError) as exc:
        return [Finding("quotas", "unknown", f"Kinesis' limits could not be read ({why(exc)}).")]
    if profile.shards is None:
        used, limit, more, unit = (
            limits["OnDemandStreamCount"],
            limits["OnDemandStreamCountLimit"],
            1,
            "streams on demand",
        )
    else:
        used, limit, more, unit = limits["OpenShardCount"], limits["ShardLimit"], profile.shards, "shards"
    return [room("Kinesis", used, limit, more, unit)]


def concurrency(clients: Clients, profile: Profile) -> list[Finding]:
    """Room for the functions: what runs at a time at the profile's request rate (0.2 s each), and what is kept warm."""
    try:
        limit = clients("lambda").get_account_settings()["AccountLimit"]
    except (ClientError, BotoCoreError) as exc:
        return [Finding("quotas", "unknown", f"Lambda's limits could not be read ({why(exc)}).")]
    total, free = limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"]
    wanted = max(-(-profile.requests_per_s // 5), profile.warm_functions) + 10
    return [room("Lambda", total - free, total, wanted, "concurrent executions")]


def addresses(clients: Clients, profile: Profile) -> list[Finding]:
    """Room for the NAT gateway's address."""
    if profile.egress != "nat":
        return []
    try:
        ec2 = clients("ec2")
        attributes = ec2.describe_account_attributes(AttributeNames=["vpc-max-elastic-ips"])["AccountAttributes"]
        used = len(ec2.describe_addresses()["Addresses"])
    except (ClientError, BotoCoreError) as exc:
        return [Finding("quotas", "unknown", f"The limit of elastic addresses could not be read ({why(exc)}).")]
    limit = int(attributes[0]["AttributeValues"][0]["AttributeValue"])
    return [room("EC2", used, limit, 1, "elastic addresses")]


def quotas(clients: Clients, needs: Iterable[Need]) -> list[Finding]:
    """What Service Quotas says, by the quotas' names: applied values, else the defaults."""
    found = []
    known: dict[str, list[tuple[str, float]]] = {}
    for need in needs:
        try:
            if need.code not in known:
                known[need.code] = _listed(clients("service-quotas"), need.code)
            values = [value for name, value in known[need.code] if need.name in name.lower()]
        except (ClientError, BotoCoreError) as exc:
            found.append(Finding("quotas", "unknown", f"The quota of {need.what} could not be read ({why(exc)})."))
            continue
        if not values:
            says = f"Service Quotas lists no quota of {need.what}: look at the service's page that {need.amount} fit."
            found.append(Finding("quotas", "unknown", says))
        else:
            found.append(room(need.what, 0, int(min(values)), need.amount, need.unit))
    return found


def _listed(client: Any, code: str) -> list[tuple[str, float]]:
    pages = client.get_paginator("list_service_quotas").paginate(ServiceCode=code)
    applied = {quota["QuotaName"]: quota["Value"] for page in pages for quota in page["Quotas"]}
    pages = client.get_paginator("list_aws_default_service_quotas").paginate(ServiceCode=code)
    defaults = {quota["QuotaName"]: quota["Value"] for page in pages for quota in page["Quotas"]}
    return list((defaults | applied).items())


def room(what: str, used: int, limit: int, more: int, unit: str) -> Finding:
    """
    >>> room("Kinesis", 198, 200, 4, "shards").says
    'Kinesis: 4 shards are needed, 198 of 200 are in use: ask for more in the Service Quotas console.'
    """
    if used + more > limit:
        says = f"{what}: {more} {unit} are needed, {used} of {limit} are in use"
        return Finding("quotas", "missing", f"{says}: ask for more in the Service Quotas console.")
    return Finding("quotas", "ok", f"{what}: {more} of {limit - used} {unit} that are free")
