"""Arrays of items travel with a snapshot, sealed as the rest; a snapshot without them is whole."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import SnapshotError
from contracts.snapshot import Manifest, ModelSettings, Snapshot, write_snapshot

DAY = datetime(2026, 1, 1, tzinfo=UTC)
MATRIX = (np.array([0, 1, 1]), np.array([1]), np.array([1.0]))


def write(folder: Path, extras: dict[str, np.ndarray] | None = None) -> Manifest:
    manifest = Manifest(
        shop_id="default",
        version="v1",
        parent=None,
        trained_at=DAY,
        window_start=DAY,
        window_end=DAY,
        model=ModelSettings(),
        training={},
        feature_names=[],
        coefficients=[],
        metrics={},
        rows={},
    )
    return write_snapshot(folder, manifest, ["A", "B"], MATRIX, np.ones(2), extras)


def test_a_snapshot_without_arrays_of_items_opens(tmp_path: Path) -> None:
    write(tmp_path / "v1")
    assert dict(Snapshot.open(tmp_path / "v1").extras) == {}


def test_arrays_of_items_come_back_and_are_sealed(tmp_path: Path) -> None:
    sealed = write(tmp_path / "v1", {"price": np.array([0.25, 0.75])})
    assert "price.npy" in sealed.files
    opened = Snapshot.open(tmp_path / "v1")
    assert {name: values.tolist() for name, values in opened.extras.items()} == {"price": [0.25, 0.75]}
    content = bytearray((tmp_path / "v1" / "price.npy").read_bytes())
    content[-1] ^= 1
    (tmp_path / "v1" / "price.npy").write_bytes(bytes(content))
    with pytest.raises(SnapshotError, match="price"):
        Snapshot.open(tmp_path / "v1")


@pytest.mark.parametrize("extras", [{"price": np.ones(3)}, {"colour": np.ones(2)}])
def test_arrays_that_fit_no_item_or_have_no_meaning_are_refused(tmp_path: Path, extras: dict[str, np.ndarray]) -> None:
    with pytest.raises(SnapshotError, match="expected \\(2,\\) each"):
        write(tmp_path / "v1", extras)


def test_a_manifest_written_before_the_trainer_judged_still_reads(tmp_path: Path) -> None:
    write(tmp_path / "v1")
    manifest = Snapshot.read_manifest(tmp_path / "v1")
    assert (manifest.evaluation, manifest.gate, manifest.ranker, manifest.days) == ({}, {}, {}, {})
