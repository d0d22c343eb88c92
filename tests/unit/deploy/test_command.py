"""A command inside a deployment: the training's own job with other words, in the form that the service takes."""

import json
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from contracts.errors import DeploymentError
from deploy.cdk.machine import definition
from deploy.command import job_of, main, run_job

MACHINE = "arn:aws:states:eu-central-1:123456789012:stateMachine:liveshelf-dev-training"
JOB = "arn:aws:emr-serverless:eu-central-1:123456789012:/applications/00abc123/jobruns/00job"
ROLE = "arn:aws:iam::123456789012:role/job"
WORDS = ["batch.models", "activate", "--previous"]


def deployed(kind: Any = "serverless") -> str:
    """The definition as it is deployed, with what CloudFormation fills in."""
    text = json.dumps(definition(kind, workers=2, submit=["--deploy-mode", "cluster"]))
    filled = {"ApplicationId": "00abc123", "JobRole": "arn:aws:iam::123456789012:role/job", "Settings": "c2V0dGluZ3M="}
    filled |= {"Main": "s3://artefacts/main.py", "SparkWords": "--conf a=b", "LogGroup": "/liveshelf/x/training"}
    filled |= {"Key": "arn:aws:kms:eu-central-1:123456789012:key/k"}
    for name, value in filled.items():
        text = text.replace(f"${{{name}}}", value)
    return text


def client(service: str) -> tuple[Any, Stubber]:
    made = boto3.client(service, region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="y")
    return made, Stubber(made)


def run(*states: str) -> tuple[bool, list[str]]:
    machines, asked = client("stepfunctions")
    emr, jobs = client("emr-serverless")
    described = {"name": "m", "stateMachineArn": MACHINE, "roleArn": "r", "type": "STANDARD", "creationDate": 0}
    asked.add_response("describe_state_machine", described | {"definition": deployed()}, {"stateMachineArn": MACHINE})
    started = {"applicationId": "00abc123", "jobRunId": "00job", "arn": JOB}
    jobs.add_response("start_job_run", started, job_of(deployed(), "tea", WORDS, "run1"))
    for state in states:
        found = {"applicationId": "00abc123", "jobRunId": "00job", "arn": JOB, "createdBy": ROLE, "createdAt": 0}
        found |= {
            "updatedAt": 0,
            "executionRole": ROLE,
            "state": state,
            "stateDetails": "-",
            "releaseLabel": "emr-7.13.0",
        }
        jobs.add_response("get_job_run", {"jobRun": found | {"jobDriver": {"sparkSubmit": {"entryPoint": "s3://x"}}}})
    said: list[str] = []
    with asked, jobs:
        clients = {"stepfunctions": machines, "emr-serverless": emr}
        done = run_job(clients.__getitem__, MACHINE, "tea", WORDS, "run1", said.append, lambda _: None)
    jobs.assert_no_pending_responses()
    return done, said


def test_the_job_is_the_trainings_with_other_words() -> None:
    driver = job_of(deployed(), "tea", WORDS, "run1")["jobDriver"]["sparkSubmit"]
    assert driver["entryPointArguments"] == [
        *("--run", "run1", "--step", "command", "--shop", "tea", "--settings", "c2V0dGluZ3M="),
        *("--arguments", '["activate", "--previous"]', "batch.models"),
    ]
    assert (driver["entryPoint"], driver["sparkSubmitParameters"]) == ("s3://artefacts/main.py", "--conf a=b")


def test_each_state_is_told_once_and_the_end_decides() -> None:
    done, said = run("SUBMITTED", "RUNNING", "RUNNING", "SUCCESS")
    assert done
    assert said[1:] == ["command: submitted -", "command: running -", "command: success -"]
    assert not run("FAILED")[0]


def test_where_there_is_only_a_transient_cluster_it_says_what_to_do() -> None:
    with pytest.raises(DeploymentError, match=r"transient cluster.*--training serverless"):
        job_of(deployed("cluster"), "tea", WORDS, "run1")


def test_what_is_no_command_of_the_batch_is_refused_before_aws_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--env", "dev", "--", "rm", "-rf"]) == 2
    assert "rm -rf is not one of batch.attribution, batch.compact" in capsys.readouterr().err
