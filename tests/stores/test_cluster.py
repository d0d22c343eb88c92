"""The Redis adapter against a real two-node Valkey cluster."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import redis as redis_py
from redis.crc import key_slot

from contracts.errors import StoreError
from contracts.lists import REV_BYTES, UserValue, encode_value, next_rev
from contracts.pointer import Pointer
from contracts.settings import Settings
from local.valkey import SLOTS
from local.valkey import cluster as valkey_cluster
from stores.cluster import Cluster
from stores.scripts import grow_buckets

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def redis() -> Iterator[Cluster]:
    with valkey_cluster() as nodes:
        client = Cluster.from_settings(Settings.from_properties({"liveshelf": {"redis.nodes": nodes}}))
        yield client
        client.close()


def test_answers_come_in_the_order_of_the_commands_over_both_nodes(redis: Cluster) -> None:
    keys = [f"default:order:{i}" for i in range(500)]
    redis.set_many([(key, key.encode(), 60) for key in keys])
    assert redis.get_many([*keys, "default:absent"]) == [*(key.encode() for key in keys), None]


def test_giving_up_what_is_over_leaves_its_connection_to_whoever_has_it_now(redis: Cluster) -> None:
    over = redis.start([("SET", "over", "1", "EX", 60)])
    over.results()
    meanwhile = redis.start([("GET", "over")])
    over.close()
    assert meanwhile.results() == [b"1"]
    given_up = redis.start([("GET", "over")])
    given_up.close()
    given_up.close()
    assert redis.execute([("GET", "over")]) == [b"1"]


def test_only_one_of_two_writers_that_read_the_same_revision_wins(redis: Cluster) -> None:
    first = UserValue(rev=next_rev(None, 10))
    second = UserValue(rev=next_rev(first.rev, 0))
    rival = UserValue(rev=next_rev(first.rev, 99))
    assert redis.compare_and_set([("default:user:cas", b"", encode_value(first), 60)]) == [True]
    assert redis.compare_and_set([("default:user:cas", b"", encode_value(rival), 60)]) == [False]
    assert redis.compare_and_set([("default:user:cas", encode_value(first)[:REV_BYTES], encode_value(second), 60)]) == [
        True
    ]
    assert redis.compare_and_set([("default:user:cas", encode_value(first)[:REV_BYTES], encode_value(rival), 60)]) == [
        False
    ]
    assert redis.get_many(["default:user:cas"]) == [encode_value(second)]


def test_a_replayed_bucket_never_sets_a_newer_value_back(redis: Cluster) -> None:
    for values in ([2.0, 1.0, 7.5], [1.0, 1.0, 2.5], [1.0, 3.0, 2.5]):
        redis.execute([grow_buckets("default:item:A", {300: values}, 60, 0)])
    assert redis.execute([("HGETALL", "default:item:A")]) == [{b"300": b"2,3,7.5"}]


def test_expired_buckets_are_dropped_once_a_day_is_full(redis: Cluster) -> None:
    redis.execute([grow_buckets("default:item:B", {300 * i: [1.0] for i in range(330)}, 60, 300 * 100)])
    fields = redis.execute([("HKEYS", "default:item:B")])[0]
    assert sorted(int(field) for field in fields) == [300 * i for i in range(100, 330)]


def test_a_late_writer_never_sets_the_pointer_back(redis: Cluster) -> None:
    at = datetime(2026, 5, 1, tzinfo=UTC)
    old, new = (Pointer(version=f"v{n}", switched_at=at, rev=f"{n:016x}") for n in (10, 11))
    assert [redis.publish_pointer("late", pointer) for pointer in (old, new, old, new)] == [True, True, False, True]
    assert redis.pointer("late") == new


def test_a_pointer_without_a_revision_or_unreadable_is_replaced(redis: Cluster) -> None:
    new = Pointer(version="v1", switched_at=datetime(2026, 5, 1, tzinfo=UTC), rev=f"{1:016x}")
    for value in (b'{"version":"v0","switched_at":"2026-01-01T00:00:00Z"}', b"torn"):
        redis.execute([("SET", "old:model:current", value)])
        assert redis.publish_pointer("old", new)
        assert redis.pointer("old") == new


def test_rows_of_any_number_and_size_are_set_and_seen_without_being_read(redis: Cluster) -> None:
    rows = [(f"default:bulk:{i}", b"x" * (1 if i % 100 else 700_000), 60) for i in range(600)]
    redis.set_many(rows)
    assert redis.get_many([key for key, _, _ in rows]) == [value for _, value, _ in rows]
    assert redis.present([rows[0][0], "default:bulk:none"]) == [True, False]


@pytest.fixture
def nodes() -> Iterator[tuple[str, ...]]:
    """A cluster of its own, whose slots may be moved about."""
    with valkey_cluster() as addresses:
        yield tuple(addresses.split(","))


def client(nodes: tuple[str, ...]) -> Cluster:
    return Cluster.from_settings(Settings.from_properties({"liveshelf": {"redis.nodes": ",".join(nodes)}}))


def server(address: str) -> redis_py.Redis:
    host, _, port = address.rpartition(":")
    return redis_py.Redis(host, int(port))


def test_while_a_slot_moves_reads_and_guarded_writes_follow_it(nodes: tuple[str, ...]) -> None:
    key, absent = "default:user:{moving}:1", "default:user:{moving}:2"
    slot = key_slot(key.encode())
    cluster = client(nodes)
    cluster.set_many([(key, b"rev1 old", 60)])
    servers = [server(address) for address in nodes]
    names = [one.execute_command("CLUSTER MYID").decode() for one in servers]
    source = slot * len(nodes) // SLOTS
    target = 1 - source
    servers[target].execute_command("CLUSTER SETSLOT", slot, "IMPORTING", names[source])
    servers[source].execute_command("CLUSTER SETSLOT", slot, "MIGRATING", names[target])
    assert cluster.get_many([key, absent]) == [b"rev1 old", None]
    assert cluster.compare_and_set([(absent, b"", b"rev1 born on the way", 60)]) == [True]  # only there: asked
    host, _, port = nodes[target].rpartition(":")
    servers[source].execute_command("MIGRATE", host, port, key, 0, 5000)
    others = [f"default:order:{i}" for i in range(50)]
    cluster.set_many([(other, other.encode(), 60) for other in others])
    assert cluster.get_many([*others, key, absent]) == [*map(str.encode, others), b"rev1 old", b"rev1 born on the way"]
    assert cluster.compare_and_set([(key, b"rev1", b"rev2 new", 60), (absent, b"rev0", b"lost", 60)]) == [True, False]
    for i in (target, source):
        servers[i].execute_command("CLUSTER SETSLOT", slot, "NODE", names[target])
    assert cluster.get_many([key, absent]) == [b"rev2 new", b"rev1 born on the way"]
    assert servers[target].exists(key, absent) == 2
    cluster.close()


def test_after_its_memory_is_lost_the_cluster_is_written_again_and_learns_the_scripts_anew(
    nodes: tuple[str, ...],
) -> None:
    cluster = client(nodes)
    value = encode_value(UserValue(rev=next_rev(None, 10)))
    keys = [f"default:user:{i}" for i in range(20)]
    assert cluster.compare_and_set([(key, b"", value, 60) for key in keys]) == [True] * 20
    for one in map(server, nodes):
        one.flushall()
        one.script_flush()
    assert cluster.compare_and_set([(key, value[:REV_BYTES], value, 60) for key in keys]) == [False] * 20
    assert cluster.compare_and_set([(key, b"", value, 60) for key in keys]) == [True] * 20
    cluster.close()


def test_a_server_that_holds_still_ends_in_an_error_within_seconds_and_nobody_reads_its_late_answers(
    nodes: tuple[str, ...],
) -> None:
    settings = Settings.from_properties({"liveshelf": {"redis.nodes": ",".join(nodes)}})
    cluster = Cluster.from_settings(settings, timeout_ms=100, attempts=2)
    keys = [f"default:still:{i}" for i in range(100)]
    cluster.set_many([(key, key.encode(), 60) for key in keys])
    for one in map(server, nodes):
        one.execute_command("CLIENT PAUSE", 2000, "ALL")
    with pytest.raises(StoreError, match="after 2 attempts"):
        cluster.get_many(keys)
    for one in map(server, nodes):
        one.ping()
    assert cluster.get_many(list(reversed(keys))) == [key.encode() for key in reversed(keys)]
    cluster.close()
