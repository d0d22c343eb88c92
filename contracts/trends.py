"""Trends of items: how much is done with them now, against what is usual."""

import math
from collections.abc import Mapping
from typing import Final

from contracts.features import BUCKET_MS, ITEM_FEATURES, TREND_WEIGHTS, WINDOWS_MS

__all__ = ["TREND_PRIOR", "TREND_WINDOWS_MS", "TYPE_WEIGHTS", "trend", "trend_sums"]

TREND_PRIOR: Final = 20.0
"""Weighted actions (:data:`TREND_WEIGHTS`) added to both sides of a trend: three clicks are no trend (log 23/20)."""

TREND_WINDOWS_MS: Final = (WINDOWS_MS["1h"], WINDOWS_MS["24h"])
"""The short and the long window of a trend."""

TYPE_WEIGHTS: Final = {
    event_type: TREND_WEIGHTS[feature.name]
    for feature in ITEM_FEATURES
    if feature.name in TREND_WEIGHTS
    for event_type in feature.event_types
}
"""What one action of a type counts towards trends and affinities."""

_VALUE_WEIGHTS: Final = [TREND_WEIGHTS.get(feature.name, 0.0) for feature in ITEM_FEATURES]


def trend(hour: float, day: float) -> float:
    """Log ratio of the last hour's weighted actions to the hourly mean of the last day, with a prior on both sides.

    >>> round(trend(0, 0), 2), round(trend(3, 3), 2), round(trend(300, 300), 2)
    (0.0, 0.13, 2.29)
    """
    return math.log((hour + TREND_PRIOR) / (day / 24 + TREND_PRIOR))


def trend_sums(fields: Mapping[bytes, bytes], now_ms: int) -> tuple[float, float]:
    """An item's weighted actions in the last hour and the last 24 hours, from its stored buckets.

    A bucket that overlaps the window counts whole, as in :func:`contracts.features.window_sums`; so the windows begin
    at ``bucket_start(now − window)``.

    Args:
        fields: bucket start (epoch seconds) → comma-separated values of :data:`ITEM_FEATURES`, as Redis holds them.

    >>> trend_sums({b"0": b"2,1,0,0", b"7200": b"1,0,1,9.5", b"9000": b"7,0,0,0"}, now_ms=7_200_000)
    (6.0, 11.0)
    """
    hour_after, day_after = (now_ms - window - BUCKET_MS for window in TREND_WINDOWS_MS)
    hour, day = [], []
    for start, values in fields.items():
        start_ms = int(start) * 1000
        if not day_after < start_ms <= now_ms:
            continue
        weight = sum(w * float(v) for w, v in zip(_VALUE_WEIGHTS, values.split(b","), strict=False))
        day.append(weight)
        if start_ms > hour_after:
            hour.append(weight)
    return math.fsum(hour), math.fsum(day)
