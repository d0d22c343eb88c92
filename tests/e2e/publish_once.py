"""The driver's part of publishing as a program of its own: ``publish_once.py SETTINGS SHOP VERSION`` (killed by tests).

The steps and their order are those of a training; the model is two items, the people are as many as need a few batches.
"""

import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from batch.publish import Entry, ListWriter, Stores, mend_mirrors, switch, upload_snapshot
from contracts.errors import PublishConflict
from contracts.settings import Settings, load
from contracts.snapshot import Manifest, ModelSettings, write_snapshot

PEOPLE = [f"u.{n}" for n in range(60)]
ITEMS = ["a", "b"]


def entries(version: str) -> list[Entry]:
    """All lists of a version; the first item tells versions apart."""
    lists = [Entry("person", name, [version, "a"], [1.0, 0.5]) for name in PEOPLE]
    lists += [Entry("similar", name, [version, "b"], [1.0, 0.5]) for name in ITEMS]
    return [*lists, Entry("popular", "", [version], [1.0])]


def publish(settings: Settings, shop: str, version: str) -> None:
    """Read the parent, then lists, snapshot, switch."""
    stores, now = Stores.open(settings), datetime.now(UTC)
    parent = mend_mirrors(stores, shop)
    writer = ListWriter(shop, version, int(now.timestamp() * 1000), settings.training.list_ttl_s)
    writer.write(settings, entries(version))
    made = Manifest(
        shop_id=shop,
        version=version,
        parent=parent.version if parent else None,
        trained_at=now,
        window_start=now - timedelta(days=7),
        window_end=now,
        model=ModelSettings(),
        training={"solve": {"l0": 3.0}},
        feature_names=[],
        coefficients=[],
        metrics={"live": {"HR@20": 0.31}, "popularity": {"HR@20": 0.1}},
        rows={"person_lists": len(PEOPLE), "similar_lists": len(ITEMS), "popular_lists": 1},
    )
    matrix = (np.array([0, 1, 2]), np.array([1, 0], np.int32), np.array([0.5, 0.5], np.float32))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / version
        sealed = write_snapshot(folder, made, ITEMS, matrix, np.array([3, 1]))
        upload_snapshot(stores.objects, folder, sealed, Path(scratch) / "read-back", PEOPLE)
        switch(stores, shop, sealed, datetime.now(UTC))
    stores.cluster.close()


if __name__ == "__main__":
    try:
        publish(load(sys.argv[1]), *sys.argv[2:])
    except PublishConflict as exc:
        sys.exit(f"conflict: {exc}")
