"""The training's state machine, executed by moto's interpreter of the Amazon States Language.

The definition is that of the synthesised template. Calls of EMR are mocked, since nobody emulates EMR; S3, from which
outcomes are read, and SNS are moto's, so those states do what they do.
"""

import importlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial, partialmethod
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.stepfunctions.parser.backend import execution
from moto.stepfunctions.parser.backend.execution_worker import SyncExecutionWorker
from moto.stepfunctions.parser.mocking.mock_config import (
    MockedResponseReturn,
    MockedResponseThrow,
    MockTestCase,
    StateMockedResponses,
)

from batch import step
from contracts.lake import outcome_path
from deploy.cdk.machine import DAILY, HOURLY, run_input

SERVICE = "moto.stepfunctions.parser.asl.component.state.exec.state_task.service"
RETRIER = "moto.stepfunctions.parser.asl.component.common.retry.retrier_decl"
DONE = {"JobRunId": "j-1"}
LOST = ("EMR.JobFailed", "Job failed: a store did not answer")
"""AWS calls it States.TaskFailed, a name that the interpreter lets nobody throw. As a pattern it matches any."""


@dataclass
class Run:
    """What an execution did: how it ended, the states it entered, and what each task was given."""

    status: str
    states: list[str]
    inputs: dict[str, Any]
    given: dict[str, list[Any]] = field(default_factory=dict)
    waited: int = 0
    said: list[str] = field(default_factory=list)


Execute = Callable[..., Run]


def definition(deployment: Any) -> str:
    """The definition as AWS sees it, its substitutions filled in."""
    machine = deployment.one("AWS::StepFunctions::StateMachine").properties
    text: str = machine["DefinitionString"]
    for name, value in machine["DefinitionSubstitutions"].items():
        text = text.replace(f"${{{name}}}", json.dumps(str(value))[1:-1])
    assert "${" not in text
    return text


