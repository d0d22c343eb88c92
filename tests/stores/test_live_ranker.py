"""The ranker in the serving step, against a real two-node Valkey cluster: what it reads, and what it changes."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.features import ITEM_FEATURES, USER_FEATURES
from contracts.keys import item_key, user_key
from contracts.lists import RecommendationList, decode_user
from contracts.settings import Settings, StreamingSettings
from contracts.snapshot import Manifest, ModelSettings, Snapshot, write_snapshot
from local.valkey import cluster as valkey_cluster
from stores.cluster import Cluster, Started
from stores.scripts import Command, grow_buckets
from streaming.batching import EventRow
from streaming.item_trends import ItemTrends
from streaming.measures import Measures
from streaming.shelf_writer import ShelfWriter

pytestmark = pytest.mark.e2e

NOW_MS = 1_760_000_000_000
BUCKET_S = NOW_MS // 1000 // 300 * 300
ITEMS = [f"I{at}" for at in range(6)]
ONE_ITEM, ONE_USER = ((1.0, *(0.0 for _ in features[1:])) for features in (ITEM_FEATURES, USER_FEATURES))


class Recording(Cluster):
    """A cluster that notes the commands sent, one list a round."""

    rounds: list[list[Command]]

    def start(self, commands: Sequence[Command]) -> Started:
        self.rounds.append(list(commands))
        return super().start(commands)

    def read(self) -> list[str]:
        """Items whose buckets were read, in order."""
        return [
            command[1].rpartition(":")[2] for round_ in self.rounds for command in round_ if command[0] == "HGETALL"
        ]


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


class One:
    """The one model of every shop."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def current(self, _: str) -> Snapshot:
        return self._snapshot


def model(folder: Path, theta: float, names: list[str], coefficients: list[float]) -> Snapshot:
    """I0 leads to I1 … I5, each less than the one before."""
    day = datetime(2026, 1, 1, tzinfo=UTC)
    manifest = Manifest(
        shop_id="default",
        version=f"theta-{theta}-{'-'.join(names)}",
        parent=None,
        trained_at=day,
        window_start=day,
        window_end=day,
        model=ModelSettings(theta=theta),
        training={},
        feature_names=names,
        coefficients=coefficients,
        metrics={},
        rows={},
    )
    matrix = (np.array([0, 5, 5, 5, 5, 5, 5]), np.arange(1, 6), np.array([1.0, 0.9, 0.8, 0.7, 0.6]))
    write_snapshot(folder, manifest, ITEMS, matrix, np.arange(6, 0, -1))
    return Snapshot.open(folder)


def serve(redis: Recording, snapshot: Snapshot, person: str) -> RecommendationList:
    """One person looks at I0; returns the list that is then in Redis."""
    at = (NOW_MS, NOW_MS, False, True, BUCKET_S * 1000, ONE_ITEM, ONE_USER)
    row = EventRow("default", f"e-{person}", "view", f"u.{person}", "", "I0", *at)
    models: Any = One(snapshot)
    writer = ShelfWriter(redis, models, StreamingSettings(), Measures(Quiet()), lambda: NOW_MS * 1_000_000)
    writer.write([row])
    live = decode_user(redis.get_many([user_key("default", f"u.{person}")])[0] or b"").live
    assert live is not None
    return live


def test_what_trends_now_rises_and_the_reasons_stay(redis: Recording, tmp_path: Path) -> None:
    redis.execute([grow_buckets(item_key("default", "I4"), {BUCKET_S: (400.0, 0, 0, 0)}, 60, 0)])
    plain = serve(redis, model(tmp_path / "a", 0.0, ["trend_1h"], [1.0]), "ada")
    ranked = serve(redis, model(tmp_path / "b", 1.0, ["trend_1h"], [1.0]), "bob")
    assert plain.items[:5] == ["I1", "I2", "I3", "I4", "I5"]
    assert ranked.items[:5] == ["I4", "I1", "I2", "I3", "I5"]
    assert ranked.scores[:5] == sorted(ranked.scores[:5], reverse=True)
    assert min(ranked.scores[:5]) > 0
    assert all(reason.item_id == "I0" and reason.weight == 1.0 for (reason,) in ranked.reasons[:5])


