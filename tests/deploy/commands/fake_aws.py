"""AWS as the deployment commands see it: requests and answers are checked against botocore's service models.

CloudFormation and Managed Flink keep state here, as far as the commands look at it; S3 keeps objects. What is asked in
a form that AWS does not know fails in botocore before it comes here, as it would before it left the machine.
"""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import ClientError
from botocore.response import StreamingBody
from botocore.validate import ParamValidator

from deploy.cloud import Cloud

ACCOUNT, REGION = "123456789012", "eu-central-1"
_START = datetime(2026, 1, 1, tzinfo=UTC)


def refusal(*, code: str, text: str = "") -> ClientError:
    """What a client raises where AWS answers with an error."""
    return ClientError({"Error": {"Code": code, "Message": text}}, "AnOperation")


@dataclass
class Stack:
    """One stack: its state, and the template that it was made from."""

    status: str
    body: str
    created: datetime
    events: list[dict[str, Any]] = field(default_factory=list)
    change_set: tuple[str, str, str] | None = None
    """Of a change set that waits: its name, its kind, its template."""


class FakeAws:
    """State, a log of what was called, and hooks: ``failing`` are stacks whose next update fails, with the reason."""

    refusal = staticmethod(refusal)

    def __init__(self) -> None:
        self.stacks: dict[str, Stack] = {}
        self.objects: dict[tuple[str, str], bytes] = {}
        self.calls: list[str] = []
        self.failing: dict[str, str] = {}
        self.outputs: dict[str, dict[str, str]] = {}
        self.application = Application(self)
        self.denied: set[str] = set()
        self.logs: list[str] = []
        self.answers: dict[str, dict[str, Any]] = {"GetCallerIdentity": _IDENTITY, "FilterLogEvents": {"events": []}}
        self.cluster: dict[str, Any] | None = None
        """The database, as RDS describes it; what it uses cannot be deleted while it is there."""
        self.snapshots: list[str] = []
        self._ticks = 0

    def now(self) -> datetime:
        """A time later than all before."""
        self._ticks += 1
        return _START + timedelta(seconds=self._ticks)

    def cloud(self) -> Cloud:
        """A cloud whose clients end here."""
        session = boto3.session.Session("key", "secret", region_name=REGION)
        cloud = Cloud(ACCOUNT, REGION, session)
        for service in (
            "cloudformation",
            "kinesisanalyticsv2",
            "s3",
            "logs",
            "dynamodb",
            "kinesis",
            "kms",
            "cloudwatch",
            "ecr",
            "rds",
            "secretsmanager",
        ):
            events = cloud.client(service).meta.events
            events.register("provide-client-params", _keep_given)
            events.register("before-call", self._answer)
        return cloud

    def _answer(self, model: Any, context: Any, **_: Any) -> Any:
        name = model.name
        self.calls.append(name)
        if name in self.denied:
            raise refusal(code="AccessDeniedException", text=f"not authorized to perform {name}")
        given = context["given"]
        work: Callable[..., dict[str, Any]] | None = getattr(self, f"do_{name}", None) or getattr(
            self.application, f"do_{name}", None
        )
        answer = work(given) if work else dict(self.answers[name])
        if model.output_shape is not None:
            checked = {key: value for key, value in answer.items() if key != "Body"}
            report = ParamValidator().validate(checked, model.output_shape)
            assert not report.has_errors(), f"{name} does not answer so: {report.generate_report()}"
        return _Http(), {**answer, "ResponseMetadata": {"HTTPStatusCode": 200}}

    # --- S3 ----------------------------------------------------------------------------------------------------

    def do_HeadObject(self, given: dict[str, Any]) -> dict[str, Any]:
        if (given["Bucket"], given["Key"]) not in self.objects:
            raise refusal(code="404")
        return {}

    def do_GetObject(self, given: dict[str, Any]) -> dict[str, Any]:
        data = self.objects.get((given["Bucket"], given["Key"]))
        if data is None:
            raise refusal(code="NoSuchKey")
        return {"Body": StreamingBody(io.BytesIO(data), len(data))}

    def do_PutObject(self, given: dict[str, Any]) -> dict[str, Any]:
        body = given["Body"]
        self.objects[given["Bucket"], given["Key"]] = body if isinstance(body, bytes) else body.read()
        return {}

    # --- CloudFormation ----------------------------------------------------------------------------------------

    def do_DescribeStacks(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given.get("StackName")
        if name and name not in self.stacks:
            raise refusal(code="ValidationError", text=f"Stack with id {name} does not exist")
        found = [name] if name else list(self.stacks)
        return {"Stacks": [self._described(each) for each in found]}

    def _described(self, name: str) -> dict[str, Any]:
        stack = self.stacks[name]
        outputs = [{"OutputKey": key, "OutputValue": value} for key, value in self.outputs.get(name, {}).items()]
        made = stack.body != "{}"
        return {
            "StackName": name,
            "StackStatus": stack.status,
            "CreationTime": stack.created,
            "Outputs": outputs if made else [],
        }

    def do_CreateChangeSet(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given["StackName"]
        body = given.get("TemplateBody") or self._fetched(given["TemplateURL"])
        if given["ChangeSetType"] == "CREATE":
            self.stacks.setdefault(name, Stack("REVIEW_IN_PROGRESS", "{}", self.now()))
        self.stacks[name].change_set = (given["ChangeSetName"], given["ChangeSetType"], body)
        return {"Id": given["ChangeSetName"], "StackId": name}

    def _fetched(self, url: str) -> str:
        where = urlsplit(url)
        return self.objects[where.netloc.partition(".s3.")[0], where.path.lstrip("/")].decode()

    def do_DescribeChangeSet(self, given: dict[str, Any]) -> dict[str, Any]:
        stack = self.stacks[given["StackName"]]
        assert stack.change_set is not None
        if stack.change_set[2] == stack.body:
            reason = "The submitted information didn't contain changes. Submit different information."
            return {"Status": "FAILED", "StatusReason": reason}
        change = {"Action": "Modify", "LogicalResourceId": "X", "ResourceType": "AWS::X::Y", "Replacement": "False"}
        return {"Status": "CREATE_COMPLETE", "Changes": [{"Type": "Resource", "ResourceChange": change}]}

    def do_DeleteChangeSet(self, given: dict[str, Any]) -> dict[str, Any]:
        self.stacks[given["StackName"]].change_set = None
        return {}

    def do_ExecuteChangeSet(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given["StackName"]
        stack = self.stacks[name]
        assert stack.change_set is not None
        _, kind, body = stack.change_set
        stack.change_set = None
        reason = self.failing.pop(name, None)
        if reason is not None:
            self._event(name, "Part", f"{kind}_FAILED", reason)
            stack.status = "ROLLBACK_COMPLETE" if kind == "CREATE" else "UPDATE_ROLLBACK_COMPLETE"
            return {}
        stack.status, stack.body = f"{kind}_COMPLETE", body
        self._event(name, name, stack.status)
        self.application.updated_by(body)
        return {}

    def _event(self, name: str, part: str, status: str, reason: str = "") -> None:
        events = self.stacks[name].events
        about = {"LogicalResourceId": part, "ResourceType": "AWS::X::Y", "ResourceStatus": status}
        at = self.now()
        events.insert(0, {"StackId": name, "StackName": name, "EventId": f"{at}", "Timestamp": at, **about})
        if reason:
            events[0]["ResourceStatusReason"] = reason

    def do_DescribeStackEvents(self, given: dict[str, Any]) -> dict[str, Any]:
        if given["StackName"] not in self.stacks:
            raise refusal(code="ValidationError", text="does not exist")
        return {"StackEvents": self.stacks[given["StackName"]].events}

    def do_DeleteStack(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given["StackName"]
        if self.cluster and any(kind in self.stacks[name].body for kind in ("DBSubnetGroup", "EC2::Subnet")):
            self._event(name, "Subnets", "DELETE_FAILED", "still in use by the cluster")
            self.stacks[name].status = "DELETE_FAILED"
            return {}
        del self.stacks[name]
        return {}

    def do_GetTemplate(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"TemplateBody": self.stacks[given["StackName"]].body}

    def do_ListStackResources(self, given: dict[str, Any]) -> dict[str, Any]:
        resources = json.loads(self.stacks[given["StackName"]].body).get("Resources", {})
        found = [
            {
                "LogicalResourceId": id,
                "PhysicalResourceId": f"{given['StackName']}-{id}".lower(),
                "ResourceType": each["Type"],
                "LastUpdatedTimestamp": _START,
                "ResourceStatus": "CREATE_COMPLETE",
            }
            for id, each in resources.items()
        ]
        return {"StackResourceSummaries": found}

    # --- RDS ---------------------------------------------------------------------------------------------------

    def do_DescribeDBClusters(self, given: dict[str, Any]) -> dict[str, Any]:
        if self.cluster is None:
            raise refusal(code="DBClusterNotFoundFault")
        if self.cluster["Status"] == "deleting":
            found, self.cluster = self.cluster, None
            return {"DBClusters": [found]}
        return {"DBClusters": [self.cluster]}

    def do_ModifyDBCluster(self, given: dict[str, Any]) -> dict[str, Any]:
        assert self.cluster is not None
        self.cluster["DeletionProtection"] = given["DeletionProtection"]
        return {}

    def do_DeleteDBInstance(self, given: dict[str, Any]) -> dict[str, Any]:
        assert self.cluster is not None
        members = self.cluster["DBClusterMembers"]
        self.cluster["DBClusterMembers"] = [
            each for each in members if each["DBInstanceIdentifier"] != given["DBInstanceIdentifier"]
        ]
        return {}

    def do_DeleteDBCluster(self, given: dict[str, Any]) -> dict[str, Any]:
        assert self.cluster is not None
        if self.cluster["DeletionProtection"] or self.cluster["DBClusterMembers"]:
            raise refusal(code="InvalidParameterCombination", text="protected, or it still contains instances")
        self.snapshots.append(given["FinalDBSnapshotIdentifier"])
        self.cluster["Status"] = "deleting"
        return {}

    def do_DescribeDBClusterSnapshots(self, given: dict[str, Any]) -> dict[str, Any]:
        about = {"AllocatedStorage": 10}
        return {"DBClusterSnapshots": [{"DBClusterSnapshotIdentifier": each, **about} for each in self.snapshots]}


class Application:
    """The managed Flink application: it appears with the stack that has it, and restarts when its code is changed.

    ``healthy`` are the code keys with which output flows; ``started`` remembers each start by code and snapshot.
    """

    def __init__(self, aws: FakeAws) -> None:
        self._aws = aws
        self.status: str | None = None
        self.code = ""
        self.snapshots: dict[str, datetime] = {}
        self.started: list[tuple[str, str]] = []
        self.healthy: set[str] = set()

    @property
    def flows(self) -> bool:
        """Whether output comes out."""
        return self.status == "RUNNING" and self.code in self.healthy

    def updated_by(self, body: str) -> None:
        for each in json.loads(body).get("Resources", {}).values():
            if each["Type"] == "AWS::KinesisAnalyticsV2::Application":
                code = each["Properties"]["ApplicationConfiguration"]["ApplicationCodeConfiguration"]
                self.code = code["CodeContent"]["S3ContentLocation"]["FileKey"]
                self.status = self.status or "READY"
                if self.status == "RUNNING":
                    self.started.append((self.code, "latest"))

    def do_DescribeApplication(self, given: dict[str, Any]) -> dict[str, Any]:
        if self.status is None:
            raise refusal(code="ResourceNotFoundException")
        status, self.status = self.status, self.status.replace("STARTING", "RUNNING").replace("STOPPING", "READY")
        where = {"BucketARN": "arn:aws:s3:::b", "FileKey": self.code}
        content = {
            "CodeContentType": "ZIPFILE",
            "CodeContentDescription": {"S3ApplicationCodeLocationDescription": where},
        }
        detail = {
            "ApplicationARN": f"arn:aws:kinesisanalytics:{REGION}:{ACCOUNT}:application/{given['ApplicationName']}",
            "ApplicationName": given["ApplicationName"],
            "RuntimeEnvironment": "FLINK-1_20",
            "ApplicationStatus": status,
            "ApplicationVersionId": 1,
            "ApplicationConfigurationDescription": {"ApplicationCodeConfigurationDescription": content},
        }
        return {"ApplicationDetail": detail}

    def do_StartApplication(self, given: dict[str, Any]) -> dict[str, Any]:
        restore = given["RunConfiguration"]["ApplicationRestoreConfiguration"]
        self.started.append((self.code, restore.get("SnapshotName", restore["ApplicationRestoreType"])))
        self.status = "STARTING"
        return {}

    def do_StopApplication(self, given: dict[str, Any]) -> dict[str, Any]:
        self.status = "STOPPING"
        return {}

    def do_CreateApplicationSnapshot(self, given: dict[str, Any]) -> dict[str, Any]:
        self.snapshots[given["SnapshotName"]] = self._aws.now()
        return {}

    def _snapshot(self, name: str) -> dict[str, Any]:
        about = {"SnapshotStatus": "READY", "ApplicationVersionId": 1}
        return {"SnapshotName": name, "SnapshotCreationTimestamp": self.snapshots[name], **about}

    def do_DescribeApplicationSnapshot(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"SnapshotDetails": self._snapshot(given["SnapshotName"])}

    def do_ListApplicationSnapshots(self, given: dict[str, Any]) -> dict[str, Any]:
        return {"SnapshotSummaries": [self._snapshot(name) for name in self.snapshots]}


_IDENTITY = {"Account": ACCOUNT, "UserId": "U", "Arn": f"arn:aws:iam::{ACCOUNT}:user/ada"}


class _Http:
    status_code = 200


def _keep_given(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    """Remember what was passed, before it becomes a request."""
    context["given"] = dict(params)
