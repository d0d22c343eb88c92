"""Following the model pointer: whatever goes wrong, the live snapshot stays and following goes on."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest

from contracts.errors import StoreError
from contracts.lake import model_prefix, pointer_path
from contracts.pointer import Pointer
from contracts.snapshot import Manifest, ModelSettings, write_snapshot
from stores.objects import NotFound
from streaming.models import Models

DAY = datetime(2026, 1, 1, tzinfo=UTC)


class Bucket:
    """Objects in memory; ``fault`` is raised by the next reads."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.fault: Exception | None = None

    def get(self, path: str) -> bytes:
        if self.fault:
            raise self.fault
        if path not in self.held:
            raise NotFound(path)
        return self.held[path]

    def download_folder(self, prefix: str, names: list[str], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            (folder / name).write_bytes(self.get(prefix + name))

    def publish(self, version: str, folder: Path) -> None:
        manifest = Manifest(
            shop_id="default", version=version, parent=None, trained_at=DAY, window_start=DAY, window_end=DAY,
            model=ModelSettings(), training={}, feature_names=[], coefficients=[], metrics={}, rows={},
        )  # fmt: skip
        matrix = (np.array([0, 1, 1]), np.array([1]), np.array([1.0]))
        write_snapshot(folder / version, manifest, ["A", "B"], matrix, np.ones(2))
        for file in (folder / version).iterdir():
            self.held[model_prefix("default", version) + file.name] = file.read_bytes()
        self.held[pointer_path("default")] = msgspec.json.encode(Pointer(version=version, switched_at=DAY))


@pytest.mark.parametrize("fault", [StoreError("no answer"), RuntimeError("nobody thought of this")])
def test_a_fault_while_following_keeps_the_live_model_and_the_next_look_goes_on(
    fault: Exception, tmp_path: Path
) -> None:
    bucket = Bucket()
    models = Models(bucket, tmp_path / "cache", poll_s=60.0)  # type: ignore[arg-type]
    assert models.current("default") is None
    bucket.publish("v1", tmp_path)
    for trouble, expected in ((None, "v1"), (fault, "v1"), (None, "v2")):
        bucket.fault = trouble
        models._refresh("default")
        live = models.current("default")
        assert live is not None
        assert live.version == expected
        bucket.publish("v2", tmp_path)


def test_a_torn_snapshot_is_not_taken_up(tmp_path: Path) -> None:
    bucket = Bucket()
    models = Models(bucket, tmp_path / "cache", poll_s=60.0)  # type: ignore[arg-type]
    bucket.publish("v1", tmp_path)
    whole = bucket.held[model_prefix("default", "v1") + "data.npy"]
    bucket.held[model_prefix("default", "v1") + "data.npy"] = whole[:-1] + b"!"
    assert models.current("default") is None
    bucket.held[model_prefix("default", "v1") + "data.npy"] = whole
    models._refresh("default")
    live = models.current("default")
    assert live is not None
    assert live.version == "v1"
