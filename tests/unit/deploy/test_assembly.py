"""A cloud assembly becomes templates that CloudFormation can take without the CDK's own machinery."""

import json
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import DeploymentError
from deploy.assembly import read_assembly

BOOTSTRAP = {
    "Parameters": {"BootstrapVersion": {"Type": "AWS::SSM::Parameter::Value<String>"}},
    "Rules": {"CheckBootstrapVersion": {"Assertions": []}},
    "Resources": {"Key": {"Type": "AWS::KMS::Key"}},
}


def assembly(folder: Path, stacks: dict[str, list[str]], files: dict[str, str] | None = None) -> Path:
    artifacts: dict[str, Any] = {"Tree": {"type": "cdk:tree"}}
    for id, needs in stacks.items():
        (folder / f"{id}.template.json").write_text(json.dumps(BOOTSTRAP))
        properties = {"templateFile": f"{id}.template.json", "stackName": f"liveshelf-dev-{id}"}
        needed = [f"{id}.assets", *needs]
        artifacts[id] = {"type": "aws:cloudformation:stack", "properties": properties, "dependencies": needed}
        found = {"t": f"{id}.template.json", **(files or {})}
        assets = {"files": {key: {"source": {"path": path}} for key, path in found.items()}}
        (folder / f"{id}.assets.json").write_text(json.dumps(assets))
    (folder / "manifest.json").write_text(json.dumps({"artifacts": artifacts}))
    return folder


def test_each_stack_comes_behind_what_it_needs(tmp_path: Path) -> None:
    found = read_assembly(assembly(tmp_path, {"serving": ["stores", "network"], "stores": ["network"], "network": []}))
    assert [each.unit for each in found] == ["network", "stores", "serving"]
    assert found[0].name == "liveshelf-dev-network"


def test_what_only_a_bootstrap_is_for_is_left_out(tmp_path: Path) -> None:
    (found,) = read_assembly(assembly(tmp_path, {"stores": []}))
    assert found.content == {"Resources": {"Key": {"Type": "AWS::KMS::Key"}}}


def test_other_content_has_another_key_and_equal_content_the_same(tmp_path: Path) -> None:
    (first,) = read_assembly(assembly(tmp_path, {"stores": []}))
    path = tmp_path / "stores.template.json"
    path.write_text(json.dumps(dict(reversed(BOOTSTRAP.items())), indent=7))
    assert read_assembly(tmp_path)[0].key == first.key
    path.write_text(json.dumps(BOOTSTRAP | {"Resources": {}}))
    assert read_assembly(tmp_path)[0].key != first.key


def test_code_inside_a_stack_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match=r"stores.assets.json names asset.abc.*make it an artefact"):
        read_assembly(assembly(tmp_path, {"stores": []}, {"code": "asset.abc"}))


def test_where_nothing_was_synthesised_it_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match="run make synth"):
        read_assembly(tmp_path)
