"""``python -m local.gateway``: API Gateway's HTTP API before the Lambda functions, on one loopback port.

Turns HTTP into events of payload format 2.0, calls the handlers of :mod:`serving.functions` in processes that have the
small lock alone, and turns their answers back. Beside a running demo: ``python -m local.beside local.gateway``.
"""

import argparse
import base64
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from contracts.errors import LiveshelfError
from contracts.settings import ENVIRONMENT_VARIABLE, MANAGED_PATH
from local.functions import Function, lean_python, staged
from local.ports import LOOPBACK

__all__ = ["event_of", "functions", "main", "serve"]

Invoke = Callable[[Mapping[str, Any]], dict[str, Any]]

_COLLECTED: Final = "/v1/events"
"""The path of the collector's function; every other one is the recommendations'."""
_MOST_BYTES: Final = 6 * 1024 * 1024
"""The largest request and answer of a synchronous invocation (Lambda quotas)."""
_TEXT: Final = ("text/", "application/json", "application/javascript", "application/xml")


def event_of(method: str, target: str, headers: Sequence[tuple[str, str]], body: bytes, source: str) -> dict[str, Any]:
    """The event that API Gateway makes of a request.

    >>> headers = [("Host", "shop"), ("X-A", "1"), ("X-A", "2"), ("Cookie", "c=1; d=2")]
    >>> event = event_of("GET", "/a%20b?n=1", headers, b"", "127.0.0.1")
    >>> event["rawPath"], event["rawQueryString"], event["headers"], event["cookies"]
    ('/a%20b', 'n=1', {'host': 'shop', 'x-a': '1,2'}, ['c=1', 'd=2'])
    """
    path, _, query = target.partition("?")
    joined: dict[str, str] = {}
    cookies: list[str] = []
    for name, value in headers:
        lower = name.lower()
        if lower == "cookie":
            cookies += [cookie.strip() for cookie in value.split(";")]
        else:
            joined[lower] = f"{joined[lower]},{value}" if lower in joined else value
    text = joined.get("content-type", "").startswith(_TEXT)
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": joined,
        "requestContext": {
            "stage": "$default",
            "domainName": joined.get("host", ""),
            "requestId": f"{time.monotonic_ns():x}",
            "timeEpoch": time.time_ns() // 1_000_000,
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": source, "userAgent": ""},
        },
        "isBase64Encoded": bool(body) and not text,
    }
    if cookies:
        event["cookies"] = cookies
    if body:
        event["body"] = body.decode("utf-8", "replace") if text else base64.b64encode(body).decode()
    return event


@contextmanager
def functions(env: Mapping[str, str]) -> Iterator[Invoke]:
    """Both functions with the environment ``env``, and which of them an event is for."""
    with tempfile.TemporaryDirectory(prefix="functions-") as folder:
        python, packages = lean_python(), staged(Path(folder))
        with (
            Function("serving.functions.recommend", python, packages, env) as recommend,
            Function("serving.functions.collect", python, packages, env) as collect,
        ):
            yield lambda event: (collect if event["rawPath"] == _COLLECTED else recommend).invoke(event)


def serve(invoke: Invoke, port: int) -> ThreadingHTTPServer:
    """A server that is ready to ``serve_forever``."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            if length > _MOST_BYTES:
                self.close_connection = True
                self._answer({"statusCode": 413, "body": '{"message":"Request Too Long"}'})
                return
            body = self.rfile.read(length)
            event = event_of(self.command, self.path, self.headers.items(), body, self.client_address[0])
            try:
                self._answer(invoke(event))
            except LiveshelfError as exc:
                print(f"gateway: {exc}", file=sys.stderr, flush=True)
                self._answer({"statusCode": 500, "body": '{"message":"Internal Server Error"}'})

        do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = handle_any

        def _answer(self, answer: Mapping[str, Any]) -> None:
            text = str(answer.get("body") or "")
            body = base64.b64decode(text) if answer.get("isBase64Encoded") else text.encode()
            status = int(answer["statusCode"])
            self.send_response(status)
            for name, value in answer.get("headers", {}).items():
                if name != "content-length":
                    self.send_header(name, value)
            for cookie in answer.get("cookies", ()):
                self.send_header("set-cookie", cookie)
            if status != 304:
                self.send_header("content-length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD" and status != 304:
                self.wfile.write(body)
            self.wfile.flush()

        def log_message(self, format: str, *words: Any) -> None:
            """Requests are not logged."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

    return Server((LOOPBACK, port), Handler)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m local.gateway", description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=8088, help="port on 127.0.0.1; 0 takes a free one (default: 8088)")
    given = parser.parse_args(argv)
    env = {ENVIRONMENT_VARIABLE: os.environ.get(ENVIRONMENT_VARIABLE, MANAGED_PATH)}
    try:
        with functions(env) as invoke:
            invoke(event_of("GET", "/healthz", [("Host", LOOPBACK)], b"", LOOPBACK))  # or say now what is missing
            server = serve(invoke, given.port)
            print(f"gateway: http://{LOOPBACK}:{server.server_address[1]}", flush=True)
            server.serve_forever()
    except LiveshelfError as exc:
        print(f"gateway: {exc}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
