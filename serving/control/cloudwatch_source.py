"""The stream's figures from CloudWatch, where the managed service keeps them: its REST interface cannot be reached.

Which dimensions a metric carries depends on the application's metrics level (AWS: "Metrics and dimensions in Managed
Service for Apache Flink"), so the metrics are looked up by name first, and all of a name are put together.
"""

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from contracts.settings import Settings
from serving.control.answers import Checkpoints, Job, Point
from serving.control.figures import Figures, SourceAway, points, reduced, wanted
from stores.aws import client

__all__ = ["NAMESPACE", "CloudWatchSource", "detailed"]

NAMESPACE: Final = "AWS/KinesisAnalytics"
_SERVICE: Final = frozenset(
    {"uptime", "downtime", "fullRestarts", "numberOfFailedCheckpoints", "lastCheckpointDuration", "lastCheckpointSize"}
)
_PERIOD_S: Final = 60
"""The service publishes once a minute."""
_BACK: Final = timedelta(minutes=30)
_FRESH_S: Final = 30.0
_NAMES_S: Final = 300.0
_QUERIES: Final = 500  # of one GetMetricData


class CloudWatchSource:
    """Figures of the managed application ``application``, at most half a minute old: each look costs money."""

    name = "cloudwatch"

    def __init__(
        self,
        cloudwatch: Any,
        application: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cloudwatch, self._application, self._now, self._clock = cloudwatch, application, now, clock
        self._known: tuple[float, Figures] | None = None
        self._names: tuple[float, list[dict[str, Any]]] | None = None

    @classmethod
    def from_settings(cls, settings: Settings, application: str) -> "CloudWatchSource":
        """The source of the settings' region."""
        return cls(client("cloudwatch", settings, read_timeout_s=3.0, attempts=2, pool=2), application)

    def look(self) -> Figures:
        """See :class:`serving.control.figures.Source`."""
        if self._known and self._clock() - self._known[0] < _FRESH_S:
            return self._known[1]
        try:
            figures = self._figures(self._series())
        except (ClientError, BotoCoreError) as exc:
            message = f"CloudWatch does not answer: {exc}; the role needs cloudwatch:ListMetrics and GetMetricData"
            raise SourceAway(message) from exc
        self._known = (self._clock(), figures)
        return figures

    def _metrics(self) -> list[dict[str, Any]]:
        if self._names and self._clock() - self._names[0] < _NAMES_S:
            return self._names[1]
        pages = self._cloudwatch.get_paginator("list_metrics").paginate(
            Namespace=NAMESPACE, Dimensions=[{"Name": "Application", "Value": self._application}]
        )
        found = [metric for page in pages for metric in page["Metrics"] if _shown(metric["MetricName"])]
        if not found:
            message = (
                f"CloudWatch holds no figures of application {self._application!r}; "
                "check its name, and whether it has run in the last two weeks"
            )
            raise SourceAway(message)
        self._names = (self._clock(), detailed(found)[:_QUERIES])
        return self._names[1]

    def _series(self) -> list[tuple[str, list[tuple[int, float]]]]:
        metrics = self._metrics()
        queries = [
            {
                "Id": f"m{at}",
                "MetricStat": {
                    "Metric": {name: metric[name] for name in ("Namespace", "MetricName", "Dimensions")},
                    "Period": _PERIOD_S,
                    "Stat": "Maximum",
                },
            }
            for at, metric in enumerate(metrics)
        ]
        now = self._now()
        pages = self._cloudwatch.get_paginator("get_metric_data").paginate(
            MetricDataQueries=queries, StartTime=now - _BACK, EndTime=now, ScanBy="TimestampAscending"
        )
        found: dict[str, list[tuple[int, float]]] = {}
        for page in pages:
            for result in page["MetricDataResults"]:
                times = (int(at.timestamp() * 1000) for at in result["Timestamps"])
                found.setdefault(result["Id"], []).extend(zip(times, result["Values"], strict=True))
        return [(metric["MetricName"], sorted(found.get(f"m{at}", ()))) for at, metric in enumerate(metrics)]

    def _figures(self, series: list[tuple[str, list[tuple[int, float]]]]) -> Figures:
        newest = reduced((name, values[-1][1]) for name, values in series if values)
        history = _line(series)
        uptime = newest.get("uptime")
        now_ms = int(self._now().timestamp() * 1000)
        restarts = newest.get("fullRestarts")
        return Figures(
            job=Job(
                # Downtime is −1 while the job runs well (AWS: the same page).
                state="UNKNOWN" if uptime is None else "RESTARTING" if newest.get("downtime", 0) > 0 else "RUNNING",
                started_at=None if uptime is None else now_ms - int(uptime),
                restarts=None if restarts is None else int(restarts),
            ),
            checkpoints=Checkpoints(
                failed=int(newest["numberOfFailedCheckpoints"]) if "numberOfFailedCheckpoints" in newest else None,
                newest_ms=newest.get("lastCheckpointDuration"),
                newest_bytes=newest.get("lastCheckpointSize"),
            ),
            values={name: value for name, value in newest.items() if name not in _SERVICE},
            operators=[],
            history=history,
        )


def detailed(metrics: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of every name the metrics with the most dimensions, each once: sums beside them would count twice.

    >>> one = {"MetricName": "counted", "Dimensions": [{"Name": "Application", "Value": "a"}]}
    >>> two = {"MetricName": "counted", "Dimensions": [*one["Dimensions"], {"Name": "Task", "Value": "t"}]}
    >>> detailed([one, two, two]) == [two]
    True
    """
    distinct = {(metric["MetricName"], str(metric["Dimensions"])): metric for metric in metrics}
    most: dict[str, int] = {}
    for metric in distinct.values():
        most[metric["MetricName"]] = max(most.get(metric["MetricName"], 0), len(metric["Dimensions"]))
    return [metric for metric in distinct.values() if len(metric["Dimensions"]) == most[metric["MetricName"]]]


def _shown(name: str) -> bool:
    return wanted(name) or name in _SERVICE


def _line(series: Iterable[tuple[str, list[tuple[int, float]]]]) -> list[Point]:
    moments: dict[int, list[tuple[str, float]]] = {}
    for name, values in series:
        for at, value in values:
            moments.setdefault(at, []).append((name, value))
    return points((at, reduced(found)) for at, found in sorted(moments.items()))
