"""deploy, upgrade and destroy: in order, repeatable, back by themselves, and clear about what they cannot do."""

import hashlib
import importlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from botocore.exceptions import NoCredentialsError

import deploy.upgrade
from contracts.errors import DeploymentError
from deploy.artefacts import Artefact, Artefacts
from deploy.assembly import Template
from deploy.deployment import Deployment
from deploy.destroy import destroy
from deploy.releases import CURRENT
from deploy.remains import Remains, delete
from deploy.up import bring_up, plan
from deploy.upgrade import upgrade

PREFIX = "liveshelf-dev"
BUCKET = f"{PREFIX}-artefacts"


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


fake = _load("fake_aws")


class Place(Deployment):
    """A deployment whose output flows where the fake says so: the probe itself is tested on a real stream."""

    aws: Any

    def check_output(self, seconds: float = 900) -> None:
        if not self.aws.application.flows:
            message = "no output for the event"
            raise DeploymentError(message)


@pytest.fixture
def aws() -> Any:
    return fake.FakeAws()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def place(aws: Any, said: list[str], tmp_path: Path) -> Place:
    ticks = iter(range(10**9))
    found = Place("dev", aws.cloud(), said.append, lambda _: None, lambda: float(next(ticks)), tmp_path)
    found.aws = aws
    aws.outputs = {
        f"{PREFIX}-foundation": {"ArtefactBucket": BUCKET},
        f"{PREFIX}-serving": {"ApiUrl": "https://api.example"},
    }
    return found


def built(root: Path, version: str) -> Artefacts:
    def artefact(kind: str) -> Artefact:
        data = f"{kind} {version}".encode()
        file = root / f"{kind}-{version}"
        file.write_bytes(data)
        return Artefact(key=f"{kind}/{version}.zip", sha256=hashlib.sha256(data).hexdigest(), file=file.name)

    return Artefacts(
        flink=artefact("flink"),
        spark_environment=artefact("spark-environment"),
        spark_main=artefact("spark-main"),
        spark_bootstrap=artefact("spark-bootstrap"),
        functions=artefact("functions"),
    )


def templates(artefacts: Artefacts) -> list[Template]:
    def stack(unit: str, **resources: Any) -> Template:
        return Template(f"{PREFIX}-{unit}", json.dumps({"Resources": resources}))

    content = {"S3ContentLocation": {"FileKey": artefacts.flink.key}}
    configuration = {"ApplicationCodeConfiguration": {"CodeContent": content}}
    properties = {"ApplicationConfiguration": configuration}
    code = {"Type": "AWS::KinesisAnalyticsV2::Application", "Properties": properties}
    function = {"Type": "AWS::Lambda::Function", "Properties": {"Key": artefacts.functions.key}}
    key = {"Type": "AWS::KMS::Key", "DeletionPolicy": "Retain"}
    lake = {"Type": "AWS::S3::Bucket", "DeletionPolicy": "Retain"}
    return [
        stack("foundation", Key=key),
        stack("ingestion", Lake=lake, Role={"Type": "AWS::IAM::Role"}),
        stack("streaming", Application=code),
        stack("serving", Function=function),
    ]


def up(place: Place, version: str) -> Artefacts:
    artefacts = built(place.root, version)
    bring_up(place, artefacts, templates(artefacts), ["--shops", "tea"])
    return artefacts


def go_up(place: Place, monkeypatch: pytest.MonkeyPatch, version: str) -> list[list[str]]:
    artefacts, asked = built(place.root, version), []

    def prepared(env: str, words: list[str]) -> Any:
        asked.append(words)
        return artefacts, templates(artefacts)

    monkeypatch.setattr(deploy.upgrade, "prepared", prepared)
    upgrade(place, [], dry_run=False)
    return asked


# --- deploy -------------------------------------------------------------------------------------------------------


