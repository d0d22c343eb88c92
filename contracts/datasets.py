"""Columns of the files that the stream writes to the lake: what its sinks declare and what queries read."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from contracts.features import ITEM_FEATURES, USER_FEATURES, BucketFeature

__all__ = ["DATASETS", "Dataset"]

_TIME: Final = ("year", "month", "day", "hour")


class Dataset(NamedTuple):
    """Parquet files below ``shop=<id>/dataset=<name>/…``; types are Flink's, ``partition`` the folders in their order.

    >>> DATASETS["dead_letter"].columns["data"], DATASETS["dead_letter"].folders
    ('BYTES', 'shop=/dataset=dead-letter/year=/month=/day=/hour=/')
    """

    name: str
    columns: Mapping[str, str]
    partition: Sequence[str] = ("shop", "dataset", *_TIME)
    entity: str = ""

    @property
    def folders(self) -> str:
        """The folders below the bucket, those whose value is the same for every row with it."""
        known = {"dataset": self.name, "entity": self.entity}
        return "".join(f"{key}={known.get(key, '')}/" for key in self.partition)


def _features(entity: str, features: Sequence[BucketFeature]) -> Dataset:
    columns = {"entity_id": "STRING", "window_start": "TIMESTAMP(3)", "window_end": "TIMESTAMP(3)"}
    values = {feature.name: "DOUBLE" for feature in features}
    return Dataset("features", columns | values, ("shop", "dataset", "entity", *_TIME), entity)


DATASETS: Final[Mapping[str, Dataset]] = {
    "item_features": _features("item", ITEM_FEATURES),
    "user_features": _features("user", USER_FEATURES),
    "dead_letter": Dataset(
        "dead-letter",
        {
            "reason": "STRING",
            "detail": "STRING",
            "shard_id": "STRING",
            "sequence_number": "STRING",
            "arrived_ms": "BIGINT",
            "data": "BYTES",
        },
    ),
    "served": Dataset(
        "served",
        {
            "event_id": "STRING",
            "subject": "STRING",
            "event_type": "STRING",
            "item_id": "STRING",
            "occurred_ms": "BIGINT",
            "received_ms": "BIGINT",
            "late": "BOOLEAN",
            "outcome": "STRING",
            "model_version": "STRING",
            "items": "STRING",
        },
    ),
}
"""By the name of the table."""
