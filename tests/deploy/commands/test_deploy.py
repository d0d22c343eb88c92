"""deploy: in order, repeatable, and clear about what it cannot do."""

import json
from typing import Any

import pytest

from contracts.errors import DeploymentError
from deploy.releases import CURRENT
from deploy.up import bring_up, plan


def test_from_nothing_to_output_in_order(place: Any, aws: Any, said: list[str]) -> None:
    aws.application.healthy = {"flink/1.zip"}
    artefacts = place.up("1")
    assert list(aws.stacks) == [
        f"{place.prefix}-{unit}" for unit in ("foundation", "ingestion", "streaming", "serving")
    ]
    assert (place.bucket, artefacts.flink.key) in aws.objects
    assert aws.application.started == [("flink/1.zip", "SKIP_RESTORE_FROM_SNAPSHOT")]
    release = json.loads(aws.objects[place.bucket, CURRENT])
    assert (release["artefacts"]["flink"]["key"], release["words"]) == ("flink/1.zip", ["--shops", "tea"])
    assert any(line.split()[-1] == "https://api.example" for line in said)
    assert said[-1].strip().startswith("make keys ENV=dev"), "without a key nobody is answered"


def test_a_second_run_changes_nothing(place: Any, aws: Any) -> None:
    aws.application.healthy = {"flink/1.zip"}
    place.up("1")
    aws.calls.clear()
    place.up("1")
    assert not {"ExecuteChangeSet", "StartApplication"} & set(aws.calls)
    uploaded = [key for _, key in aws.objects if key.startswith("flink/")]
    assert uploaded == ["flink/1.zip"]


def test_after_a_failed_stack_the_command_names_the_cause_and_a_repetition_goes_on(place: Any, aws: Any) -> None:
    aws.application.healthy = {"flink/1.zip"}
    aws.failing = {f"{place.prefix}-streaming": "quota of KPUs exceeded"}
    with pytest.raises(DeploymentError, match=r"streaming is ROLLBACK_COMPLETE.*\n.*quota of KPUs exceeded"):
        place.up("1")
    assert (place.bucket, CURRENT) not in aws.objects
    place.up("1")  # what never worked is deleted and made anew
    assert aws.calls.count("DeleteStack") == 1
    assert aws.application.flows


def test_what_an_interrupted_run_began_is_waited_for(place: Any, aws: Any, said: list[str]) -> None:
    aws.application.healthy = {"flink/1.zip"}
    place.up("1")
    stack = aws.stacks[f"{place.prefix}-ingestion"]
    states = iter(["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"])
    describe = aws.do_DescribeStacks

    def later(given: dict[str, Any]) -> dict[str, Any]:
        if given.get("StackName") == f"{place.prefix}-ingestion":
            stack.status = next(states, "UPDATE_COMPLETE")
        return dict(describe(given))

    aws.do_DescribeStacks = later
    place.up("1")
    assert f"  {place.prefix}-ingestion: UPDATE_IN_PROGRESS, from an earlier run; waited for" in said


def test_a_stack_that_cannot_be_mended_from_here_is_left_alone(place: Any, aws: Any) -> None:
    aws.application.healthy = {"flink/1.zip"}
    place.up("1")
    aws.stacks[f"{place.prefix}-ingestion"].status = "UPDATE_ROLLBACK_FAILED"
    with pytest.raises(DeploymentError, match="continue update rollback"):
        place.up("1")


def test_a_job_that_runs_without_output_is_no_success(place: Any, aws: Any) -> None:
    with pytest.raises(DeploymentError, match="no output"):
        place.up("1")
    assert aws.application.status == "RUNNING"
    assert (place.bucket, CURRENT) not in aws.objects


def test_running_code_is_not_replaced_by_deploy(place: Any, aws: Any) -> None:
    aws.application.healthy = {"flink/1.zip"}
    place.up("1")
    with pytest.raises(DeploymentError, match="make upgrade ENV=dev"):
        place.up("2")
    assert aws.application.code == "flink/1.zip"


def test_a_file_that_is_not_what_was_built_is_not_uploaded(place: Any, aws: Any) -> None:
    artefacts = place.built("1")
    (place.root / artefacts.flink.file).write_text("other")
    with pytest.raises(DeploymentError, match="run make package again"):
        bring_up(place, artefacts, place.templates(artefacts), [])
    assert not [key for _, key in aws.objects if key.startswith("flink/")]


def test_a_dry_run_names_stacks_uploads_and_the_start(place: Any) -> None:
    artefacts = place.built("1")
    lines = "\n".join(plan(artefacts, place.templates(artefacts)))
    assert [f"{place.prefix}-streaming" in lines, artefacts.flink.key in lines, "start" in lines] == [True] * 3


def test_a_missing_permission_is_named(place: Any, aws: Any) -> None:
    aws.denied = {"CreateChangeSet"}
    with pytest.raises(DeploymentError, match=r"not authorized to perform CreateChangeSet.*make doctor"):
        place.up("1")
