"""Every S3 path: the event lake by arrival day (all shops), everything else below ``shop=<id>/``."""

from datetime import date
from typing import Final

__all__ = [
    "ERRORS_PREFIX",
    "EVENTS_PREFIX",
    "catalogue_path",
    "dataset_prefix",
    "day_prefix",
    "model_prefix",
    "models_prefix",
    "moments_prefix",
    "pointer_path",
    "visitors_path",
]

EVENTS_PREFIX: Final = "events/"
ERRORS_PREFIX: Final = "events-errors/"


def day_prefix(day: date) -> str:
    """The folder of one *arrival* day, as Firehose names it.

    >>> day_prefix(date(2026, 1, 5))
    'events/year=2026/month=01/day=05/'
    """
    return f"{EVENTS_PREFIX}year={day:%Y}/month={day:%m}/day={day:%d}/"


def dataset_prefix(shop: str, dataset: str) -> str:
    """Where Flink writes ``features``, ``dead-letter`` or ``served``; Hive-style all the way, see ADR 0005.

    >>> dataset_prefix("default", "features")
    'shop=default/dataset=features/'
    """
    return f"shop={shop}/dataset={dataset}/"


def catalogue_path(shop: str) -> str:
    """The catalogue file, see :mod:`contracts.items`."""
    return f"shop={shop}/catalogue/items.jsonl.gz"


def visitors_path(shop: str) -> str:
    """A JSON array of a few known user ids that the storefront page offers to look through; it may be absent."""
    return f"shop={shop}/catalogue/visitors.json"


def moments_prefix(shop: str, day: date) -> str:
    """The sufficient statistics of the units that began on one UTC day."""
    return f"shop={shop}/moments/day={day:%Y-%m-%d}/"


def models_prefix(shop: str) -> str:
    """All model snapshots of a shop."""
    return f"shop={shop}/models/"


def model_prefix(shop: str, version: str) -> str:
    """One immutable model snapshot."""
    return f"{models_prefix(shop)}{version}/"


def pointer_path(shop: str) -> str:
    """Mirror of the CURRENT version for readers of S3 (Flink); the DynamoDB row is the authority."""
    return f"{models_prefix(shop)}current.json"
