"""What is kept of every 5-minute event-time bucket, defined once for stream (Flink, Redis) and batch (Spark).

A bucket's value is absolute and only grows while the bucket is open, so a replay after a failure can be written again
without harm (the larger value wins). A window feature is made of the buckets that have not expired:

    f(entity, window, now) = Σ value(entity, b)   over buckets b with  now − window < b + 5 min  and  b ≤ now

so a value is fresh to the last event, decays in silence, and needs no timer. Of times the largest is taken in place of
the sum. :mod:`contracts.live` holds the features that are made of these values.
"""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
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
    "first_ms",
    "in_window",
    "larger",
    "last_ms",
    "window_sums",
]

BUCKET_MS: Final = 5 * 60 * 1000
WINDOWS_MS: Final = {"5m": BUCKET_MS, "1h": 60 * 60 * 1000, "24h": 24 * 60 * 60 * 1000}
TREND_WEIGHTS: Final = {"views": 1.0, "carts": 3.0, "purchases": 5.0}
"""How much one action of each kind counts towards an item's trend within a bucket."""


class BucketFeature(NamedTuple):
    """One value of an entity's bucket.

    ``value`` is ``count`` (events), ``amount`` (price × quantity, in the shop's currency), or a time within the bucket
    in milliseconds, told so that the larger wins like all others and 0 means none: ``first`` is how long before the
    bucket's end the first event occurred (:func:`first_ms`), ``last`` is 1 + how long after its start the last one did
    (:func:`last_ms`). ``expression`` is the SQL of one row's contribution, in the dialect that Flink and Spark share;
    ``aggregate`` names the function that makes a bucket's value of its rows.

    >>> views = BucketFeature("views", ("view", "click"), "count", "views of the item")
    >>> views.aggregate, views.expression
    ('SUM', "CASE WHEN NOT late AND event_type IN ('view', 'click') THEN CAST(1 AS DOUBLE) ELSE CAST(0 AS DOUBLE) END")
    """

    name: str
    event_types: tuple[str, ...]
    value: Literal["count", "amount", "first", "last"]
    meaning: str

    @property
    def aggregate(self) -> Literal["SUM", "MAX"]:
        return "SUM" if self.value in {"count", "amount"} else "MAX"

    @property
    def expression(self) -> str:
        types = ", ".join(f"'{t}'" for t in self.event_types)
        return f"CASE WHEN NOT late AND event_type IN ({types}) THEN {_ROW[self.value]} ELSE CAST(0 AS DOUBLE) END"


_SINCE_START: Final = f"MOD(occurred_ms, CAST({BUCKET_MS} AS BIGINT))"
_ROW: Final = {
    "count": "CAST(1 AS DOUBLE)",
    "amount": "amount",
    "first": f"CAST({BUCKET_MS} - {_SINCE_START} AS DOUBLE)",
    "last": f"CAST(1 + {_SINCE_START} AS DOUBLE)",
}
_DONE: Final = ("view", "click", "add_to_cart", "remove_from_cart", "purchase")
"""What shows that a visitor is there; an impression does not, and ``identify`` is no behaviour."""


ITEM_FEATURES: Final = (
    BucketFeature("views", ("view", "click"), "count", "times the item was looked at"),
    BucketFeature("carts", ("add_to_cart",), "count", "times the item was put in a cart"),
    BucketFeature("purchases", ("purchase",), "count", "order lines with the item"),
    BucketFeature("revenue", ("purchase",), "amount", "money taken for the item"),
    BucketFeature("last_purchase", ("purchase",), "last", "when it was last bought"),
)
USER_FEATURES: Final = (
    BucketFeature("views", ("view", "click"), "count", "items the visitor looked at"),
    BucketFeature("carts", ("add_to_cart",), "count", "items the visitor put in the cart"),
    BucketFeature("purchases", ("purchase",), "count", "order lines the visitor bought"),
    BucketFeature("spend", ("purchase",), "amount", "money the visitor spent"),
    BucketFeature("cart_removals", ("remove_from_cart",), "count", "items the visitor took out of the cart"),
    BucketFeature("first", _DONE, "first", "when the visitor first did something"),
    BucketFeature("last", _DONE, "last", "when the visitor last did something"),
)


