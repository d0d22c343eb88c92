"""Synthesises the stacks once, and resolves what CloudFormation would while it deploys them."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ACCOUNT, REGION = "123456789012", "eu-central-1"
_PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Region": REGION,
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::NoValue": None,
}


@dataclass
class Resource:
    """One resource of a template, its intrinsic functions resolved."""

    stack: str
    logical: str
    type: str
    properties: dict[str, Any]
    retained: bool


@dataclass
class Deployment:
    """All templates of a size. ``known`` says what names and attributes would be, by ``Logical.Attribute``."""

    name: str
    folder: Path
    templates: dict[str, dict[str, Any]]
    known: dict[str, Any] = field(default_factory=dict)

    def resources(self, type: str | None = None) -> list[Resource]:
        return [each for each in self._all() if type in {None, each.type}]

    def one(self, type: str) -> Resource:
        (found,) = self.resources(type)
        return found

    def named(self, type: str, logical: str) -> Resource:
        (found,) = [each for each in self.resources(type) if each.logical.startswith(logical)]
        return found

    def statements(self, role: str) -> list[dict[str, Any]]:
        """What the policies of a role allow."""
        return [
            statement
            for policy in self.resources("AWS::IAM::Policy")
            if any(str(name).startswith(f"<{role}") for name in policy.properties["Roles"])
            for statement in policy.properties["PolicyDocument"]["Statement"]
        ]

    def actions(self, role: str) -> dict[str, set[str]]:
        """The actions of a role by resource."""
        out: dict[str, set[str]] = {}
        for statement in self.statements(role):
            for resource in _list(statement["Resource"]):
                out.setdefault(resource, set()).update(_list(statement["Action"]))
        return out

    def resolve(self, value: Any) -> Any:
        """``value`` with its intrinsic functions computed; what nobody knows yet is ``<Logical.Attribute>``."""
        if isinstance(value, list):
            return [self.resolve(each) for each in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, given),) = value.items()
            if name == "Ref":
                return self._named(given)
            if name in _FUNCTIONS:
                return _FUNCTIONS[name](self, given)
        return {key: self.resolve(each) for key, each in value.items()}

    def _named(self, name: str) -> Any:
        return _PSEUDO[name] if name in _PSEUDO else self.known.get(name, f"<{name}>")

    def attribute(self, given: Any) -> Any:
        name = given if isinstance(given, str) else ".".join(given)
        return self.known.get(name, f"<{name}>")

    def imported(self, given: Any) -> Any:
        """What another stack exports."""
        for template in self.templates.values():
            for output in template.get("Outputs", {}).values():
                if output.get("Export", {}).get("Name") == self.resolve(given):
                    return self.resolve(output["Value"])
        message = f"no stack exports {given}"
        raise AssertionError(message)

    def _all(self) -> Iterator[Resource]:
        for stack, template in self.templates.items():
            for logical, resource in template["Resources"].items():
                properties = self.resolve(resource.get("Properties", {}))
                retained = resource.get("DeletionPolicy") == "Retain" == resource.get("UpdateReplacePolicy")
                yield Resource(stack, logical, resource["Type"], properties, retained)


_FUNCTIONS: dict[str, Callable[[Deployment, Any], Any]] = {
    "Fn::Join": lambda it, given: str(given[0]).join(str(each) for each in it.resolve(given[1])),
    "Fn::GetAtt": lambda it, given: it.attribute(given),
    "Fn::ImportValue": lambda it, given: it.imported(given),
    "Fn::Base64": lambda it, given: f"base64({it.resolve(given)})",
    "Fn::Select": lambda it, given: f"<{given[0]} of {it.resolve(given[1])}>",
    "Fn::GetAZs": lambda it, given: "<zones>",
}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@pytest.fixture(scope="session")
def synthesise(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Deployment]:
    """Runs the command and reads what it left; cdk-nag's findings without a reason make it fail."""
    from deploy.cdk.app import main

    def synth(name: str, *words: str) -> Deployment:
        out = tmp_path_factory.mktemp(name)
        nothing = out / "nothing.json"
        assert main(["--env", name, "--out", str(out), "--artefacts", str(nothing), *words]) == 0
        found = {path.name.split(".")[0]: json.loads(path.read_text()) for path in out.glob("*.template.json")}
        return Deployment(name, out, found)

    return synth


@pytest.fixture(scope="session")
def dev(synthesise: Callable[..., Deployment]) -> Deployment:
    """The smallest: EMR Serverless, functions only, NAT."""
    return synthesise("dev")


@pytest.fixture(scope="session")
def large(synthesise: Callable[..., Deployment]) -> Deployment:
    """Everything there is: a cluster on EC2, the service, Aurora, endpoints, a domain, two shops."""
    certificate = f"arn:aws:acm:us-east-1:{ACCOUNT}:certificate/00000000-0000-0000-0000-000000000000"
    own = ("--domain", "shop.example", "--certificate-arn", certificate)
    return synthesise("large", "--aurora", "--shops", "tea,cups", "--alarm-email", "oncall@shop.example", *own)


@pytest.fixture(params=["dev", "large"])
def each(request: pytest.FixtureRequest) -> Any:
    """Both sizes, one after the other."""
    return request.getfixturevalue(request.param)
