"""What people get of whom the model knows nothing, out of a real two-node Valkey cluster: trending, then popular."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.features import BUCKET_MS, ITEM_FEATURES, USER_FEATURES
from contracts.keys import trending_key, user_key
from contracts.lists import Action, RecommendationList, covers, decode_user
from contracts.settings import Settings, StreamingSettings
from contracts.snapshot import Manifest, Snapshot, write_snapshot
from local.valkey import cluster as valkey_cluster
from stores.cluster import Cluster, Started
from stores.scripts import Command
from streaming.batching import EventRow
from streaming.columns import SOURCES, Ranked, histories_of
from streaming.fallback import TrendingFallback
from streaming.measures import Measures
from streaming.shelf_filling import cold_arrays
from streaming.shelf_scoring import live_lists
from streaming.shelf_writer import ShelfWriter
from streaming.trending import SHOP, Trending

pytestmark = pytest.mark.e2e

NOW_MS = 1_760_000_000_000
BUCKET_S = NOW_MS // 1000 // 300 * 300
CATEGORIES = {"t1": "TEA", "t2": "TEA", "new-tea": "TEA", "c1": "CUPS", "x": ""}


class Recording(Cluster):
    """A cluster that notes the commands sent, one list a round."""

    rounds: list[list[Command]]

    def start(self, commands: Sequence[Command]) -> Started:
        self.rounds.append(list(commands))
        return super().start(commands)


@pytest.fixture(scope="module")
def connected() -> Iterator[Recording]:
    with valkey_cluster() as nodes:
        settings = Settings.from_properties({"liveshelf": {"redis.nodes": nodes}})
        client = Recording.connect(settings.redis_nodes)
        assert isinstance(client, Recording)
        client.rounds = []
        yield client
        client.close()


@pytest.fixture
def redis(connected: Recording) -> Recording:
    connected.rounds.clear()
    return connected


def trend(redis: Recording, shop: str, category: str, scores: dict[str, float], bucket_s: int = BUCKET_S) -> None:
    key = trending_key(shop, bucket_s, category)
    redis.execute([("ZADD", key, *(part for item, score in scores.items() for part in (score, item)))])
    redis.rounds.clear()


def looked_at(*items: str) -> list[Action]:
    return [Action(NOW_MS + at, f"e{at}", "view", item) for at, item in enumerate(items)]


def shown(ranked: Ranked, person: int) -> tuple[str, list[str]]:
    kept = ranked.items[person][ranked.items[person] >= 0]
    return SOURCES[ranked.sources[person]], [ranked.names[place] for place in kept]


def fallback_of(redis: Recording, shop: str) -> Any:
    fallback = TrendingFallback(Trending(redis), lambda _, item: CATEGORIES.get(item, ""))
    return partial(fallback.lists, shop=shop, now_ms=NOW_MS)


def test_without_a_model_the_categories_of_ones_actions_come_first_then_the_shop(redis: Recording) -> None:
    trend(redis, "cold", SHOP, {"star": 90.0, "t2": 4.0, "c1": 2.0})
    trend(redis, "cold", "TEA", {"t2": 4.0, "t1": 3.0, "new-tea": 1.0})
    trend(redis, "cold", "CUPS", {"c1": 2.0})
    people = [looked_at("t1"), looked_at("t1", "c1"), looked_at("unheard-of"), []]
    ranked = cold_arrays(histories_of(people, 20), 3, fallback_of(redis, "cold"))
    assert shown(ranked, 0) == ("trending", ["t2", "new-tea", "star"])
    assert shown(ranked, 1) == ("trending", ["t2", "new-tea", "star"])  # c1 they have just seen
    assert shown(ranked, 2) == shown(ranked, 3) == ("trending", ["star", "t2", "c1"])
    assert (np.diff(ranked.scores, axis=1) <= 0).all()
    assert (ranked.scores > 0).all()


def test_the_newer_an_action_the_more_its_category_counts(redis: Recording) -> None:
    trend(redis, "newer", "TEA", {"t2": 4.0})
    trend(redis, "newer", "CUPS", {"c1": 2.0})
    people = [looked_at("t1", "x", "c2"), looked_at("c2", "x", "t1")]
    fallback = TrendingFallback(Trending(redis), lambda _, item: {"t": "TEA", "c": "CUPS"}.get(item[0], ""))
    ranked = cold_arrays(histories_of(people, 20), 2, partial(fallback.lists, shop="newer", now_ms=NOW_MS))
    assert [shown(ranked, person)[1] for person in range(2)] == [["c1", "t2"], ["t2", "c1"]]


def test_in_a_silent_shop_without_a_model_there_is_no_list(redis: Recording) -> None:
    ranked = cold_arrays(histories_of([looked_at("t1")], 20), 3, fallback_of(redis, "silent"))
    assert shown(ranked, 0)[1] == []


def test_a_person_whom_the_model_does_not_know_gets_trending_then_popular_items(
    redis: Recording, tmp_path: Path, make_manifest: Callable[..., Manifest]
) -> None:
    """``p1`` leads to ``p2``; the new tea is not in the model, and trends."""
    matrix = (np.array([0, 1, 1, 1]), np.array([1]), np.array([1.0]))
    write_snapshot(tmp_path / "m", make_manifest(), ["p1", "p2", "p3"], matrix, np.array([3.0, 2.0, 1.0]))
    snapshot = Snapshot.open(tmp_path / "m")
    trend(redis, "warm", "TEA", {"new-tea": 2.0, "p3": 1.0})
    people = [looked_at("t1"), looked_at("p1"), looked_at("x")]
    cold, known, lost = live_lists(snapshot, people, [None] * 3, 4, NOW_MS, fallback=fallback_of(redis, "warm"))
    assert (cold.source, cold.items, cold.scores) == ("trending", ["new-tea", "p3", "p1", "p2"], [1.0, 0.5, 0.0, 0.0])
    assert (known.source, known.items) == ("live", ["p2", "p3"])
    assert (lost.source, lost.items) == ("popular", ["p1", "p2", "p3"])
    redis.rounds.clear()
    live_lists(snapshot, [looked_at("p1")], [None], 4, NOW_MS, fallback=fallback_of(redis, "warm"))
    assert redis.rounds == []  # nobody was cold


def test_buckets_of_the_last_hour_are_added_and_older_ones_are_not(redis: Recording) -> None:
    trend(redis, "hour", SHOP, {"a": 2.0, "b": 3.0})
    trend(redis, "hour", SHOP, {"a": 2.0}, BUCKET_S - 11 * BUCKET_MS // 1000)
    trend(redis, "hour", SHOP, {"b": 9.0}, BUCKET_S - 12 * BUCKET_MS // 1000)
    assert Trending(redis).rankings("hour", [SHOP], NOW_MS) == {SHOP: (("a", 1.0), ("b", 0.75))}


def test_rankings_are_kept_for_a_few_seconds_and_reads_are_bounded(redis: Recording) -> None:
    trending = Trending(redis, ttl_ms=5000, most=2, kept=3)
    for category in ("A", "B", "C"):
        trend(redis, "kept", category, {category.lower(): 1.0})
    first = trending.rankings("kept", ["A", "B", "C"], NOW_MS)
    assert [bool(first[name]) for name in "ABC"] == [True, True, False]
    assert all(trending.rankings("kept", ["A", "B", "C"], NOW_MS + 1).values())
    assert [len(commands) for commands in redis.rounds] == [24, 12]
    trending.rankings("kept", ["A", "B", "C"], NOW_MS + 4999)
    assert len(redis.rounds) == 2
    trending.rankings("kept", ["C", "B", "A"], NOW_MS + 5000)
    assert {command[1].rpartition(":")[2] for command in redis.rounds[2]} == {"A", "B"}  # read longest ago
    trending.rankings("kept", ["D"], NOW_MS + 5001)
    redis.rounds.clear()
    trending.rankings("kept", ["A", "B", "D"], NOW_MS + 5001)
    assert redis.rounds == []
    trending.rankings("kept", ["C"], NOW_MS + 5001)
    assert len(redis.rounds) == 1  # forgotten, as it was read longest ago


class Quiet:
    """A metric group that keeps nothing."""

    def add_group(self, *_: Any) -> "Quiet":
        return self

    def counter(self, _: str) -> "Quiet":
        return self

    def inc(self, _: int) -> None:
        return

    def gauge(self, *_: Any) -> None:
        return


class NoModel:
    """Nothing is published in any shop."""

    def current(self, _: str) -> None:
        return None


def test_a_shop_without_a_model_recommends_from_its_second_visitor_on(redis: Recording) -> None:
    """Ada puts a tea in her cart; Bob, who looks at another one a moment later, is shown hers, as trending."""
    models: Any = NoModel()
    clock = [NOW_MS * 1_000_000]
    writer = ShelfWriter(
        redis,
        models,
        StreamingSettings(),
        Measures(Quiet()),
        lambda: clock[0],
        lambda _, item: CATEGORIES.get(item, ""),
    )

    def act(person: str, kind: str, item: str) -> RecommendationList | None:
        did = tuple(float(kind in feature.event_types and feature.value == "count") for feature in ITEM_FEATURES)
        nothing = (0.0,) * len(USER_FEATURES)
        at = (NOW_MS, NOW_MS, False, True, BUCKET_S * 1000, did, nothing)
        writer.write([EventRow("newshop", f"e-{person}", kind, f"u.{person}", "", item, *at)])
        return decode_user(redis.get_many([user_key("newshop", f"u.{person}")])[0] or b"").live

    assert act("ada", "add_to_cart", "t1") is None  # there is nothing yet but what she has just taken
    clock[0] += 6_000_000_000
    bobs = act("bob", "view", "t2")
    assert bobs is not None
    assert (bobs.source, bobs.items, bobs.model_version) == ("trending", ["t1"], "")
    assert covers(bobs.based_on, NOW_MS, "e-bob")