def test_from_nothing_to_output_in_order(place: Place, aws: Any, said: list[str]) -> None:
    aws.application.healthy = {"flink/1.zip"}
    artefacts = up(place, "1")
    assert list(aws.stacks) == [f"{PREFIX}-{unit}" for unit in ("foundation", "ingestion", "streaming", "serving")]
    assert (BUCKET, artefacts.flink.key) in aws.objects
    assert aws.application.started == [("flink/1.zip", "SKIP_RESTORE_FROM_SNAPSHOT")]
    release = json.loads(aws.objects[BUCKET, CURRENT])
    assert (release["artefacts"]["flink"]["key"], release["words"]) == ("flink/1.zip", ["--shops", "tea"])
    assert any(line.split()[-1] == "https://api.example" for line in said)
    assert said[-1].strip().startswith("make keys ENV=dev"), "without a key nobody is answered"


def test_a_second_run_changes_nothing(place: Place, aws: Any) -> None:
    aws.application.healthy = {"flink/1.zip"}
    up(place, "1")
    aws.calls.clear()
    up(place, "1")
    assert not {"ExecuteChangeSet", "StartApplication"} & set(aws.calls)
    uploaded = [key for _, key in aws.objects if key.startswith("flink/")]
    assert uploaded == ["flink/1.zip"]


def test_after_a_failed_stack_the_command_names_the_cause_and_a_repetition_goes_on(place: Place, aws: Any) -> None:
    aws.application.healthy = {"flink/1.zip"}
    aws.failing = {f"{PREFIX}-streaming": "quota of KPUs exceeded"}
    with pytest.raises(DeploymentError, match=r"streaming is ROLLBACK_COMPLETE.*\n.*quota of KPUs exceeded"):
        up(place, "1")
    assert (BUCKET, CURRENT) not in aws.objects
    up(place, "1")  # what never worked is deleted and made anew
    assert aws.calls.count("DeleteStack") == 1
    assert aws.application.flows


def test_without_the_service_s_image_nothing_but_its_repository_is_made(place: Place, aws: Any) -> None:
    aws.application.healthy = {"flink/1.zip"}
    artefacts = built(place.root, "1")
    found = templates(artefacts)
    found[-1] = Template(found[-1].name, json.dumps({"Resources": {"Service": {"Type": "AWS::ECS::Service"}}}))

    def lacking(given: dict[str, Any]) -> dict[str, Any]:
        assert given == {"repositoryName": f"{PREFIX}-service", "imageIds": [{"imageTag": "current"}]}
        raise fake.refusal(code="ImageNotFoundException")

    aws.do_DescribeImages = lacking
    with pytest.raises(DeploymentError, match=r"is not there(.|\n)*docker build (.|\n)*docker push") as told:
        bring_up(place, artefacts, found, [])
    assert list(aws.stacks) == [f"{PREFIX}-foundation"]
    assert f"-t {fake.ACCOUNT}.dkr.ecr.{fake.REGION}.amazonaws.com/{PREFIX}-service:current ." in str(told.value)
    aws.do_DescribeImages = lambda given: {"imageDetails": [{}]}
    bring_up(place, artefacts, found, [])
    assert aws.application.flows


def test_what_an_interrupted_run_began_is_waited_for(place: Place, aws: Any, said: list[str]) -> None:
    aws.application.healthy = {"flink/1.zip"}
    up(place, "1")
    stack = aws.stacks[f"{PREFIX}-ingestion"]
    states = iter(["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"])
    describe = aws.do_DescribeStacks

    def later(given: dict[str, Any]) -> dict[str, Any]:
        if given.get("StackName") == f"{PREFIX}-ingestion":
            stack.status = next(states, "UPDATE_COMPLETE")
        return dict(describe(given))

    aws.do_DescribeStacks = later
    up(place, "1")
    assert f"  {PREFIX}-ingestion: UPDATE_IN_PROGRESS, from an earlier run; waited for" in said


def test_a_stack_that_cannot_be_mended_from_here_is_left_alone(place: Place, aws: Any) -> None:
    aws.application.healthy = {"flink/1.zip"}
    up(place, "1")
    aws.stacks[f"{PREFIX}-ingestion"].status = "UPDATE_ROLLBACK_FAILED"
    with pytest.raises(DeploymentError, match="continue update rollback"):
        up(place, "1")


def test_a_job_that_runs_without_output_is_no_success(place: Place, aws: Any) -> None:
    with pytest.raises(DeploymentError, match="no output"):
        up(place, "1")
    assert aws.application.status == "RUNNING"
    assert (BUCKET, CURRENT) not in aws.objects


