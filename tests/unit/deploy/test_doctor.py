"""The doctor: each lack is one sentence with its remedy, and nothing that AWS answers makes a traceback."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from deploy import doctor, doctor_checks
from deploy.cdk.permissions import COMMANDS, RESOURCES, actions_of
from deploy.cdk.profiles import PROFILES
from deploy.doctor_checks import Account, Finding
from deploy.doctor_needs import Need, needs_of

DEV, LARGE = PROFILES["dev"], PROFILES["large"]
HERE = Account("123456789012", "eu-central-1", "arn:aws:iam::123456789012:role/ops/Deployer")
ALL = len(actions_of(COMMANDS)), len(actions_of(RESOURCES))


class Aws:
    """Clients that answer by a script; a string is the code of an error."""

    def __init__(self, **scripts: list[tuple[str, Any]]) -> None:
        self._clients = {}
        self.asked: list[dict[str, Any]] = []
        for name, script in scripts.items():
            service = name.replace("_", "-")
            made = boto3.client(
                service,
                region_name="eu-central-1",
                aws_access_key_id="x",
                aws_secret_access_key="y",
                config=Config(retries={"total_max_attempts": 1}),
            )
            made.meta.events.register(
                "provide-client-params.*.*", lambda params, **_: self.asked.append(dict(params)), unique_id=service
            )
            stub = Stubber(made)
            for operation, answer in script:
                if isinstance(answer, str):
                    stub.add_client_error(operation, answer, "not today")
                else:
                    stub.add_response(operation, answer)
            stub.activate()
            self._clients[service] = made

    def __call__(self, service: str) -> Any:
        return self._clients[service]


def says(found: list[Finding], state: str) -> list[str]:
    return [finding.says for finding in found if finding.state == state]


def allowed(actions: list[str], *denied: str) -> dict[str, Any]:
    return {
        "EvaluationResults": [
            {"EvalActionName": name, "EvalDecision": "implicitDeny" if name in denied else "allowed"}
            for name in actions
        ]
    }


WHO = "get_caller_identity"


def test_a_role_is_asked_about_by_its_own_arn_because_iam_simulates_no_session() -> None:
    arn = "arn:aws:sts::123456789012:assumed-role/Deployer/me@example.com"
    role = {"Path": "/ops/", "RoleName": "Deployer", "RoleId": "AROA" + "X" * 17, "CreateDate": "2026-01-01"}
    role["Arn"] = HERE.principal
    aws = Aws(sts=[(WHO, {"Account": HERE.id, "Arn": arn, "UserId": "x"})], iam=[("get_role", {"Role": role})])
    account, found = doctor_checks.identity(aws, "eu-central-1")
    assert account == HERE
    assert says(found, "ok") == ["account 123456789012 as assumed-role/Deployer/me@example.com"]


def test_the_root_user_is_sent_away_and_expired_credentials_are_named() -> None:
    root = {"Account": HERE.id, "Arn": f"arn:aws:iam::{HERE.id}:root", "UserId": HERE.id}
    account, found = doctor_checks.identity(Aws(sts=[(WHO, root)]), "eu-central-1")
    assert account is not None
    assert account.principal == ""
    assert says(found, "missing")[0].startswith("These are the root user's credentials")
    account, found = doctor_checks.identity(Aws(sts=[(WHO, "ExpiredToken")]), "eu-central-1")
    assert account is None
    assert says(found, "missing") == [
        "No valid AWS credentials (ExpiredToken: not today): "
        "run `aws configure sso` or set AWS_PROFILE, then try again."
    ]


def test_without_a_network_nobody_is_told_to_change_their_credentials() -> None:
    def clients(service: str) -> Any:
        raise EndpointConnectionError(endpoint_url="https://sts.eu-central-1.amazonaws.com")

    account, found = doctor_checks.identity(clients, "eu-central-1")
    assert account is None
    assert says(found, "missing")[0].startswith("AWS cannot be reached")


def simulate(iam: Aws) -> list[Finding]:
    return doctor_checks.permissions(iam, HERE, "liveshelf-dev")


def scripted(denied: tuple[str, ...]) -> Callable[[str], Any]:
    """IAM that denies some actions, whatever principal and resource, two results a page."""

    class Iam:
        def __init__(self) -> None:
            self.calls: list[dict[str, Any]] = []

        def simulate_principal_policy(self, **call: Any) -> dict[str, Any]:
            self.calls.append(call)
            start = int(call.get("Marker", 0))
            page = allowed(call["ActionNames"][start : start + 2], *denied)
            more = start + 2 < len(call["ActionNames"])
            return page | ({"IsTruncated": True, "Marker": str(start + 2)} if more else {"IsTruncated": False})

    iam = Iam()
    clients: Any = lambda service: iam  # noqa: E731
    clients.iam = iam
    return clients


def test_what_is_allowed_is_counted_over_all_pages_for_the_commands_and_for_the_stacks() -> None:
    clients: Any = scripted(())
    assert says(simulate(clients), "ok") == [
        f"the commands' {ALL[0]} actions are allowed",
        f"the stacks' {ALL[1]} actions are allowed",
    ]
    calls = clients.iam.calls
    assert {name for call in calls for name in call["ActionNames"]} == set(actions_of(COMMANDS) + actions_of(RESOURCES))
    assert {call["PolicySourceArn"] for call in calls} == {HERE.principal}
    on = {name: call.get("ResourceArns") for call in calls for name in call["ActionNames"]}
    assert on["s3:PutObject"] == ["arn:aws:s3:::liveshelf-dev-artefacts-123456789012-eu-central-1/*"]
    assert on["kinesis:CreateStream"] is None


def test_a_denied_action_is_named_with_its_purpose_and_whose_policy_lacks_it() -> None:
    found = simulate(scripted(("states:StartExecution", "elasticache:CreateUser", "elasticache:CreateUserGroup")))
    assert says(found, "missing") == [
        "role/ops/Deployer may not states:StartExecution (training): extend its policy.",
        "role/ops/Deployer may not elasticache:CreateUser, elasticache:CreateUserGroup (stores): extend its policy.",
    ]


def test_who_may_not_simulate_is_told_so_and_nothing_is_called_missing() -> None:
    aws = Aws(iam=[("simulate_principal_policy", "AccessDenied")] * 2)
    found = simulate(aws)
    assert says(found, "missing") == []
    assert says(found, "unknown")[0] == "The commands' permissions could not be simulated (AccessDenied: not today)."


def test_shards_and_streams_on_demand_are_counted_against_what_is_in_use() -> None:
    limits = {"ShardLimit": 20, "OpenShardCount": 20, "OnDemandStreamCount": 3, "OnDemandStreamCountLimit": 10}
    assert says(doctor_checks.shards(Aws(kinesis=[("describe_limits", limits)]), DEV), "missing") == [
        "Kinesis: 1 shards are needed, 20 of 20 are in use: ask for more in the Service Quotas console."
    ]
    assert doctor_checks.shards(Aws(kinesis=[("describe_limits", limits)]), LARGE)[0].state == "ok"


def test_a_young_account_has_too_few_concurrent_functions() -> None:
    limit = {"ConcurrentExecutions": 10, "UnreservedConcurrentExecutions": 10}
    aws = Aws(**{"lambda": [("get_account_settings", {"AccountLimit": limit})]})
    (finding,) = doctor_checks.concurrency(aws, DEV)
    assert finding.says.startswith("Lambda: 30 concurrent executions are needed, 0 of 10 are in use")


def test_an_address_is_needed_only_where_there_is_a_nat_gateway() -> None:
    limit = {"AttributeName": "vpc-max-elastic-ips", "AttributeValues": [{"AttributeValue": "2"}]}
    used = {"Addresses": [{"PublicIp": f"192.0.2.{n}"} for n in range(2)]}
    script = [("describe_account_attributes", {"AccountAttributes": [limit]}), ("describe_addresses", used)]
    assert says(doctor_checks.addresses(Aws(ec2=script), DEV), "missing")
    assert doctor_checks.addresses(Aws(), LARGE) == []


def listed(*pairs: tuple[str, float]) -> dict[str, Any]:
    return {"Quotas": [{"QuotaName": name, "Value": value} for name, value in pairs]}


def test_quotas_are_found_by_name_applied_before_default_and_a_lack_of_the_entry_is_said() -> None:
    needs = [
        Need("vCPUs of EMR Serverless", "emr-serverless", "vcpu", 34, "vCPUs"),
        Need("nothing", "emr-serverless", "no such quota", 1, "x"),
    ]
    applied, default = (
        listed(("Max concurrent vCPUs per account", 16)),
        listed(("Max concurrent vCPUs per account", 64)),
    )
    script = [("list_service_quotas", applied), ("list_aws_default_service_quotas", default)]
    found = doctor_checks.quotas(Aws(service_quotas=script), needs)
    assert says(found, "missing") == [
        "vCPUs of EMR Serverless: 34 vCPUs are needed, 0 of 16 are in use: ask for more in the Service Quotas console."
    ]
    assert says(found, "unknown")[0].startswith("Service Quotas lists no quota of nothing")


def test_a_region_without_a_service_is_named() -> None:
    def regions_of(service: str) -> list[str]:
        return [] if service == "emr-serverless" else ["eu-central-1"]

    assert says(doctor_checks.services("eu-central-1", regions_of, DEV), "missing") == [
        "eu-central-1 does not offer emr-serverless, as far as boto3 knows: choose another region."
    ]
    assert doctor_checks.services("eu-central-1", boto3.session.Session().get_available_regions, LARGE)[0].state == "ok"


def test_an_account_in_which_all_is_well_is_ready() -> None:
    iam: Any = scripted(())
    user = {"Account": HERE.id, "Arn": f"arn:aws:iam::{HERE.id}:user/ops", "UserId": "AIDA" + "X" * 17}
    limits = {"ShardLimit": 200, "OpenShardCount": 0, "OnDemandStreamCount": 0, "OnDemandStreamCountLimit": 10}
    address = {"AttributeName": "vpc-max-elastic-ips", "AttributeValues": [{"AttributeValue": "5"}]}
    quotas = [
        ("list_service_quotas", listed()),
        (
            "list_aws_default_service_quotas",
            listed(
                ("KPUs per application", 64),
                ("Max concurrent vCPUs per account", 16),
                ("VPCs per Region", 5),
                ("NAT gateways per Availability Zone", 5),
                ("Serverless caches per Region", 40),
            ),
        ),
    ]
    aws = Aws(
        sts=[(WHO, user)],
        kinesis=[("describe_limits", limits)],
        ec2=[
            ("describe_account_attributes", {"AccountAttributes": [address]}),
            ("describe_addresses", {"Addresses": []}),
        ],
        service_quotas=quotas * len({need.code for need in needs_of(DEV)}),
        **{
            "lambda": [
                (
                    "get_account_settings",
                    {"AccountLimit": {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 1000}},
                )
            ]
        },
    )
    found = list(
        doctor.examine(
            DEV,
            "eu-central-1",
            lambda name: iam(name) if name == "iam" else aws(name),
            lambda service: ["eu-central-1"],
        )
    )
    assert [finding for finding in found if finding.state != "ok"] == []
    assert {finding.check for finding in found} == {"region", "credentials", "permissions", "quotas"}


def run(*words: str, home: Path) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    env = clean | {"HOME": str(home), "AWS_EC2_METADATA_DISABLED": "true"}
    command = [sys.executable, "-m", "deploy.doctor", "--artefacts", str(home / "none.json"), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)


def test_without_credentials_it_says_so_without_a_traceback(tmp_path: Path) -> None:
    done = run("--env", "small", "--region", "eu-central-1", "--json", home=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    document = json.loads(done.stdout)
    assert document["ready"] is False
    missing = {finding["check"]: finding["says"] for finding in document["findings"] if finding["state"] == "missing"}
    assert missing["credentials"].startswith("No valid AWS credentials (Unable to locate credentials): run `aws conf")
    assert missing["artefacts"] == "Nothing was built yet: run `make package`."
    done = run(home=tmp_path)
    assert done.returncode == 1
    assert "No region is set: pass --region" in done.stdout
    assert done.stdout.splitlines()[-1] == "doctor: 3 missing for ENV=dev"
    done = run("--profile", "nobody", home=tmp_path)
    assert (done.returncode, "nobody" in done.stderr, "Traceback" in done.stderr) == (2, True, False)
