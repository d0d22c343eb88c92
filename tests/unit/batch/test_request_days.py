"""The ranker learns from the stored requests of earlier days too: the older the less, and only those of its recipe."""

from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from batch.ranker import RequestMoments
from batch.recipe import Recipe
from batch.request_days import earlier_moments, keep_day
from contracts.ranker import NAMES
from stores.objects import NotFound

SHOP, TODAY = "default", date(2026, 3, 1)
DAY = timedelta(days=1)


class Bucket(dict[str, bytes]):
    """The objects of a lake, in memory."""

    def put(self, path: str, data: bytes) -> None:
        self[path] = data

    def get(self, path: str) -> bytes:
        if path not in self:
            raise NotFound(path)
        return self[path]


def some(requests: float, seed: int = 1) -> RequestMoments:
    features = np.random.default_rng(seed).normal(size=(30, len(NAMES)))
    return RequestMoments(requests, 20 * requests, features.T @ features, features.sum(0), 3.0)


def keep(bucket: Any, moments: RequestMoments, age: int, recipe: Recipe | None = None) -> None:
    day = TODAY - age * DAY
    keep_day(bucket, SHOP, recipe or Recipe(), {day: moments, day + DAY: some(99)}, day)


def earlier(bucket: Any, recipe: Recipe | None = None) -> RequestMoments:
    return earlier_moments(bucket, SHOP, recipe or Recipe(), list(bucket), TODAY)


def test_days_are_kept_one_by_one_and_weigh_half_after_thirty_days() -> None:
    bucket: Any = Bucket()
    keep(bucket, some(40, 1), 30)
    keep(bucket, some(8, 2), 90)
    assert len(bucket) == 2, "of what a run judged only the first day is kept"
    found = earlier(bucket)
    assert found.requests == pytest.approx(40 / 2 + 8 / 8)
    np.testing.assert_allclose(found.xx, some(40, 1).xx / 2 + some(8, 2).xx / 8)
    np.testing.assert_allclose(found.xy, some(40, 1).xy / 2 + some(8, 2).xy / 8)


def test_the_day_itself_later_days_and_those_long_past_do_not_count() -> None:
    bucket: Any = Bucket()
    for age in (-1, 0, 91):
        keep(bucket, some(40), age)
    assert len(bucket) == 3
    assert earlier(bucket).requests == 0


def test_a_day_that_was_not_judged_is_not_kept() -> None:
    bucket: Any = Bucket()
    keep_day(bucket, SHOP, Recipe(), {TODAY: some(1)}, TODAY - DAY)
    assert not bucket


def test_requests_of_another_recipe_are_not_mixed_in_but_thresholds_and_theta_change_nothing() -> None:
    bucket: Any = Bucket()
    keep(bucket, some(40), 30)
    assert earlier(bucket, Recipe().with_options(["solve.l0=7"])).requests == 0
    assert earlier(bucket, Recipe().with_options(["gate.margin=0.5", "model.theta=3"])).requests == 20


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"{}"])
def test_a_torn_object_is_left_out_and_named(damage: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bucket: Any = Bucket()
    keep(bucket, some(40), 30)
    keep(bucket, some(10), 60)
    torn = next(path for path in bucket if "day=2026-01-30" in path)
    bucket[torn] = damage(bucket[torn])
    assert earlier(bucket).requests == pytest.approx(10 / 4)
    assert f"train: {torn} is left out: " in capsys.readouterr().out


def test_an_object_deleted_since_the_listing_is_left_out_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    bucket: Any = Bucket()
    keep(bucket, some(40), 30)
    (path,) = bucket
    assert earlier_moments(Bucket(), SHOP, Recipe(), [path], TODAY).requests == 0  # type: ignore[arg-type]
    assert f"train: {path} is left out: " in capsys.readouterr().out
