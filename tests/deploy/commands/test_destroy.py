"""destroy: what stays and what it costs, and nothing deleted that was not named."""

import json
from typing import Any

import pytest

from contracts.errors import DeploymentError
from deploy.assembly import Template
from deploy.destroy import destroy, main
from deploy.remains import Remains, delete
from deploy.up import bring_up


def test_destroy_keeps_the_data_and_the_key_and_says_what_they_cost(place: Any, aws: Any, said: list[str]) -> None:
    aws.application.healthy = {"flink/1.zip"}
    place.up("1")
    aws.answers["GetMetricStatistics"] = {"Datapoints": [{"Timestamp": aws.now(), "Average": 100e9}]}
    remains = destroy(place, delete_data=False, dry_run=False)
    assert list(aws.stacks) == [f"{place.prefix}-foundation"]
    assert {(each.kind, each.usd) for each in remains} == {("AWS::KMS::Key", 1.0), ("AWS::S3::Bucket", 2.3)}
    assert "about 3.30 a month" in said[-1]


def test_destroy_with_data_leaves_nothing(place: Any, aws: Any, said: list[str]) -> None:
    aws.application.healthy = {"flink/1.zip"}
    place.up("1")
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


def test_where_a_database_stays_the_stacks_it_is_in_stay_and_their_cost_is_said(
    place: Any, aws: Any, said: list[str]
) -> None:
    place.up_with_database()
    remains = destroy(place, delete_data=False, dry_run=False)
    assert list(aws.stacks) == [f"{place.prefix}-{unit}" for unit in ("foundation", "network", "stores")]
    assert {each.status for each in aws.stacks.values()} == {"CREATE_COMPLETE"}, "none was tried to be deleted"
    costs = {each.kind: each.usd for each in remains}
    assert costs["AWS::RDS::DBCluster"] == pytest.approx(0.5 * 730 * 0.12)
    assert costs["AWS::EC2::VPCEndpoint"] == pytest.approx(2 * 730 * 0.01)
    assert any(
        f"{place.prefix}-stores, {place.prefix}-network" in line and "the database stays" in line for line in said
    )


def test_with_data_a_database_goes_after_a_snapshot_and_the_key_stays_until_that_is_gone(
    place: Any, aws: Any, said: list[str]
) -> None:
    place.up_with_database()
    remains = destroy(place, delete_data=True, dry_run=False)
    assert aws.cluster is None
    assert list(aws.stacks) == [f"{place.prefix}-foundation"]
    assert {each.kind for each in remains} == {"AWS::KMS::Key", "AWS::RDS::DBClusterSnapshot"}
    assert "ScheduleKeyDeletion" not in aws.calls
    assert [each.kind for each in destroy(place, delete_data=True, dry_run=False)] == [each.kind for each in remains]
    aws.snapshots.clear()
    assert destroy(place, delete_data=True, dry_run=False) == []
    assert not aws.stacks
    assert aws.calls.count("ScheduleKeyDeletion") == 1


def test_what_an_earlier_destroy_kept_is_found_and_deleted_with_data(place: Any, aws: Any) -> None:
    place.up_with_database()
    aws.cluster = None
    destroy(place, delete_data=False, dry_run=False)
    assert list(aws.stacks) == [f"{place.prefix}-foundation"]
    aws.denied = {"DeleteBucket"}
    with pytest.raises(DeploymentError, match="not authorized to perform DeleteBucket"):
        destroy(place, delete_data=True, dry_run=False)
    assert list(aws.stacks) == [f"{place.prefix}-foundation"], "a repetition finds by it what is left"
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


def test_a_dry_run_of_destroy_deletes_nothing(place: Any, aws: Any) -> None:
    aws.application.healthy = {"flink/1.zip"}
    place.up("1")
    aws.answers["GetMetricStatistics"] = {"Datapoints": []}
    before = dict(aws.stacks)
    destroy(place, delete_data=False, dry_run=True)
    assert aws.stacks == before
    assert aws.application.status == "RUNNING"


def test_data_is_deleted_only_where_the_deployment_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--env", "dev", "--yes", "--delete-data", "liveshelf-large"])
    assert "expected liveshelf-dev" in capsys.readouterr().err


def test_the_key_of_images_stays_until_they_are_gone(place: Any, aws: Any) -> None:
    artefacts = place.built("1")
    found = place.templates(artefacts)
    resources = json.loads(found[0].body)["Resources"]
    resources["Images"] = {"Type": "AWS::ECR::Repository", "DeletionPolicy": "Retain"}
    found[0] = Template(found[0].name, json.dumps({"Resources": resources}))
    place.up_with_database()
    aws.cluster = None
    bring_up(place, artefacts, found, [])

    def full(given: dict[str, Any]) -> dict[str, Any]:
        raise aws.refusal(code="RepositoryNotEmptyException")

    aws.do_DeleteRepository = full
    remains = destroy(place, delete_data=True, dry_run=False)
    assert {each.kind for each in remains} == {"AWS::KMS::Key", "AWS::ECR::Repository"}
    assert "ScheduleKeyDeletion" not in aws.calls
    aws.do_DeleteRepository = lambda given: {}
    assert destroy(place, delete_data=True, dry_run=False) == []
    assert not aws.stacks
