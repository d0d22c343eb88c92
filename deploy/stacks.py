"""Stacks through CloudFormation's change sets: repeated without harm, gone on with after an interruption.

Nothing but CloudFormation's own API is used, so that no CDK bootstrap and no Node is needed (docs/adr has the reasons).
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from botocore.exceptions import ClientError

from contracts.errors import DeploymentError
from deploy.assembly import Template
from deploy.cloud import Cloud, understood

__all__ = ["Stacks"]

_CAPABILITIES: Final = ["CAPABILITY_NAMED_IAM"]
_POLL_S: Final = 5.0
_SECONDS: Final = 3600.0
_NO_CHANGE: Final = ("didn't contain changes", "No updates are to be performed")
_USABLE: Final = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "IMPORT_COMPLETE")
_DEAD: Final = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED")
"""Of a stack that was never created whole, or is half deleted: it can only be deleted and made again."""


class Stacks:
    """The stacks of one account and region."""

    def __init__(
        self,
        cloud: Cloud,
        say: Callable[[str], None] = print,
        pause: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api = cloud.client("cloudformation")
        self._region = cloud.region
        self._say, self._pause, self._clock = say, pause, clock

    # --- looking -----------------------------------------------------------------------------------------------

    def status(self, name: str) -> str | None:
        """CloudFormation's word for the stack's state; None where there is none."""
        found = self._describe(name)
        return None if found is None else str(found["StackStatus"])

    def outputs(self, name: str) -> dict[str, str]:
        """What the stack says of itself; nothing where there is none."""
        found = self._describe(name) or {}
        return {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", ())}

    def resources(self, name: str) -> list[dict[str, str]]:
        """Logical name, type and physical name of everything in the stack."""
        with understood(f"resources of {name}"):
            pages = self._api.get_paginator("list_stack_resources").paginate(StackName=name)
            return [dict(each) for page in pages for each in page["StackResourceSummaries"]]

    def named(self, prefix: str) -> list[str]:
        """The stacks whose names begin so, the newest first: the order in which they can be deleted."""
        with understood("stacks"):
            pages = self._api.get_paginator("describe_stacks").paginate()
            found = [each for page in pages for each in page["Stacks"] if each["StackName"].startswith(prefix)]
        return [each["StackName"] for each in sorted(found, key=lambda each: each["CreationTime"], reverse=True)]

    def template(self, name: str) -> dict[str, Any]:
        """The template that the stack was made from."""
        with understood(f"template of {name}"):
            body = self._api.get_template(StackName=name)["TemplateBody"]
        found: dict[str, Any] = json.loads(body) if isinstance(body, str) else dict(body)
        return found

    def _describe(self, name: str) -> dict[str, Any] | None:
        with understood(f"stack {name}"):
            try:
                found: dict[str, Any] = self._api.describe_stacks(StackName=name)["Stacks"][0]
            except ClientError as exc:
                if "does not exist" in exc.response["Error"].get("Message", ""):
                    return None
                raise
        return None if found["StackStatus"] == "DELETE_COMPLETE" else found

    # --- deploying ---------------------------------------------------------------------------------------------

    def deploy(self, template: Template, bucket: str | None, tags: Mapping[str, str]) -> bool:
        """Bring a stack to a template; returns whether anything had to be changed.

        The template is read from ``bucket``, where it was uploaded under its key; without one it is sent along.

        Raises:
            DeploymentError: CloudFormation refused or rolled back; the message holds the first failures.
        """
        name = template.name
        status = self._settled(name)
        if status in _DEAD:
            self._say(f"  {name}: {status}: nothing of it ever worked, it is deleted and made anew")
            self.delete(name)
            status = None
        new = status in (None, "REVIEW_IN_PROGRESS")
        if not new and status not in _USABLE:
            message = f"stack {name} is {status}; mend it in the CloudFormation console (continue update rollback)"
            raise DeploymentError(message)
        change_set = self._change_set(template, bucket, tags, "CREATE" if new else "UPDATE")
        if change_set is None:
            self._say(f"  {name}: unchanged")
            return False
        began = self._clock()
        with understood(f"stack {name}"):
            since = self._newest_event(name)
            self._api.execute_change_set(StackName=name, ChangeSetName=change_set)
        self._follow(name, since, "CREATE_COMPLETE" if new else "UPDATE_COMPLETE")
        self._say(f"  {name}: {'created' if new else 'updated'} in {self._clock() - began:.0f} s")
        return True

    def _change_set(self, template: Template, bucket: str | None, tags: Mapping[str, str], kind: str) -> str | None:
        digest = hashlib.sha256(template.body.encode()).hexdigest()[:12]
        name = f"liveshelf-{digest}-{int(time.time())}"
        where = (
            {"TemplateURL": f"https://{bucket}.s3.{self._region}.amazonaws.com/{template.key}"}
            if bucket
            else {"TemplateBody": template.body}
        )
        with understood(f"change set of {template.name}"):
            self._api.create_change_set(
                StackName=template.name,
                ChangeSetName=name,
                ChangeSetType=kind,
                Capabilities=_CAPABILITIES,
                ImportExistingResources=True,  # what an earlier deployment retained is taken over by its name
                Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
                **where,
            )
            for _ in self._ticks(f"change set of {template.name}"):
                found = self._api.describe_change_set(StackName=template.name, ChangeSetName=name)
                if found["Status"] == "CREATE_COMPLETE":
                    self._tell(template.name, found.get("Changes", ()))
                    return name
                if found["Status"] == "FAILED":
                    break
            self._api.delete_change_set(StackName=template.name, ChangeSetName=name)
        reason = found.get("StatusReason", "")
        if any(words in reason for words in _NO_CHANGE):
            return None
        message = f"CloudFormation refuses the template of {template.name}: {reason}"
        raise DeploymentError(message)

    def _tell(self, name: str, changes: Any) -> None:
        for change in changes:
            each = change.get("ResourceChange", {})
            replaced = ", REPLACED" if each.get("Replacement") == "True" else ""
            self._say(
                f"  {name}: {each.get('Action', '?').lower()} {each.get('LogicalResourceId')} "
                f"({each.get('ResourceType')}{replaced})"
            )

    def delete(self, name: str) -> bool:
        """Delete a stack; returns whether there was one. What its template retains stays."""
        if self._settled(name) is None:
            return False
        with understood(f"stack {name}"):
            since = self._newest_event(name)
            self._api.delete_stack(StackName=name)
        self._follow(name, since, "DELETE_COMPLETE")
        return True

    # --- waiting -----------------------------------------------------------------------------------------------

    def _settled(self, name: str) -> str | None:
        """The stack's state once nothing is under way any more: an interrupted command's work is waited for."""
        told = False
        for _ in self._ticks(f"stack {name}"):
            status = self.status(name)
            if status is None or status == "REVIEW_IN_PROGRESS" or not status.endswith("_IN_PROGRESS"):
                return status
            if not told:
                self._say(f"  {name}: {status}, from an earlier run; waited for")
                told = True
        raise AssertionError

    def _follow(self, name: str, since: str | None, wanted: str) -> None:
        failures: list[str] = []
        for _ in self._ticks(f"stack {name}"):
            for event in self._events(name, since):
                since = event["EventId"]
                status = event["ResourceStatus"]
                if status.endswith("_FAILED"):
                    why = event.get("ResourceStatusReason", "")
                    failures.append(f"{event['LogicalResourceId']} ({event['ResourceType']}): {why}")
                    self._say(f"  {name}: {failures[-1]}")
            status = self.status(name)
            if status == wanted or (status is None and wanted == "DELETE_COMPLETE"):
                return
            if status is None or not status.endswith("_IN_PROGRESS"):
                told = [each for each in failures if "cancelled" not in each] or failures or ["no reason was given"]
                message = f"stack {name} is {status}, wanted {wanted}:\n    " + "\n    ".join(told[:3])
                raise DeploymentError(message)

    def _newest_event(self, name: str) -> str | None:
        try:
            events = self._api.describe_stack_events(StackName=name)["StackEvents"]
        except ClientError:
            return None
        return str(events[0]["EventId"]) if events else None

    def _events(self, name: str, since: str | None) -> list[dict[str, Any]]:
        """Events after ``since``, oldest first; none once the stack is gone."""
        try:
            events = self._api.describe_stack_events(StackName=name)["StackEvents"]
        except ClientError:
            return []
        fresh = []
        for event in events:
            if event["EventId"] == since:
                break
            fresh.append(event)
        return fresh[::-1]

    def _ticks(self, what: str) -> Iterator[None]:
        """Once at once, then every few seconds until the patience ends."""
        began = self._clock()
        while self._clock() - began < _SECONDS:
            yield
            self._pause(_POLL_S)
        message = f"{what} did not settle within {_SECONDS / 60:.0f} minutes; repeat the command to go on waiting"
        raise DeploymentError(message)
