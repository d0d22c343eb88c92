"""Settings of every part, read once from ``application_properties.json`` in the managed Flink service's own format."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, get_type_hints

from contracts.errors import SettingsError
from contracts.events import LATE_MS
from contracts.ids import check_shop

__all__ = [
    "ENVIRONMENT_VARIABLE",
    "MANAGED_PATH",
    "PostgresqlSettings",
    "ServingSettings",
    "Settings",
    "StreamingSettings",
    "TrainingSettings",
    "load",
    "to_properties",
]

ENVIRONMENT_VARIABLE: Final = "LIVESHELF_PROPERTIES"
MANAGED_PATH: Final = "/etc/flink/application_properties.json"
_ORIGIN: Final = re.compile(r"https?://[a-zA-Z0-9.-]+(:[0-9]{1,5})?")


def _check_positive(part: Any, group: str) -> None:
    for f in fields(part):
        value = getattr(part, f.name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value <= 0:
            message = f"property {property_key(f.name)!r} of group {group!r} is {value}; expected a number above 0"
            raise SettingsError(message)


def _check_choice(key: str, group: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        message = f"property {key!r} of group {group!r} is {value!r}; expected one of {', '.join(choices)}"
        raise SettingsError(message)


@dataclass(frozen=True, kw_only=True)
class StreamingSettings:
    """Group ``liveshelf.streaming``. Intervals are milliseconds, horizons seconds."""

    getrecords_interval_ms: int = 250
    """AWS allows 5 reads a second a shard over all consumers and Firehose takes one, so 250 ms beside it."""
    initial_position: str = "TRIM_HORIZON"
    dedup_horizon_s: int = 3600
    """For how long after an event its repetitions are dropped; downtime counts."""
    sums_ttl_s: int = 4500
    """How long the running sums of a bucket are kept after its last event: what a bucket takes to fill (5 min), the
    lateness rule (10 min), and the longest downtime after which nothing has to be rebuilt (here an hour). Less than 15
    min only to watch state expire: sums that are forgotten while their bucket is open stay too small."""
    window_delay_s: int = 900
    """How long the S3 windows wait for disorder; above the lateness rule of 10 minutes."""
    list_size: int = 50
    user_ttl_s: int = 30 * 24 * 3600
    item_ttl_s: int = 26 * 3600
    kept_people: int = 10_000
    """Of how many people each subtask keeps the value that it wrote last, 4 to 8 KB each; they are not read again for
    the next event of the same five minutes."""
    pointer_poll_s: float = 2.0
    snapshot_cache: str = "/tmp/liveshelf-snapshots"
    """A local folder; the managed service offers nothing but /tmp."""
    idle_timeout_s: int = 5
    bundle_time_ms: int = 50
    """The longest that a row waits for others on its way to Python, twice: to be parsed, and to be recommended for."""
    bundle_rows: int = 5000
    """The most rows that go to Python together; they go in one piece."""
    buffer_timeout_ms: int = 5
    """After how long a network buffer that is not full leaves, at each of three exchanges between tasks."""

    def __post_init__(self) -> None:
        _check_positive(self, "liveshelf.streaming")
        if self.window_delay_s * 1000 <= LATE_MS:
            message = (
                f"window.delay.s is {self.window_delay_s}; expected more than the lateness rule's {LATE_MS // 1000}, "
                "or windows close before events that are not late"
            )
            raise SettingsError(message)


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """Group ``liveshelf.training``: what is published; the model's own settings are the trainer's flags."""

    similar_size: int = 50
    batch_size: int = 100
    list_ttl_s: int = 90 * 24 * 3600
    """Longer than any pause between trainings, so that the live model keeps its lists, and those one can go back to."""
    redis_list_ttl_s: int = 3 * 24 * 3600
    """The same in Redis, where memory is dear and each version has lists of its own. After a longer pause lists are
    read from the persistent store, until ``batch.models activate`` of the live version brings them back."""
    keep_versions: int = 10
    dynamodb_units_per_s: int = 3000
    """Write units (1 KiB each, rounded up a row) a second of one run. A new table on demand takes 4,000 of them."""
    redis_commands_per_s: int = 20_000
    """Commands a second of one run, over all nodes: a fifth or less of what one node answers."""

    def __post_init__(self) -> None:
        _check_positive(self, "liveshelf.training")


@dataclass(frozen=True, kw_only=True)
class ServingSettings:
    """Group ``liveshelf.serving``. Time-outs are milliseconds."""

    deadline_ms: int = 50
    """By when a list is answered, whatever is away: the time-outs of the stores are cut to what is left of it."""
    redis_timeout_ms: int = 20
    dynamodb_timeout_ms: int = 25
    bought_within_days: int = 30
    """For how long what somebody bought is not shown to them again, where no rule of the shop says otherwise.
    A purchase is remembered for ``user.ttl.s`` of the stream."""
    baked_folder: str | None = None
    """Where the popular items of the deployment are (``python -m serving.bake``); default: beside the code."""
    max_batch: int = 500
    trending_buckets: int = 12
    spool_folder: str | None = None
    """Where the service keeps accepted events while Kinesis is away: a folder on a disk that outlives the process."""
    spool_max_mib: int = 512
    """How much of that disk; once it is full, events are answered with 429."""
    spool_queue: str | None = None
    """The URL of the SQS queue that does the same for the Lambda function, whose disk does not last."""
    keys: str = ""
    """Where the API keys are: a file, ``secret:<name>`` or a secret's ARN. Empty: none, and only this machine is
    answered."""
    open: bool = False
    """Answer anybody without a key. For trials behind a wall of their own; the start says so loudly."""
    page_key: str = ""
    """A public key (events and read) that the storefront page hands to its visitors. It is no secret."""
    cors_origins: str = ""
    """Origins of web pages that may call from another site, separated by commas: ``https://shop.example``."""
    rate_per_key_s: float = 5000.0
    """Requests a second of one key, of each process."""
    rate_per_client_s: float = 100.0
    """Requests a second of one address with a public key, of each process; servers' keys have no such limit."""
    max_catalogue_mib: int = 64

    def __post_init__(self) -> None:
        _check_positive(self, "liveshelf.serving")
        if origin := next((o for o in self.origins if not _ORIGIN.fullmatch(o)), None):
            message = (
                f"property 'cors.origins' holds {origin!r}; expected origins such as https://shop.example, no paths"
            )
            raise SettingsError(message)

    @property
    def origins(self) -> tuple[str, ...]:
        """``cors_origins``, one by one."""
        return tuple(part.strip() for part in self.cors_origins.split(",") if part.strip())


