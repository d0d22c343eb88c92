"""Sizes of a deployment as data: ``dev`` is the cheapest that works, ``small`` a shop, ``large`` a big one.

What each costs is in docs/cost.md, which knob helps at which signal in docs/scaling.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from contracts.errors import SettingsError

__all__ = ["PROFILES", "Profile", "profile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Everything by which sizes differ. Money, not correctness: the same loop runs in each."""

    name: str
    budget_usd: int
    """A month; the alarm comes at 80 % and where the forecast is above it."""
    log_days: int = 30

    zones: int = 2
    egress: Literal["nat", "endpoints"] = "nat"
    """How what runs in the VPC reaches AWS. One NAT gateway is cheaper than seven interface endpoints in two zones;
    endpoints keep the traffic inside AWS and leave no way out. S3 and DynamoDB have free gateway endpoints in both."""

    shards: int | None = None
    """Of the stream; None: on demand, which scales itself and costs more at rest."""
    stream_hours: int = 24
    """How long the stream keeps a record: for so long may everything behind it be down."""

    flink_parallelism: int = 1
    flink_per_kpu: int = 1
    flink_autoscaling: bool = True
    flink_metrics: Literal["APPLICATION", "TASK", "OPERATOR", "PARALLELISM"] = "OPERATOR"

    training: Literal["serverless", "cluster"] = "serverless"
    """EMR Serverless, or a transient EMR cluster on EC2: cheaper per hour where a run is long."""
    hourly: bool = False
    """Train hourly, too, what new visits touched. Every run that publishes writes the lists of everybody anew: with it
    25 times the writes to the table and the versions in the cache (docs/cost.md)."""
    driver_cores: int = 2
    driver_memory_gb: int = 8
    executors: int = 2
    executor_cores: int = 2
    executor_memory_gb: int = 8
    scratch_gb: int = 20
    cluster_instance: str = "m7i.xlarge"  # x86-64, as the archive of the Spark environment is

    cache_gb: int = 1
    """Upper bounds of the cache: storage, and thousands of processing units a second."""
    cache_kilo_ecpu: int = 5
    aurora: bool = False
    """Aurora PostgreSQL beside DynamoDB, as the persistent store."""
    aurora_min_acu: float = 0.0
    aurora_max_acu: float = 2.0

    function_memory_mb: int = 512
    warm_functions: int = 0
    """Provisioned concurrency of the recommendation function: no cold starts, paid for while idle."""
    requests_per_s: int = 100
    burst: int = 200
    service: bool = False
    """The ASGI service on Fargate beside the functions, for server-sent events."""
    service_tasks: int = 1


_ALL: Final = (
    Profile(name="dev", budget_usd=250, log_days=14, shards=1),
    Profile(
        name="small",
        budget_usd=700,
        egress="endpoints",
        shards=2,
        flink_parallelism=2,
        executors=4,
        cache_gb=10,
        cache_kilo_ecpu=30,
        function_memory_mb=1024,
        requests_per_s=500,
        burst=1000,
    ),
    Profile(
        name="large",
        budget_usd=6000,
        log_days=90,
        zones=3,
        egress="endpoints",
        stream_hours=72,
        flink_parallelism=16,
        training="cluster",
        driver_cores=8,
        driver_memory_gb=32,
        executors=16,
        executor_cores=4,
        executor_memory_gb=16,
        scratch_gb=200,
        cluster_instance="r7i.2xlarge",
        cache_gb=200,
        cache_kilo_ecpu=1000,
        aurora_min_acu=0.5,
        aurora_max_acu=16.0,
        function_memory_mb=1769,
        warm_functions=20,
        requests_per_s=5000,
        burst=10_000,
        service=True,
        service_tasks=3,
    ),
)

PROFILES: Final[Mapping[str, Profile]] = {each.name: each for each in _ALL}


def profile(name: str) -> Profile:
    """
    >>> profile("dev").zones
    2

    Raises:
        SettingsError: there is none of that name.
    """
    try:
        return PROFILES[name]
    except KeyError as exc:
        message = f"no profile {name!r}; expected ENV={'|'.join(PROFILES)}"
        raise SettingsError(message) from exc
