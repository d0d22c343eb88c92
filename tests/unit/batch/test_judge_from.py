"""Every day is judged once: before the first model that knows it goes live, also if it came to the lake late."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from batch.log import Log
from batch.pipeline import _judge_from, _may_go_unjudged
from batch.work import Data
from contracts.errors import TrainingError
from contracts.snapshot import Manifest

Make = Callable[..., Manifest]


def march(day: int) -> date:
    return date(2026, 3, day)


def first(make: Make, trained: int, days: list[int], now: list[int], until: int | None = None) -> int:
    """The day of March from which a run judges, by what the live model was trained on and what there is now."""
    training: dict[str, Any] = {} if until is None else {"until": march(until).isoformat()}
    known = {march(day).isoformat(): "key" for day in days}
    live = make(trained_at=datetime(2026, 3, trained, 2, tzinfo=UTC), training=training, days=known)
    counts = {march(day): {"actions": 5} for day in now} | {march(1): {"malformed.not_json": 2}}
    log: Any = Log([], *[None] * 5)  # type: ignore[arg-type]
    return _judge_from(live, Data(counts, log, [], {})).day


def test_the_day_under_way_when_the_live_model_was_trained_is_judged_and_those_before_are_not(
    make_manifest: Make,
) -> None:
    assert first(make_manifest, 10, [7, 8, 9, 10], [7, 8, 9, 10, 11], until=10) == 10
    assert first(make_manifest, 10, [7, 8, 9], [7, 8, 9, 10], until=9) == 10


def test_days_after_a_training_that_looked_only_so_far_are_judged(make_manifest: Make) -> None:
    assert first(make_manifest, 30, [7, 8], [7, 8, 9, 10], until=8) == 9


def test_a_day_that_came_to_the_lake_after_the_training_is_judged_though_it_is_older(make_manifest: Make) -> None:
    assert first(make_manifest, 20, [7, 8], [7, 8, 9, 10, 20], until=20) == 9
    assert first(make_manifest, 20, [7, 8], [7, 8, 9, 10, 20]) == 9


def test_days_that_were_empty_at_the_training_and_still_are_are_not_judged(make_manifest: Make) -> None:
    assert first(make_manifest, 20, [7, 8], [7, 8, 21], until=20) == 20


def test_older_days_that_a_longer_window_brings_are_not_judged(make_manifest: Make) -> None:
    assert first(make_manifest, 10, [7, 8, 9], [2, 3, 7, 8, 9, 10], until=10) == 10


def test_a_live_model_of_before_there_was_a_list_of_days_counts_by_its_training(make_manifest: Make) -> None:
    assert first(make_manifest, 10, [], [2, 3, 10, 11]) == 10


def test_a_judged_model_gives_way_to_no_candidate_that_nothing_can_be_said_of(make_manifest: Make) -> None:
    """A lake that lost its history leaves days enough to train on, and none before them to judge with."""
    with pytest.raises(TrainingError, match=r"no actions before 2026-03-03 .* was judged; it stays.*--no-evaluate"):
        _may_go_unjudged(make_manifest(metrics={"live": {"HR@20": 0.5}}), march(3))


def test_models_of_a_young_shop_follow_each_other_unjudged(make_manifest: Make) -> None:
    _may_go_unjudged(make_manifest(metrics={}), march(3))
