"""What every persistent store keeps, held against emulated DynamoDB and a real PostgreSQL."""

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.errors import PublishConflict
from contracts.keys import registry_row
from contracts.pointer import Pointer
from contracts.settings import PostgresqlSettings, Settings
from local.emulator_process import running_emulator
from stores.dynamodb import DynamoTables
from stores.postgresql import PostgresTables
from stores.tables import Tables

pytestmark = pytest.mark.e2e

NOW = datetime(2026, 3, 4, 5, 6, 7, 890123, tzinfo=UTC)
NOW_S = int(NOW.timestamp())
_SHOPS = itertools.count()


@pytest.fixture(scope="module", params=["dynamodb", "postgresql"])
def settings(request: pytest.FixtureRequest) -> Iterator[Settings]:
    with ExitStack() as stack:
        if request.param == "postgresql":
            local = PostgresqlSettings(
                port=request.getfixturevalue("postgres"), database="postgres", auth="none", tls=False, schema="contract"
            )
            yield Settings(persistent_store="postgresql", postgresql=local)
            return
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "local")
        yield Settings(aws_endpoint=stack.enter_context(running_emulator()))


@pytest.fixture(scope="module")
def open_tables(settings: Settings) -> Iterator[Callable[..., Tables]]:
    """Opens the store; with ``at``, that is its clock (epoch seconds)."""
    with ExitStack() as closing:

        def open_one(at: float | None = None) -> Tables:
            tables = Tables.from_settings(settings, timeout_s=20)
            closing.callback(tables.close)
            if at is not None:
                assert isinstance(tables, DynamoTables | PostgresTables)
                tables._now_s = lambda: at
            return tables

        first = open_one()
        first.ensure()
        first.ensure()  # a second time changes nothing
        first.prepare()
        yield open_one


@pytest.fixture
def tables(open_tables: Callable[..., Tables]) -> Tables:
    return open_tables(at=NOW_S)


@pytest.fixture
def shop() -> str:
    """A shop of the test's own."""
    return f"shop{next(_SHOPS)}"


def pointer(version: str, at: datetime = NOW) -> Pointer:
    return Pointer(version=version, switched_at=at)


def test_the_setting_chooses_the_store(settings: Settings, tables: Tables) -> None:
    assert tables.kind == settings.persistent_store


def test_what_is_written_is_read_in_the_order_asked_for(tables: Tables, shop: str) -> None:
    rows = [(f"{shop}#v#u.{n}", bytes([n % 256]) * (n % 3000), NOW_S + 60 + n) for n in range(1203)]
    assert tables.put_many(iter(rows)) == len(rows)
    asked = [row[0] for row in reversed(rows)]
    assert tables.rows([*asked, f"{shop}#absent"], consistent=True) == [*reversed(rows), None]
    assert tables.get(rows[7][0]) == rows[7][1]
    assert tables.get(f"{shop}#absent") is None


def test_any_byte_and_any_printable_character_of_a_key_survives(tables: Tables, shop: str) -> None:
    keys = [f"{shop}#v#u.{name}" for name in ("ü€🛒", "a b'c\"d\\%s", "#" * 128, "Z", "z")]
    values = [bytes(range(256)), b"", b"\x00", b"%(keys)s", "ü".encode()]
    tables.put_many(zip(keys, values, [NOW_S + 9] * 5, strict=True))
    assert [row and row[1] for row in tables.rows(keys)] == values


def test_writing_again_replaces_value_and_expiry(tables: Tables, shop: str) -> None:
    key = f"{shop}#v#u.1"
    for value, expires in ((b"old", NOW_S + 5), (b"new", NOW_S + 50), (b"new", NOW_S + 50)):
        assert tables.put_many([(key, value, expires)]) == 1
    assert tables.rows([key]) == [(key, b"new", NOW_S + 50)]


def test_an_expired_row_is_not_returned_though_nothing_deleted_it(
    open_tables: Callable[..., Tables], tables: Tables, shop: str
) -> None:
    key = f"{shop}#v#u.1"
    tables.put_many([(key, b"x", NOW_S + 10)])
    assert open_tables(at=NOW_S + 9).get(key) == b"x"
    for late in (NOW_S + 10, NOW_S + 11):
        assert open_tables(at=late).get(key) is None
        assert open_tables(at=late).rows([key]) == [None]


