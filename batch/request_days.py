"""The ranker's request moments by day, kept beside the day's other sums and reused by later runs."""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Final

from batch.ranker import RequestMoments, sum_moments
from batch.recipe import Recipe
from batch.requests import decode_moments, encode_moments, request_moments_path
from contracts.errors import TrainingError
from stores.objects import NotFound, Objects

__all__ = ["earlier_moments", "keep_day"]

_DAYS: Final = 90
_HALF_LIFE_D: Final = 30.0
_TWIN: Final = "twin"
"""The candidates of a stored day are those of a model trained on the days before it, and on nothing later."""


def earlier_moments(objects: Objects, shop: str, recipe: Recipe, stored: Iterable[str], before: date) -> RequestMoments:
    """The stored moments of the 90 days before ``before``, older ones weighing less (half-life 30 days)."""
    known, total = set(stored), RequestMoments.none()
    for age in range(1, _DAYS + 1):
        path = _path(shop, before - timedelta(days=age), recipe)
        if path not in known:
            continue
        try:
            total = sum_moments([total, decode_moments(objects.get(path)).scaled(0.5 ** (age / _HALF_LIFE_D))])
        except (NotFound, TrainingError) as exc:
            print(f"train: {path} is left out: {exc}", flush=True)
    return total


def keep_day(objects: Objects, shop: str, recipe: Recipe, moments: Mapping[date, RequestMoments], day: date) -> None:
    """Store the moments of the first judged day: only for it is the twin trained up to the day before.

    A day that is made again, because records of it came late, loses them; it is no longer judged by then.
    """
    if day in moments:
        objects.put(_path(shop, day, recipe), encode_moments(moments[day]))


def _path(shop: str, day: date, recipe: Recipe) -> str:
    return request_moments_path(shop, day, recipe.model_digest, _TWIN)
