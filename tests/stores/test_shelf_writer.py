"""The serving step against a real two-node Valkey cluster: what is stored in the end does not depend on how it came."""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.errors import StoreError
from contracts.features import ITEM_FEATURES, USER_FEATURES
from contracts.keys import alias_key, batch_key, item_key, trending_key, user_key
from contracts.lists import RecommendationList, UserValue, decode_user, encode_value
from contracts.settings import Settings, StreamingSettings
from contracts.snapshot import Manifest, Snapshot, write_snapshot
from local.valkey import cluster as valkey_cluster
from stores.cluster import Cluster, Started
from stores.scripts import Command
from streaming.batching import EventRow
from streaming.kept_people import KeptPeople
from streaming.measures import Measures
from streaming.shelf_writer import ShelfWriter

pytestmark = pytest.mark.e2e

NOW_MS = 1_760_000_000_000
BUCKET_MS = NOW_MS // 300_000 * 300_000
ITEMS = [f"I{at}" for at in range(8)]
CATEGORIES = {item: f"C{at % 2}" for at, item in enumerate(ITEMS)}
SILENT = ("identify", "impression")
LENT = (("u.0", "3"), ("u.1", "4"), ("u.1", "3"), ("u.2", "4"))
"""Visitors who are now one user and now another."""
PEOPLE = ("u.0", "u.1", "u.2", "a.3", "a.4")


class Watched(Cluster):
    """A cluster that counts round trips, and lets somebody else in before each write of people."""

    rounds: int = 0
    reads: int = 0
    before_write: Callable[[], None] | None = None

    def start(self, commands: Sequence[Command]) -> Started:
        self.rounds += 1
        self.reads += sum(command[0] == "GET" and ":user:" in command[1] for command in commands)
        if self.before_write and commands and commands[0][0] == "EVALSHA" and ":user:" in commands[0][3]:
            meanwhile, self.before_write = self.before_write, None
            meanwhile()
        return super().start(commands)

    def user(self, shop: str, subject: str) -> UserValue:
        data = self.get_many([user_key(shop, subject)])[0]
        assert data is not None
        return decode_user(data)


@pytest.fixture(scope="module")
def connected() -> Iterator[Watched]:
    with valkey_cluster() as nodes:
        client = Watched.connect(Settings.from_properties({"liveshelf": {"redis.nodes": nodes}}).redis_nodes)
        assert isinstance(client, Watched)
        yield client
        client.close()


@pytest.fixture
def redis(connected: Watched) -> Watched:
    connected.rounds, connected.reads, connected.before_write = 0, 0, None
    return connected


class Counts:
    """A metric group that keeps its counters."""

    def __init__(self) -> None:
        self.counters: dict[str, int] = {}

    def add_group(self, *_: Any) -> "Counts":
        return self

    def counter(self, name: str) -> Any:
        counters = self.counters

        class Counter:
            def inc(self, by: int) -> None:
                counters[name] = counters.get(name, 0) + by

        return Counter()

    def gauge(self, *_: Any) -> None:
        return


