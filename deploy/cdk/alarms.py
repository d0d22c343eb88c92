"""Every alarm as data: what it looks at, when it goes off, and what it means; docs/runbook has a page for each.

Figures of Flink come in two kinds. What AWS documents for a whole application is read by its dimension. Of figures that
carry further dimensions of the job (the connector's, an operator's, our own gauges) the largest of all is asked for by
a query, whatever their dimensions are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from deploy.cdk.names import Names
from deploy.cdk.profiles import Profile
from streaming.measures import PARSING

__all__ = ["FLINK", "Figure", "Watch", "service_watches", "watches"]

FLINK: Final = "AWS/KinesisAnalytics"
_REJECTED: Final = tuple(metric.name for metric in PARSING if metric.name.startswith("rejected_"))
_FRESH_MS: Final = 5000
_OLD_S: Final = 36 * 3600
"""A daily model is 24 hours old before the next one comes, and a training takes its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One metric of CloudWatch."""

    namespace: str
    name: str
    dimensions: Mapping[str, str]
    statistic: str = "Maximum"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """One alarm: ``expression`` over ``figures``, or a ``query``, above ``threshold`` in ``of`` of ``minutes`` minutes.

    ``missing`` says what no data mean: ``notBreaching`` where silence is good news, ``breaching`` where it is not.
    """

    name: str
    meaning: str
    threshold: float
    minutes: int = 5
    of: int = 5
    period_s: int = 60
    figures: Mapping[str, Figure] = field(default_factory=dict)
    expression: str = ""
    query: str = ""
    missing: Literal["notBreaching", "breaching", "ignore"] = "notBreaching"


def watches(names: Names, profile: Profile, api_id: str) -> tuple[Watch, ...]:
    """All alarms of a deployment, without the budget's and the service's."""
    return (
        *_application(names),
        *_stream_output(names),
        *_quality(names),
        *_ingestion(names, profile),
        *_serving(names, api_id),
        *_stores(names, profile),
        _training(names),
    )


def service_watches(names: Names, balancer: str) -> tuple[Watch, ...]:
    """Alarms of the tasks on Fargate; ``balancer`` is its full name, which AWS makes up.

    The balancer counts a call that it could not hand to any task among its own faults only (ELB guide, "CloudWatch
    metrics for your Application Load Balancer"), so those are added to the calls. Of a service without any running task
    Container Insights sends nothing at all (ECS guide, "Amazon ECS Container Insights metrics"): no data is bad news.
    """

    def counted(name: str) -> Figure:
        dimensions = {"LoadBalancer": balancer}
        return Figure(namespace="AWS/ApplicationELB", name=name, dimensions=dimensions, statistic="Sum")

    def tasks(name: str) -> Figure:
        dimensions = {"ClusterName": names.prefix, "ServiceName": names.service}
        return Figure(namespace="ECS/ContainerInsights", name=name, dimensions=dimensions, statistic="Minimum")

    return (
        Watch(
            name="service-errors",
            meaning="More than one call in a hundred to the service ends with a fault of ours.",
            figures={
                "faults": counted("HTTPCode_Target_5XX_Count"),
                "lost": counted("HTTPCode_ELB_5XX_Count"),
                "calls": counted("RequestCount"),
            },
            expression="100 * (FILL(faults, 0) + FILL(lost, 0)) / (FILL(calls, 0) + FILL(lost, 0) + 0.001)",
            threshold=1,
        ),
        Watch(
            name="service-short",
            meaning="Fewer tasks of the service run than should: they end again, or cannot be placed.",
            figures={"wanted": tasks("DesiredTaskCount"), "running": tasks("RunningTaskCount")},
            expression="wanted - FILL(running, 0)",
            threshold=0,
            minutes=10,
            of=10,
            missing="breaching",
        ),
    )


def _one(name: str, meaning: str, figure: Figure, threshold: float, *, minutes: int = 5, of: int = 5) -> Watch:
    figures = {"m": figure}
    return Watch(
        name=name, meaning=meaning, figures=figures, expression="m", threshold=threshold, minutes=minutes, of=of
    )


def _flink(names: Names, metric: str, statistic: str = "Average") -> Figure:
    return Figure(namespace=FLINK, name=metric, dimensions={"Application": names.flink}, statistic=statistic)


def _largest(names: Names, metric: str) -> str:
    return f"SELECT MAX({metric}) FROM \"{FLINK}\" WHERE Application = '{names.flink}'"


def _application(names: Names) -> tuple[Watch, ...]:
    """As AWS advises (Managed Flink guide, "Use CloudWatch Alarms")."""
    rate = {
        "stream-restarting": ("fullRestarts", "The job restarts: its state is intact, its answers pause."),
        "checkpoints-failing": ("numberOfFailedCheckpoints", "Checkpoints fail: files of the lake are held back."),
    }
    return (
        _one(
            "stream-down",
            "The job has failed and does not run.",
            _flink(names, "downtime"),
            0,
            minutes=3,
            of=2,
        ),
        *(
            Watch(
                name=name,
                meaning=meaning,
                figures={"m": _flink(names, metric, "Maximum")},
                expression="RATE(m)",
                threshold=0,
                minutes=15,
                of=3,
            )
            for name, (metric, meaning) in rate.items()
        ),
        _one(
            "checkpoints-slow",
            "A checkpoint takes over a minute: a restart would repeat as much.",
            _flink(names, "lastCheckpointDuration", "Maximum"),
            60_000,
            minutes=10,
            of=10,
        ),
        _one(
            "checkpoints-large",
            "The state has grown above 20 GB: somewhere it no longer expires.",
            _flink(names, "lastCheckpointSize", "Maximum"),
            20 * 1024**3,
            minutes=15,
            of=15,
        ),
        _one("stream-cpu-high", "The job is short of CPU.", _flink(names, "cpuUtilization"), 85, minutes=15, of=15),
        _one("stream-heap-high", "The job's Java heap is nearly full.", _flink(names, "heapMemoryUtilization"), 90),
        _one(
            "stream-memory-high",
            "A container of the job is nearly out of memory: Python workers and the mapped model live there too.",
            _flink(names, "containerMemoryUtilization", "Maximum"),
            90,
            minutes=10,
            of=10,
        ),
        Watch(
            name="stream-behind",
            meaning="The job reads more than a minute behind the stream: it does not keep up.",
            query=_largest(names, "millisBehindLatest"),
            threshold=60_000,
        ),
        Watch(
            name="stream-back-pressure",
            meaning="An operator waits for the next one nearly all the time.",
            query=_largest(names, "backPressuredTimeMsPerSecond"),
            threshold=900,
            minutes=10,
            of=10,
        ),
    )


def _stream_output(names: Names) -> tuple[Watch, ...]:
    """A job can look as if it ran and do nothing, so this looks at both of its ends from outside."""
    came = Figure(
        namespace="AWS/Kinesis",
        name="IncomingRecords",
        dimensions={"StreamName": names.stream},
        statistic="Sum",
    )
    written = Figure(
        namespace="AWS/ElastiCache", name="EvalBasedCmds", dimensions={"clusterId": names.cache}, statistic="Sum"
    )
    return (
        Watch(
            name="output-stalled",
            meaning="Events come in and nothing is written to the cache: the job does nothing, whatever its state.",
            figures={"came": came, "written": written},
            expression="IF(FILL(came, 0) > 0 AND FILL(written, 0) == 0, 1, 0)",
            threshold=0,
            minutes=10,
            of=10,
        ),
    )


def _quality(names: Names) -> tuple[Watch, ...]:
    rejected = {f"r{n}": _flink(names, name, "Maximum") for n, name in enumerate(_REJECTED)}
    rates = " + ".join(f"FILL(RATE({name}), 0)" for name in rejected)
    return (
        Watch(
            name="freshness",
            meaning=f"Lists reflect an event only after {_FRESH_MS} ms, for the slowest in a hundred.",
            query=_largest(names, "freshness_p99_ms"),
            threshold=_FRESH_MS,
            minutes=10,
            of=10,
        ),
        Watch(
            name="model-too-old",
            meaning=f"The model in use was trained more than {_OLD_S // 3600} hours ago.",
            query=_largest(names, "model_age_s"),
            threshold=_OLD_S,
            period_s=300,
            minutes=30,
            of=30,
        ),
        Watch(
            name="dead-letter-rate",
            meaning="More than one record in a hundred is rejected: a producer changed, or somebody tries things.",
            figures={"all": _flink(names, "events_in", "Maximum"), **rejected},
            expression=f"100 * ({rates}) / (RATE(all) + 0.001)",
            threshold=1,
            minutes=15,
            of=15,
        ),
    )


def _ingestion(names: Names, profile: Profile) -> tuple[Watch, ...]:
    stream = {"StreamName": names.stream}
    delivery = {"DeliveryStreamName": names.delivery}
    kept_ms = profile.stream_hours * 3_600_000
    return (
        _one(
            "stream-throttled",
            "The stream refuses writes: more shards are needed. The collector spools meanwhile.",
            Figure(
                namespace="AWS/Kinesis",
                name="WriteProvisionedThroughputExceeded",
                dimensions=stream,
                statistic="Sum",
            ),
            0,
        ),
        _one(
            "stream-unread",
            "Records wait unread for half of the time that the stream keeps them.",
            Figure(namespace="AWS/Kinesis", name="GetRecords.IteratorAgeMilliseconds", dimensions=stream),
            kept_ms / 2,
        ),
        _one(
            "lake-late",
            "Firehose is more than 15 minutes behind with the lake.",
            Figure(namespace="AWS/Firehose", name="DeliveryToS3.DataFreshness", dimensions=delivery),
            900,
        ),
        _one(
            "spool-waiting",
            "Events wait in the collector's spool for 15 minutes: the stream does not take them.",
            Figure(
                namespace="AWS/SQS",
                name="ApproximateAgeOfOldestMessage",
                dimensions={"QueueName": f"{names.prefix}-spool"},
            ),
            900,
        ),
        _one(
            "spool-dead",
            "Spooled events were given up after twelve tries; they lie in the dead-letter queue for 14 days.",
            Figure(
                namespace="AWS/SQS",
                name="ApproximateNumberOfMessagesVisible",
                dimensions={"QueueName": f"{names.prefix}-spool-dead"},
            ),
            0,
            minutes=1,
            of=1,
        ),
    )


def _serving(names: Names, api_id: str) -> tuple[Watch, ...]:
    api = {"ApiId": api_id}
    faults = Figure(namespace="AWS/ApiGateway", name="5xx", dimensions=api, statistic="Sum")
    calls = Figure(namespace="AWS/ApiGateway", name="Count", dimensions=api, statistic="Sum")
    slow = Figure(namespace="AWS/ApiGateway", name="Latency", dimensions=api, statistic="p99")
    return (
        Watch(
            name="api-errors",
            meaning="More than one call in a hundred ends with a fault of ours.",
            figures={"faults": faults, "calls": calls},
            expression="100 * FILL(faults, 0) / calls",
            threshold=1,
        ),
        _one("api-slow", "The slowest call in a hundred takes over a second.", slow, 1000),
        *(
            _one(
                f"{part}-throttled",
                f"Lambda turns calls of the function {part} away: the account's concurrency is used up.",
                Figure(
                    namespace="AWS/Lambda",
                    name="Throttles",
                    dimensions={"FunctionName": f"{names.prefix}-{part}"},
                    statistic="Sum",
                ),
                0,
            )
            for part in ("collector", "recommend")
        ),
    )


def _stores(names: Names, profile: Profile) -> tuple[Watch, ...]:
    cache = {"clusterId": names.cache}
    return (
        _one(
            "cache-full",
            "The cache holds over 80 % of what it may: above that it forgets what is oldest.",
            Figure(namespace="AWS/ElastiCache", name="BytesUsedForCache", dimensions=cache),
            0.8 * profile.cache_gb * 1024**3,
        ),
        _one(
            "cache-throttled",
            "The cache refuses commands: its limit of processing units is reached.",
            Figure(namespace="AWS/ElastiCache", name="ThrottledCmds", dimensions=cache, statistic="Sum"),
            0,
        ),
        *(
            _one(
                f"table-{kind}-throttled",
                f"DynamoDB turns {kind}s away.",
                Figure(
                    namespace="AWS/DynamoDB",
                    name=f"{kind.title()}ThrottleEvents",
                    dimensions={"TableName": names.table},
                    statistic="Sum",
                ),
                0,
                minutes=10,
                of=10,
            )
            for kind in ("read", "write")
        ),
    )


def _training(names: Names) -> Watch:
    ends = ("ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted")
    where = {"StateMachineArn": names.machine_arn}
    figures = {
        f"e{n}": Figure(namespace="AWS/States", name=end, dimensions=where, statistic="Sum")
        for n, end in enumerate(ends)
    }
    return Watch(
        name="training-failed",
        meaning="A training did not end by itself; the live model stays, and gets older.",
        figures=figures,
        expression=" + ".join(f"FILL({name}, 0)" for name in figures),
        threshold=0,
        minutes=5,
        of=1,
        period_s=300,
    )
