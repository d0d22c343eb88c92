"""The stream's view of the catalogue, against an emulated S3: it follows the file, and survives what becomes of it."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from contracts.items import Item, encode_catalogue
from contracts.lake import catalogue_path
from contracts.settings import Settings
from local.health import tcp_open, wait_until
from local.ports import free_port
from local.supervisor import Service, Supervisor
from stores.aws import client
from stores.objects import Objects
from streaming.catalogue import Categories

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of an emulated AWS."""
    port = free_port()
    command = [sys.executable, "-m", "local.emulator", "--port", str(port)]
    with pytest.MonkeyPatch.context() as patch, Supervisor(tmp_path_factory.mktemp("aws"), say=lambda _: None) as run:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "local")
        run.start(Service(name="emulator", command=command, ready=tcp_open(port)))
        yield f"http://127.0.0.1:{port}"


class Counting(Objects):
    """Objects that count how often a file was read."""

    reads = 0

    def get(self, path: str) -> bytes:
        self.reads += 1
        return super().get(path)


@pytest.fixture
def objects(aws: str, request: pytest.FixtureRequest) -> Counting:
    bucket = f"lake-{abs(hash(request.node.name))}"
    settings = Settings.from_properties({"liveshelf": {"aws.endpoint": aws, "lake.bucket": bucket}})
    s3 = client("s3", settings, attempts=1)
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": settings.aws_region})
    return Counting(s3, bucket)


@pytest.fixture
def categories(objects: Objects) -> Iterator[Categories]:
    found = Categories(objects, ["default", "other"], poll_s=0.02)
    yield found
    found.close()


def put(objects: Objects, category: str, **fields: Any) -> None:
    items = [Item(item_id="tea", title="Tea", category=category, **fields), Item(item_id="cup", title="Cup")]
    objects.put(catalogue_path("default"), encode_catalogue(items))


def test_the_first_question_reads_the_catalogue_and_the_next_ones_ask_nobody(
    objects: Counting, categories: Categories
) -> None:
    put(objects, "DRINKS", price=2.5)
    known = [categories.category("default", item) for item in ("tea", "cup", "unknown")]
    assert known == ["DRINKS", "", ""]
    assert (categories.price("default", "tea"), categories.price("default", "cup")) == (2.5, None)
    assert objects.reads == 1


def test_a_new_catalogue_is_followed_and_an_unchanged_one_is_not_read_again(
    objects: Counting, categories: Categories
) -> None:
    put(objects, "DRINKS")
    assert categories.category("default", "tea") == "DRINKS"
    categories.start()
    put(objects, "HOT DRINKS")
    wait_until(lambda: categories.category("default", "tea") == "HOT DRINKS", "the new catalogue", seconds=20)
    reads = objects.reads
    assert reads == 2
    categories._refresh("default")
    assert objects.reads == reads


def test_a_catalogue_that_appears_later_is_taken_up(objects: Counting, categories: Categories) -> None:
    assert categories.category("default", "tea") == ""
    categories.start()
    put(objects, "DRINKS")
    wait_until(lambda: categories.category("default", "tea") == "DRINKS", "the first catalogue", seconds=20)


@pytest.mark.parametrize("broken", [b"no gzip", encode_catalogue([])[:-4], b""], ids=["text", "torn", "empty"])
def test_a_catalogue_that_cannot_be_read_leaves_the_one_before_in_place(
    objects: Counting, categories: Categories, broken: bytes
) -> None:
    put(objects, "DRINKS")
    assert categories.category("default", "tea") == "DRINKS"
    objects.put(catalogue_path("default"), broken)
    categories._refresh("default")
    assert categories.category("default", "tea") == "DRINKS"
    put(objects, "HOT DRINKS")
    categories._refresh("default")
    assert categories.category("default", "tea") == "HOT DRINKS"


def test_while_storage_is_away_the_catalogue_stays(
    objects: Counting, categories: Categories, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(objects, "DRINKS")
    assert categories.category("default", "tea") == "DRINKS"
    monkeypatch.setattr(objects, "bucket", "no-such-bucket")
    categories._refresh("default")
    assert categories.category("default", "tea") == "DRINKS"


def test_shops_are_kept_apart_and_one_that_the_settings_do_not_name_is_not_looked_up(
    objects: Counting, categories: Categories
) -> None:
    put(objects, "DRINKS")
    assert categories.category("other", "tea") == ""
    assert categories.category("somebody-else", "tea") == ""
    assert list(categories._known) == ["other"]
