"""The service's image: asked for before anything needs it, deployed by its digest, and gone back to with the rest."""

import json
from typing import Any

import pytest

from contracts.errors import DeploymentError
from deploy.assembly import Template
from deploy.images import image_of
from deploy.releases import CURRENT
from deploy.up import bring_up

OLD, NEW = (f"sha256:{digit * 64}" for digit in "12")


@pytest.fixture
def place(place: Any, aws: Any) -> Any:
    """A deployment with a service, whose image is there."""
    plain = place.plain = place.templates
    host = {"Fn::Join": ["", ["1.dkr.ecr.", {"Ref": "AWS::Region"}, f"/{place.repository}:current"]]}
    parts = {
        "Task": {"Type": "AWS::ECS::TaskDefinition", "Properties": {"ContainerDefinitions": [{"Image": host}]}},
        "Service": {"Type": "AWS::ECS::Service"},
    }

    def templates(artefacts: Any) -> list[Template]:
        *others, serving = plain(artefacts)
        return [*others, Template(serving.name, json.dumps({"Resources": dict(serving.resources) | parts}))]

    place.templates = templates
    aws.application.healthy = {"flink/1.zip", "flink/2.zip"}
    push(aws, OLD)
    return place


def push(aws: Any, digest: str) -> None:
    def found(given: dict[str, Any]) -> dict[str, Any]:
        assert given == {"repositoryName": "liveshelf-dev-service", "imageIds": [{"imageTag": "current"}]}
        return {"imageDetails": [{"imageDigest": digest}]}

    aws.do_DescribeImages = found


def runs(place: Any, aws: Any) -> str | None:
    return image_of([Template("serving", aws.stacks[f"{place.prefix}-serving"].body)], place.repository)


def test_without_the_image_nothing_but_its_repository_is_made(place: Any, aws: Any) -> None:
    def lacking(given: dict[str, Any]) -> dict[str, Any]:
        raise aws.refusal(code="ImageNotFoundException")

    aws.do_DescribeImages = lacking
    with pytest.raises(DeploymentError, match=r"is not there(.|\n)*docker build (.|\n)*docker push") as told:
        place.up("1")
    assert list(aws.stacks) == [f"{place.prefix}-foundation"]
    host = f"{place.cloud.account}.dkr.ecr.{place.cloud.region}.amazonaws.com"
    assert f"-t {host}/{place.repository}:current ." in str(told.value)
    push(aws, OLD)
    place.up("1")
    assert aws.application.flows


def test_what_runs_is_named_by_its_digest(place: Any, aws: Any) -> None:
    place.up("1")
    assert runs(place, aws) == f"{place.repository}@{OLD}"


def test_a_new_image_alone_is_an_upgrade(place: Any, aws: Any, said: list[str]) -> None:
    place.up("1")
    push(aws, NEW)
    place.upgrade_to("1")
    assert runs(place, aws) == f"{place.repository}@{NEW}"
    assert f"  image     {place.repository}@{OLD} -> {place.repository}@{NEW}" in said
    key = json.loads(aws.objects[place.bucket, CURRENT])["templates"][f"{place.prefix}-serving"]
    assert NEW.encode() in aws.objects[place.bucket, key]


def test_an_upgrade_that_fails_brings_the_image_back(place: Any, aws: Any) -> None:
    place.up("1")
    push(aws, NEW)
    aws.application.healthy = {"flink/1.zip"}
    with pytest.raises(DeploymentError, match="rolled back, output flows again"):
        place.upgrade_to("2")
    assert runs(place, aws) == f"{place.repository}@{OLD}"


def test_the_image_before_is_not_named_where_it_stays(place: Any, said: list[str]) -> None:
    place.up("1")
    place.upgrade_to("2")
    assert any("  artefact  flink/1.zip -> flink/2.zip" in line for line in said)
    assert not any(line.startswith("  image") for line in said)


def test_a_dry_run_says_which_image_would_come_and_changes_nothing(place: Any, aws: Any, said: list[str]) -> None:
    place.up("1")
    push(aws, NEW)
    aws.calls.clear()
    place.upgrade_to("2", dry_run=True)
    assert f"  image     {place.repository}@{OLD} -> {place.repository}@{NEW}" in said
    assert not {"CreateChangeSet", "CreateApplicationSnapshot", "PutObject"} & set(aws.calls)


def test_a_deployment_s_first_service_gets_its_repository_before_its_image(place: Any, aws: Any) -> None:
    with_service, place.templates = place.templates, place.plain
    place.up("1")
    place.templates = with_service
    place.upgrade_to("2", dry_run=True)  # there is no repository to be asked yet
    assert "DescribeImages" not in aws.calls

    def lacking(given: dict[str, Any]) -> dict[str, Any]:
        raise aws.refusal(code="ImageNotFoundException")

    aws.do_DescribeImages = lacking
    aws.calls.clear()
    with pytest.raises(DeploymentError, match=r"is not there(.|\n)*docker push"):
        place.upgrade_to("2")
    assert "CreateChangeSet" in aws.calls, "the foundation"
    assert "CreateApplicationSnapshot" not in aws.calls
    assert runs(place, aws) is None
    push(aws, NEW)
    place.upgrade_to("2")
    assert runs(place, aws) == f"{place.repository}@{NEW}"


def test_a_rollback_that_fails_names_the_image_to_go_back_to(place: Any, aws: Any) -> None:
    place.up("1")
    push(aws, NEW)
    aws.application.healthy = set()
    with pytest.raises(DeploymentError, match=rf"By hand: (.|\n)*give {place.repository}@{OLD} the tag current again"):
        place.upgrade_to("2")


def test_templates_that_do_not_name_the_image_are_not_deployed(place: Any, aws: Any) -> None:
    plain = place.templates
    place.templates = lambda artefacts: [
        Template(each.name, each.body.replace("-service:current", "-service:latest")) for each in plain(artefacts)
    ]
    with pytest.raises(DeploymentError, match="no template names the service's image"):
        place.up("1")


def test_without_a_service_no_image_is_asked_for(aws: Any, place: Any) -> None:
    artefacts = place.built("1")
    *others, serving = place.templates(artefacts)
    plain = {"Function": serving.resources["Function"]}
    bring_up(place, artefacts, [*others, Template(serving.name, json.dumps({"Resources": plain}))], [])
    assert "DescribeImages" not in aws.calls
