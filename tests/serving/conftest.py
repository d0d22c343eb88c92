"""A real Valkey cluster, an emulated AWS, and the serving process, seeded through the stores as its writers do."""

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, sync_playwright

from contracts.items import Item, encode_catalogue
from contracts.keys import batch_key, batch_row, popular_key, popular_row, similar_key, user_key
from contracts.lake import catalogue_path, visitors_path
from contracts.lists import Action, BasedOn, RecommendationList, UserValue, encode_value
from contracts.pointer import Pointer
from contracts.settings import Settings, to_properties
from local import libraries, valkey
from local.faults import FaultControl
from local.health import http_ok, tcp_open, wait_until
from local.ports import free_port
from local.supervisor import Service, Supervisor
from stores.aws import client
from stores.cluster import Cluster
from stores.objects import Objects
from stores.tables import Tables

SHOP, VERSION = "default", "20260101T000000Z-test00"
ITEMS = [
    *(
        Item(item_id=f"i{n}", title=f"Item {n}", category="EVEN" if n % 2 == 0 else "ODD", price=n + 0.5)
        for n in range(40)
    ),
    Item(item_id="gone", title="Sold out lamp", category="EVEN", in_stock=False),
    Item(item_id="milk", title="Oat Milk", category="DAIRY", price=1.99, repeatable=True),
    Item(item_id="a/b c", title="Slashed", category="DAIRY", price=2.0),
]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def ranking(source: str, items: list[str], **fields: Any) -> RecommendationList:
    """A list whose scores fall."""
    scores = [1.0 - 0.01 * i for i in range(len(items))]
    fields = {"model_version": VERSION, "based_on": None, "written_at": now_ms()} | fields
    return RecommendationList(source=source, items=items, scores=scores, **fields)  # type: ignore[arg-type]


@dataclass
class Shop:
    """One running shop: its HTTP client, and its stores to write to as stream and trainer would."""

    http: httpx.Client
    url: str
    settings: Settings
    supervisor: Supervisor
    rev: int = field(default=0)

    @property
    def cluster(self) -> AbstractContextManager[Cluster]:
        @contextmanager
        def connected() -> Iterator[Cluster]:
            cluster = Cluster.from_settings(self.settings)
            try:
                yield cluster
            finally:
                cluster.close()

        return connected()

    def get(self, path: str, **params: Any) -> Any:
        answer = self.http.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def put_live(
        self,
        subject: str,
        items: list[str] | None,
        actions: Sequence[Action] = (),
        source: str = "live",
        **fields: Any,
    ) -> None:
        """Write a person's value as the stream does."""
        self.rev += 1
        newest = BasedOn(actions[-1].occurred_ms, actions[-1].event_id) if actions else None
        live = None if items is None else ranking(source, items, **({"based_on": newest} | fields))
        value = UserValue(rev=f"{self.rev:016x}", actions=list(actions), live=live)
        with self.cluster as cluster:
            cluster.set_many([(user_key(SHOP, subject), encode_value(value), 600)])

    def put_redis(self, key: str, value: bytes) -> None:
        with self.cluster as cluster:
            cluster.set_many([(key, value, 600)])

    def execute(self, *commands: tuple[Any, ...]) -> None:
        with self.cluster as cluster:
            cluster.execute(commands)

    def records(self) -> list[dict[str, Any]]:
        """All records on the stream, oldest first in each shard."""
        kinesis = client("kinesis", self.settings)
        found = []
        for shard in kinesis.list_shards(StreamName=self.settings.stream_name)["Shards"]:
            place = kinesis.get_shard_iterator(
                StreamName=self.settings.stream_name, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
            )["ShardIterator"]
            found += kinesis.get_records(ShardIterator=place)["Records"]
        return [json.loads(record["Data"]) | {"_key": record["PartitionKey"]} for record in found]