def bucket_start(time_ms: int) -> int:
    """Start of the bucket that holds ``time_ms``; both in epoch milliseconds.

    >>> bucket_start(BUCKET_MS - 1), bucket_start(BUCKET_MS)
    (0, 300000)
    """
    return time_ms - time_ms % BUCKET_MS


def first_ms(start_ms: int, value: float) -> int | None:
    """The instant that a ``first`` value of the bucket at ``start_ms`` tells, epoch ms; ``None`` for 0.

    >>> first_ms(BUCKET_MS, BUCKET_MS), first_ms(BUCKET_MS, 1.0), first_ms(BUCKET_MS, 0.0)
    (300000, 599999, None)
    """
    return start_ms + BUCKET_MS - int(value) if value else None


def last_ms(start_ms: int, value: float) -> int | None:
    """The instant that a ``last`` value of the bucket at ``start_ms`` tells, epoch ms; ``None`` for 0.

    >>> last_ms(BUCKET_MS, 1.0), last_ms(BUCKET_MS, BUCKET_MS), last_ms(BUCKET_MS, 0.0)
    (300000, 599999, None)
    """
    return start_ms + int(value) - 1 if value else None


def larger(known: Sequence[float] | None, values: Sequence[float]) -> list[float]:
    """Element-wise maximum: a bucket's values only grow, so the larger is the newer.

    A value that one side does not have (it was written before the feature was added) counts as 0.

    >>> larger([1.0, 5.0], [2.0, 4.0]), larger(None, (1.0,)), larger([3.0], [2.0, 1.0])
    ([2.0, 5.0], [1.0], [3.0, 1.0])
    """
    return list(values) if known is None else [max(pair) for pair in zip_longest(known, values, fillvalue=0.0)]


def in_window(start_ms: int, now_ms: int, window_ms: int) -> bool:
    """Whether the bucket at ``start_ms`` counts in the window that ends at ``now_ms``: it overlaps it.

    >>> [in_window(start, 2 * BUCKET_MS, BUCKET_MS) for start in (0, 1, BUCKET_MS, 2 * BUCKET_MS, 2 * BUCKET_MS + 1)]
    [False, True, True, True, False]
    """
    return now_ms - window_ms - BUCKET_MS < start_ms <= now_ms


def window_sums(buckets: Mapping[int, Sequence[float]], now_ms: int, window_ms: int, width: int) -> list[float]:
    """Sum the buckets of a window; of no meaning for times, whose values are not added up.

    Args:
        buckets: bucket start (epoch ms) → values, one per feature.
        now_ms: the instant the window ends, epoch ms.
        window_ms: its length; a bucket that overlaps the window counts whole.
        width: number of features; values beyond are left out, absent ones count as 0.

    >>> window_sums({0: [1.0], BUCKET_MS: [2.0]}, now_ms=BUCKET_MS + 1, window_ms=60_000, width=1)
    [3.0]
    """
    totals = [0.0] * width
    for start, values in sorted(buckets.items()):  # one order, so that sums of amounts agree to the last bit
        if in_window(start, now_ms, window_ms):
            for i, value in enumerate(values[:width]):
                totals[i] += value
    return totals


def feature_columns(prefix: str, features: Sequence[BucketFeature]) -> list[str]:
    """Column names of an entity's features, ``<prefix>_<name>``.

    >>> feature_columns("item", ITEM_FEATURES)
    ['item_views', 'item_carts', 'item_purchases', 'item_revenue', 'item_last_purchase']
    """
    return [f"{check_id(prefix, 'prefix')}_{feature.name}" for feature in features]