@dataclass(frozen=True, kw_only=True)
class PostgresqlSettings:
    """Group ``liveshelf.postgresql``: the persistent store where ``persistent.store`` is ``postgresql``."""

    host: str = "127.0.0.1"
    """The cluster's writer endpoint. IAM tokens are not valid for names of your own before it (Aurora guide)."""
    port: int = 5432
    database: str = "liveshelf"
    user: str = "liveshelf"
    """Not used with ``auth`` = ``secret``: the secret names the user."""
    schema: str = "liveshelf"
    auth: str = "iam"
    """``iam``: a token for each connection; ``secret``: user and password from Secrets Manager; ``none``."""
    secret: str = ""
    """Name or ARN of a secret in the form of RDS: JSON with ``username`` and ``password``."""
    tls: bool = True
    """Verified in full: chain and host name. False only for a server on this machine."""
    ca_bundle: str = ""
    """Path of certificates of authorities; empty: those of RDS in all regions, which come along (stores/rds-ca.pem)."""
    connections: int = 4
    """At most, of a process; the rest wait."""
    rows_per_s: int = 5000
    """Rows a second of one training run."""

    def __post_init__(self) -> None:
        _check_positive(self, "liveshelf.postgresql")
        _check_choice("auth", "liveshelf.postgresql", self.auth, ("iam", "secret", "none"))
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", self.schema):
            message = (
                f"property 'schema' of group 'liveshelf.postgresql' is {self.schema!r}; expected a-z, 0-9 and _, "
                "at most 63, not beginning with a digit"
            )
            raise SettingsError(message)
        if self.auth == "secret" and not self.secret:
            message = "property 'secret' of group 'liveshelf.postgresql' is empty; auth=secret needs its name or ARN"
            raise SettingsError(message)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Group ``liveshelf`` and the groups of the parts.

    >>> Settings.from_properties({"liveshelf": {"redis.nodes": "127.0.0.1:7001"}}).redis_nodes
    (('127.0.0.1', 7001),)
    """

    shops: tuple[str, ...] = ("default",)
    aws_region: str = "eu-central-1"
    aws_endpoint: str | None = None
    stream_name: str = "behaviour"
    lake_bucket: str = "liveshelf-lake"
    redis_nodes: tuple[tuple[str, int], ...] = (("127.0.0.1", 6379),)
    redis_tls: bool = False
    redis_user: str | None = None
    """Who logs in to Redis, by IAM as ElastiCache has it (:mod:`stores.login`); none: nobody has to."""
    redis_cache: str | None = None
    """Name of the serverless cache that ``redis.user`` logs in to: a login is signed for one cache."""
    persistent_store: str = "dynamodb"
    """``dynamodb`` or ``postgresql``: where lists, registry and the authority on the live version are kept."""
    dynamodb_table: str = "liveshelf"
    streaming: StreamingSettings = field(default_factory=StreamingSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    serving: ServingSettings = field(default_factory=ServingSettings)
    postgresql: PostgresqlSettings = field(default_factory=PostgresqlSettings)

    def __post_init__(self) -> None:
        _check_choice("persistent.store", "liveshelf", self.persistent_store, ("dynamodb", "postgresql"))

    @classmethod
    def from_properties(cls, groups: Mapping[str, Mapping[str, str]]) -> "Settings":
        """Build settings from property groups; keys are field names with dots for underscores.

        Raises:
            SettingsError: a key is unknown or a value cannot be read.
        """
        top = dict(_read(cls, "liveshelf", groups.get("liveshelf", {})))
        for name, part in _PARTS.items():
            group = f"liveshelf.{name}"
            top[name] = part(**_read(part, group, groups.get(group, {})))
        return cls(**top)


_PARTS: Final[dict[str, type]] = {
    "streaming": StreamingSettings,
    "training": TrainingSettings,
    "serving": ServingSettings,
    "postgresql": PostgresqlSettings,
}


def property_key(field_name: str) -> str:
    """The property key of a field: underscores become dots, as is usual in Java properties.

    >>> property_key("getrecords_interval_ms")
    'getrecords.interval.ms'
    """
    return field_name.replace("_", ".")


def _read(part: type, group: str, properties: Mapping[str, str]) -> dict[str, Any]:
    known = {property_key(f.name): f.name for f in fields(part) if f.name not in _PARTS}
    types = get_type_hints(part)
    values = {}
    for key, text in properties.items():
        if key not in known:
            message = f"property {key!r} of group {group!r} is unknown; expected one of {', '.join(sorted(known))}"
            raise SettingsError(message)
        values[known[key]] = _value(group, key, text, types[known[key]])
    return values


def _value(group: str, key: str, text: str, kind: Any) -> Any:
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if kind in (int, float):
            return kind(text)
        if key == "shops":
            return tuple(check_shop(shop.strip()) for shop in text.split(","))
        if key == "redis.nodes":
            pairs = [node.strip().rpartition(":") for node in text.split(",")]
            return tuple((host, int(port)) for host, _, port in pairs)
    except (ValueError, KeyError) as exc:
        message = f"property {key!r} of group {group!r} is {text!r}; it cannot be read as {kind}: {exc}"
        raise SettingsError(message) from exc
    return (text or None) if kind == str | None else text


def to_properties(settings: Settings) -> list[dict[str, Any]]:
    """The file's content for ``settings``; reading it back gives equal settings.

    >>> s = Settings(shops=("a", "b"), aws_endpoint="http://127.0.0.1:5000")
    >>> Settings.from_properties({g["PropertyGroupId"]: g["PropertyMap"] for g in to_properties(s)}) == s
    True
    """
    groups = [{"PropertyGroupId": "liveshelf", "PropertyMap": _write(settings)}]
    for name in _PARTS:
        groups.append({"PropertyGroupId": f"liveshelf.{name}", "PropertyMap": _write(getattr(settings, name))})
    return groups


def _write(part: Any) -> dict[str, str]:
    out = {}
    for f in fields(part):
        if f.name in _PARTS:
            continue
        value = getattr(part, f.name)
        if isinstance(value, bool):
            text = str(value).lower()
        elif f.name == "redis_nodes":
            text = ",".join(f"{host}:{port}" for host, port in value)
        elif isinstance(value, tuple):
            text = ",".join(value)
        else:
            text = "" if value is None else str(value)
        out[property_key(f.name)] = text
    return out


def load(path: str | Path | None = None) -> Settings:
    """Read the settings file: ``path``, else the file that ``LIVESHELF_PROPERTIES`` names, else the managed service's.

    Where there is no file to write, the variable may hold the content itself: it then begins with ``[``. A file that is
    named and is not there is an error: the next place could hold the settings of something else.

    Raises:
        SettingsError: there is no such file, or it cannot be read; the message says where it was looked for.
    """
    named = path or os.environ.get(ENVIRONMENT_VARIABLE)
    found = str(named or MANAGED_PATH)
    if found.startswith("["):
        return _parse(found, ENVIRONMENT_VARIABLE)
    if not Path(found).is_file():
        origin = "" if path else f" (from {ENVIRONMENT_VARIABLE})" if named else f" ({ENVIRONMENT_VARIABLE} is not set)"
        message = f"no settings file at {found}{origin}; set {ENVIRONMENT_VARIABLE} or pass a path that exists"
        raise SettingsError(message)
    try:
        text = Path(found).read_text()
    except OSError as exc:
        message = f"{found} cannot be read: {exc}; expected a file that this process may read"
        raise SettingsError(message) from exc
    return _parse(text, found)


def _parse(text: str, source: str) -> Settings:
    try:
        groups = {g["PropertyGroupId"]: g["PropertyMap"] for g in json.loads(text)}
    except (ValueError, KeyError, TypeError) as exc:
        message = f"{source} cannot be read: {exc}; expected a list of objects with PropertyGroupId and PropertyMap"
        raise SettingsError(message) from exc
    return Settings.from_properties(groups)
