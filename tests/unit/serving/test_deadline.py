"""A list is there by its deadline, whatever hangs: proved by the loop's own clock, with servers that never answer."""

import asyncio
import itertools
import selectors
import socket
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest

from contracts.baked import Baked, baked_name, encode_baked
from contracts.errors import StoreError
from contracts.items import Item
from contracts.lists import RecommendationList, encode_value
from contracts.pointer import Pointer
from contracts.rules import Hide, Rules
from contracts.settings import ServingSettings, Settings
from serving.cached import Cached
from serving.feed import Feed
from serving.ladder import Ladder, Visitor
from serving.lists import Lists
from serving.reader import Reader
from serving.wish import Asked, Wish

T = TypeVar("T")


class Waits(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Waits for no time; tells the loop how long it would have."""

    waited = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout:
            self.waited += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Trap: threads and servers do not know its clock, so an answer of theirs may come late by it, or not at all."""

    def __init__(self) -> None:
        self._virtual = Waits()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Seconds waited since the beginning."""
        return self._virtual.waited


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work`` in such a loop."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


STORES = ("redis", "table", "trend")
BAKED = Baked(
    shop_id="default",
    model_version="old",
    made_at=datetime(2026, 1, 1, tzinfo=UTC),
    items=[Item(item_id=f"b{n}", title=f"Baked {n}") for n in range(5)],
    rules=Rules(rules=[Hide(id="recall", items=["b1"])]),
)
DEADLINE_MS = 50


@contextmanager
def silent_server() -> Iterator[int]:
    """A server that accepts every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "local")


@pytest.fixture
def shop(tmp_path: Path, credentials: None) -> Iterator[Any]:
    """Makes reader, ladder and lists over a Redis and a DynamoDB that hang."""
    (tmp_path / baked_name("default")).write_bytes(encode_baked(BAKED))
    with silent_server() as redis, silent_server() as aws:
        settings = Settings(
            redis_nodes=(("127.0.0.1", redis),),
            aws_endpoint=f"http://127.0.0.1:{aws}",
            serving=ServingSettings(deadline_ms=DEADLINE_MS, baked_folder=str(tmp_path)),
        )

        def make() -> tuple[Reader, Ladder, Lists]:
            reader, feed = Reader(settings), Feed(settings)
            reader._pointers["default"] = Pointer(version="v", switched_at=datetime(2026, 1, 1, tzinfo=UTC))
            ladder = Ladder(reader, feed, 30)
            return reader, ladder, Lists(reader, feed, ladder)

        yield make


def asked(lists: Lists, ladder: Ladder, kind: str) -> Any:
    catalogue = ladder._feed.catalogue("default")
    wishes: dict[str, Any] = {
        "user": lambda: ladder.shelf(Visitor("default", "7"), Wish(), catalogue),
        "visitor": lambda: ladder.shelf(Visitor("default", "7", True), Wish(explain=True), catalogue),
        "together": lambda: lists.together("default", "b2", Asked(Wish(), anonymous_id="7")),
        "cart": lambda: lists.cart("default", Asked(Wish(), user_id="7", items=("b2", "b3", "x", "y"))),
        "trending": lambda: lists.trending("default", Asked(Wish(category="TEA"), user_id="7")),
    }
    return wishes[kind]()


@pytest.mark.parametrize("kind", ["user", "visitor", "together", "cart", "trending"])
def test_with_redis_and_dynamodb_hanging_every_answer_is_there_by_the_deadline(shop: Any, kind: str) -> None:
    async def scenario() -> list[tuple[float, Any]]:
        reader, ladder, lists = shop()
        clock, found = asyncio.get_running_loop().time, []
        for _ in range(12):  # first while nothing is known, then with open breakers, then with attempts in between
            began = clock()
            answer = await asked(lists, ladder, kind)
            found.append((clock() - began, answer[0] if isinstance(answer, tuple) else answer))
            await asyncio.sleep(0.3)
        reader.close()
        return found

    answers = run(scenario())
    assert max(seconds for seconds, _ in answers) <= DEADLINE_MS / 1000 + 1e-9
    assert min(seconds for seconds, _ in answers) < 0.001  # left alone, a store that hangs costs nothing
    for _, answer in answers:
        if kind in ("user", "visitor", "cart"):
            expected = [f"b{n}" for n in range(5) if n != 1 and not (kind == "cart" and n in (2, 3))]
            assert (answer.source, answer.store) == ("baked", "deployment")
            assert [row.item_id for row in answer.items] == expected
            assert answer.items[0].title == "Baked 0"
        assert not {"purchases", "stock"} & set(answer.filters)


class Hanging:
    """The stores of a reader, each of which answers in no time, or never."""

    def __init__(self, reader: Reader, names: tuple[str, ...]) -> None:
        self.names = names
        reader._cluster.execute = self.execute  # type: ignore[method-assign]
        reader._table = self.table  # type: ignore[method-assign, assignment]
        reader._trending = Cached(self.trending, ttl_s=1.0)

    async def execute(self, commands: Any, timeout_s: float) -> list[Any]:
        if "redis" in self.names:
            await asyncio.sleep(timeout_s)
            return [StoreError("hung")] * len(commands)
        return [None if command[0] == "GET" else [] for command in commands]

    async def table(self, call: Any, timeout_s: float) -> bytes:
        if "table" in self.names:
            await asyncio.sleep(timeout_s)
            message = "hung"
            raise StoreError(message)
        return encode_value(ranking("batch", ["b3"]))

    async def trending(self, key: Any, last: Any) -> RecommendationList:
        if "trend" in self.names:
            await asyncio.Event().wait()
        return ranking("trending", ["b4"])


def test_a_store_that_hangs_gives_way_to_the_next_rung_within_the_deadline(shop: Any) -> None:
    async def scenario() -> None:
        reader, ladder, _ = shop()
        clock = asyncio.get_running_loop().time
        for hanging in [some for n in range(4) for some in itertools.combinations(STORES, n)]:
            Hanging(reader, hanging)
            began = clock()
            answer, _ = await ladder.shelf(Visitor("default", "7"), Wish(), ladder._feed.catalogue("default"))
            assert clock() - began <= DEADLINE_MS / 1000 + 1e-9
            rung = "batch" if "table" not in hanging else "trending" if "trend" not in hanging else "baked"
            assert (hanging, answer.source) == (hanging, rung)
            assert ("purchases" in answer.filters) == ("redis" not in hanging)

    run(scenario())


def ranking(source: Any, items: list[str]) -> RecommendationList:
    return RecommendationList(
        source=source, model_version="v", based_on=None, written_at=1, items=items, scores=[1.0] * len(items)
    )
