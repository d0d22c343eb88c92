"""A deployment brings its popular items along, and shows them where no store answers."""

import json
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import msgspec
import pytest
from moto import mock_aws

from contracts.baked import Baked, baked_name, decode_baked, encode_baked
from contracts.errors import PackagingError
from contracts.items import Item, encode_catalogue
from contracts.lake import catalogue_path
from contracts.settings import ENVIRONMENT_VARIABLE, Settings, to_properties
from deploy.artefacts import Artefacts
from deploy.bake import fetch, keep
from deploy.cloud import connect
from deploy.deployment import Deployment
from deploy.functions_zip import baked_entries, build_functions_zip
from deploy.releases import CURRENT, Release
from deploy.stacks import Stacks
from local.gateway import event_of
from local.paths import checkout

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BAKED = Baked(
    shop_id="default",
    model_version="v1",
    made_at=NOW,
    items=[Item(item_id=f"I{i}", title=f"Item {i}", category="tea", price=1.0) for i in range(3)],
)


@pytest.fixture
def closed() -> Iterator[int]:
    """A port at which nobody listens, and nobody else will: it is taken."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


_INVOKE = """
import json, sys
task, event = sys.argv[1:]
sys.path[:] = [task, *(path for path in sys.path if not path.endswith("-packages"))]
from serving.functions import recommend
print(json.dumps(recommend(json.loads(event), None)))
"""


def test_a_zip_with_baked_items_answers_with_them_where_no_store_answers_and_draws_the_pages(
    closed: int, clean: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    keep(tmp_path / "baked", BAKED)
    build_functions_zip(checkout(), tmp_path / "functions.zip", baked=tmp_path / "baked", level=1)
    with zipfile.ZipFile(tmp_path / "functions.zip") as archive:
        archive.extractall(tmp_path / "task")
    served = json.loads((checkout() / "serving" / "web" / "package.json").read_bytes())["served"]
    for name in [*served["files"], "icons.svg"]:
        assert (tmp_path / "task" / "serving" / "static" / "lib" / name).is_file(), name
    settings = Settings(redis_nodes=(("127.0.0.1", closed),), aws_endpoint=f"http://127.0.0.1:{closed}")
    environment = {
        ENVIRONMENT_VARIABLE: json.dumps(to_properties(settings)),
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
    }
    event = event_of("GET", "/v1/users/ada/recommendations?n=5", [("Host", "127.0.0.1")], b"", "127.0.0.1")
    done = subprocess.run(
        [Path(sys.base_prefix) / "bin" / "python3.11", "-I", "-c", _INVOKE, tmp_path / "task", json.dumps(event)],
        cwd="/",
        env=clean(**environment),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads(done.stdout.strip().splitlines()[-1])
    assert answer["statusCode"] == 200, answer
    shelf = json.loads(answer["body"])
    assert (shelf["source"], shelf["store"]) == ("baked", "deployment")
    assert [item["item_id"] for item in shelf["items"]] == ["I0", "I1", "I2"]


def test_a_folder_without_baked_items_and_a_torn_file_are_refused_before_anything_is_deployed(tmp_path: Path) -> None:
    with pytest.raises(PackagingError, match=r"python -m serving\.bake --out"):
        baked_entries(tmp_path)
    (tmp_path / baked_name("default")).write_bytes(encode_baked(BAKED)[:-9])
    with pytest.raises(PackagingError, match=r"popular-default\.json\.gz.*cannot be read"):
        baked_entries(tmp_path)


def test_items_that_did_not_change_leave_the_file_and_with_it_the_package_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / baked_name("default")
    keep(tmp_path, BAKED)
    first = file.read_bytes()
    keep(tmp_path, msgspec.structs.replace(BAKED, made_at=datetime(2026, 2, 1, tzinfo=UTC)))
    assert file.read_bytes() == first
    keep(tmp_path, msgspec.structs.replace(BAKED, items=BAKED.items[:2]))
    assert len(decode_baked(file.read_bytes()).items) == 2


def test_the_items_of_a_running_deployment_are_fetched_for_each_of_its_shops(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    outputs = {"foundation": {"ArtefactBucket": "artefacts"}, "ingestion": {"LakeBucket": "lake"}}
    monkeypatch.setattr(Stacks, "outputs", lambda _, name: outputs[name.removeprefix("liveshelf-dev-")])
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    with mock_aws():
        s3: Any = boto3.client("s3")
        for bucket in ("artefacts", "lake"):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        boto3.client("dynamodb").create_table(
            TableName="liveshelf-dev",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        s3.put_object(Bucket="lake", Key=catalogue_path("tea"), Body=encode_catalogue(BAKED.items))
        for words in (["--shops", "tea,cups"], ["--aurora"]):
            release = Release(at=NOW, commit="c", artefacts=Artefacts(), templates={}, words=words)
            s3.put_object(Bucket="artefacts", Key=CURRENT, Body=msgspec.json.encode(release))
            lines = fetch(Deployment("dev", connect("eu-central-1")), tmp_path, NOW)
            if "--aurora" in words:
                assert lines[0].startswith("Aurora answers inside its network alone")
            else:
                assert lines[0] == "shop tea: 3 items of the catalogue"
                assert lines[1].startswith("shop cups: could not read s3://lake/shop=cups/")
    assert [path.name for path in tmp_path.iterdir()] == [baked_name("tea")]
