"""The keys of a deployment: one command makes the first, in the secret that its functions read."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from contracts.access import decode_keys
from contracts.settings import ServingSettings, Settings
from deploy.cdk.functions import NO_KEYS
from deploy.cloud import Cloud, connect
from deploy.keys import first_key, main, manage
from deploy.stacks import Stacks
from serving.keyring import KeyRing

NAME = "liveshelf-dev/keys"


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """An account with the secret as its stack makes it."""
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        boto3.client("secretsmanager").create_secret(Name=NAME, SecretString=NO_KEYS)
        yield connect("eu-central-1")


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stacks, "outputs", lambda _, name: {"KeysSecret": NAME} if name.endswith("-serving") else {})


def test_the_command_that_deploy_prints_makes_a_key_that_a_running_function_takes_up(
    cloud: Cloud, deployed: None, capsys: pytest.CaptureFixture[str]
) -> None:
    ring = KeyRing(Settings(aws_region="eu-central-1", serving=ServingSettings(keys=f"secret:{NAME}")))
    assert ring.configured
    command = first_key("dev")[-1].partition('ARGS="')[2].removesuffix('"')
    assert manage(cloud, "dev", command.split()) == 0
    text = capsys.readouterr().out.strip()
    assert ring.find(text) is None
    ring.refresh()
    key = ring.find(text)
    assert key is not None
    assert key.scopes == ("admin", "read", "events")
    kept = boto3.client("secretsmanager").get_secret_value(SecretId=NAME)["SecretString"]
    assert text not in kept
    assert len(decode_keys(kept.encode()).keys) == 1


def test_without_a_deployment_the_command_says_so(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nothing(*_: Any) -> dict[str, str]:
        return {}

    monkeypatch.setattr(Stacks, "outputs", nothing)
    assert main(["--env", "dev", "--", "list"]) == 1
    assert "liveshelf-dev has no secret of keys in eu-central-1" in capsys.readouterr().err
