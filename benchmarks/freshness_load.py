"""A process of its own: open-loop traffic to the collector, probes among it, and how soon their lists change over HTTP.

Events leave at drawn times whether or not earlier ones were answered; those due within 20 ms share a request, as many
pages do that post at once. Probes are views by visitors of their own, each posted alone; its visitor's list is polled
until ``based_on`` covers it. The result goes to standard output as one JSON object.
"""

import argparse
import random
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from benchmarks.stream_shop import StreamShop, live_events
from contracts.events import encode
from contracts.lists import BasedOn
from local import probe_taste
from local.clients import Api
from local.probe_events import Sender, covering
from local.probe_reader import ShelfReader, ShelfReply

__all__ = ["Probe", "Traffic", "main", "taste_cases"]

_TOGETHER_S: Final = 0.02
_SENDERS: Final = 8
_VISITORS: Final = 400
_CASES: Final = 10


class Probe(msgspec.Struct):
    """One probe: when the collector stamped it, answered it, wrote the list that covers it, and when that was seen.

    Times are epoch milliseconds; 0 where the list never came.
    """

    event_id: str
    received_ms: float
    answered_ms: float
    written_ms: float = 0.0
    seen_ms: float = 0.0


class Load(msgspec.Struct):
    """What the process tells: ``sent`` counts all events, ``behind_s`` how late the last one left."""

    began_ms: int
    sent: int
    behind_s: float
    probes: list[Probe]
    relevant_share: float
    control_share: float
    rose: int


@dataclass
class _Sent:
    view: BasedOn
    answered_ms: float
    received_ms: float
    reply: "Future[ShelfReply]"


def taste_cases(shop: StreamShop, seed: int, cases: int = _CASES) -> list[probe_taste.TasteCase]:
    """Categories drawn by a seed, three items of one group each; the next category is the control's.

    >>> first = taste_cases(StreamShop(items=2000, groups=100), 1)[0]
    >>> {StreamShop(items=2000, groups=100).category(int(item[4:])) for item in first.items} == {first.kind}
    True
    """
    draw = random.Random(seed)
    groups = draw.sample(range(shop.groups // 5), cases)

    def items(group: int) -> tuple[str, ...]:
        return tuple(shop.item(group + shop.groups * at) for at in draw.sample(range(shop.items // shop.groups), 3))

    pairs = zip(groups, groups[1:] + groups[:1], strict=True)
    return [probe_taste.TasteCase(shop.category(a), items(a), shop.category(b), items(b)) for a, b in pairs]


class Traffic:
    """Sends the background events at ``rate`` a second for ``seconds``, from a few threads so that none waits long."""

    def __init__(self, url: str, shop: StreamShop, rate: float, seconds: float, seed: int) -> None:
        self._shop, self._rate, self._seconds, self._seed = shop, rate, seconds, seed
        self._pool = ThreadPoolExecutor(_SENDERS)
        self._apis = threading.local()
        self._url = url
        self.sent, self.behind_s, self.failed = 0, 0.0, 0

    def run(self) -> None:
        draw = random.Random(self._seed)
        events = live_events(self._shop, f"l{self._seed}")
        began = time.monotonic()
        due, waiting = 0.0, list["Future[None]"]()
        while due < self._seconds:
            batch = 0
            until = due + _TOGETHER_S
            while due < until:
                due += draw.expovariate(self._rate)
                batch += 1
            time.sleep(max(0.0, began + due - time.monotonic()))
            now = datetime.now(UTC)
            waiting.append(self._pool.submit(self._post, [next(events)(now) for _ in range(batch)]))
            self.sent += batch
            self.behind_s = time.monotonic() - began - due
        for future in waiting:
            future.result()
        self._pool.shutdown()

    def _post(self, batch: Sequence[bytes]) -> None:
        api: Api | None = getattr(self._apis, "api", None)
        if api is None:
            api = self._apis.api = Api(self._url, timeout_s=30.0)
        api.post_events(batch)


def _probes(url: str, reader: ShelfReader, shop: StreamShop, per_s: float, seconds: float, seed: int) -> list[_Sent]:
    """Views at drawn times, each followed until its list is there; posted one by one."""
    draw, api = random.Random(seed), Api(url)
    sender = Sender(api, f"p{seed}")
    sent, due = list[_Sent](), time.monotonic()
    end = due + seconds
    number = 0
    while (due := due + draw.expovariate(per_s)) < end:
        time.sleep(max(0.0, due - time.monotonic()))
        visitor = f"p{seed}-{number % _VISITORS}"
        number += 1
        view = sender.event("view", shop.item(draw.randrange(shop.items)), visitor=visitor)
        posted = api.post_events([encode(view)])
        answered = time.time() * 1000
        reply = reader.ask(f"a.{visitor}", covering([view]), timeout_s=10.0)
        sent.append(_Sent(covering([view]), answered, float(posted.received_at), reply))
    return sent


def _finished(sent: Sequence[_Sent]) -> list[Probe]:
    wall = time.time() * 1000 - time.monotonic() * 1000
    found = []
    for one in sent:
        reply = one.reply.result()
        probe = Probe(one.view.event_id, one.received_ms, one.answered_ms)
        if reply.covered and reply.shelf is not None:
            probe.written_ms, probe.seen_ms = float(reply.shelf.written_at or 0), wall + 1000 * reply.at
        found.append(probe)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Send, probe, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--probes-per-s", type=float, default=10.0)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--shop", required=True, help="JSON of the shop")
    given = parser.parse_args(argv)
    shop = msgspec.json.decode(given.shop, type=StreamShop)
    print(msgspec.json.encode(_run(given, shop)).decode(), flush=True)
    return 0


def _run(given: argparse.Namespace, shop: StreamShop) -> Load:
    began_ms = time.time_ns() // 1_000_000
    kinds = {shop.item(number): shop.category(number) for number in range(shop.items)}
    traffic = Traffic(given.url, shop, max(1.0, given.rate - given.probes_per_s), given.seconds, given.seed)
    with ShelfReader(given.url) as reader, ThreadPoolExecutor(2) as aside:
        flow = aside.submit(traffic.run)
        cases = taste_cases(shop, given.seed)
        taste = aside.submit(
            probe_taste.run, Api(given.url), reader, cases, kinds, prefix=f"t{given.seed}", timeout_s=20.0
        )
        sent = _probes(given.url, reader, shop, given.probes_per_s, given.seconds, given.seed)
        flow.result()
        probes = _finished(sent)
        judged: dict[str, Any] = probe_taste.judge(*taste.result())
    return Load(
        began_ms=began_ms,
        sent=traffic.sent + len(probes),
        behind_s=round(traffic.behind_s, 3),
        probes=probes,
        relevant_share=judged["after"],
        control_share=judged["control"],
        rose=judged["rose"],
    )


if __name__ == "__main__":
    sys.exit(main())