class One:
    """The one model of every shop."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def current(self, _: str) -> Snapshot:
        return self._snapshot


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory, make_manifest: Callable[..., Manifest]) -> Snapshot:
    """Each item leads to the next one."""
    folder: Path = tmp_path_factory.mktemp("snapshot") / "v1"
    matrix = (np.arange(9), np.roll(np.arange(8), -1), np.ones(8))
    write_snapshot(folder, make_manifest(), ITEMS, matrix, np.arange(8, 0, -1))
    return Snapshot.open(folder)


@pytest.fixture
def counts() -> Counts:
    return Counts()


@pytest.fixture
def make_writer(redis: Watched, snapshot: Snapshot, counts: Counts) -> Callable[[], ShelfWriter]:
    models: Any = One(snapshot)
    clock = itertools.count(NOW_MS * 1_000_000, 1000)  # a microsecond a look: no two writers share a revision

    def make() -> ShelfWriter:
        """A worker of its own, with caches of its own."""
        measures = Measures(counts)
        category = lambda _, item: CATEGORIES.get(item, "")  # noqa: E731
        return ShelfWriter(redis, models, StreamingSettings(), measures, lambda: next(clock), category)

    return make


def row(
    shop: str,
    number: int,
    subject: str,
    item: str = "I0",
    kind: str = "view",
    *,
    anonymous: str = "",
    seen: int = 1,
    late: bool = False,
) -> EventRow:
    """An event; ``seen`` is the running value of the first feature of both buckets."""
    counted = kind not in SILENT and not late
    at = BUCKET_MS + number
    item_values, user_values = (
        tuple(float(seen) if counted and place == 0 else 0.0 for place in range(len(features)))
        for features in (ITEM_FEATURES, USER_FEATURES)
    )
    bucket = at - at % 300_000
    head = (shop, f"e{number:03}", kind, subject, anonymous, item if kind != "identify" else "", at, at, late)
    return EventRow(*head, kind not in SILENT, bucket, item_values, user_values)


def traffic(
    shop: str, draw: random.Random, identifies: Sequence[tuple[str, str]] = (("u.0", "3"), ("u.1", "4"))
) -> list[EventRow]:
    """Events of five people, two of them visitors who identify at some time, with running values as the job counts."""
    rows: list[EventRow] = []
    people, items = dict.fromkeys(range(9), 0), dict.fromkeys(ITEMS, 0)
    for number in range(80):
        person, item = draw.randrange(5), draw.choice(ITEMS)
        subject = f"u.{person}" if person < 3 else f"a.{person}"
        if draw.random() < 0.1:
            user, visitor = draw.choice(identifies)
            rows.append(row(shop, number, user, kind="identify", anonymous=visitor))
            continue
        people[person] += 1
        items[item] += 1
        made = row(shop, number, subject, item, late=draw.random() < 0.05)
        counted = made.action and not made.late
        user_values = (float(people[person]) * counted, *made.user_values[1:])
        item_values = (float(items[item]) * counted, *made.item_values[1:])
        rows.append(made._replace(user_values=user_values, item_values=item_values))
    return rows


def stored(redis: Watched, shop: str) -> dict[str, Any]:
    """Everything of a shop that has to come out the same."""
    values: dict[str, Any] = {}
    for subject in PEOPLE:
        if data := redis.get_many([user_key(shop, subject)])[0]:
            value = decode_user(data)
            live = value.live
            values[subject] = (value.actions, value.buckets, value.aliases, value.owner)
            values[f"{subject} list"] = (live.items, live.scores, live.based_on) if live else None
    for item in ITEMS:
        values[item] = redis.execute([("HGETALL", item_key(shop, item))])[0]
    for key in (trending_key(shop, BUCKET_MS // 1000, category) for category in ("", "C0", "C1")):
        values[key.removeprefix(shop)] = redis.execute([("ZRANGE", key, 0, -1, "WITHSCORES")])[0]
    values["aliases"] = redis.get_many([alias_key(shop, "3"), alias_key(shop, "4")])
    return values


@pytest.mark.parametrize("seed", range(8))
def test_order_repetition_batches_and_workers_do_not_matter(
    redis: Watched, make_writer: Callable[[], ShelfWriter], seed: int
) -> None:
    draw = random.Random(seed)
    plain, mixed = f"plain{seed}", f"mixed{seed}"
    rows = traffic(plain, draw)
    make_writer().write(rows)
    again = [r._replace(shop_id=mixed) for r in [*rows, *draw.sample(rows, 20)]]
    draw.shuffle(again)
    workers = [make_writer(), make_writer()]
    cuts = sorted(draw.sample(range(1, len(again)), 12))
    for start, end in zip([0, *cuts], [*cuts, len(again)], strict=True):
        draw.choice(workers).write(again[start:end])
    for worker in workers:  # and once more, as after a checkpoint
        worker.write(again[cuts[5] :])
    assert stored(redis, mixed) == stored(redis, plain)


def test_a_batch_takes_two_round_trips(redis: Watched, make_writer: Callable[[], ShelfWriter]) -> None:
    make_writer().write([row("trips", i, f"u.{i}", ITEMS[i % 8], seen=1) for i in range(40)])
    assert redis.rounds == 2


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_whatever_comes_first_the_owner_has_the_visitors_actions_and_a_list_of_them(
    redis: Watched, make_writer: Callable[[], ShelfWriter], order: tuple[int, ...]
) -> None:
    shop = "own" + "".join(map(str, order))
    rows = [
        row(shop, 1, "a.x", "I1"),
        row(shop, 2, "u.kim", kind="identify", anonymous="x"),
        row(shop, 3, "a.x", "I3"),
        row(shop, 4, "u.kim", "I5"),
    ]
    for at in order:
        make_writer().write([rows[at]])
    kim, visitor = redis.user(shop, "u.kim"), redis.user(shop, "a.x")
    assert [action.event_id for action in kim.actions] == ["e001", "e003", "e004"]
    assert kim.aliases == {"x": BUCKET_MS + 2}
    assert visitor.owner is not None
    assert visitor.owner.subject == "u.kim"
    assert [action.event_id for action in visitor.actions] == ["e001", "e003"]
    assert kim.live is not None
    assert set(kim.live.items[:3]) == {"I2", "I4", "I6"}
    assert sum(values[0] for values in kim.buckets.values()) == 1.0  # the visitor's buckets stay the visitor's
    assert redis.get_many([alias_key(shop, "x")]) == [b"u.kim"]


def test_of_two_owners_the_later_has_the_visitor(redis: Watched, make_writer: Callable[[], ShelfWriter]) -> None:
    for number, who in ((9, "u.late"), (5, "u.early")):
        make_writer().write([row("two", number, who, kind="identify", anonymous="kiosk")])
    assert redis.get_many([alias_key("two", "kiosk")]) == [b"u.late"]


def test_what_somebody_else_wrote_in_between_is_kept(
    redis: Watched, make_writer: Callable[[], ShelfWriter], counts: Counts
) -> None:
    first, rival = make_writer(), make_writer()
    first.write([row("rival", 1, "u.1")])
    redis.before_write = lambda: [None, rival.write([row("rival", 2, "u.1", "I2", seen=2)])][0]
    first.write([row("rival", 3, "u.1", "I3", seen=3)])
    value = redis.user("rival", "u.1")
    assert [action.event_id for action in value.actions] == ["e001", "e002", "e003"]
    assert counts.counters["conflicts"] == 1


def test_who_acts_again_in_a_moment_is_not_read_again(redis: Watched, make_writer: Callable[[], ShelfWriter]) -> None:
    writer = make_writer()
    for number in range(1, 5):
        writer.write([row("again", number, "u.1", ITEMS[number], seen=number)])
    assert redis.reads == 1
    make_writer().write([row("again", 5, "u.1", "I5", seen=5)])
    value = redis.user("again", "u.1")
    assert [action.event_id for action in value.actions] == ["e001", "e002", "e003", "e004", "e005"]
    assert [values[0] for values in value.buckets.values()] == [5.0]
    assert redis.reads == 3  # the other worker's, and this test's


def test_what_another_worker_wrote_since_is_kept(
    redis: Watched, make_writer: Callable[[], ShelfWriter], counts: Counts
) -> None:
    first, rival = make_writer(), make_writer()
    first.write([row("since", 1, "u.1")])
    rival.write([row("since", 2, "u.1", "I2", seen=2)])
    first.write([row("since", 3, "u.1", "I3", seen=3)])
    value = redis.user("since", "u.1")
    assert [action.event_id for action in value.actions] == ["e001", "e002", "e003"]
    assert value.live is not None
    assert value.live.items[0] == "I4"
    assert counts.counters["conflicts"] == 1


def test_a_batch_that_could_not_be_written_leaves_nothing_behind(
    redis: Watched, make_writer: Callable[[], ShelfWriter]
) -> None:
    writer = make_writer()
    writer.write([row("torn", 1, "u.1", "I1")])

    def fail() -> None:
        message = "gone"
        raise StoreError(message)

    redis.before_write = fail
    with pytest.raises(StoreError, match="gone"):
        writer.write([row("torn", 2, "u.1", "I2", seen=2)])
    writer.write([row("torn", 3, "u.1", "I3", seen=3)])
    assert [action.event_id for action in redis.user("torn", "u.1").actions] == ["e001", "e003"]


def forget(redis: Watched, shop: str, user: str, visitor: str) -> None:
    keys = user_key(shop, user), user_key(shop, f"a.{visitor}"), alias_key(shop, visitor)
    redis.execute([("DEL", key) for key in keys])


def test_a_deleted_user_does_not_come_back_by_a_visitor(redis: Watched, make_writer: Callable[[], ShelfWriter]) -> None:
    writer = make_writer()
    writer.write([row("gone", 1, "a.3", "I1")])
    writer.write([row("gone", 2, "u.0", kind="identify", anonymous="3")])
    writer.write([row("gone", 3, "a.3", "I3", seen=2)])
    assert [action.event_id for action in redis.user("gone", "u.0").actions] == ["e001", "e003"]
    forget(redis, "gone", "u.0", "3")
    writer.write([row("gone", 4, "a.3", "I4", seen=3)])
    assert redis.get_many([user_key("gone", "u.0")]) == [None]
    assert [action.event_id for action in redis.user("gone", "a.3").actions] == ["e004"]


def test_who_signs_in_after_a_deletion_gets_nothing_of_before(
    redis: Watched, make_writer: Callable[[], ShelfWriter]
) -> None:
    writer = make_writer()
    writer.write([row("anew", 1, "a.3", "I1")])
    make_writer().write([row("anew", 2, "u.0", kind="identify", anonymous="3")])
    forget(redis, "anew", "u.0", "3")
    writer.write([row("anew", 4, "a.3", "I4", seen=3), row("anew", 5, "u.0", kind="identify", anonymous="3")])
    assert [action.event_id for action in redis.user("anew", "u.0").actions] == ["e004"]


def test_a_visitor_of_somebody_else_by_now_brings_nothing_to_the_one_before(
    redis: Watched, make_writer: Callable[[], ShelfWriter]
) -> None:
    writer = make_writer()
    writer.write([row("lent", 1, "u.0", kind="identify", anonymous="3")])
    writer.write([row("lent", 2, "a.3", "I1")])
    make_writer().write([row("lent", 3, "u.1", kind="identify", anonymous="3")])
    writer.write([row("lent", 4, "a.3", "I4", seen=2)])
    assert [action.event_id for action in redis.user("lent", "u.0").actions] == ["e002"]
    assert [action.event_id for action in redis.user("lent", "u.1").actions] == ["e002", "e004"]


@pytest.mark.parametrize("seed", range(20))
def test_what_is_kept_changes_nothing_but_reads(
    redis: Watched, make_writer: Callable[[], ShelfWriter], monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Two workers, any batches, owners that change and keys that go in between: as if each person were always read."""

    def play(shop: str) -> None:
        draw = random.Random(seed)
        workers, rows = [make_writer(), make_writer()], traffic(shop, draw, LENT)
        cuts = sorted(draw.sample(range(1, len(rows)), 25))
        for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
            draw.choice(workers).write(rows[start:end])
            if draw.random() < 0.2:
                redis.execute([("DEL", user_key(shop, draw.choice(PEOPLE)))])

    play(f"kept{seed}")
    with_kept = redis.reads
    monkeypatch.setattr(KeptPeople, "take", lambda *_: None)
    play(f"read{seed}")
    assert with_kept < redis.reads - with_kept
    assert stored(redis, f"kept{seed}") == stored(redis, f"read{seed}")


