"""``python -m local.emulator``: Kinesis, S3 and DynamoDB on one loopback port, in memory; a restart begins empty.

moto serves S3, DynamoDB and the control plane of Kinesis; :mod:`local.kinesis_api` serves records. Three differences
from moto's own server: connections stay open, requests are not logged one by one, and the calls of one service follow
each other (moto checks a condition and writes in two steps, so conditional writes of two threads could both succeed).
"""

import argparse
import os
import re
import signal
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from io import BytesIO
from types import FrameType
from typing import Any, Final

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.kinesis.models import kinesis_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

from local import s3_patch
from local.kinesis_api import ApiError, KinesisApi
from local.kinesis_patch import READS_PER_SECOND, Limits, LiveStream, install

__all__ = ["Emulator", "main", "serve"]

_KINESIS_TARGET: Final = "Kinesis_20131202."
# "Credential=<key>/<date>/<region>/<service>/aws4_request" in the header every signed call carries.
_SCOPE: Final = re.compile(r"Credential=[^/]*/[^/]*/([^/]+)/([^/]+)/")


class _Moto(DomainDispatcherApplication):
    """moto's application, which stats its whole package folder at each request to see where that belongs."""

    def __init__(self) -> None:
        super().__init__(create_backend_app)
        self.get_backend_for_host = cache(super().get_backend_for_host)  # type: ignore[method-assign]


class Emulator:
    """The WSGI application: record calls of Kinesis go to :class:`KinesisApi`, everything else to moto."""

    def __init__(self) -> None:
        self._moto = _Moto()
        self._kinesis = KinesisApi(_find_stream)
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
        region, service = scope.groups() if scope else ("us-east-1", "")
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        action = target.removeprefix(_KINESIS_TARGET)
        if action != target and self._kinesis.serves(action):
            return self._records(action, region, environ, start_response)
        with self._locks[service]:
            answer = self._moto(environ, start_response)
            try:
                return list(answer)
            finally:
                getattr(answer, "close", lambda: None)()

    def _records(self, action: str, region: str, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        status = "200 OK"
        try:
            if "cbor" in environ.get("CONTENT_TYPE", ""):
                kind, remedy = "SerializationException", "the emulator reads JSON only; set AWS_CBOR_DISABLE=true"
                raise ApiError(kind, remedy)
            body = self._kinesis.call(action, region, environ["wsgi.input"].read())
        except ApiError as exc:
            status, body = "400 Bad Request", exc.body()
        start_response(status, [("Content-Type", "application/x-amz-json-1.1"), ("Content-Length", str(len(body)))])
        return [body]


def _find_stream(region: str, name: str) -> LiveStream | None:
    stream = kinesis_backends[DEFAULT_ACCOUNT_ID][region].streams.get(name)
    return stream if isinstance(stream, LiveStream) else None


class _Handler(MotoRequestHandler):
    """Keeps connections open: reads the whole request first, and answers in one write with its length."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # buffered, so that headers and body leave together

    def handle_expect_100(self) -> bool:
        """Tell a client that asks first (S3 uploads do) to send its body, now and not with the answer."""
        proceed = super().handle_expect_100()
        self.wfile.flush()
        return proceed

    def run_wsgi(self) -> None:
        """Serve one request of the connection."""
        environ = self.make_environ()
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(-1 if environ.get("wsgi.input_terminated") else length)
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = BytesIO(body), str(len(body))
        status, headers = "", list[tuple[str, str]]()

        def start_response(line: str, fields: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
            nonlocal status, headers
            status, headers = line, fields
            return lambda data: None

        try:
            answer = b"".join(self.server.app(environ, start_response))
        except Exception as exc:  # one request failed, the server goes on
            print(f"emulator: {self.command} {self.path} failed: {exc!r}", file=sys.stderr, flush=True)
            status, headers, answer = "500 Internal Server Error", [], repr(exc).encode()
        self._answer(status, headers, answer)

    def _answer(self, status: str, headers: list[tuple[str, str]], body: bytes) -> None:
        code, _, reason = status.partition(" ")
        names = {name.lower() for name, _ in headers}
        self.send_response_only(int(code), reason)
        for name, value in headers:
            self.send_header(name, value)
        if "date" not in names:
            self.send_header("Date", self.date_time_string())
        if "content-length" not in names and code not in ("204", "304"):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Thousands of requests a minute; a failed one is printed where it fails."""


def serve(port: int, limits: Limits | None = None) -> BaseWSGIServer:
    """A server on 127.0.0.1, listening but not yet serving (``serve_forever()``); port 0 takes a free one."""
    install(limits)
    s3_patch.install()
    return make_server("127.0.0.1", port, Emulator(), threaded=True, request_handler=_Handler)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m local.emulator", description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: a free one, printed)")
    parser.add_argument("--shard-memory-mb", type=int, default=256, help="records held per shard, then the oldest go")
    parser.add_argument(
        "--reads-per-second",
        type=float,
        default=READS_PER_SECOND,
        help="reads of a shard (default: AWS's 5 over all consumers; more stands in for enhanced fan-out)",
    )
    parser.add_argument(
        "--throughput-limits",
        action="store_true",
        help="refuse more than 1,000 records/s or 1 MB/s per shard as AWS does (off: a small machine may burst)",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; prints the address in one line once it listens."""
    arguments = _arguments(argv)
    limits = Limits(
        throughput=arguments.throughput_limits,
        reads_per_second=arguments.reads_per_second,
        memory_bytes=arguments.shard_memory_mb << 20,
    )
    server = serve(arguments.port, limits)
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    print(f"emulator: http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
    return 0


def _end(signum: int, frame: FrameType | None) -> None:
    # Nothing is kept, so there is nothing to finish; connection threads are not waited for.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
