"""What a deployment of a size costs a month at a traffic, part by part: formulas, no prices. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from deploy.cdk.profiles import Profile

__all__ = [
    "ALARM_METRICS",
    "HOURS",
    "Assumptions",
    "Costs",
    "Traffic",
    "kpus",
    "personalize",
    "product",
    "publishes",
    "shards",
]

HOURS: Final = 730.0
DAYS: Final = HOURS / 24
SECONDS: Final = HOURS * 3600
_GB: Final = 1e9
ALARM_METRICS: Final = 45
"""An alarm costs by the figures that it looks at; with the service thirty alarms look at so many."""
Prices = Mapping[str, float]
Costs = dict[str, float]
"""US dollars a month by part."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """Events and recommendation requests a second, on average; the peak is ``Assumptions.peak`` times as much."""

    events_per_s: float
    requests_per_s: float

    @property
    def events(self) -> float:
        """A month."""
        return self.events_per_s * SECONDS

    @property
    def requests(self) -> float:
        """A month."""
        return self.requests_per_s * SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumptions:
    """What the formulas take for granted; change one and run `make cost`."""

    peak: float = 3.0
    """Of the average."""
    event_bytes: int = 500
    """JSON as the collector writes it. Kinesis on demand counts it as 1 KB, Firehose as 5."""
    compressed_bytes: int = 80
    """In the lake, gzipped (docs/scaling.md: 60 to 100 with ids of a real shop)."""
    lake_days: int = 730
    events_a_request: int = 2
    """How many events the tracker sends at a time."""
    events_per_kpu: float = 2000.0
    """60 % busy at the peak, and of each vCPU two thirds of what a core did (docs/scaling.md)."""
    people_per_event_s: int = 10_000
    """With a list of the training; at most ``people_most``."""
    people_most: int = 50_000_000
    items_per_event_s: int = 200
    items_least: int = 5_000
    items_most: int = 1_000_000
    list_units: int = 3
    """Write units of a person's list of 100 items (docs/architecture.md)."""
    list_bytes: int = 2_500
    live_bytes: int = 4_000
    """A person's live value."""
    live_share: float = 0.6
    """Of the people with a list, who were seen within 30 days."""
    list_days: int = 90
    redis_list_days: int = 3
    ecpu_an_event: float = 8.0
    """A read and a guarded write of some KB, shared buckets and trends (docs/streaming.md: 0.42 sets an event)."""
    ecpu_a_request: float = 10.0
    request_ms: float = 25.0
    event_request_ms: float = 15.0
    answer_kb: float = 6.0
    window_days: int = 365
    """What a model is trained on."""
    full_vcpu_hours_a_billion: float = 34.2
    """Of a full training (docs/scaling.md, M 150, K 50, one matrix)."""
    daily_share: float = 0.069
    """What a new day costs of a full training (docs/scaling.md)."""
    start_minutes: float = 6.0
    """Start of the workers, lists, publishing: all of them, each run."""
    personalize_trainings: float = DAYS / 7
    """Automatic training is weekly by default."""
    personalize_days: int = 90
    """Interactions that it is trained on."""


def publishes(profile: Profile) -> int:
    """Trainings a day, each of which writes all lists."""
    return 25 if profile.hourly else 1


def shards(profile: Profile, traffic: Traffic, given: Assumptions) -> int:
    """1 MB and 1,000 records a second and shard, at the peak; at least what the profile has.

    >>> from deploy.cdk.profiles import PROFILES
    >>> [shards(PROFILES["small"], Traffic(rate, 1), Assumptions()) for rate in (50, 2000)]
    [2, 6]
    """
    peak = traffic.events_per_s * given.peak
    return max(profile.shards or 1, math.ceil(peak / 1000), math.ceil(peak * given.event_bytes / 2**20))


