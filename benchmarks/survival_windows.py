"""The Parquet features of a shop against a recomputation: the windows that were closed, each there exactly once."""

import io
from collections.abc import Sequence
from datetime import UTC

import pyarrow.parquet as pq

from benchmarks.survival_expected import Buckets, expect, unequal
from contracts.events import Event, to_ms
from contracts.features import ITEM_FEATURES, USER_FEATURES, BucketFeature
from contracts.lake import dataset_prefix
from stores.objects import Objects

__all__ = ["window_mismatches"]


def window_mismatches(objects: Objects, shop: str, events: Sequence[Event]) -> list[str]:
    """A sentence for each window of a person or item that is missing, there twice, or not what the events sum to."""
    expected, told = expect(events), list[str]()
    for entity, wanted, features in (("user", expected.users, USER_FEATURES), ("item", expected.items, ITEM_FEATURES)):
        found, twice = _windows(objects, shop, entity, features)
        told += [f"{entity} {who} has two rows for the window at {start}" for who, start in twice]
        for who in sorted(set(found) | set(wanted)):
            told += unequal(f"window of {entity} {who}", found.get(who, {}), wanted.get(who, {}))
    return told


def _windows(
    objects: Objects, shop: str, entity: str, features: Sequence[BucketFeature]
) -> tuple[dict[str, Buckets], list[tuple[str, int]]]:
    """Values by entity and window start (epoch seconds), and what is there more than once."""
    found: dict[str, Buckets] = {}
    twice = []
    prefix = f"{dataset_prefix(shop, 'features')}entity={entity}/"
    for path in objects.list(prefix):
        if path.rpartition("/")[2].startswith(("_", ".")):
            continue
        for row in pq.ParquetFile(io.BytesIO(objects.get(path))).read(use_threads=False).to_pylist():
            start = to_ms(row["window_start"].replace(tzinfo=UTC)) // 1000
            buckets = found.setdefault(row["entity_id"], {})
            if start in buckets:
                twice.append((row["entity_id"], start))
            buckets[start] = [float(row[feature.name]) for feature in features]
    return found, twice
