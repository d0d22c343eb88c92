"""Every live feature, defined once: a sum over 5-minute event-time buckets, online (Flink, Redis) and offline (Spark).

A bucket's value is absolute and only grows while the bucket is open, so a replay after a failure can be written again
without harm (the larger value wins). A window feature is the sum of the buckets that have not expired:

    f(entity, window, now) = Σ value(entity, b)   over buckets b with  now − window < b + 5 min  and  b ≤ now

so a value is fresh to the last event, decays in silence, and needs no timer.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from contracts.ids import check_id

__all__ = [
    "BUCKET_MS",
    "ITEM_FEATURES",
    "TREND_WEIGHTS",
    "USER_FEATURES",
    "WINDOWS_MS",
    "BucketFeature",
    "bucket_start",
    "feature_columns",
    "window_sums",
]

BUCKET_MS: Final = 5 * 60 * 1000
WINDOWS_MS: Final = {"1h": 60 * 60 * 1000, "24h": 24 * 60 * 60 * 1000}
TREND_WEIGHTS: Final = {"views": 1.0, "carts": 3.0, "purchases": 5.0}
"""How much one action of each kind counts towards an item's trend within a bucket."""


class BucketFeature(NamedTuple):
    """One additive feature of an entity.

    ``value`` is ``count`` (events) or ``amount`` (price × quantity, in the shop's currency). ``expression`` is the SQL
    of one row's contribution, in the dialect that Flink and Spark share.

    >>> BucketFeature("views", ("view", "click"), "count", "views of the item").expression
    "CASE WHEN NOT late AND event_type IN ('view', 'click') THEN CAST(1 AS DOUBLE) ELSE CAST(0 AS DOUBLE) END"
    """

    name: str
    event_types: tuple[str, ...]
    value: Literal["count", "amount"]
    meaning: str

    @property
    def expression(self) -> str:
        types = ", ".join(f"'{t}'" for t in self.event_types)
        value = "CAST(1 AS DOUBLE)" if self.value == "count" else "amount"
        return f"CASE WHEN NOT late AND event_type IN ({types}) THEN {value} ELSE CAST(0 AS DOUBLE) END"


ITEM_FEATURES: Final = (
    BucketFeature("views", ("view", "click"), "count", "times the item was looked at"),
    BucketFeature("carts", ("add_to_cart",), "count", "times the item was put in a cart"),
    BucketFeature("purchases", ("purchase",), "count", "order lines with the item"),
    BucketFeature("revenue", ("purchase",), "amount", "money taken for the item"),
)
USER_FEATURES: Final = (
    BucketFeature("views", ("view", "click"), "count", "items the visitor looked at"),
    BucketFeature("carts", ("add_to_cart",), "count", "items the visitor put in the cart"),
    BucketFeature("purchases", ("purchase",), "count", "order lines the visitor bought"),
    BucketFeature("spend", ("purchase",), "amount", "money the visitor spent"),
)


def bucket_start(time_ms: int) -> int:
    """Start of the bucket that holds ``time_ms``; both in epoch milliseconds.

    >>> bucket_start(BUCKET_MS - 1), bucket_start(BUCKET_MS)
    (0, 300000)
    """
    return time_ms - time_ms % BUCKET_MS


def window_sums(buckets: Mapping[int, Sequence[float]], now_ms: int, window_ms: int, width: int) -> list[float]:
    """Sum the buckets of a window.

    Args:
        buckets: bucket start (epoch ms) → values, one per feature.
        now_ms: the instant the window ends, epoch ms.
        window_ms: its length; a bucket that overlaps the window counts whole.
        width: number of features.

    >>> window_sums({0: [1.0], BUCKET_MS: [2.0]}, now_ms=BUCKET_MS + 1, window_ms=60_000, width=1)
    [3.0]
    """
    totals = [0.0] * width
    for start, values in buckets.items():
        if now_ms - window_ms < start + BUCKET_MS and start <= now_ms:
            for i, value in enumerate(values):
                totals[i] += value
    return totals


def feature_columns(prefix: str, features: Sequence[BucketFeature]) -> list[str]:
    """Column names of an entity's features, ``<prefix>_<name>``.

    >>> feature_columns("item", ITEM_FEATURES)
    ['item_views', 'item_carts', 'item_purchases', 'item_revenue']
    """
    return [f"{check_id(prefix, 'prefix')}_{feature.name}" for feature in features]