def test_a_store_that_lost_everything_is_filled_again_as_people_act(
    redis: Watched, make_writer: Callable[[], ShelfWriter]
) -> None:
    writer = make_writer()
    writer.write([row("lost", 1, "u.1", "I1")])
    redis.execute([("DEL", key) for key in (user_key("lost", "u.1"), item_key("lost", "I1"))])
    writer.write([row("lost", 2, "u.1", "I1", seen=2)])
    value = redis.user("lost", "u.1")
    assert [action.event_id for action in value.actions] == ["e002"]
    assert value.live is not None
    assert value.live.items[0] == "I2"
    assert redis.execute([("HGET", item_key("lost", "I1"), BUCKET_MS // 1000)])[0].startswith(b"2,")


def test_a_value_that_cannot_be_read_is_replaced_and_counted(
    redis: Watched, make_writer: Callable[[], ShelfWriter], counts: Counts
) -> None:
    for number, broken in enumerate((b'{"rev":"0000000000000000","actions":[]}', b"x")):
        redis.set_many([(user_key("broken", f"u.{number}"), broken, 60)])
        make_writer().write([row("broken", number, f"u.{number}")])
        assert len(redis.user("broken", f"u.{number}").actions) == 1
    assert counts.counters["unreadable"] == 2


def test_the_list_of_the_training_counts_from_the_moment_it_is_there(
    redis: Watched, snapshot: Snapshot, make_writer: Callable[[], ShelfWriter]
) -> None:
    batch = RecommendationList(
        source="batch", model_version="v1", based_on=None, written_at=0, items=["I6", "unknown"], scores=[1.0, 0.5]
    )
    redis.set_many([(batch_key("listed", snapshot.version, "u.1"), encode_value(batch), 60)])
    make_writer().write([row("listed", 1, "u.1", "I1")])
    live = redis.user("listed", "u.1").live
    assert live is not None
    assert live.items[:2] == ["I2", "I6"]
    assert [[reason.item_id for reason in reasons] for reasons in live.reasons[:2]] == [["I1"], ["*"]]


def test_what_became_of_each_row_is_told(make_writer: Callable[[], ShelfWriter]) -> None:
    rows = [row("told", 1, "u.1"), row("told", 3, "u.1", "I3", seen=2), row("told", 2, "u.2", kind="impression")]
    rows.append(row("told", 4, "u.3", late=True))
    served = make_writer().write(rows)
    assert [one.outcome for one in served] == ["superseded", "scored", "noted", "late"]
    assert (served[1].model_version, served[0].items) == ("v1", None)
    assert (served[1].items or "").startswith('["I4",')
