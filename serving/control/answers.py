"""What the control room's routes answer. Every part has a `problem`: empty, or why it cannot be told now."""

from typing import Annotated, Any, Literal

import msgspec

__all__ = [
    "Activated",
    "Checkpoints",
    "ControlExperiments",
    "ControlHealth",
    "ControlModels",
    "ControlRejected",
    "ControlStream",
    "ExperimentView",
    "FreshnessView",
    "Job",
    "ModelVersion",
    "Operator",
    "Part",
    "Point",
    "RejectedRecord",
    "Term",
]

Millis = Annotated[int, msgspec.Meta(description="milliseconds since the epoch, UTC")]


class Activated(msgspec.Struct):
    """What was live before and is now; `restored` lists were given back to Redis."""

    before: str | None
    live: str
    restored: int


class Job(msgspec.Struct):
    """The streaming job as its cluster tells it."""

    state: str
    started_at: Millis | None = None
    restarts: int | None = None
    id: str | None = None


class Checkpoints(msgspec.Struct):
    """Checkpoints of the job; those that failed are counted since it started."""

    completed: int | None = None
    failed: int | None = None
    newest_ms: Annotated[float | None, msgspec.Meta(description="how long the newest took")] = None
    newest_bytes: float | None = None


class Operator(msgspec.Struct):
    """One step of the job: which share of the time its busiest instance works, and is held up by the next one."""

    name: str
    busy: float
    held_up: float


class Point(msgspec.Struct):
    """The figures at one moment; `events_per_s` is the mean since the point before."""

    at: Millis
    events_per_s: float | None = None
    lag_ms: float | None = None
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None


class FreshnessView(msgspec.Struct):
    """Freshness as this process measured it: from an event it accepted to a live list in Redis that reflects it.

    A few events a second are followed, while somebody looks. `counts` go with the bounds `edges_ms`; the last count is
    of what took longer. `missed` were not seen within the patience of ten seconds.
    """

    edges_ms: list[int]
    counts: list[int]
    samples: int
    missed: int
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None


class ControlStream(msgspec.Struct):
    """The stream's figures now and over the last minutes."""

    source: Literal["flink", "cloudwatch", "none"]
    problem: str
    dashboard: str | None
    job: Job | None
    checkpoints: Checkpoints
    figures: Annotated[dict[str, float], msgspec.Meta(description="the job's own figures by name, see docs/metrics.md")]
    operators: list[Operator]
    history: list[Point]
    freshness: FreshnessView
    accepted: int
    refused: Annotated[int, msgspec.Meta(description="events that this process's collector refused")]
    failed: int


class Part(msgspec.Struct):
    """One part of the system: `ok`, `warn`, `bad`, or `away` where nothing is known of it."""

    name: str
    state: Literal["ok", "warn", "bad", "away"]
    words: str
    took_ms: Annotated[float | None, msgspec.Meta(description="how long it took to answer")] = None


class ControlHealth(msgspec.Struct):
    """Every part, asked now, each within its time limit."""

    at: Millis
    parts: list[Part]


class RejectedRecord(msgspec.Struct):
    """A record of the dead-letter prefix; `data` is its beginning, as text."""

    reason: str
    detail: str
    arrived_at: Millis
    shard: str
    sequence: str
    data: str


class ControlRejected(msgspec.Struct):
    """The newest rejected records. They become visible with the job's next checkpoint."""

    problem: str
    records: list[RejectedRecord]
    more: Annotated[bool, msgspec.Meta(description="whether the prefix holds further files of today and yesterday")]


class Term(msgspec.Struct):
    """One coefficient of the ranker, by ordinary least squares with its request's mean taken out."""

    name: str
    coefficient: float
    standard_error: float | None = None
    t: float | None = None


class ModelVersion(msgspec.Struct):
    """A published version, as its manifest tells it. `metrics` is model → metric → value."""

    version: str
    live: bool
    parent: str | None
    trained_at: str
    window_start: str
    window_end: str
    metrics: dict[str, dict[str, float]]
    gate: str
    sentences: list[str]
    theta: float
    terms: list[Term]
    r_squared: float | None
    rows: dict[str, int]
    settings: dict[str, Any]


class ControlModels(msgspec.Struct):
    """Versions that S3 holds, newest first; the authority (DynamoDB) says which one is live, mirrors follow it."""

    problem: str
    live: str | None
    switched_at: Millis | None
    previous: Annotated[str | None, msgspec.Meta(description="the parent of the live one: what a rollback goes to")]
    versions: list[ModelVersion]


class ExperimentView(msgspec.Struct):
    """An experiment and, once the batch has counted, its results (:mod:`contracts.experiment_results`)."""

    experiment: dict[str, Any]
    results: dict[str, Any] | None
    problem: str


class ControlExperiments(msgspec.Struct):
    """All experiments of the shop."""

    problem: str
    experiments: list[ExperimentView]
