"""The control room's core: figures by hand, CloudWatch as AWS's emulator tells it, health in words."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws

from contracts.lists import Action, BasedOn, RecommendationList, UserValue
from contracts.settings import Settings
from serving.answers import CollectorStatus
from serving.control import health
from serving.control.answers import Checkpoints, Job
from serving.control.cloudwatch_source import NAMESPACE, CloudWatchSource
from serving.control.figures import Figures, SourceAway, points
from serving.control.flink_source import FlinkSource
from serving.control.probe import reflects, summary
from serving.control.room import Room
from serving.control.stored import version_of

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


@pytest.fixture
def cloudwatch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "local")
    with mock_aws():
        yield boto3.client("cloudwatch", region_name="eu-central-1")


def put(cloudwatch: Any, name: str, value: float, minutes_ago: int = 1, **dimensions: str) -> None:
    named = [{"Name": key, "Value": text} for key, text in {"Application": "shelf", **dimensions}.items()]
    at = NOW - timedelta(minutes=minutes_ago)
    data = [{"MetricName": name, "Dimensions": named, "Timestamp": at, "Value": value}]
    cloudwatch.put_metric_data(Namespace=NAMESPACE, MetricData=data)


def test_cloudwatch_adds_counters_of_all_instances_and_takes_the_worst_gauge(cloudwatch: Any) -> None:
    for task, counted, fresh in (("0", 100, 200), ("1", 40, 350)):
        put(cloudwatch, "counted", counted - 30, 2, Task=task)
        put(cloudwatch, "counted", counted, 1, Task=task)
        put(cloudwatch, "freshness_p50_ms", fresh, 1, Task=task)
    put(cloudwatch, "uptime", 3_600_000)
    put(cloudwatch, "fullRestarts", 2)
    put(cloudwatch, "somethingElse", 9)
    figures = CloudWatchSource(cloudwatch, "shelf", now=lambda: NOW).look()
    assert figures.values == {"counted": 140, "freshness_p50_ms": 350}
    assert (figures.job.state, figures.job.restarts) == ("RUNNING", 2)
    assert figures.job.started_at == int((NOW - timedelta(hours=1)).timestamp() * 1000)
    assert [point.events_per_s for point in figures.history] == [None, 1.0]


def test_cloudwatch_is_asked_once_in_half_a_minute(cloudwatch: Any) -> None:
    seconds = [0.0]
    put(cloudwatch, "counted", 1)
    source = CloudWatchSource(cloudwatch, "shelf", now=lambda: NOW, clock=lambda: seconds[0])
    first = source.look()
    put(cloudwatch, "counted", 5, 0)
    assert source.look() is first
    seconds[0] = 31.0
    assert source.look() is not first


def test_an_application_without_figures_is_told_by_its_name(cloudwatch: Any) -> None:
    with pytest.raises(SourceAway, match="'shelf'"):
        CloudWatchSource(cloudwatch, "shelf", now=lambda: NOW).look()


def test_a_flink_that_is_away_is_a_sentence() -> None:
    with pytest.raises(SourceAway, match=r"127\.0\.0\.1:9 does not answer"):
        FlinkSource("http://127.0.0.1:9").look()


def test_lag_and_quantiles_stand_beside_the_rate() -> None:
    (first, second) = points(
        [(0, {"counted": 0}), (4000, {"counted": 40, "millisBehindLatest": 7, "freshness_p99_ms": 300})]
    )
    assert (first.events_per_s, second.events_per_s, second.lag_ms, second.p99_ms) == (None, 10.0, 7, 300)


@pytest.mark.parametrize(
    ("state", "restarts", "behind", "found"),
    [("RUNNING", 0, 5, "ok"), ("RUNNING", 3, 5, "warn"), ("RUNNING", 0, 90_000, "warn"), ("FAILED", 0, 0, "bad")],
)
def test_the_jobs_health_in_one_word(state: str, restarts: int, behind: float, found: str) -> None:
    figures = Figures(Job(state, 0, restarts), Checkpoints(), {"millisBehindLatest": behind}, [], [])
    assert health.job_part(figures, "").state == found


def test_a_job_that_nothing_is_known_of_is_not_called_well() -> None:
    part = health.job_part(None, "set LIVESHELF_FLINK_URL")
    assert (part.state, part.words) == ("away", "set LIVESHELF_FLINK_URL")


def test_a_list_reflects_an_event_once_it_is_based_on_it_or_on_a_later_one() -> None:
    def value(based_on: BasedOn) -> UserValue:
        live = RecommendationList(
            source="live", model_version="v", based_on=based_on, written_at=0, items=["a"], scores=[1.0]
        )
        return UserValue(rev="0" * 16, actions=[Action(5, "e5", "view", "a"), Action(9, "e9", "view", "b")], live=live)

    assert not reflects(value(BasedOn(5, "e5")), "e9")
    assert reflects(value(BasedOn(9, "e9")), "e5")
    assert not reflects(value(BasedOn(9, "e9")), "another")


def test_a_value_on_an_edge_belongs_to_the_faster_bar() -> None:
    view = summary([50.0, 50.1], missed=0)
    assert view.counts[:2] == [1, 1] and sum(view.counts) == view.samples == 2


def test_no_measurement_has_no_quantile() -> None:
    assert summary([], 0).p50_ms is None


def test_a_manifest_of_before_the_ranker_is_shown_with_what_it_has() -> None:
    old = {
        "version": "v1",
        "trained_at": "2026-01-01T00:00:00Z",
        "window_start": "2025-12-01T00:00:00Z",
        "window_end": "2026-01-01T00:00:00Z",
        "model": {"theta": 0.2},
        "feature_names": ["score"],
        "coefficients": [0.5],
    }
    shown = version_of(old)
    assert [(term.name, term.coefficient, term.t) for term in shown.terms] == [("score", 0.5, None)]
    assert (shown.theta, shown.parent, shown.gate, shown.metrics) == (0.2, None, "", {})


def test_a_collector_whose_stream_is_away_is_out_of_order() -> None:
    assert health._collector(CollectorStatus(away=True)).state == "bad"


def test_a_question_looks_by_itself_where_nothing_does_so_in_the_background() -> None:
    class Silent:
        name = "cloudwatch"

        def look(self) -> Figures:
            message = "nothing is told"
            raise SourceAway(message)

    class Nobody:
        async def redis(self, commands: Any) -> list[Any]:
            return []

    async def ask() -> Any:
        room = Room(Settings(), Nobody(), Silent())  # type: ignore[arg-type]
        try:
            return await room.stream(CollectorStatus(accepted=3))
        finally:
            room.close()

    told = asyncio.run(ask())
    assert (told.source, told.problem, told.accepted, told.history) == ("cloudwatch", "nothing is told", 3, [])