@pytest.fixture
def execute(monkeypatch: pytest.MonkeyPatch) -> Iterator[Execute]:
    """Runs a definition with mocked tasks: a list of answers a state, each a document or (error, cause)."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    waited: list[float] = []
    sdk = importlib.import_module(f"{SERVICE}.state_task_service_aws_sdk").StateTaskServiceAwsSdk
    retrier = importlib.import_module(RETRIER)
    callback = importlib.import_module(f"{SERVICE}.state_task_service_callback").StateTaskServiceCallback
    without = importlib.import_module(f"{SERVICE}.state_task_service_unsupported").StateTaskServiceUnsupported
    monkeypatch.setattr(retrier, "time", SimpleNamespace(sleep=waited.append))
    # The interpreter knows that AWS waits for these services and cannot itself; it gets the mocked answer at once.
    waits = partialmethod(callback.__init__, supported_integration_patterns={"sync"})
    monkeypatch.setattr(without, "__init__", waits)
    monkeypatch.setattr(sdk, "_normalise_response", _with_text)
    with mock_aws(config={"stepfunctions": {"execute_state_machine": True}}):
        yield partial(_execute, monkeypatch, waited)


def _with_text(service: Any, response: Any, *_: Any) -> None:
    """The body of an object as text, as AWS has it."""
    response["Body"] = response["Body"].read().decode()
    for key in set(response) - {"Body", "ETag"}:
        del response[key]


def _execute(
    monkeypatch: pytest.MonkeyPatch,
    waited: list[float],
    deployment: Any,
    mode: str,
    answers: dict[str, list[Any]],
    outcomes: dict[str, str],
) -> Run:
    worker = partial(SyncExecutionWorker, mock_test_case=_mocked(answers))
    monkeypatch.setattr(execution, "ExecutionWorker", worker)
    bucket = f"liveshelf-{deployment.name}-lake-123456789012-eu-central-1"
    s3, sns, sqs, states = (boto3.client(name) for name in ("s3", "sns", "sqs", "stepfunctions"))
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    for name, outcome in outcomes.items():
        body = json.dumps({"outcome": outcome, "status": 0, "summary": {}})
        s3.put_object(Bucket=bucket, Key=outcome_path("tea", "run-1", name), Body=body)
    topic = sns.create_topic(Name=f"liveshelf-{deployment.name}-alarms")["TopicArn"]
    queue = sqs.create_queue(QueueName="heard")["QueueUrl"]
    heard = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=heard)
    machine = states.create_state_machine(
        name="training", definition=definition(deployment), roleArn="arn:aws:iam::123456789012:role/machine"
    )["stateMachineArn"]
    run = states.start_execution(stateMachineArn=machine, name="run-1", input=json.dumps(run_input(mode, "tea")))
    history = states.get_execution_history(executionArn=run["executionArn"], maxResults=1000)["events"]
    found = Run(states.describe_execution(executionArn=run["executionArn"])["status"], [], {}, waited=len(waited))
    for event in history:
        if entered := event.get("stateEnteredEventDetails"):
            found.states.append(entered["name"])
            found.inputs[entered["name"]] = json.loads(entered["input"])
        elif scheduled := event.get("taskScheduledEventDetails"):
            parameters = json.loads(scheduled["parameters"])
            found.given.setdefault(found.states[-1], []).append(parameters)
    messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
    found.said = [json.loads(message["Body"])["Message"] for message in messages]
    return found


def _mocked(answers: dict[str, list[Any]]) -> MockTestCase:
    responses = []
    for state, given in answers.items():
        mocked = [
            MockedResponseThrow(n, n, *each) if isinstance(each, tuple) else MockedResponseReturn(n, n, each)
            for n, each in enumerate(given)
        ]
        responses.append(StateMockedResponses(state, state, mocked))
    return MockTestCase("training", "case", responses)


def words(run: Run, state: str) -> Any:
    """What a job was told, as :mod:`batch.step` reads it."""
    driver = run.given[state][-1]["JobDriver"]["SparkSubmit"]
    return step._parser().parse_args(driver["EntryPointArguments"])


def jobs(*states: str) -> dict[str, list[Any]]:
    return {state: [DONE] for state in states}


DAY = jobs("Process", "Train", "Attribute", "Verify", "Prune")
GOOD = {"train": "published", "attribute": "done", "verify": "done"}


def test_a_daily_run_processes_trains_attributes_verifies_and_prunes(dev: Any, execute: Execute) -> None:
    run = execute(dev, DAILY, DAY, GOOD)
    assert run.status == "SUCCEEDED"
    assert run.states == [
        "Mode",
        "Process",
        "Train",
        "ReadOutcome",
        "Outcome",
        "WhichMode",
        "Attribute",
        "ReadAttributed",
        "Attributed",
        "WhetherToVerify",
        "Verify",
        "ReadVerified",
        "Verified",
        "Prune",
        "Published",
    ]
    assert run.said == []
    assert run.inputs["Train"] == {"mode": "daily", "shop": "tea", "train": "[]"}
    assert run.inputs["Outcome"]["outcome"]["said"]["outcome"] == "published"


def test_every_step_gives_the_job_a_command_that_exists_with_arguments_it_takes(dev: Any, execute: Execute) -> None:
    run = execute(dev, DAILY, DAY, GOOD)
    expected = {
        "Process": "batch.compact",
        "Train": "batch.train",
        "Attribute": "batch.attribution",
        "Verify": "batch.parity",
        "Prune": "batch.models",
    }
    for state, command in expected.items():
        told = words(run, state)
        assert (told.command, told.run, told.step, told.shop) == (command, "run-1", state.lower(), "tea")
        module = importlib.import_module(command)
        module._parser().parse_args(["--shop", told.shop, *json.loads(told.arguments)])
        given = run.given[state][0]
        assert given["ApplicationId"] == "<Spark.ApplicationId>"
        assert given["JobDriver"]["SparkSubmit"]["EntryPoint"].endswith("/spark-main/not-built.py")
        assert "spark.archives=s3://" in given["JobDriver"]["SparkSubmit"]["SparkSubmitParameters"]


def test_an_hourly_run_solves_what_was_touched_and_nothing_else(dev: Any, execute: Execute) -> None:
    run = execute(dev, HOURLY, jobs("Train"), {"train": "published"})
    assert run.status == "SUCCEEDED"
    assert run.states == ["Mode", "Train", "ReadOutcome", "Outcome", "WhichMode", "WhichEnd", "Published"]
    assert json.loads(words(run, "Train").arguments) == ["--targets", "touched", "--search", "never"]


def test_a_job_that_a_lost_store_ended_is_tried_again_with_the_same_input(dev: Any, execute: Execute) -> None:
    answers = {"Train": [LOST, LOST, DONE]}
    run = execute(dev, HOURLY, answers, {"train": "published"})
    assert run.status == "SUCCEEDED"
    assert run.waited == 2
    first, *others = run.given["Train"]
    assert others == [first, first]


def test_a_refused_candidate_is_told_and_is_no_failure(dev: Any, execute: Execute) -> None:
    run = execute(dev, HOURLY, jobs("Train"), {"train": "refused"})
    assert run.status == "SUCCEEDED"
    assert run.states[-4:] == ["NotifyRefused", "WhichMode", "WhichEnd", "Refused"]
    assert run.said == ["the gate refused the candidate, the live model stays. shop tea, run run-1"]


def test_a_run_that_another_one_overtook_ends_in_peace(dev: Any, execute: Execute) -> None:
    run = execute(dev, HOURLY, jobs("Train"), {"train": "overtaken"})
    assert (run.status, run.states[-1], run.said) == ("SUCCEEDED", "Overtaken", [])


@pytest.mark.parametrize(("outcome", "end"), [("refused", "Refused"), ("overtaken", "Overtaken")])
def test_a_day_without_a_new_model_is_attributed_all_the_same(
    dev: Any, execute: Execute, outcome: str, end: str
) -> None:
    run = execute(dev, DAILY, jobs("Process", "Train", "Attribute"), {"train": outcome, "attribute": "done"})
    assert run.status == "SUCCEEDED"
    assert run.states[-5:] == ["Attribute", "ReadAttributed", "Attributed", "WhetherToVerify", end]


@pytest.mark.parametrize(
    ("attempts", "outcomes"),
    [([LOST, LOST, LOST], {}), ([DONE], {}), ([DONE], {"attribute": "invalid"})],
    ids=["fails every time", "leaves no outcome", "finds its settings invalid"],
)
def test_an_attribution_that_fails_is_told_and_does_not_fail_the_training(
    dev: Any, execute: Execute, attempts: list[Any], outcomes: dict[str, str]
) -> None:
    run = execute(dev, DAILY, DAY | {"Attribute": attempts}, {"train": "published", "verify": "done"} | outcomes)
    assert run.status == "SUCCEEDED"
    after = ["NotifyUnattributed", "WhetherToVerify", "Verify", "ReadVerified", "Verified", "Prune", "Published"]
    assert run.states[-7:] == after
    assert len(run.given["Attribute"]) == len(attempts)
    (said,) = run.said
    assert said.startswith("the attribution failed")
    assert said.endswith("shop tea, run run-1")


def test_settings_that_allow_no_training_fail_at_once(dev: Any, execute: Execute) -> None:
    run = execute(dev, HOURLY, jobs("Train"), {"train": "invalid"})
    assert run.status == "FAILED"
    assert run.states[-2:] == ["NotifyFailed", "Failed"]
    assert (run.waited, len(run.said)) == (0, 1)


def test_a_training_that_fails_every_time_is_told_and_fails(dev: Any, execute: Execute) -> None:
    run = execute(dev, DAILY, {**jobs("Process"), "Train": [LOST, LOST, LOST]}, {})
    assert run.status == "FAILED"
    assert run.states == ["Mode", "Process", "Train", "NotifyFailed", "Failed"]
    assert len(run.given["Train"]) == 3
    assert run.inputs["NotifyFailed"]["error"]["Cause"] == LOST[1]
    assert run.said == ["the training failed; its error and input are in the execution. shop tea, run run-1"]


def test_a_job_that_leaves_no_outcome_counts_as_failed(dev: Any, execute: Execute) -> None:
    run = execute(dev, HOURLY, jobs("Train"), {})
    assert run.status == "FAILED"
    assert run.states == ["Mode", "Train", "ReadOutcome", "NotifyFailed", "Failed"]


def test_live_values_that_differ_from_the_lake_are_told_and_the_model_stays_published(
    dev: Any, execute: Execute
) -> None:
    run = execute(dev, DAILY, DAY, GOOD | {"verify": "differs"})
    assert run.status == "SUCCEEDED"
    assert run.states[-4:] == ["Verified", "NotifyUnverified", "Prune", "Published"]


def test_a_training_goes_on_where_the_files_of_an_hour_could_not_be_made(dev: Any, execute: Execute) -> None:
    run = execute(dev, DAILY, DAY | {"Process": [LOST, LOST, LOST]}, GOOD)
    assert run.status == "SUCCEEDED"
    assert run.states[:3] == ["Mode", "Process", "Train"]


CLUSTER = {"CreateCluster": [{"ClusterId": "c-1", "Cluster": {"Id": "c-1"}}]}
ENDS = ("Published", "Refused", "Overtaken", "Failed")


def on_cluster(answers: dict[str, list[Any]]) -> dict[str, list[Any]]:
    return answers | CLUSTER | {f"TerminateAnd{end}": [{}] for end in ENDS}


def test_on_a_cluster_the_same_steps_run_on_one_that_is_made_and_ended(large: Any, execute: Execute) -> None:
    run = execute(large, DAILY, on_cluster(DAY), GOOD)
    assert run.status == "SUCCEEDED"
    assert (run.states[0], run.states[-2:]) == ("CreateCluster", ["TerminateAndPublished", "Published"])
    (made,) = run.given["CreateCluster"]
    assert made["ReleaseLabel"] == "emr-7.13.0"
    (bootstrap,) = made["BootstrapActions"]
    assert bootstrap["ScriptBootstrapAction"]["Path"].endswith("/spark-bootstrap/not-built.sh")
    (given,) = run.given["Train"]
    assert given["ClusterId"] == "c-1"
    submit = given["Step"]["HadoopJarStep"]["Args"]
    script = next(n for n, word in enumerate(submit) if word.endswith("not-built.py"))
    assert submit[0] == "spark-submit"
    assert step._parser().parse_args(submit[script + 1 :]).command == "batch.train"
    assert run.given["TerminateAndPublished"] == [{"ClusterId": "c-1"}]


@pytest.mark.parametrize("outcome", ["refused", "overtaken", "invalid", None])
def test_however_a_run_on_a_cluster_ends_the_cluster_ends_too(
    large: Any, execute: Execute, outcome: str | None
) -> None:
    answers = on_cluster({**jobs("Process", "Attribute"), "Train": [DONE] if outcome else [LOST, LOST, LOST]})
    run = execute(large, DAILY, answers, {"train": outcome, "attribute": "done"} if outcome else {})
    assert run.status == ("SUCCEEDED" if outcome in {"refused", "overtaken"} else "FAILED")
    assert sum(state.startswith("TerminateAnd") for state in run.states) == 1
