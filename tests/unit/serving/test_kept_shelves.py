"""A shelf that was kept as bytes is held to every promise: whatever would change it is seen in the next answer."""

import asyncio
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from starlette.routing import Route

from contracts.errors import StoreError
from contracts.events import to_ms
from contracts.experiments import Changes, Experiment, Experiments, Variant
from contracts.held import CartMark
from contracts.items import Item
from contracts.keys import alias_key, batch_key, user_key
from contracts.lists import Action, BasedOn, Owner, RecommendationList, UserValue, encode_value
from contracts.pointer import Pointer
from contracts.request_ids import read_request_id
from contracts.rules import Hide, Rules
from contracts.settings import Settings
from serving.catalogue import Catalogue
from serving.choosing import Held
from serving.feed import Feed
from serving.ladder import Ladder, Visitor
from serving.person import Memory
from serving.reader import Reader
from serving.shortcut import path_params
from serving.visitor_routes import router
from serving.wish import Wish

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
USER, VISITOR = Visitor("default", "7"), Visitor("default", "b", anonymous=True)
KEY, HIS = user_key("default", "u.7"), user_key("default", "a.b")
GOODS = Catalogue({name: Item(item_id=name, title=name) for name in "ABCD"}, loaded_at=0)


def value(rev: int = 0, **more: Any) -> bytes:
    live = RecommendationList(
        source="live",
        model_version="v",
        based_on=BasedOn(1, "e"),
        written_at=1,
        items=list("ABCD"),
        scores=[4, 3, 2, 1],
    )
    return encode_value(UserValue(rev=f"{rev:016}", live=live, **more))


class Shop:
    """A ladder whose Redis is a dictionary, and whose clock is set by hand."""

    def __init__(self) -> None:
        self.now_ms = to_ms(NOW)
        self.redis: dict[str, Any] = {}
        self.exchanges: list[list[str]] = []
        self.goods = GOODS
        settings = Settings()
        self.reader = Reader(settings, lambda: self.now_ms)
        self.reader._cluster.execute = self._execute  # type: ignore[method-assign]
        self.feed = Feed(settings, lambda: self.now_ms)
        self.ladder = Ladder(self.reader, self.feed, bought_days=30)

    async def _execute(self, commands: Any, timeout_s: float) -> list[Any]:
        self.exchanges.append([command[1] for command in commands])
        return [self.redis.get(command[1]) for command in commands]

    def ask(self, visitor: Visitor = USER, wish: Wish | None = None) -> Any:
        encoded = asyncio.run(self.ladder.answer(visitor, wish or Wish(), self.goods))
        return msgspec.json.decode(encoded.body)

    def items(self, visitor: Visitor = USER, wish: Wish | None = None) -> str:
        return "".join(row["item_id"] for row in self.ask(visitor, wish)["items"])


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "local")
    made = Shop()
    made.redis[KEY] = value()
    yield made
    made.reader.close()


def test_a_shelf_is_kept_so_that_these_tests_try_something(shop: Shop) -> None:
    assert shop.items() == shop.items() == "ABCD"
    assert len(shop.ladder._kept) == 1


def test_a_purchase_and_a_cart_are_in_the_next_answer(shop: Shop) -> None:
    assert shop.items() == "ABCD"
    shop.redis[KEY] = value(1, bought={"A": shop.now_ms}, cart=[CartMark(shop.now_ms, "e", "B", True)])
    assert shop.items() == "CD"


def test_what_was_bought_under_another_name_is_in_the_next_answer(shop: Shop) -> None:
    assert shop.items() == "ABCD"
    shop.redis[KEY] = value(1, aliases={"b": 1})
    shop.redis[HIS] = value(0)
    assert shop.items() == "ABCD"
    shop.redis[HIS] = value(1, bought={"C": shop.now_ms}, owner=Owner(1, "u.7"))  # the user's own value is the same
    assert shop.items() == "ABD"


