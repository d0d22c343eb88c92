"""``python -m local.faults --upstream URL``: an HTTP proxy before the emulated AWS that fails as AWS fails, on demand.

It passes everything on until :class:`FaultControl` tells it which service fails, and how: internal errors, throttling,
slow answers, or answers that get lost after the service did the work (the hardest kind: a retry does it twice).
Which service a request is for is read from its signature's scope.
"""

import argparse
import json
import random
import re
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Literal, NamedTuple

import httpx
import msgspec
import uvicorn
from anyio import sleep

from contracts.errors import LocalStackError

__all__ = ["Answer", "Fault", "FaultControl", "FaultProxy", "main", "refusal", "service_of"]

Kind = Literal["error", "throttle", "slow", "lost"]
CONTROL: Final = "/_faults"
# "Credential=<key>/<date>/<region>/<service>/aws4_request" in the header every signed call carries.
_SCOPE: Final = re.compile(rb"Credential=[^/]*/[^/]*/[^/]+/([^/]+)/")
_HOP: Final = frozenset({b"connection", b"expect", b"keep-alive", b"transfer-encoding", b"content-length"})
_ANSWER_SECONDS: Final = 60.0


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to a ``share`` of the requests of a ``service`` (``kinesis``, ``s3``, ``dynamodb``).

    ``error`` and ``throttle`` are refusals, see :func:`refusal`; ``slow`` answers after ``seconds``; ``lost`` lets the
    service do the work and then answers with an internal error.
    """

    service: str
    kind: Kind
    share: float = 1.0
    seconds: float = 3.0


class Answer(NamedTuple):
    """Status, content type and body of an answer."""

    status: int
    content_type: bytes
    body: bytes


def service_of(headers: Sequence[tuple[bytes, bytes]]) -> str:
    """The service a signed request is for; empty where it is not signed.

    >>> service_of([(b"authorization", b"AWS4-HMAC-SHA256 Credential=k/20260101/eu-central-1/s3/aws4_request, ")])
    's3'
    """
    scope = _SCOPE.search(dict(headers).get(b"authorization", b""))
    return scope[1].decode() if scope else ""


def refusal(service: str, kind: Kind, action: str = "") -> Answer:
    """How a service says that it failed (``error``, ``lost``) or that there is too much (``throttle``).

    Codes and statuses are those of the API references: S3 "Error responses", Kinesis and DynamoDB "Common errors".

    >>> refusal("s3", "throttle").status, refusal("kinesis", "throttle", "GetRecords").body
    (503, b'{"__type":"ProvisionedThroughputExceededException","message":"an injected fault"}')
    """
    throttled = kind == "throttle"
    if service == "s3":
        code, status = ("SlowDown", 503) if throttled else ("InternalError", 500)
        body = f"<Error><Code>{code}</Code><Message>an injected fault</Message></Error>"
        return Answer(status, b"application/xml", b'<?xml version="1.0" encoding="UTF-8"?>\n' + body.encode())
    name = "InternalServerError" if service == "dynamodb" else "InternalFailure"
    if throttled:
        # Calls that move records are refused by a shard's throughput, all others by the rate of calls.
        moves = service == "dynamodb" or action in {"GetRecords", "PutRecord", "PutRecords", "GetShardIterator"}
        name = "ProvisionedThroughputExceededException" if moves else "LimitExceededException"
    error = {"__type": name, "message": "an injected fault"}
    return Answer(400 if throttled else 500, b"application/x-amz-json-1.1", msgspec.json.encode(error))


class FaultProxy:
    """The ASGI application. ``draw`` gives numbers in [0, 1) against which shares are held."""

    def __init__(self, upstream: str, draw: Callable[[], float] | None = None) -> None:
        self._upstream = upstream.rstrip("/")
        self._draw = draw or random.Random(7).random
        self._transport = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_keepalive_connections=64))
        self._faults: list[Fault] = []
        self._injected: Counter[str] = Counter()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        body = await _body(receive)
        if scope["path"] == CONTROL:
            await _send(send, self._control(scope["method"], body))
            return
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        service, action = service_of(headers), dict(headers).get(b"x-amz-target", b"").decode().rpartition(".")[2]
        fault = self._fault(service)
        if fault is not None and fault.kind == "slow":
            await sleep(fault.seconds)
        if fault is not None and fault.kind in ("error", "throttle"):
            await _send(send, refusal(service, fault.kind, action))
            return
        status, answered, content = await self._forward(scope, headers, body)
        if fault is not None and fault.kind == "lost":
            await _send(send, refusal(service, fault.kind, action))
            return
        await send({"type": "http.response.start", "status": status, "headers": answered})
        await send({"type": "http.response.body", "body": content})

    def _control(self, method: str, body: bytes) -> Answer:
        if method == "PUT":
            self._faults = msgspec.json.decode(body, type=list[Fault])
        return Answer(200, b"application/json", msgspec.json.encode(self._injected))

    def _fault(self, service: str) -> Fault | None:
        for fault in self._faults:
            if fault.service == service and self._draw() < fault.share:
                self._injected[f"{service} {fault.kind}"] += 1
                return fault
        return None

    async def _forward(
        self, scope: dict[str, Any], headers: list[tuple[bytes, bytes]], body: bytes
    ) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """Pass the request on as it came, byte for byte in its path, and return status, headers and body."""
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        kept = [(name, value) for name, value in headers if name not in _HOP]
        request = httpx.Request(
            scope["method"],
            self._upstream,
            headers=[*kept, (b"content-length", str(len(body)).encode())],
            content=body,
            extensions={"target": target, "timeout": {"read": _ANSWER_SECONDS, "connect": 5.0}},
        )
        try:
            response = await self._transport.handle_async_request(request)
            content = b"".join([part async for part in response.aiter_raw()])
            await response.aclose()
        except httpx.TransportError as exc:
            print(f"faults: {scope['method']} {scope['path']} failed: {exc!r}", flush=True)
            status, kind, content = refusal(service_of(headers), "error")
            return status, [(b"content-type", kind)], content
        length = () if scope["method"] == "HEAD" else ((b"content-length", str(len(content)).encode()),)
        dropped = _HOP - {b"content-length"} if scope["method"] == "HEAD" else _HOP
        answered = [(name.lower(), value) for name, value in response.headers.raw if name.lower() not in dropped]
        return response.status_code, [*answered, *length], content


async def _body(receive: Any) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _send(send: Any, answer: Answer) -> None:
    headers = [(b"content-type", answer.content_type), (b"content-length", str(len(answer.body)).encode())]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


class FaultControl:
    """Tells a running proxy what to do. Raises LocalStackError when it does not answer."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def set(self, *faults: Fault) -> None:
        """From now on these faults and no others; none: all is well."""
        self._ask("PUT", msgspec.json.encode(faults))

    def injected(self) -> dict[str, int]:
        """How many requests each fault met so far: ``"s3 throttle"`` → number."""
        return dict(self._ask("GET"))

    @contextmanager
    def failing(self, *faults: Fault) -> Iterator[None]:
        """The faults for as long as the block runs."""
        self.set(*faults)
        try:
            yield
        finally:
            self.set()

    def _ask(self, method: str, body: bytes | None = None) -> Any:
        request = urllib.request.Request(self.url + CONTROL, data=body, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.loads(answer.read())
        except (OSError, ValueError) as exc:
            msg = f"the fault proxy at {self.url} did not answer: {exc}; is `python -m local.faults` running?"
            raise LocalStackError(msg) from exc


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m local.faults", description=__doc__.partition("\n")[0])
    parser.add_argument("--upstream", required=True, help="address of the emulated AWS, http://host:port")
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1")
    given = parser.parse_args(argv)
    uvicorn.run(
        FaultProxy(given.upstream),
        host="127.0.0.1",
        port=given.port,
        log_level="warning",
        lifespan="off",
        timeout_keep_alive=600,  # a kept connection that closes under its client is a fault nobody asked for
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
