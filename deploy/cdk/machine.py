"""The training as a state machine in the Amazon States Language: plain data, so that an interpreter can run it.

What a run does, by ``mode`` of its input::

    daily    Process (hours of features into one file each) ▸ Train ▸ Attribute (what shown lists led to)
             ▸ where a model was published: Verify (live values against the lake) ▸ Prune
    hourly   Train, of the items that new visits touched

Train is one command that loads what is new, makes its sums, solves, judges the candidate and publishes it, pointer
last; nothing is half done when it is interrupted. Its outcome is read from an object (:mod:`batch.step`):

    published   ▸ go on                  refused    ▸ notify, and succeed: the gate did its work
    overtaken   ▸ succeed                invalid    ▸ notify and fail

Attribute follows each of these that is no failure, once a day; where it fails itself that is told, and fails nothing.

``${…}`` are filled in when the machine is deployed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

from contracts.lake import outcome_path

__all__ = ["DAILY", "HOURLY", "Kind", "definition", "run_input"]

Kind = Literal["serverless", "cluster"]
State = dict[str, Any]

DAILY: Final = "daily"
HOURLY: Final = "hourly"
_TRAIN: Final[Mapping[str, Sequence[str]]] = {DAILY: (), HOURLY: ("--targets", "touched", "--search", "never")}
_MINUTES: Final = {"process": 60, "attribute": 60, "train": 360, "verify": 60, "prune": 30}
_CREATE_MINUTES: Final = 30

_AGAIN: Final = [
    {
        "ErrorEquals": ["States.TaskFailed"],
        "IntervalSeconds": 60,
        "MaxAttempts": 2,
        "BackoffRate": 2.0,
        "MaxDelaySeconds": 600,
        "JitterStrategy": "FULL",
    }
]
"""For work that a store's absence or a lost machine may end: a run is idempotent, so trying again does no harm."""
_QUICK: Final = [{**_AGAIN[0], "IntervalSeconds": 2, "MaxAttempts": 5, "MaxDelaySeconds": 60}]


def run_input(mode: str, shop: str) -> dict[str, Any]:
    """The input of an execution. ``train`` are further words of the training's command line, as one JSON list.

    >>> run_input("hourly", "default")["train"]
    '["--targets", "touched", "--search", "never"]'
    """
    words = ", ".join(f'"{word}"' for word in _TRAIN[mode])
    return {"mode": mode, "shop": shop, "train": f"[{words}]"}


def definition(kind: Kind, *, workers: int, submit: Sequence[str]) -> dict[str, Any]:
    """The machine for EMR Serverless, or for a transient cluster on EC2.

    ``workers`` and ``submit``, the words of ``spark-submit`` before the script, are those of the cluster.
    """
    make = _Steps(kind, workers, submit)
    states: dict[str, State] = {
        "Mode": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.mode", "StringEquals": HOURLY, "Next": "Train"}],
            "Default": "Process",
        },
        "Process": make.step("process", "batch.compact", "'[]'", next="Train", failed="Train"),
        "Train": make.step("train", "batch.train", "$.train", next="ReadOutcome", failed=make.end("Failed")),
        "ReadOutcome": _read("train", next="Outcome", failed=make.end("Failed")),
        "Outcome": {
            "Type": "Choice",
            "Choices": [
                _is("published", "WhichMode"),
                _is("refused", "NotifyRefused"),
                _is("overtaken", "WhichMode"),
            ],
            "Default": make.end("Failed"),
        },
        "NotifyRefused": _notify("the gate refused the candidate, the live model stays", "WhichMode"),
        "WhichMode": {
            "Type": "Choice",
            "Choices": [{"Variable": "$.mode", "StringEquals": HOURLY, "Next": "WhichEnd"}],
            "Default": "Attribute",
        },
        "WhichEnd": {"Type": "Choice", "Choices": _ends_early(make), "Default": make.end("Published")},
        "Attribute": make.step(
            "attribute", "batch.attribution", "'[]'", next="ReadAttributed", failed="NotifyUnattributed"
        ),
        "ReadAttributed": _read("attribute", result="attributed", next="Attributed", failed="NotifyUnattributed"),
        "Attributed": {
            "Type": "Choice",
            "Choices": [_is("done", "WhetherToVerify", of="attributed")],
            "Default": "NotifyUnattributed",
        },
        "NotifyUnattributed": _notify(
            "the attribution failed, so results of experiments are not new; the training is none the worse",
            "WhetherToVerify",
        ),
        "WhetherToVerify": {"Type": "Choice", "Choices": _ends_early(make), "Default": "Verify"},
        "Verify": make.step("verify", "batch.parity", "'[]'", next="ReadVerified", failed="NotifyUnverified"),
        "ReadVerified": _read("verify", result="verified", next="Verified", failed="NotifyUnverified"),
        "Verified": {
            "Type": "Choice",
            "Choices": [_is("done", "Prune", of="verified")],
            "Default": "NotifyUnverified",
        },
        "NotifyUnverified": _notify("live values are not what the lake says, or could not be compared", "Prune"),
        "Prune": make.step(
            "prune", "batch.models", """'["prune"]'""", next=make.end("Published"), failed=make.end("Published")
        ),
    }
    states |= make.ends()
    return {
        "Comment": "Liveshelf: train, judge and publish a model",
        "StartAt": make.start("Mode"),
        "TimeoutSeconds": 12 * 3600,
        "States": make.opening("Mode") | states,
    }


