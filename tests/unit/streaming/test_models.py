"""Following the model pointer: readers get the old snapshot or the new one, whole, whatever goes wrong between."""

import json
import shutil
import threading
import time
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


def test_what_is_refused_is_told_and_leaves_nothing_on_the_disk(
    models: Models, bucket: Folder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = publish(bucket, "v1")
    content = bytearray((folder / "data.npy").read_bytes())
    content[-1] ^= 1
    (folder / "data.npy").write_bytes(bytes(content))
    assert version(models) is None
    assert "shop default keeps model None" in caplog.text
    assert "data.npy does not match its manifest" in caplog.text
    assert [path.name for path in (tmp_path / "cache" / "default").iterdir()] == [".lock"]


def test_a_snapshot_with_a_file_missing_is_told_too(
    models: Models, bucket: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    (publish(bucket, "v1") / "items.json").unlink()
    assert version(models) is None
    assert "items.json" in caplog.text


def test_a_refused_version_is_tried_ever_less_often_and_another_one_at_once(models: Models, bucket: Folder) -> None:
    damaged = publish(bucket, "v1") / "data.npy"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1])
    assert version(models) is None
    damaged.write_bytes(whole)
    models._refresh("default", again=False)
    assert models.current("default") is None
    publish(bucket, "v2")
    models._refresh("default", again=False)
    snapshot = models.current("default")
    assert snapshot is not None
    assert snapshot.version == "v2"


def test_the_thread_that_follows_takes_up_what_was_refused_once_it_is_whole(bucket: Folder, tmp_path: Path) -> None:
    models = Models(bucket, ["default"], tmp_path / "cache", poll_s=0.001)  # type: ignore[arg-type]
    damaged = publish(bucket, "v1") / "data.npy"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-1])
    assert models.current("default") is None
    models.start()
    damaged.write_bytes(whole)
    deadline = time.monotonic() + 20
    while models.current("default") is None and time.monotonic() < deadline:
        time.sleep(0.002)
    models.close()
    assert models.current("default") is not None


def test_a_snapshot_that_an_earlier_process_left_torn_is_fetched_again(
    bucket: Folder, tmp_path: Path, models: Models
) -> None:
    publish(bucket, "v1")
    assert version(models) == "v1"
    home = tmp_path / "cache" / "default"
    with (home / "v1" / "data.npy").open("r+b") as file:
        file.truncate(10)
    (home / ".v0-partial").mkdir()
    later = Models(bucket, ["default"], tmp_path / "cache", poll_s=3600)  # type: ignore[arg-type]
    assert version(later) == "v1"
    Snapshot.open(home / "v1")
    assert {path.name for path in home.iterdir()} == {".lock", "v1"}


def test_workers_of_one_machine_download_a_snapshot_once_and_map_the_same_files(bucket: Folder, tmp_path: Path) -> None:
    publish(bucket, "v1")
    workers = [Models(bucket, ["default"], tmp_path / "cache", poll_s=3600) for _ in range(4)]  # type: ignore[arg-type]
    downloads = []
    download = bucket.download_folder

    def counted(prefix: str, names: Iterable[str], folder: Path) -> None:
        downloads.append(prefix)
        download(prefix, names, folder)

    bucket.download_folder = counted  # type: ignore[method-assign]
    threads = [threading.Thread(target=worker.current, args=("default",)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [worker.current("default") for worker in workers]
    assert len(downloads) == 2  # the manifest, and the files
    assert {snapshot.matrix[1].filename for snapshot in found if snapshot} == {  # type: ignore[attr-defined]
        tmp_path / "cache" / "default" / "v1" / "indices.npy"
    }
    assert None not in found


def test_a_batch_keeps_the_snapshot_that_it_began_with(models: Models, bucket: Folder) -> None:
    """What ``current`` gave stays whole and of one version while the pointer moves on."""
    publish(bucket, "v1")
    models._refresh("default")
    held = models.current("default")
    for number in range(2, 7):
        publish(bucket, f"v{number}")
        models._refresh("default")
    assert held is not None
    assert (held.version, held.items, held.matrix[2].tolist()) == ("v1", ["A", "B"], [1.0])


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