def kpus(profile: Profile, traffic: Traffic, given: Assumptions) -> int:
    """At the peak's rate, at least those of the profile's parallelism, and one that orchestrates."""
    at_least = -(-profile.flink_parallelism // profile.flink_per_kpu)
    return max(at_least, math.ceil(traffic.events_per_s * given.peak / given.events_per_kpu)) + 1


def product(profile: Profile, traffic: Traffic, usd: Prices, given: Assumptions) -> Costs:
    """Everything that a profile deploys."""
    people = min(traffic.events_per_s * given.people_per_event_s, given.people_most)
    items = min(max(traffic.events_per_s * given.items_per_event_s, given.items_least), given.items_most)
    return {
        "Kinesis": _kinesis(profile, traffic, usd, given),
        "Firehose": traffic.events * max(5 * 1024, given.event_bytes) / _GB * usd["firehose_gb"],
        "S3": _s3(profile, traffic, usd, given),
        "Flink": _flink(profile, traffic, usd, given, people),
        "ElastiCache": _cache(profile, traffic, usd, given, people, items),
        "DynamoDB": _table(profile, usd, given, people, items),
        "EMR": _training(profile, traffic, usd, given),
        "API and Lambda": _serving(profile, traffic, usd, given),
        "Network": _network(profile, traffic, usd, given),
        "CloudWatch, KMS": _watching(profile, traffic, usd, given),
    }


def _kinesis(profile: Profile, traffic: Traffic, usd: Prices, given: Assumptions) -> float:
    """Shards by the hour and PUT units of 25 KB; or on demand: each record as 1 KB, written once, read twice."""
    if profile.shards is not None:
        number = shards(profile, traffic, given)
        extended = number * HOURS * usd["kinesis_extended_shard_hour"] if profile.stream_hours > 24 else 0.0
        return number * HOURS * usd["kinesis_shard_hour"] + traffic.events / 1e6 * usd["kinesis_put_million"] + extended
    gb = traffic.events * max(1024, given.event_bytes) / _GB
    kept = gb * (profile.stream_hours - 24) / HOURS
    data = gb * (usd["kinesis_in_gb"] + 2 * usd["kinesis_out_gb"]) + kept * usd["kinesis_extended_gb_month"]
    return HOURS * usd["kinesis_stream_hour"] + data


def _s3(profile: Profile, traffic: Traffic, usd: Prices, given: Assumptions) -> float:
    """The lake, twice as much for features, what was served and models; objects of Firehose, Flink and the trainer."""
    gb = traffic.events / DAYS * given.lake_days * given.compressed_bytes * 3 / _GB
    flink = SECONDS / 60 * 6 * profile.flink_parallelism  # six sinks, a part a minute and subtask
    firehose = max(SECONDS / 300, traffic.events * given.event_bytes / 64e6)
    reads = (flink + firehose) * 3
    return (
        gb * usd["s3_gb_month"]
        + (flink + firehose) / 1e3 * usd["s3_put_thousand"]
        + reads / 1e3 * usd["s3_get_thousand"]
    )


def _flink(profile: Profile, traffic: Traffic, usd: Prices, given: Assumptions, people: float) -> float:
    """KPUs for the peak; automatic scaling makes it less. Snapshots are a few bytes an event of the last hour."""
    snapshot_gb = traffic.events_per_s * 3600 * 100 / _GB * 10
    return kpus(profile, traffic, given) * HOURS * usd["flink_kpu_hour"] + snapshot_gb * usd["flink_backup_gb_month"]


def _cache(profile: Profile, traffic: Traffic, usd: Prices, given: Assumptions, people: float, items: float) -> float:
    """Live values, and lists of each version until their time is over, within the profile's limit."""
    lists = (people + items) * given.list_bytes * given.redis_list_days * publishes(profile)
    gb = (people * given.live_share * given.live_bytes + lists) / _GB
    held = max(0.1, min(gb, profile.cache_gb))
    publishing = (people + items) * 2 * given.list_bytes / 1024 * DAYS * publishes(profile)
    ecpu = traffic.events * given.ecpu_an_event + traffic.requests * given.ecpu_a_request + publishing
    return held * HOURS * usd["cache_gb_hour"] + ecpu / 1e6 * usd["cache_ecpu_million"]


def _table(profile: Profile, usd: Prices, given: Assumptions, people: float, items: float) -> float:
    """All lists written by each run and kept for ``list_days``; a sample is read back."""
    rows = (people + items) * DAYS * publishes(profile)
    gb = (people + items) * given.list_bytes * given.list_days * publishes(profile) / _GB
    writing = rows * given.list_units / 1e6 * usd["dynamodb_write_million"]
    reading = rows / 16 / 1e6 * usd["dynamodb_read_million"]
    return writing + reading + gb * (usd["dynamodb_gb_month"] + usd["dynamodb_pitr_gb_month"])


def _training(profile: Profile, traffic: Traffic, usd: Prices, given: Assumptions) -> float:
    """A daily run: its share of a full training, and the start of all workers."""
    cores = profile.driver_cores + profile.executors * profile.executor_cores
    memory = profile.driver_memory_gb + profile.executors * profile.executor_memory_gb
    window = traffic.events / DAYS * given.window_days / 1e9
    work = given.daily_share * given.full_vcpu_hours_a_billion * window
    vcpu_hours = (work + publishes(profile) * cores * given.start_minutes / 60) * DAYS
    if profile.training == "cluster":
        return vcpu_hours * usd["emr_cluster_vcpu_hour"]
    return vcpu_hours * (usd["emr_serverless_vcpu_hour"] + memory / cores * usd["emr_serverless_gb_hour"])


def _serving(profile: Profile, traffic: Traffic, usd: Prices, given: Assumptions) -> float:
    """The HTTP API and the functions for events and for recommendations; what is kept warm; the service."""
    posts = traffic.events / given.events_a_request
    calls = posts + traffic.requests
    gb = profile.function_memory_mb / 1024
    seconds = (posts * given.event_request_ms + traffic.requests * given.request_ms) / 1000
    total = calls / 1e6 * (usd["http_api_million"] + usd["lambda_request_million"])
    total += seconds * gb * usd["lambda_gb_second"]
    total += profile.warm_functions * gb * SECONDS * usd["lambda_warm_gb_second"]
    if profile.service:
        task = 2 * usd["fargate_vcpu_hour"] + 4 * usd["fargate_gb_hour"]
        total += HOURS * (profile.service_tasks * task + usd["balancer_hour"])
    return total


def _network(profile: Profile, traffic: Traffic, usd: Prices, given: Assumptions) -> float:
    """NAT or interface endpoints for what Flink, the trainer and functions send to AWS, and answers to the internet."""
    gb = traffic.events * given.event_bytes * 2 / _GB
    if profile.egress == "nat":
        way = HOURS * usd["nat_hour"] + gb * usd["nat_gb"]
    else:
        number = 6 + (2 if profile.training == "cluster" else 0) + (2 if profile.service else 0)
        way = number * profile.zones * HOURS * usd["endpoint_hour"] + gb * usd["endpoint_gb"]
    return way + traffic.requests * given.answer_kb / 1e6 * usd["egress_gb"]


def _watching(profile: Profile, traffic: Traffic, usd: Prices, given: Assumptions) -> float:
    """Custom metrics of the job by level, alarms, keys, and logs: a line for one request in a hundred."""
    metrics = {"APPLICATION": 40, "TASK": 150, "OPERATOR": 300, "PARALLELISM": 300 * profile.flink_parallelism}
    logs_gb = 2 + (traffic.requests + traffic.events / given.events_a_request) / 100 * 300 / _GB
    return (
        metrics[profile.flink_metrics] * usd["metric_month"]
        + ALARM_METRICS * usd["alarm_month"]
        + 2 * usd["key_month"]
        + (logs_gb * usd["logs_gb"])
    )


def personalize(traffic: Traffic, usd: Prices, given: Assumptions) -> Costs:
    """Amazon Personalize at the same traffic: data in, trainings, and requests (at least one a second)."""
    trained = traffic.events / DAYS * given.personalize_days
    return {
        "data": traffic.events * given.event_bytes / _GB * usd["personalize_in_gb"],
        "training": trained / 1e3 * usd["personalize_train_thousand"] * given.personalize_trainings,
        "requests": max(traffic.requests, SECONDS) / 1e3 * usd["personalize_request_thousand"],
    }
