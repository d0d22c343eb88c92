"""Roles and what they may do: single actions on named resources, each wildcard with the reason it is there."""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import Acknowledgment, Aws, Validations
from aws_cdk import aws_iam as iam
from constructs import IConstruct

from deploy.cdk.names import shown

__all__ = ["allow", "explain", "service_role"]


def service_role(
    scope: Any, id: str, service: str, *, description: str, source_arn: str | None = None, name: str | None = None
) -> iam.Role:
    """The role of one part, to be assumed by a service of AWS on behalf of this account alone."""
    conditions: dict[str, Any] = {"StringEquals": {"aws:SourceAccount": Aws.ACCOUNT_ID}}
    if source_arn is not None:
        conditions["ArnLike"] = {"aws:SourceArn": source_arn}
    principal = iam.ServicePrincipal(service, conditions=conditions)
    return iam.Role(scope, id, assumed_by=principal, description=description, role_name=name)


def allow(
    role: iam.Role,
    actions: Sequence[str],
    resources: Sequence[str],
    *,
    because: str = "",
    conditions: Mapping[str, Any] | None = None,
    known: Mapping[str, str] | None = None,
) -> None:
    """Add one statement to a role. ``because`` says why a resource has to hold a wildcard, and is needed if one does.

    ``known`` says how cdk-nag prints tokens in such a resource that are no pseudo parameters.

    Raises:
        ValueError: an action holds a wildcard, or a resource does and nothing says why.
    """
    if wild := [action for action in actions if "*" in action]:
        message = f"actions {wild} of {role.node.path}; expected each action by its name"
        raise ValueError(message)
    starred = [resource for resource in resources if "*" in resource]
    if starred and not because:
        message = f"resources {starred} of {role.node.path} hold wildcards; expected because= to say why"
        raise ValueError(message)
    role.add_to_policy(
        iam.PolicyStatement(actions=list(actions), resources=list(resources), conditions=dict(conditions or {}))
    )
    explain(role, {f"IAM5[Resource::{shown(resource, known)}]": because for resource in starred})


def explain(construct: IConstruct, findings: Mapping[str, str]) -> None:
    """Acknowledge findings of cdk-nag's AwsSolutions pack on a construct, each with its reason."""
    for finding, reason in findings.items():
        Validations.of(construct).acknowledge(Acknowledgment(id=f"AwsSolutions::AwsSolutions-{finding}", reason=reason))
