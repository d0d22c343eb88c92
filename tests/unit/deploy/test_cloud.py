"""Which region a command works in."""

import pytest

from deploy.cloud import named_region


def test_a_region_is_taken_from_the_command_line_then_from_make_then_from_aws_own_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("REGION", raising=False)
    monkeypatch.delenv("AWS_REGION", raising=False)
    assert named_region() is None
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    assert named_region() == "eu-central-1"
    monkeypatch.setenv("REGION", "eu-west-1")
    assert [named_region(), named_region("us-east-1")] == ["eu-west-1", "us-east-1"]
