"""upgrade: a snapshot first, and back by itself."""

import json
from typing import Any

import pytest

from contracts.errors import DeploymentError
from deploy.releases import CURRENT
from deploy.upgrade import upgrade


def test_an_upgrade_takes_a_snapshot_first_and_keeps_the_words(place: Any, aws: Any) -> None:
    aws.application.healthy = {"flink/1.zip", "flink/2.zip"}
    place.up("1")
    aws.calls.clear()
    asked = place.upgrade_to("2")
    order = [call for call in aws.calls if call in ("CreateApplicationSnapshot", "ExecuteChangeSet")]
    assert order[0] == "CreateApplicationSnapshot"
    assert aws.application.code == "flink/2.zip"
    release = json.loads(aws.objects[place.bucket, CURRENT])
    assert release["artefacts"]["flink"]["key"] == "flink/2.zip"
    assert release["snapshot"] in aws.application.snapshots
    assert asked == [["--shops", "tea"]]


def test_without_output_everything_goes_back_to_the_code_and_the_snapshot_before(place: Any, aws: Any) -> None:
    aws.application.healthy = {"flink/1.zip"}
    place.up("1")
    with pytest.raises(DeploymentError, match="rolled back, output flows again; why it failed: no output"):
        place.upgrade_to("2")
    (snapshot,) = aws.application.snapshots
    assert aws.application.started[-1] == ("flink/1.zip", snapshot)
    assert aws.application.flows
    assert "functions/1.zip" in aws.stacks[f"{place.prefix}-serving"].body
    assert json.loads(aws.objects[place.bucket, CURRENT])["artefacts"]["flink"]["key"] == "flink/1.zip"


def test_a_stack_that_fails_brings_the_others_back(place: Any, aws: Any) -> None:
    aws.application.healthy = {"flink/1.zip", "flink/2.zip"}
    place.up("1")
    aws.failing = {f"{place.prefix}-serving": "function too large"}
    with pytest.raises(DeploymentError, match="function too large"):
        place.upgrade_to("2")
    assert "flink/1.zip" in aws.stacks[f"{place.prefix}-streaming"].body
    assert aws.application.flows


def test_a_rollback_that_fails_says_how_to_go_on_by_hand(place: Any, aws: Any) -> None:
    aws.application.healthy = {"flink/1.zip"}
    place.up("1")
    aws.application.healthy = set()
    with pytest.raises(DeploymentError, match=r"rollback failed: (.|\n)*By hand: (.|\n)*snapshot upgrade-"):
        place.upgrade_to("2")


def test_an_upgrade_to_what_runs_does_nothing(place: Any, aws: Any) -> None:
    aws.application.healthy = {"flink/1.zip"}
    place.up("1")
    aws.calls.clear()
    place.upgrade_to("1")
    assert not {"CreateApplicationSnapshot", "ExecuteChangeSet", "CreateChangeSet"} & set(aws.calls)


def test_another_region_is_named_as_the_likely_reason(place: Any) -> None:
    with pytest.raises(DeploymentError, match=r"not deployed in eu-central-1 of account 123456789012.*AWS_REGION"):
        upgrade(place, [], dry_run=False)