class _Steps:
    """How a step runs: a job of EMR Serverless, or a step of the cluster that this execution starts and ends."""

    def __init__(self, kind: Kind, workers: int, submit: Sequence[str]) -> None:
        self._cluster = kind == "cluster"
        self._workers = workers
        self._submit = submit

    def step(self, name: str, command: str, arguments: str, *, next: str, failed: str) -> State:
        words = _words(name, command, arguments)
        task = self._add_step(name, words) if self._cluster else _job(name, words)
        return task | {
            "ResultPath": None,
            "Retry": _AGAIN,
            "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": failed}],
            "Next": next,
        }

    def _add_step(self, name: str, words: Sequence[str]) -> State:
        submit = [f"'{word}'" for word in ("spark-submit", *self._submit, "${Main}")]
        step = {
            "Name": f"liveshelf-{name}",
            "ActionOnFailure": "CONTINUE",
            "HadoopJarStep": {"Jar": "command-runner.jar", "Args.$": f"States.Array({', '.join([*submit, *words])})"},
        }
        parameters = {"ClusterId.$": "$.cluster.ClusterId", "Step": step}
        return _task("elasticmapreduce:addStep.sync", parameters, _MINUTES[name])

    def start(self, first: str) -> str:
        return "CreateCluster" if self._cluster else first

    def opening(self, first: str) -> dict[str, State]:
        if not self._cluster:
            return {}
        create = _task("elasticmapreduce:createCluster.sync", _cluster(self._workers), _CREATE_MINUTES)
        failed = {"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "NotifyFailed"}
        return {
            "CreateCluster": create | {"ResultPath": "$.cluster", "Retry": _AGAIN, "Catch": [failed], "Next": first}
        }

    def end(self, name: str) -> str:
        """Where an execution goes to end so: first the cluster, if there is one."""
        if self._cluster:
            return f"TerminateAnd{name}"
        return "NotifyFailed" if name == "Failed" else name

    def ends(self) -> dict[str, State]:
        states: dict[str, State] = {name: {"Type": "Succeed"} for name in ("Published", "Refused", "Overtaken")}
        states["NotifyFailed"] = _notify("the training failed; its error and input are in the execution", "Failed")
        states["Failed"] = {"Type": "Fail", "Error": "TrainingFailed", "Cause": "see the execution's history"}
        if self._cluster:
            for name in ("Published", "Refused", "Overtaken", "Failed"):
                after = "NotifyFailed" if name == "Failed" else name
                terminate = _task(
                    "elasticmapreduce:terminateCluster", {"ClusterId.$": "$.cluster.ClusterId"}, _CREATE_MINUTES
                )
                caught = {"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "NotifyFailed"}
                states[f"TerminateAnd{name}"] = terminate | {
                    "ResultPath": None,
                    "Retry": _QUICK,
                    "Catch": [caught],
                    "Next": after,
                }
        return states


def _words(name: str, command: str, arguments: str) -> list[str]:
    """The command line of :mod:`batch.step` as arguments of ``States.Array``."""
    given = ["'--run'", "$$.Execution.Name", "'--step'", f"'{name}'", "'--shop'", "$.shop"]
    return [*given, "'--settings'", "'${Settings}'", "'--arguments'", arguments, f"'{command}'"]


def _task(action: str, parameters: Mapping[str, Any], minutes: int) -> State:
    return {
        "Type": "Task",
        "Resource": f"arn:aws:states:::{action}",
        "Parameters": dict(parameters),
        "TimeoutSeconds": minutes * 60,
    }


def _job(name: str, words: Sequence[str]) -> State:
    parameters = {
        "ApplicationId": "${ApplicationId}",
        "ExecutionRoleArn": "${JobRole}",
        "Name": f"liveshelf-{name}",
        "ExecutionTimeoutMinutes": _MINUTES[name],
        "JobDriver": {
            "SparkSubmit": {
                "EntryPoint": "${Main}",
                "EntryPointArguments.$": f"States.Array({', '.join(words)})",
                "SparkSubmitParameters": "${SparkWords}",
            }
        },
        "ConfigurationOverrides": {
            "MonitoringConfiguration": {
                "CloudWatchLoggingConfiguration": {
                    "Enabled": True,
                    "LogGroupName": "${LogGroup}",
                    "EncryptionKeyArn": "${Key}",
                }
            }
        },
    }
    # A minute later than the job's own end, so that the job is never left running behind the machine's back.
    return _task("emr-serverless:startJobRun.sync", parameters, _MINUTES[name] + 1)


def _cluster(workers: int) -> dict[str, Any]:
    """A cluster for one execution: it ends by itself after half an idle hour, should nobody end it."""
    fleet = {"InstanceType": "${InstanceType}", "Market": "ON_DEMAND"}
    return {
        "Name": "${Prefix}-training",
        "ReleaseLabel": "${Release}",
        "Applications": [{"Name": "Spark"}],
        "ServiceRole": "${ClusterRole}",
        "JobFlowRole": "${InstanceProfile}",
        "LogUri": "${LogUri}",
        "LogEncryptionKmsKeyId": "${Key}",
        "SecurityConfiguration": "${SecurityConfiguration}",
        "EbsRootVolumeSize": 50,
        "AutoTerminationPolicy": {"IdleTimeout": 1800},
        "BootstrapActions": [
            {
                "Name": "Python 3.11 and Liveshelf's libraries",
                "ScriptBootstrapAction": {"Path": "${Bootstrap}", "Args": ["${Environment}"]},
            }
        ],
        "Instances": {
            "KeepJobFlowAliveWhenNoSteps": True,
            "TerminationProtected": False,
            "Ec2SubnetId": "${Subnet}",
            "EmrManagedMasterSecurityGroup": "${ClusterGroup}",
            "EmrManagedSlaveSecurityGroup": "${ClusterGroup}",
            "ServiceAccessSecurityGroup": "${ServiceGroup}",
            "InstanceGroups": [
                {**fleet, "InstanceRole": "MASTER", "InstanceCount": 1},
                {**fleet, "InstanceRole": "CORE", "InstanceCount": workers},
            ],
        },
        "Tags": [{"Key": "liveshelf", "Value": "${Prefix}"}],
    }


def _ends_early(make: _Steps) -> list[dict[str, str]]:
    """Where a run ends that made no model live: there is nothing to verify and nothing to prune."""
    return [_is("refused", make.end("Refused")), _is("overtaken", make.end("Overtaken"))]


def _read(step: str, *, next: str, failed: str, result: str = "outcome") -> State:
    shop, run = "SHOP", "RUN"
    path = outcome_path(shop, run, step).replace(shop, "{}").replace(run, "{}")
    key = f"States.Format('{path}', $.shop, $$.Execution.Name)"
    task = _task("aws-sdk:s3:getObject", {"Bucket": "${Lake}", "Key.$": key}, 1)
    return task | {
        "ResultSelector": {"said.$": "States.StringToJson($.Body)"},
        "ResultPath": f"$.{result}",
        "Retry": _QUICK,
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": failed}],
        "Next": next,
    }


def _is(outcome: str, next: str, of: str = "outcome") -> dict[str, str]:
    return {"Variable": f"$.{of}.said.outcome", "StringEquals": outcome, "Next": next}


def _notify(what: str, next: str) -> State:
    """Say it on the topic. That nobody could be told is no reason to fail: the execution shows it."""
    message = f"States.Format('{what}. shop {{}}, run {{}}', $.shop, $$.Execution.Name)"
    parameters = {"TopicArn": "${Topic}", "Subject": "Liveshelf training", "Message.$": message}
    return _task("sns:publish", parameters, 1) | {
        "ResultPath": None,
        "Retry": _QUICK,
        "Catch": [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.unsaid", "Next": next}],
        "Next": next,
    }