def test_without_a_ranker_no_bucket_is_read(redis: Recording, tmp_path: Path) -> None:
    serve(redis, model(tmp_path / "a", 0.0, ["trend_1h"], [1.0]), "cid")
    assert redis.read() == []
    assert len(redis.rounds) == 3  # read, write, and this test's own look


def test_a_ranker_of_unknown_features_leaves_stage_one_as_it_is_and_says_so(
    redis: Recording, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    live = serve(redis, model(tmp_path / "a", 1.0, ["phase_of_the_moon"], [9.0]), "dot")
    assert live.items[:5] == ["I1", "I2", "I3", "I4", "I5"]
    assert redis.read() == []
    assert "phase_of_the_moon" in caplog.text


def test_sums_are_those_of_the_stored_buckets_and_are_read_again_after_a_few_seconds(redis: Recording) -> None:
    key = item_key("sums", "A")
    redis.execute([grow_buckets(key, {BUCKET_S: (2.0, 1.0, 0, 0), BUCKET_S - 7200: (0, 0, 1.0, 9.5)}, 60, 0)])
    trends = ItemTrends(redis, ttl_ms=5000)
    assert trends.sums("sums", ["A", "absent"], NOW_MS).tolist() == [[5.0, 10.0], [0.0, 0.0]]
    redis.execute([grow_buckets(key, {BUCKET_S: (3.0, 1.0, 0, 0)}, 60, 0)])
    assert trends.sums("sums", ["A", "absent"], NOW_MS + 4999)[0].tolist() == [5.0, 10.0]
    assert redis.read() == ["A", "absent"]
    assert trends.sums("sums", ["A"], NOW_MS + 5000)[0].tolist() == [6.0, 11.0]


def test_a_call_reads_at_most_so_many_items_the_important_and_the_unread_first(redis: Recording) -> None:
    items = [f"J{at}" for at in range(5)]
    redis.execute([grow_buckets(item_key("most", item), {BUCKET_S: (1.0, 0, 0, 0)}, 60, 0) for item in items])
    trends = ItemTrends(redis, ttl_ms=5000, most=2, pause_ms=0)
    redis.rounds.clear()
    assert trends.sums("most", items, NOW_MS)[:, 1].tolist() == [1, 1, 0, 0, 0]
    assert trends.sums("most", items, NOW_MS + 9000)[:, 1].tolist() == [1, 1, 1, 1, 0]
    trends.sums("most", items, NOW_MS + 9000)
    assert redis.read() == ["J0", "J1", "J2", "J3", "J4", "J0"]
    assert [len(round_) for round_ in redis.rounds] == [2, 2, 2]


def test_the_cache_forgets_what_was_read_longest_ago(redis: Recording) -> None:
    trends = ItemTrends(redis, ttl_ms=5000, kept=2, pause_ms=0)
    trends.sums("kept", ["K0", "K1", "K2"], NOW_MS)
    redis.rounds.clear()
    trends.sums("kept", ["K1", "K2"], NOW_MS + 1)
    assert redis.read() == []
    trends.sums("kept", ["K0"], NOW_MS + 1)
    assert redis.read() == ["K0"]


def test_between_two_reads_there_is_a_pause_in_which_what_is_known_is_used(redis: Recording) -> None:
    redis.execute([grow_buckets(item_key("pause", item), {BUCKET_S: (1.0, 0, 0, 0)}, 60, 0) for item in ("P0", "P1")])
    trends = ItemTrends(redis, pause_ms=200)
    trends.sums("pause", ["P0"], NOW_MS)
    assert trends.sums("pause", ["P1", "P0"], NOW_MS + 199)[:, 0].tolist() == [0.0, 1.0]
    assert trends.sums("pause", ["P1", "P0"], NOW_MS + 200)[:, 0].tolist() == [1.0, 1.0]
