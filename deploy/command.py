"""``make command ENV=… COMMAND="batch.models activate --previous"``: a command of the batch, run inside a deployment.

The cache is reached from inside the VPC alone, so the command runs as a job of EMR Serverless: with the role, the
archive and the settings of the training, read from the state machine that is deployed.
"""

import argparse
import json
import re
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from batch.step import COMMANDS
from contracts.errors import DeploymentError
from deploy.cdk.profiles import PROFILES
from deploy.cloud import connect, understood

__all__ = ["job_of", "main", "run_job"]

_ENDED: Final = frozenset({"SUCCESS", "FAILED", "CANCELLED"})
_POLL_S: Final = 10.0
_MINUTES: Final = 60


def job_of(definition: str, shop: str, words: Sequence[str], run: str) -> dict[str, Any]:
    """The request for a job that is the training's, with another command.

    Raises:
        DeploymentError: the machine trains on a cluster of its own, which is gone between runs.
    """
    state = json.loads(definition)["States"]["Train"]
    parameters = state["Parameters"]
    if "ApplicationId" not in parameters:
        message = (
            "this deployment trains on a transient cluster: start one with a training, or deploy with --training "
            "serverless, where commands can run at any time"
        )
        raise DeploymentError(message)
    submit = parameters["JobDriver"]["SparkSubmit"]
    settings = re.search(r"'--settings',\s*'([^']*)'", submit["EntryPointArguments.$"])
    command, *rest = words
    given = ["--run", run, "--step", "command", "--shop", shop]
    given += ["--settings", settings[1]] if settings else []
    return {
        "applicationId": parameters["ApplicationId"],
        "executionRoleArn": parameters["ExecutionRoleArn"],
        "name": f"liveshelf-{command}",
        "executionTimeoutMinutes": _MINUTES,
        "clientToken": run,
        "jobDriver": {
            "sparkSubmit": {
                "entryPoint": submit["EntryPoint"],
                "entryPointArguments": [*given, "--arguments", json.dumps(rest), command],
                "sparkSubmitParameters": submit["SparkSubmitParameters"],
            }
        },
        "configurationOverrides": _small(parameters.get("ConfigurationOverrides", {})),
    }


def _small(value: Any) -> Any:
    """The same document with the names of the API instead of those of Step Functions.

    >>> _small({"MonitoringConfiguration": [{"Enabled": True}]})
    {'monitoringConfiguration': [{'enabled': True}]}
    """
    if isinstance(value, Mapping):
        return {name[0].lower() + name[1:]: _small(each) for name, each in value.items()}
    return [_small(each) for each in value] if isinstance(value, list) else value


def run_job(
    clients: Callable[[str], Any],
    machine: str,
    shop: str,
    words: Sequence[str],
    run: str,
    say: Callable[[str], None],
    pause: Callable[[float], None] = time.sleep,
) -> bool:
    """Start the job and wait for its end; whether it succeeded. What it says is in the log group of the training.

    Raises:
        DeploymentError: AWS refused, or there is no such deployment.
    """
    with understood("run the command"):
        definition = clients("stepfunctions").describe_state_machine(stateMachineArn=machine)["definition"]
        emr, request = clients("emr-serverless"), job_of(definition, shop, words, run)
        application = request["applicationId"]
        job = emr.start_job_run(**request)["jobRunId"]
        say(f"command: job {job} of application {application}: {shlex.join(words)}")
        state = ""
        while state not in _ENDED:
            pause(_POLL_S)
            found = emr.get_job_run(applicationId=application, jobRunId=job)["jobRun"]
            if found["state"] != state:
                state = found["state"]
                say(f"command: {state.lower()} {found.get('stateDetails', '')}".rstrip())
    return state == "SUCCESS"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.command", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env", required=True, choices=sorted(PROFILES), help="which deployment")
    parser.add_argument("--shop", default="default", help="shop id (default: %(default)s)")
    parser.add_argument("words", nargs=argparse.REMAINDER, help=f"one of {', '.join(COMMANDS)}, and its arguments")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command: 0 where the job succeeded, 1 where it did not, 2 where the words are wrong."""
    given = _parser().parse_args(argv)
    words = given.words[1:] if given.words[:1] == ["--"] else given.words
    if not words or words[0] not in COMMANDS:
        print(f"command: {shlex.join(words) or 'nothing'} is not one of {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    prefix = f"liveshelf-{given.env}"
    try:
        cloud = connect()
        arn = f"arn:aws:states:{cloud.region}:{cloud.account}:stateMachine:{prefix}-training"
        run = f"command-{datetime.now(UTC):%Y%m%dT%H%M%S}"
        done = run_job(cloud.client, arn, given.shop, words, run, lambda text: print(text, flush=True))
    except DeploymentError as exc:
        print(f"command: {exc}", file=sys.stderr)
        return 1
    print(f"command: what it said is in /liveshelf/{prefix}/training, stream of the job", flush=True)
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