def test_running_code_is_not_replaced_by_deploy(place: Place, aws: Any) -> None:
    aws.application.healthy = {"flink/1.zip"}
    up(place, "1")
    with pytest.raises(DeploymentError, match="make upgrade ENV=dev"):
        up(place, "2")
    assert aws.application.code == "flink/1.zip"


def test_a_file_that_is_not_what_was_built_is_not_uploaded(place: Place, aws: Any) -> None:
    artefacts = built(place.root, "1")
    (place.root / artefacts.flink.file).write_text("other")
    with pytest.raises(DeploymentError, match="run make package again"):
        bring_up(place, artefacts, templates(artefacts), [])
    assert not [key for _, key in aws.objects if key.startswith("flink/")]


def test_a_dry_run_names_stacks_uploads_and_the_start(place: Place) -> None:
    artefacts = built(place.root, "1")
    lines = "\n".join(plan(artefacts, templates(artefacts)))
    assert [f"{PREFIX}-streaming" in lines, artefacts.flink.key in lines, "start" in lines] == [True] * 3


# --- upgrade ------------------------------------------------------------------------------------------------------


def test_an_upgrade_takes_a_snapshot_first_and_keeps_the_words(
    place: Place, aws: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.application.healthy = {"flink/1.zip", "flink/2.zip"}
    up(place, "1")
    aws.calls.clear()
    asked = go_up(place, monkeypatch, "2")
    order = [call for call in aws.calls if call in ("CreateApplicationSnapshot", "ExecuteChangeSet")]
    assert order[0] == "CreateApplicationSnapshot"
    assert aws.application.code == "flink/2.zip"
    release = json.loads(aws.objects[BUCKET, CURRENT])
    assert release["artefacts"]["flink"]["key"] == "flink/2.zip"
    assert release["snapshot"] in aws.application.snapshots
    assert asked == [["--shops", "tea"]]


def test_without_output_everything_goes_back_to_the_code_and_the_snapshot_before(
    place: Place, aws: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.application.healthy = {"flink/1.zip"}
    up(place, "1")
    with pytest.raises(DeploymentError, match="rolled back, output flows again; why it failed: no output"):
        go_up(place, monkeypatch, "2")
    (snapshot,) = aws.application.snapshots
    assert aws.application.started[-1] == ("flink/1.zip", snapshot)
    assert aws.application.flows
    assert "functions/1.zip" in aws.stacks[f"{PREFIX}-serving"].body
    assert json.loads(aws.objects[BUCKET, CURRENT])["artefacts"]["flink"]["key"] == "flink/1.zip"


def test_a_stack_that_fails_brings_the_others_back(place: Place, aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    aws.application.healthy = {"flink/1.zip", "flink/2.zip"}
    up(place, "1")
    aws.failing = {f"{PREFIX}-serving": "function too large"}
    with pytest.raises(DeploymentError, match="function too large"):
        go_up(place, monkeypatch, "2")
    assert "flink/1.zip" in aws.stacks[f"{PREFIX}-streaming"].body
    assert aws.application.flows


def test_a_rollback_that_fails_says_how_to_go_on_by_hand(
    place: Place, aws: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws.application.healthy = {"flink/1.zip"}
    up(place, "1")
    aws.application.healthy = set()
    with pytest.raises(DeploymentError, match=r"rollback failed: (.|\n)*By hand: (.|\n)*snapshot upgrade-"):
        go_up(place, monkeypatch, "2")


def test_an_upgrade_to_what_runs_does_nothing(place: Place, aws: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    aws.application.healthy = {"flink/1.zip"}
    up(place, "1")
    aws.calls.clear()
    go_up(place, monkeypatch, "1")
    assert not {"CreateApplicationSnapshot", "ExecuteChangeSet", "CreateChangeSet"} & set(aws.calls)


def test_another_region_is_named_as_the_likely_reason(place: Place) -> None:
    with pytest.raises(DeploymentError, match=r"not deployed in eu-central-1 of account 123456789012.*AWS_REGION"):
        upgrade(place, [], dry_run=False)


# --- destroy ------------------------------------------------------------------------------------------------------


def test_destroy_keeps_the_data_and_the_key_and_says_what_they_cost(place: Place, aws: Any, said: list[str]) -> None:
    aws.application.healthy = {"flink/1.zip"}
    up(place, "1")
    aws.answers["GetMetricStatistics"] = {"Datapoints": [{"Timestamp": aws.now(), "Average": 100e9}]}
    remains = destroy(place, delete_data=False, dry_run=False)
    assert list(aws.stacks) == [f"{PREFIX}-foundation"]
    assert {(each.kind, each.usd) for each in remains} == {("AWS::KMS::Key", 1.0), ("AWS::S3::Bucket", 2.3)}
    assert "about 3.30 a month" in said[-1]


def test_destroy_with_data_leaves_nothing(place: Place, aws: Any, said: list[str]) -> None:
    aws.application.healthy = {"flink/1.zip"}
    up(place, "1")
    marked = {"Key": "a", "VersionId": "1"}
    aws.answers |= {
        "ListObjectVersions": {"Versions": [marked], "IsTruncated": False},
        "DeleteObjects": {},
        "DeleteBucket": {},
        "DescribeKey": {"KeyMetadata": {"KeyId": "k", "KeyState": "Enabled"}},
        "ScheduleKeyDeletion": {},
    }
    assert destroy(place, delete_data=True, dry_run=False) == []
    assert not aws.stacks
    assert {"DeleteObjects", "DeleteBucket", "ScheduleKeyDeletion"} <= set(aws.calls)
    assert said[-1] == "nothing remains"


def up_with_database(place: Place, aws: Any) -> None:
    artefacts = built(place.root, "1")
    foundation, *rest = templates(artefacts)
    endpoint = {"VpcEndpointType": "Interface", "SubnetIds": ["a", "b"]}
    parts = {
        "network": {
            "Subnet": {"Type": "AWS::EC2::Subnet"},
            "Kms": {"Type": "AWS::EC2::VPCEndpoint", "Properties": endpoint},
        },
        "stores": {
            "Database": {"Type": "AWS::RDS::DBCluster", "DeletionPolicy": "Retain"},
            "DatabaseWriter": {"Type": "AWS::RDS::DBInstance", "DeletionPolicy": "Retain"},
            "DatabaseSubnets": {"Type": "AWS::RDS::DBSubnetGroup"},
        },
    }
    made = [Template(f"{PREFIX}-{unit}", json.dumps({"Resources": found})) for unit, found in parts.items()]
    aws.application.healthy = {"flink/1.zip"}
    bring_up(place, artefacts, [foundation, *made, *rest], [])
    aws.cluster = {
        "DBClusterIdentifier": PREFIX,
        "Status": "available",
        "DeletionProtection": True,
        "DBClusterMembers": [{"DBInstanceIdentifier": "writer"}],
        "ServerlessV2ScalingConfiguration": {"MinCapacity": 0.5, "MaxCapacity": 4.0},
    }
    aws.answers |= {
        "GetMetricStatistics": {"Datapoints": []},
        "ListObjectVersions": {"IsTruncated": False},
        "DeleteBucket": {},
        "DescribeKey": {"KeyMetadata": {"KeyId": "k", "KeyState": "Enabled"}},
        "ScheduleKeyDeletion": {},
    }


def test_where_a_database_stays_the_stacks_it_is_in_stay_and_their_cost_is_said(
    place: Place, aws: Any, said: list[str]
) -> None:
    up_with_database(place, aws)
    remains = destroy(place, delete_data=False, dry_run=False)
    assert list(aws.stacks) == [f"{PREFIX}-{unit}" for unit in ("foundation", "network", "stores")]
    assert {each.status for each in aws.stacks.values()} == {"CREATE_COMPLETE"}, "none was tried to be deleted"
    costs = {each.kind: each.usd for each in remains}
    assert costs["AWS::RDS::DBCluster"] == pytest.approx(0.5 * 730 * 0.12)
    assert costs["AWS::EC2::VPCEndpoint"] == pytest.approx(2 * 730 * 0.01)
    assert any(f"{PREFIX}-stores, {PREFIX}-network" in line and "the database stays" in line for line in said)


def test_with_data_a_database_goes_after_a_snapshot_and_the_key_stays_until_that_is_gone(
    place: Place, aws: Any, said: list[str]
) -> None:
    up_with_database(place, aws)
    remains = destroy(place, delete_data=True, dry_run=False)
    assert aws.cluster is None
    assert list(aws.stacks) == [f"{PREFIX}-foundation"]
    assert {each.kind for each in remains} == {"AWS::KMS::Key", "AWS::RDS::DBClusterSnapshot"}
    assert "ScheduleKeyDeletion" not in aws.calls
    assert [each.kind for each in destroy(place, delete_data=True, dry_run=False)] == [each.kind for each in remains]
    aws.snapshots.clear()
    assert destroy(place, delete_data=True, dry_run=False) == []
    assert not aws.stacks
    assert aws.calls.count("ScheduleKeyDeletion") == 1


def test_the_key_of_images_stays_until_they_are_gone(place: Place, aws: Any) -> None:
    artefacts = built(place.root, "1")
    found = templates(artefacts)
    resources = json.loads(found[0].body)["Resources"]
    resources["Images"] = {"Type": "AWS::ECR::Repository", "DeletionPolicy": "Retain"}
    found[0] = Template(found[0].name, json.dumps({"Resources": resources}))
    up_with_database(place, aws)
    aws.cluster = None
    bring_up(place, artefacts, found, [])

    def full(given: dict[str, Any]) -> dict[str, Any]:
        raise fake.refusal(code="RepositoryNotEmptyException")

    aws.do_DeleteRepository = full
    remains = destroy(place, delete_data=True, dry_run=False)
    assert {each.kind for each in remains} == {"AWS::KMS::Key", "AWS::ECR::Repository"}
    assert "ScheduleKeyDeletion" not in aws.calls
    aws.do_DeleteRepository = lambda given: {}
    assert destroy(place, delete_data=True, dry_run=False) == []
    assert not aws.stacks


def test_what_an_earlier_destroy_kept_is_found_and_deleted_with_data(place: Place, aws: Any) -> None:
    up_with_database(place, aws)
    aws.cluster = None
    destroy(place, delete_data=False, dry_run=False)
    assert list(aws.stacks) == [f"{PREFIX}-foundation"]
    aws.denied = {"DeleteBucket"}
    with pytest.raises(DeploymentError, match="not authorized to perform DeleteBucket"):
        destroy(place, delete_data=True, dry_run=False)
    assert list(aws.stacks) == [f"{PREFIX}-foundation"], "a repetition finds by it what is left"
    aws.denied = set()
    assert destroy(place, delete_data=True, dry_run=False) == []
    assert not aws.stacks


def test_a_deleted_secret_frees_its_name_at_once(aws: Any) -> None:
    asked: list[dict[str, Any]] = []

    def deleted(given: dict[str, Any]) -> dict[str, Any]:
        asked.append(given)
        return {}

    aws.do_DeleteSecret = deleted
    delete(aws.cloud(), Remains("AWS::SecretsManager::Secret", "liveshelf-dev/keys"))
    assert asked == [{"SecretId": "liveshelf-dev/keys", "ForceDeleteWithoutRecovery": True}]


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


def test_a_dry_run_of_destroy_deletes_nothing(place: Place, aws: Any) -> None:
    aws.application.healthy = {"flink/1.zip"}
    up(place, "1")
    aws.answers["GetMetricStatistics"] = {"Datapoints": []}
    before = dict(aws.stacks)
    destroy(place, delete_data=False, dry_run=True)
    assert aws.stacks == before
    assert aws.application.status == "RUNNING"


def test_a_missing_permission_is_named(place: Place, aws: Any) -> None:
    aws.denied = {"CreateChangeSet"}
    with pytest.raises(DeploymentError, match=r"not authorized to perform CreateChangeSet.*make doctor"):
        up(place, "1")


def test_without_credentials_the_command_says_how_to_log_in(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from deploy.destroy import main

    def none(*_: Any, **__: Any) -> Any:
        raise NoCredentialsError

    monkeypatch.setattr("deploy.cloud.boto3.session.Session", none)
    assert main(["--env", "dev", "--yes"]) == 1
    assert "aws configure" in capsys.readouterr().err


def test_data_is_deleted_only_where_the_deployment_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    from deploy.destroy import main

    with pytest.raises(SystemExit):
        main(["--env", "dev", "--yes", "--delete-data", "liveshelf-large"])
    assert "expected liveshelf-dev" in capsys.readouterr().err
