"""What the CDK made: the stacks' templates in the order in which they can be deployed."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from contracts.errors import DeploymentError

__all__ = ["Template", "read_assembly", "synthesise"]


@dataclass(frozen=True)
class Template:
    """One stack: its name, and its template without what only the CDK's own bootstrapping is for."""

    name: str
    body: str

    @cached_property
    def content(self) -> dict[str, Any]:
        """The template, parsed."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def resources(self) -> Mapping[str, Mapping[str, Any]]:
        """Its resources by their logical names."""
        found: Mapping[str, Mapping[str, Any]] = self.content.get("Resources", {})
        return found

    @property
    def key(self) -> str:
        """Where it goes in the bucket of artefacts: other content, another key."""
        return f"templates/{self.name}-{hashlib.sha256(self.body.encode()).hexdigest()[:12]}.json"

    @property
    def unit(self) -> str:
        """The last part of its name.

        >>> Template("liveshelf-dev-stores", "{}").unit
        'stores'
        """
        return self.name.rpartition("-")[2]


def synthesise(env: str, out: Path, arguments: Sequence[str] = ()) -> list[Template]:
    """Run the CDK app for an environment; the checks of the stacks are part of it.

    Raises:
        DeploymentError: it failed; the message holds what it said last.
    """
    command = [sys.executable, "-m", "deploy.cdk.app", "--env", env, "--out", str(out), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-20:])
        message = f"the stacks of {env} could not be synthesised (python -m deploy.cdk.app --env {env}):\n{tail}"
        raise DeploymentError(message)
    return read_assembly(out)


def read_assembly(folder: Path) -> list[Template]:
    """The stacks of a cloud assembly, each behind those that it needs.

    Raises:
        DeploymentError: there is no assembly, or a stack has files of its own that would have to be uploaded.
    """
    try:
        artifacts = json.loads((folder / "manifest.json").read_text())["artifacts"]
    except (OSError, ValueError, KeyError) as exc:
        message = f"{folder} is no cloud assembly ({exc}); run make synth"
        raise DeploymentError(message) from exc
    stacks = {id: each for id, each in artifacts.items() if each["type"] == "aws:cloudformation:stack"}
    needs = {id: [d for d in each.get("dependencies", ()) if d in stacks] for id, each in stacks.items()}
    return [_template(folder, id, stacks[id]) for id in TopologicalSorter(needs).static_order()]


def _template(folder: Path, id: str, artifact: Mapping[str, Any]) -> Template:
    properties = artifact["properties"]
    body = json.loads((folder / properties["templateFile"]).read_text())
    _refuse_assets(folder / f"{id}.assets.json", properties["templateFile"])
    # Deployed with the rights of whoever calls, from the bucket of artefacts: no bootstrap stack, and no check of one.
    body.get("Parameters", {}).pop("BootstrapVersion", None)
    body.get("Rules", {}).pop("CheckBootstrapVersion", None)
    for part in ("Parameters", "Rules"):
        if part in body and not body[part]:
            del body[part]
    return Template(properties.get("stackName", id), json.dumps(body, separators=(",", ":"), sort_keys=True))


def _refuse_assets(path: Path, template: str) -> None:
    files = json.loads(path.read_text()).get("files", {}) if path.is_file() else {}
    foreign = [f["source"]["path"] for f in files.values() if f["source"].get("path") != template]
    if foreign:
        message = f"{path.name} names {', '.join(foreign)}; code is uploaded by make package alone: make it an artefact"
        raise DeploymentError(message)
