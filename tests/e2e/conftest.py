"""Stores to publish to, behind a proxy that holds a chosen request, so that a process can be killed just there."""

import http.client
import json
import runpy
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from batch.models import main
from batch.publish import Entry, ListWriter, Stores, mirrors
from contracts.settings import ServingSettings, Settings, StreamingSettings, to_properties
from local import valkey
from local.emulator_process import running_emulator
from local.paths import checkout
from stores.aws import client

_HOP = frozenset({"connection", "transfer-encoding", "keep-alive"})


@dataclass(frozen=True)
class Request:
    """What a hold is chosen by: ``target`` is DynamoDB's operation, empty for S3."""

    method: str
    path: str
    target: str
    body: bytes


@dataclass
class Hold:
    """Requests that match, from the ``nth`` on, wait here: before they reach AWS, or (``answered``) after."""

    matches: Callable[[Request], bool]
    nth: int = 1
    answered: bool = False
    caught: list[Request] = field(default_factory=list)
    seen: int = 0
    waiting: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    lock: threading.Lock = field(default_factory=threading.Lock)
    done: threading.Event = field(default_factory=threading.Event)
    forward: bool = False

    def catches(self, request: Request) -> bool:
        """Whether the request is to wait."""
        if self.done.is_set() or not self.matches(request):
            return False
        with self.lock:
            self.seen += 1
            if self.seen >= self.nth:
                self.caught.append(request)
            return self.seen >= self.nth

    def wait(self) -> bool:
        """Wait until the test goes on; whether the request goes on too."""
        self.waiting.release()
        assert self.done.wait(300)
        return self.forward

    def reached(self, seconds: float = 120) -> bool:
        """Wait for a request to come here; false after ``seconds``."""
        return self.waiting.acquire(timeout=seconds)

    def end(self, *, forward: bool) -> None:
        """Let the held requests go on, or drop them with their process."""
        self.forward = forward
        self.done.set()


class Proxy(ThreadingHTTPServer):
    """Forwards everything to ``endpoint``."""

    daemon_threads = True

    def __init__(self, endpoint: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.endpoint = urlsplit(endpoint)
        self.hold: Hold | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"http://127.0.0.1:{self.server_port}"

    @contextmanager
    def holding(self, hold: Hold) -> Iterator[Hold]:
        """Hold requests for as long as the block runs."""
        self.hold = hold
        try:
            yield hold
        finally:
            self.hold = None
            hold.end(forward=hold.forward)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:  # the client was killed
            self.close_connection = True

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        target = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
        hold = self.server.hold
        held = hold is not None and hold.catches(Request(self.command, self.path, target, body))
        if hold and held and not hold.answered and not hold.wait():
            self.close_connection = True
            return
        upstream = http.client.HTTPConnection(
            self.server.endpoint.hostname or "", self.server.endpoint.port, timeout=60
        )
        try:
            upstream.request(self.command, self.path, body, {k: v for k, v in self.headers.items() if k != "Expect"})
            answer = upstream.getresponse()
            content = answer.read()
        finally:
            upstream.close()
        if hold and held and hold.answered and not hold.wait():
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP and (name.lower() != "content-length" or self.command == "HEAD"):
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def _proxy_before(endpoint: str) -> Iterator[Proxy]:
    with Proxy(endpoint) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()


@pytest.fixture(scope="session")
def hold() -> type[Hold]:
    """The class :class:`Hold`."""
    return Hold


@dataclass(frozen=True)
class Place:
    """Stores, and settings for them: ``proxied`` leads through the proxy, ``direct`` does not."""

    proxy: Proxy
    proxied: Path
    direct: Path
    stores: Stores
    publish: Callable[..., None]
    entries: Callable[[str], list[Entry]]
    shops: Iterator[str]

    def pointers(self, shop: str) -> list[str | None]:
        """What the authority, S3 and Redis call live."""
        found = (self.stores.tables.current(shop), *mirrors(self.stores, shop))
        return [pointer.version if pointer else None for pointer in found]

    def keys(self, shop: str, version: str) -> list[tuple[str, str]]:
        """Row and key of every list of a version."""
        writer = ListWriter(shop, version, 0, 0)
        return [writer.keys(entry) for entry in self.entries(version)]


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One emulated AWS and one Valkey cluster; each test takes a shop of its own."""
    folder = tmp_path_factory.mktemp("settings")
    program = runpy.run_path(str(Path(__file__).with_name("publish_once.py")))
    with (
        running_emulator() as endpoint,
        _proxy_before(endpoint) as proxy,
        valkey.cluster() as nodes,
        pytest.MonkeyPatch.context() as patch,
    ):
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "local")
        patch.setenv("PYTHONPATH", str(checkout()))
        shops = tuple(f"shop{n}" for n in range(40))
        direct = replace(
            Settings(shops=shops, aws_endpoint=endpoint, streaming=StreamingSettings(pointer_poll_s=0.2)),
            redis_nodes=Settings.from_properties({"liveshelf": {"redis.nodes": nodes}}).redis_nodes,
            serving=ServingSettings(redis_timeout_ms=500, dynamodb_timeout_ms=2000),  # of a loaded test machine
        )
        for name, settings in (("direct", direct), ("proxied", replace(direct, aws_endpoint=proxy.url))):
            (folder / f"{name}.json").write_text(json.dumps(to_properties(settings)))
        region = {"LocationConstraint": direct.aws_region}
        client("s3", direct).create_bucket(Bucket=direct.lake_bucket, CreateBucketConfiguration=region)
        stores = Stores.open(direct)
        stores.tables.ensure()
        files = folder / "proxied.json", folder / "direct.json"
        publish = partial(program["publish"], direct)
        yield Place(proxy, *files, stores, publish, program["entries"], iter(shops))
        stores.cluster.close()


@pytest.fixture
def shop(place: Place) -> str:
    """A shop of the test's own, with v1 live."""
    name = next(place.shops)
    place.publish(name, "v1")
    return name


@pytest.fixture
def models(place: Place, shop: str, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """``models(*words)``: the document that a command of ``python -m batch.models`` prints; it must succeed."""

    def run(*words: str) -> Any:
        capsys.readouterr()
        status = main([*words, "--shop", shop, "--properties", str(place.direct), "--json"])
        said = capsys.readouterr()
        assert status == 0, said.err
        return json.loads(said.out)

    return run