def test_of_a_person_with_other_names_all_values_are_read_in_one_exchange_once_they_are_known(shop: Shop) -> None:
    shop.redis |= {KEY: value(aliases={"b": 1}), HIS: value(owner=Owner(1, "u.7")), alias_key("default", "b"): b"u.7"}
    for visitor, keys in (USER, [KEY, HIS]), (VISITOR, [HIS, alias_key("default", "b"), KEY]):
        first = shop.ask(visitor)
        shop.exchanges.clear()
        assert (shop.ask(visitor), shop.exchanges) == (first, [keys])
        assert len(shop.ladder._kept) == 1 + (visitor is VISITOR)
    shop.redis[HIS] = StoreError("away")  # what the visitor bought since is not known
    assert "purchases" not in shop.ask()["filters"]
    del shop.redis[HIS]
    shop.exchanges.clear()
    assert shop.items() == "ABCD"
    assert shop.exchanges == [[KEY, HIS]]


def test_a_visitor_who_signed_in_is_no_more_answered_with_what_was_kept_of_the_visitor(shop: Shop) -> None:
    shop.redis[HIS], shop.redis[KEY] = value(), value(bought={"A": shop.now_ms})
    assert shop.items(VISITOR) == "ABCD"
    shop.redis[alias_key("default", "b")] = b"u.7"
    answer = shop.ask(VISITOR)
    assert (answer["known_as"], [row["item_id"] for row in answer["items"]]) == ("7", list("BCD"))
    shop.redis[alias_key("default", "b")] = StoreError("away")
    assert "purchases" not in shop.ask(VISITOR)["filters"]


def test_what_is_sold_out_is_gone_from_the_next_answer(shop: Shop) -> None:
    assert shop.items() == "ABCD"
    shop.goods = Catalogue({**GOODS.items, "B": Item(item_id="B", title="B", in_stock=False)}, loaded_at=1)
    assert shop.items() == "ACD"


def test_what_a_rule_hides_from_a_moment_on_is_gone_at_that_moment(shop: Shop) -> None:
    begins, ends = NOW + timedelta(seconds=10), NOW + timedelta(seconds=20)
    shop.feed._rules["default"] = Rules(rules=[Hide(id="recall", items=["A"], begins=begins, ends=ends)])
    seen = []
    for second in (0, 9, 10, 19, 20):
        shop.now_ms = to_ms(NOW) + 1000 * second
        seen.append(shop.items())
    assert seen == ["ABCD", "ABCD", "BCD", "BCD", "ABCD"]


def test_what_differs_in_any_parameter_is_another_answer(shop: Shop) -> None:
    assert shop.items() == "ABCD"
    assert shop.items(wish=Wish(exclude=frozenset("A"))) == "BCD"
    assert shop.items(wish=Wish(n=2)) == "AB"
    assert shop.items(USER._replace(id="8")) == ""


def test_of_a_person_who_was_deleted_nothing_kept_is_answered(shop: Shop) -> None:
    assert shop.items() == "ABCD"
    del shop.redis[KEY]
    answer = shop.ask()
    assert (answer["source"], answer["items"]) == ("none", [])
    shop.redis[KEY] = StoreError("away")
    assert shop.ask()["items"] == []


def test_an_experiment_that_is_stopped_is_not_in_the_next_answer_and_a_request_id_tells_the_hour(shop: Shop) -> None:
    arms = (Variant(name="a"), Variant(name="b", changes=Changes(max_per_category=0)))
    running = Experiment(id="e", status="running", start=NOW - timedelta(days=1), variants=arms)
    shop.feed._experiments["default"] = Experiments(experiments=(running,))
    first = shop.ask()
    assert first["variant"] in ("e:a", "e:b")
    shop.now_ms = to_ms(NOW) + 30 * 60_000
    facts = read_request_id(shop.ask()["request_id"])
    assert facts and facts.hour_ms == shop.now_ms and facts.variants == (first["variant"],)
    stopped = msgspec.structs.replace(running, status="stopped")
    shop.feed._experiments["default"] = Experiments(experiments=(stopped,))
    assert shop.ask()["variant"] is None


def test_an_experiment_of_the_shelf_takes_part_where_no_placement_is_named(shop: Shop) -> None:
    arms = (Variant(name="a"), Variant(name="b"))
    only = Experiment(id="e", status="running", start=NOW, variants=arms, placements=("shelf",))
    shop.feed._experiments["default"] = Experiments(experiments=(only,))
    answer = shop.ask()
    facts = read_request_id(answer["request_id"])
    assert facts and (facts.placement, answer["variant"]) == ("shelf", facts.variants[0])
    assert shop.ask(wish=Wish(placement="home"))["variant"] is None


