"""What the commands leave in S3 and take from it, against moto, which really keeps objects and versions."""

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import boto3
import msgspec
import pytest
from moto import mock_aws

from contracts.errors import DeploymentError
from deploy.artefacts import Artefact, Artefacts
from deploy.assembly import Template
from deploy.cloud import Cloud, connect
from deploy.pages import page_files
from deploy.releases import CURRENT, Release, Releases
from deploy.remains import Remains, delete, empty
from local.paths import checkout

BUCKET = "liveshelf-dev-artefacts"


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "local")
    with mock_aws():
        made = Cloud("123456789012", "eu-central-1", boto3.session.Session(region_name="eu-central-1"))
        place = {"LocationConstraint": "eu-central-1"}
        made.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
        versions = {"Status": "Enabled"}
        made.client("s3").put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration=versions)
        yield made


def _artefacts(root: Path) -> Artefacts:
    data = b"0123456789abcdef" * 600_000  # more than one part of an upload
    (root / "x").write_bytes(data)
    each = Artefact(key="kind/x.zip", sha256=hashlib.sha256(data).hexdigest(), file="x")
    return Artefacts(**dict.fromkeys(Artefacts.__struct_fields__, each))


def test_an_artefact_is_uploaded_once_and_whole(cloud: Cloud, tmp_path: Path) -> None:
    said: list[str] = []
    releases = Releases(cloud, BUCKET, said.append)
    releases.upload(_artefacts(tmp_path), tmp_path)
    stored = cloud.client("s3").get_object(Bucket=BUCKET, Key="kind/x.zip")["Body"].read()
    assert stored == (tmp_path / "x").read_bytes()
    assert [line.rpartition(": ")[2][:8] for line in said] == ["uploaded", *["there al"] * 4]


def test_the_current_release_is_what_was_recorded_last(cloud: Cloud, tmp_path: Path) -> None:
    releases = Releases(cloud, BUCKET, lambda _: None)
    assert releases.current() is None
    template = Template("liveshelf-dev-stores", '{"Resources":{}}')
    releases.upload_templates([template])
    for minute in (1, 2):
        at = datetime(2026, 1, 1, 0, minute, tzinfo=UTC)
        release = Release(
            at=at, commit=f"c{minute}", artefacts=_artefacts(tmp_path), templates={template.name: template.key}
        )
        releases.record(release)
    assert releases.current() == release
    assert releases.template(template.name, release.templates[template.name]) == template


def test_a_damaged_record_is_an_error_with_its_place(cloud: Cloud) -> None:
    cloud.client("s3").put_object(Bucket=BUCKET, Key=CURRENT, Body=b"{")
    with pytest.raises(DeploymentError, match=f"s3://{BUCKET}/{CURRENT} cannot be read"):
        Releases(cloud, BUCKET, lambda _: None).current()


def test_a_bucket_is_deleted_with_all_versions_and_a_second_time_does_no_harm(cloud: Cloud) -> None:
    s3 = cloud.client("s3")
    for body in (b"1", b"2"):
        s3.put_object(Bucket=BUCKET, Key="a", Body=body)
    s3.delete_object(Bucket=BUCKET, Key="a")
    for _ in range(2):
        delete(cloud, Remains("AWS::S3::Bucket", BUCKET))
        empty(cloud, BUCKET)
    assert s3.list_buckets()["Buckets"] == []


def test_a_protected_table_is_deleted_where_that_was_asked_for(cloud: Cloud) -> None:
    api = cloud.client("dynamodb")
    api.create_table(
        TableName="liveshelf-dev",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
        DeletionProtectionEnabled=True,
    )
    delete(cloud, Remains("AWS::DynamoDB::Table", "liveshelf-dev"))
    assert api.list_tables()["TableNames"] == []


def test_pages_lie_under_the_paths_of_the_local_service() -> None:
    found = page_files(checkout())
    assert {"index.html", "control", "docs", "favicon.ico", "static/api.js", "static/swagger/swagger-ui.css"} <= set(
        found
    )
    assert found["control"].name == "control.html"


def test_the_libraries_that_pages_draw_with_are_uploaded_and_pages_without_them_are_not(tmp_path: Path) -> None:
    served = json.loads((checkout() / "serving" / "web" / "package.json").read_bytes())["served"]
    assert {f"static/lib/{name}" for name in [*served["files"], "icons.svg"]} <= set(page_files(checkout()))
    (tmp_path / "serving" / "static").mkdir(parents=True)
    with pytest.raises(DeploymentError, match=r"python -m local\.libraries"):
        page_files(tmp_path)


def test_the_account_is_whose_the_credentials_are(cloud: Cloud) -> None:
    found = connect("eu-west-1")
    assert (found.account, found.region) == ("123456789012", "eu-west-1")


def test_a_release_keeps_its_form() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    release = Release(at=at, commit="c", artefacts=Artefacts(), templates={"s": "k"}, words=["--aurora"], snapshot="x")
    assert msgspec.json.decode(msgspec.json.encode(release), type=Release) == release