def seed(settings: Settings) -> None:
    """What trainer and data preparation leave behind: bucket, catalogue, stream, table, a published version."""
    client("s3", settings).create_bucket(
        Bucket=settings.lake_bucket, CreateBucketConfiguration={"LocationConstraint": settings.aws_region}
    )
    kinesis = client("kinesis", settings)
    kinesis.create_stream(StreamName=settings.stream_name, ShardCount=2)
    kinesis.get_waiter("stream_exists").wait(StreamName=settings.stream_name, WaiterConfig={"Delay": 1})
    objects, tables = Objects.from_settings(settings), Tables.from_settings(settings)
    objects.put(catalogue_path(SHOP), encode_catalogue(ITEMS))
    objects.put(visitors_path(SHOP), b'["1","2"]')
    tables.ensure()
    pointer = Pointer(version=VERSION, switched_at=datetime.now(UTC))
    tables.switch(SHOP, pointer, None)
    later = int(time.time()) + 600
    popular = encode_value(ranking("popular", ["i30", "i31", "gone", "milk"]))
    in_redis = encode_value(ranking("batch", ["i10", "i11", "gone"]))
    in_dynamodb = encode_value(ranking("batch", ["i20", "i21"]))
    similar = encode_value(ranking("batch", ["i7", "gone", "i8"]))
    tables.put_many(
        [
            (popular_row(SHOP, VERSION), popular, later),
            (batch_row(SHOP, VERSION, "u.both"), in_dynamodb, later),
            (batch_row(SHOP, VERSION, "u.cold"), in_dynamodb, later),
            (batch_row(SHOP, VERSION, "u.old"), in_dynamodb, 1),
        ]
    )
    cluster = Cluster.from_settings(settings)
    cluster.publish_pointer(SHOP, pointer)
    cluster.set_many(
        [
            (popular_key(SHOP, VERSION), popular, 600),
            (batch_key(SHOP, VERSION, "u.both"), in_redis, 600),
            (similar_key(SHOP, VERSION, "i6"), similar, 600),
        ]
    )
    cluster.close()


def settings_for(redis_nodes: str, aws_endpoint: str) -> Settings:
    """Settings with the time-outs of a loaded test machine, not of production."""
    return Settings.from_properties(
        {
            "liveshelf": {"redis.nodes": redis_nodes, "aws.endpoint": aws_endpoint},
            "liveshelf.serving": {"redis.timeout.ms": "500", "dynamodb.timeout.ms": "2000", "deadline.ms": "4000"},
        }
    )


@contextmanager
def serving(folder: Path, settings: Settings, *, ready: str = "/readyz", words: Sequence[str] = ()) -> Iterator[Shop]:
    """The serving process with ``settings``, once ``ready`` answers well."""
    libraries.ensure()  # what the pages load; `make setup` installs it
    folder.mkdir(parents=True, exist_ok=True)
    file, port = folder / "application_properties.json", free_port()
    file.write_text(json.dumps(to_properties(settings)))
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "serving", "--port", str(port), "--properties", file, *words]
    with ExitStack() as stack:
        supervisor = stack.enter_context(Supervisor(folder / "run", say=lambda _: None))
        supervisor.start(Service(name="serving", command=command, ready=http_ok(url + ready)))
        http = stack.enter_context(httpx.Client(base_url=url, timeout=20, trust_env=False))
        yield Shop(http, url, settings, supervisor)


@pytest.fixture(scope="session")
def aws(tmp_path_factory: pytest.TempPathFactory, credentials: None) -> Iterator[str]:
    """The endpoint of an emulated AWS."""
    port = free_port()
    command = [sys.executable, "-m", "local.emulator", "--port", str(port)]
    with Supervisor(tmp_path_factory.mktemp("aws"), say=lambda _: None) as supervisor:
        supervisor.start(Service(name="emulator", command=command, ready=tcp_open(port)))
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="session")
def faults(tmp_path_factory: pytest.TempPathFactory, aws: str) -> Iterator[FaultControl]:
    """A proxy before the emulated AWS that fails when it is told to; a test heals it again."""
    port = free_port()
    command = [sys.executable, "-m", "local.faults", "--upstream", aws, "--port", str(port)]
    with Supervisor(tmp_path_factory.mktemp("faults"), say=lambda _: None) as supervisor:
        supervisor.start(Service(name="faults", command=command, ready=tcp_open(port)))
        yield FaultControl(f"http://127.0.0.1:{port}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real Chromium, for as long as a module: while Playwright is there, an event loop runs in this thread."""
    with sync_playwright() as playwright:
        program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="session", autouse=True)
def credentials() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "local")
        yield


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory, aws: str) -> Iterator[Shop]:
    """The shop that the tests share; each uses visitors of its own."""
    with valkey.cluster(nodes=2) as nodes:
        settings = settings_for(nodes, aws)
        seed(settings)
        with serving(tmp_path_factory.mktemp("shop"), settings) as shop:
            yield shop


@pytest.fixture
def start_serving(tmp_path: Path) -> Callable[..., AbstractContextManager[Shop]]:
    """Starts a further serving process that a test may harm: ``(settings, ready="/readyz")``."""
    return partial(serving, tmp_path)


@pytest.fixture(scope="session")
def until() -> Callable[..., Any]:
    """Poll until something is true, with a deadline."""

    def wait(ready: Callable[[], bool], what: str, seconds: float = 20) -> None:
        wait_until(ready, what, seconds=seconds, every=0.02)

    return wait


@pytest.fixture
def event() -> Callable[..., dict[str, Any]]:
    """An event as a page sends it."""
    count = iter(range(10_000))

    def make(**fields: Any) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        name = f"e-{time.monotonic_ns()}-{next(count)}"
        return {"event_id": name, "event_type": "view", "user_id": "7", "item_id": "i1", "occurred_at": now} | fields

    return make