def test_a_narrow_shelf_that_other_lists_filled_is_made_anew(shop: Shop) -> None:
    wish = Wish(category="tea")
    shop.goods = Catalogue({n: Item(item_id=n, title=n, category="tea") for n in "ABCDEF"}, loaded_at=0)
    shop.reader._pointers["default"] = Pointer(version="v", switched_at=NOW, rev="1" * 16)

    async def away(*_: Any) -> None:
        raise gone

    gone = StoreError("away")
    shop.reader._table = away  # type: ignore[assignment,method-assign]
    key, batch = (
        batch_key("default", "v", "u.7"),
        RecommendationList(
            source="batch", model_version="v", based_on=None, written_at=1, items=list("EF"), scores=[2.0, 1.0]
        ),
    )
    shop.redis[key] = StoreError("away")
    assert shop.items(wish=wish) == "ABCD"
    shop.redis[key] = encode_value(batch)
    assert shop.items(wish=wish) == "ABCDEF"
    assert shop.items(wish=wish._replace(n=2)) == "AB"
    assert len(shop.ladder._kept) == 1  # what the live list fills by itself is kept


def test_a_value_with_any_byte_changed_is_at_worst_one_that_cannot_be_read(shop: Shop) -> None:
    whole = value(
        actions=[Action(1, "e1", "view", "A"), Action(2, "e2", "purchase", "B")],
        bought={"B": shop.now_ms},
        cart=[CartMark(shop.now_ms, "e", "C", True)],
    )
    sources: set[str] = set()
    for at, with_ in itertools.product(range(len(whole)), (0, 0x7F, 0xC1, 0xFF)):
        shop.redis[KEY] = whole[:at] + bytes([with_]) + whole[at + 1 :]
        for wish in (Wish(), Wish(explain=True)):
            sources.add(shop.ask(wish=wish)["source"])
        asyncio.run(shop.ladder.person(USER))
    assert sources == {"live", "none"}
    shop.redis |= {KEY: value(), HIS: value(), alias_key("default", "b"): b"u.\xff"}
    assert shop.items(VISITOR) == "ABCD"


def test_where_the_user_cannot_be_read_what_the_visitor_bought_is_left_out_all_the_same(shop: Shop) -> None:
    shop.redis[HIS] = value(bought={"A": shop.now_ms}, owner=Owner(1, "u.7"))
    shop.redis[KEY] = StoreError("away")
    person = asyncio.run(shop.ladder.person(VISITOR))
    assert (dict(shop.ladder.held(VISITOR, person).bought), person.readable) == ({"A": shop.now_ms}, False)


def test_answers_and_purchases_do_not_stay_in_memory_for_good() -> None:
    memory = Memory()
    memory.keep("ada", Held({"A": 1}), now_ms=0)
    memory.keep("grace", Held({"B": 1}), now_ms=86_399_999)
    assert (memory.get("ada", 86_399_999).bought, memory.get("ada", 86_400_000).bought) == ({"A": 1}, {})
    memory.keep("emmy", Held({"C": 1}), now_ms=86_400_000)
    assert list(memory._held) == ["grace", "emmy"] and memory._size == 2


@pytest.mark.parametrize(
    "path",
    [
        "/v1/users/7/recommendations",
        "/v1/users/a/b/recommendations",
        "/v1/users//recommendations",
        "/v1/users/recommendations",
        "/v1/users/x/recommendations/stream/recommendations",
        "/v1/users/x/recommendations/stream",
        "/v1/users/x/profile/recommendations",
        "/v1/visitors/users/7/recommendations",
        "/v1/visitors/7/recommendations/",
        "//v1/users/7/recommendations",
        "/v1/users/7/Recommendations",
    ],
)
def test_the_shortcut_finds_in_a_path_what_the_router_finds(path: str) -> None:
    found: list[dict[str, str]] = []
    for route in router.routes:
        assert isinstance(route, Route)
        match, child = route.matches({"type": "http", "method": "GET", "path": path, "root_path": ""})
        if match.value == 2:
            if route.path.endswith("/recommendations"):
                found.append(child["path_params"])
            break
    assert path_params(path) == (found[0] if found else None)
