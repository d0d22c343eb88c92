"""What every command says where it does not know the region, or who asks."""

import importlib
from typing import Any

import pytest
from botocore.exceptions import NoCredentialsError

from deploy.destroy import main


@pytest.mark.parametrize("command", ["deploy.command", "deploy.keys", "deploy.doctor", "deploy.destroy"])
def test_every_command_takes_the_region_of_make(command: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("REGION", "eu-west-1")
    words = {"deploy.command": ["batch.models"], "deploy.keys": ["list"], "deploy.destroy": ["--dry-run"]}
    assert importlib.import_module(command).main(["--env", "dev", *words.get(command, [])]) != 0
    said = "".join(capsys.readouterr())
    assert "redentials" in said
    assert "egion is set" not in said


def test_without_credentials_the_command_says_how_to_log_in(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none(*_: Any, **__: Any) -> Any:
        raise NoCredentialsError

    monkeypatch.setattr("deploy.cloud.boto3.session.Session", none)
    assert main(["--env", "dev", "--yes"]) == 1
    assert "aws configure" in capsys.readouterr().err
