"""Following the model pointer: readers get the old snapshot or the new one, whole, whatever goes wrong between."""

import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import SnapshotError, StoreError
from contracts.lake import model_prefix, pointer_path
from contracts.snapshot import Manifest, Snapshot, write_snapshot
from stores.objects import NotFound
from streaming.models import Models


class Folder:
    """Objects in a folder, as :class:`stores.objects.Objects` gives them."""

    def __init__(self, root: Path, make_manifest: Callable[..., Manifest]) -> None:
        self.root = root
        self.make_manifest = make_manifest
        self.away = False

    def get(self, path: str) -> bytes:
        if self.away:
            message = "S3 is away"
            raise StoreError(message)
        if not (self.root / path).is_file():
            raise NotFound(path)
        return (self.root / path).read_bytes()

    def download_folder(self, prefix: str, names: Iterable[str], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            (folder / name).write_bytes(self.get(prefix + name))


def publish(bucket: Folder, version: str) -> Path:
    folder = bucket.root / model_prefix("default", version)
    manifest = bucket.make_manifest(version=version)
    write_snapshot(folder, manifest, ["A", "B"], (np.array([0, 1, 1]), np.array([1]), np.array([1.0])), np.ones(2))
    pointer = bucket.root / pointer_path("default")
    pointer.write_text(json.dumps({"version": version, "switched_at": "2026-01-01T00:00:00Z"}))
    return folder


@pytest.fixture
def bucket(tmp_path: Path, make_manifest: Callable[..., Manifest]) -> Folder:
    return Folder(tmp_path / "bucket", make_manifest)


@pytest.fixture
def models(bucket: Folder, tmp_path: Path) -> Models:
    return Models(bucket, ["default"], tmp_path / "cache", poll_s=3600)  # type: ignore[arg-type]


def version(models: Models) -> str | None:
    models._refresh("default")
    snapshot = models.current("default")
    return snapshot.version if snapshot else None


def test_before_the_first_publish_there_is_no_model(models: Models) -> None:
    assert version(models) is None


def test_a_new_pointer_is_followed_and_a_switch_back_too(models: Models, bucket: Folder) -> None:
    seen = []
    for name in ("v1", "v2", "v1"):
        publish(bucket, name)
        seen.append(version(models))
    assert seen == ["v1", "v2", "v1"]


def test_a_torn_snapshot_is_not_used_and_the_old_one_stays(models: Models, bucket: Folder) -> None:
    publish(bucket, "v1")
    assert version(models) == "v1"
    with (publish(bucket, "v2") / "data.npy").open("ab") as file:
        file.write(b"x")
    assert version(models) == "v1"
    publish(bucket, "v2")
    assert version(models) == "v2"


def test_a_shop_that_the_settings_do_not_name_has_no_model_and_is_not_looked_up(models: Models, bucket: Folder) -> None:
    bucket.away = True
    assert models.current("somebody-else") is None


def test_while_storage_is_away_the_old_model_serves(models: Models, bucket: Folder) -> None:
    publish(bucket, "v1")
    assert version(models) == "v1"
    bucket.away = True
    assert version(models) == "v1"


def test_a_snapshot_in_use_survives_its_removal_from_disk(models: Models, bucket: Folder, tmp_path: Path) -> None:
    publish(bucket, "v1")
    models._refresh("default")
    snapshot = models.current("default")
    assert snapshot is not None
    shutil.rmtree(tmp_path / "cache")
    assert snapshot.matrix[1].tolist() == [1]


def test_old_snapshots_are_removed_from_disk(models: Models, bucket: Folder, tmp_path: Path) -> None:
    for number in range(6):
        publish(bucket, f"v{number}")
        assert version(models) == f"v{number}"
    assert len([path for path in (tmp_path / "cache" / "default").iterdir() if path.is_dir()]) == 3


@pytest.mark.parametrize("name", ["indptr.npy", "indices.npy", "data.npy", "popularity.npy", "items.json"])
def test_every_file_of_a_snapshot_is_sealed(bucket: Folder, name: str) -> None:
    folder = publish(bucket, "v1")
    Snapshot.open(folder)
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(bytes(content))
    with pytest.raises(SnapshotError, match=name):
        Snapshot.open(folder)


def test_a_snapshot_of_an_unknown_format_is_refused_with_a_remedy(bucket: Folder) -> None:
    folder = publish(bucket, "v1")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"format_version": 99}))
    with pytest.raises(SnapshotError, match="upgrade the reader"):
        Snapshot.open(folder)