def test_deleted_rows_are_gone_and_others_stay(tables: Tables, shop: str) -> None:
    keys = [f"{shop}#v#u.{n}" for n in range(60)]
    tables.put_many([(key, b"x", NOW_S + 60) for key in keys])
    tables.delete_many([*keys[:55], f"{shop}#absent"])
    assert [row is not None for row in tables.rows(keys)] == [False] * 55 + [True] * 5


def test_a_registry_item_does_not_expire_and_may_be_written_again(
    open_tables: Callable[..., Tables], tables: Tables, shop: str
) -> None:
    for _ in range(2):
        tables.register(shop, "v1", b'{"version": "v1"}')
    assert open_tables(at=NOW_S + 10**9).get(registry_row(shop, "v1")) == b'{"version": "v1"}'


def test_the_first_switch_needs_none_before_it_and_each_raises_the_revision(tables: Tables, shop: str) -> None:
    assert tables.current(shop) is None
    first = tables.switch(shop, pointer("v1"), None)
    assert tables.current(shop) == first
    assert first.switched_at == NOW
    with pytest.raises(PublishConflict, match="expected None to be live, found v1"):
        tables.switch(shop, pointer("v2"), None)
    # A clock that is an hour behind does not make the revision smaller.
    second = tables.switch(shop, pointer("v2", NOW - timedelta(hours=1)), "v1")
    assert second.rev > first.rev
    assert tables.current(shop) == second


def test_a_switch_from_a_version_that_is_not_live_changes_nothing(tables: Tables, shop: str) -> None:
    live = tables.switch(shop, pointer("v1"), None)
    with pytest.raises(PublishConflict, match=r"v3 was not made current.*expected v2 to be live, found v1"):
        tables.switch(shop, pointer("v3"), "v2")
    assert tables.current(shop) == live


def test_a_switch_whose_answer_was_lost_may_be_sent_again(tables: Tables, shop: str) -> None:
    tables.switch(shop, pointer("v1"), None)
    done = tables.switch(shop, pointer("v2"), "v1")
    assert tables.switch(shop, pointer("v2"), "v1") == done


def test_of_many_switches_at_once_exactly_one_wins(open_tables: Callable[..., Tables], shop: str) -> None:
    open_tables().switch(shop, pointer("v0"), None)
    together = threading.Barrier(6)

    def attempt(n: int) -> Any:
        mine = open_tables()
        together.wait(30)
        try:
            return mine.switch(shop, pointer(f"v{n}"), "v0").version
        except PublishConflict:
            return None

    with ThreadPoolExecutor(6) as pool:
        won = [version for version in pool.map(attempt, range(1, 7)) if version]
    live = open_tables().current(shop)
    assert live is not None
    assert won == [live.version]


def test_shops_do_not_see_each_other(tables: Tables, shop: str) -> None:
    tables.switch(shop, pointer("v1"), None)
    assert tables.current(f"{shop}x") is None


def test_pruning_takes_no_row_that_is_still_read(
    open_tables: Callable[..., Tables], tables: Tables, shop: str, settings: Settings
) -> None:
    keys = [f"{shop}#v#u.{n}" for n in range(6000)] if settings.persistent_store == "postgresql" else [f"{shop}#v#a"]
    kept = f"{shop}#v#u.kept"
    tables.register(shop, "v1", b"{}")
    tables.put_many([(key, b"x", NOW_S - 5) for key in keys] + [(kept, b"x", NOW_S + 5)])
    gone = tables.prune()
    assert gone == (0 if tables.kind == "dynamodb" else len(keys))  # DynamoDB deletes by itself
    assert tables.get(kept) == b"x"
    assert tables.get(registry_row(shop, "v1")) == b"{}"
    early = open_tables(at=NOW_S - 60)
    assert (early.rows(keys[:3]) == [None] * len(keys[:3])) is (tables.kind == "postgresql")
