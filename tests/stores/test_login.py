"""Each part's login and access rules, as they are deployed, against a real Valkey cluster that asks for them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import botocore.session
import pytest
import redis as redis_py

from contracts.errors import SettingsError, StoreError
from contracts.forgetting import Deletion
from contracts.keys import alias_key, user_key
from contracts.pointer import Pointer
from contracts.settings import Settings
from deploy.cdk.cache_users import ACCESS
from local.ports import LOOPBACK
from local.valkey import cluster as valkey_cluster
from stores.cluster import Cluster
from stores.forgetting import forget_online, names_in_redis
from stores.login import IamLogin, Renewal
from stores.scripts import grow_buckets

pytestmark = pytest.mark.e2e

POINTER = Pointer(version="v1", switched_at=datetime(2026, 1, 1, tzinfo=UTC), rev="0" * 15 + "1")


@pytest.fixture(scope="module")
def nodes() -> Iterator[str]:
    with valkey_cluster() as nodes:
        yield nodes


def each(nodes: str) -> Iterator[redis_py.Redis]:
    for node in nodes.split(","):
        with redis_py.Redis(LOOPBACK, int(node.rpartition(":")[2]), decode_responses=True) as client:
            yield client


def let_in(nodes: str, user: str, password: str, rules: str) -> None:
    """Make the user with one password on every node, as ElastiCache does with tokens that it finds good."""
    for client in each(nodes):
        client.execute_command("ACL", "SETUSER", user, "reset", f">{password}", *rules.split())


class Passwords(redis_py.CredentialProvider):
    """Gives what is the password now."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.given: list[str] = []
        self.now = "first"

    def get_credentials(self) -> tuple[str, str]:
        self.given.append(self.now)
        return self.user, self.now


def connect(nodes: str, login: redis_py.CredentialProvider, renewal: Renewal | None = None) -> Cluster:
    pairs = [(LOOPBACK, int(node.rpartition(":")[2])) for node in nodes.split(",")]
    return Cluster.connect(pairs, login=login, renewal=renewal, attempts=2)


@pytest.fixture
def role() -> botocore.session.Session:
    session = botocore.session.Session()
    session.set_credentials("AKIDEXAMPLE", "secret", "a-session-token")
    return session


def test_a_token_is_a_signed_request_of_this_user_to_this_cache_good_for_15_minutes(
    role: botocore.session.Session,
) -> None:
    token = IamLogin("liveshelf-dev-stream", "liveshelf-dev", "eu-central-1", role).token()
    host, _, query = token.partition("/?")
    found = {key: values[0] for key, values in parse_qs(query).items()}
    assert host == "liveshelf-dev"
    assert (found["Action"], found["User"]) == ("connect", "liveshelf-dev-stream")
    assert found["ResourceType"] == "ServerlessCache"
    assert found["X-Amz-Expires"] == "900"
    assert found["X-Amz-Credential"].split("/")[2:] == ["eu-central-1", "elasticache", "aws4_request"]
    assert found["X-Amz-Security-Token"] == "a-session-token"
    assert len(found["X-Amz-Signature"]) == 64


def test_a_server_that_takes_the_token_as_password_lets_the_part_in_and_nobody_else(
    nodes: str, role: botocore.session.Session
) -> None:
    login = IamLogin("liveshelf-dev-serving", "liveshelf-dev", "eu-central-1", role)
    token = login.token()
    let_in(nodes, "liveshelf-dev-serving", token, ACCESS["serving"])
    fixed = Passwords("liveshelf-dev-serving")
    fixed.now = token
    cluster = connect(nodes, fixed)
    assert cluster.get_many(["default:user:u.1", "default:user:u.2"]) == [None, None]
    cluster.close()
    fixed.now = "another"
    with pytest.raises(StoreError, match=r"no Redis cluster"):
        connect(nodes, fixed)


def test_connections_get_a_new_login_before_the_old_one_ends(nodes: str) -> None:
    login, now = Passwords("renewed"), [0.0]
    let_in(nodes, "renewed", "first", ACCESS["stream"])
    cluster = connect(nodes, login, Renewal(clock=lambda: now[0]))
    keys = [f"default:user:u.{i}" for i in range(20)]
    cluster.set_many([(key, b"x", 60) for key in keys])
    opened = len(login.given)
    for hours in (4, 8):
        now[0] = hours * 3600
        assert cluster.get_many(keys) == [b"x"] * 20
    assert len(login.given) == opened
    now[0], login.now = 12 * 3600, "second"
    for client in each(nodes):
        client.execute_command("ACL", "SETUSER", "renewed", "resetpass", ">second")
    for _ in range(3):
        assert cluster.get_many(keys) == [b"x"] * 20
    assert len(login.given) == opened + 2, "one new login a node, and none before it was due"
    assert set(login.given[opened:]) == {"second"}
    cluster.close()


def test_the_stream_and_the_trainer_may_do_what_they_do_and_may_not_drop_the_cache(nodes: str) -> None:
    for part in ("stream", "trainer"):
        login = Passwords(part)
        let_in(nodes, part, "first", ACCESS[part])
        cluster = connect(nodes, login)
        cluster.set_many([(f"default:{part}:{i}", b"x", 60) for i in range(20)])
        assert cluster.present([f"default:{part}:1"]) == [True]
        assert cluster.compare_and_set([(f"default:{part}:cas", b"", b"0" * 32, 60)]) == [True]
        cluster.execute([grow_buckets(f"default:item:{part}", {300: [1.0]}, 60, 0)])
        cluster.execute([grow_buckets(f"default:item:{part}", {300 * i: [1.0] for i in range(330)}, 60, 300 * 100)])
        cluster.execute([("ZADD", f"default:trending:{part}", "GT", 1, "A"), ("EXPIRE", f"default:trending:{part}", 9)])
        assert cluster.execute([("HGETALL", f"default:item:{part}")])[0]
        assert cluster.execute([("ZREVRANGE", f"default:trending:{part}", 0, 9, "WITHSCORES")])[0]
        assert isinstance(cluster.publish_pointer(part, POINTER), bool)
        refused = [("FLUSHALL", "-"), ("CONFIG", "GET", "maxmemory")]
        if part == "stream":  # the trainer deletes people who ask for it
            refused.append(("DEL", f"default:{part}:1"))
        for command in refused:
            with pytest.raises(StoreError, match="no permissions"):
                cluster.execute([command])
        cluster.close()


def test_serving_reads_and_cannot_write(nodes: str) -> None:
    let_in(nodes, "serving", "first", ACCESS["serving"])
    cluster = connect(nodes, Passwords("serving"))
    assert cluster.execute([("GETRANGE", "default:user:none", 0, 9), ("HGETALL", "default:item:none")]) == [b"", {}]
    assert cluster.pointer("nobody") is None
    with pytest.raises(StoreError, match="no permissions"):
        cluster.set_many([("default:user:u.1", b"x", 60)])
    with pytest.raises(StoreError, match="no permissions"):
        cluster.execute([grow_buckets("default:item:A", {300: [1.0]}, 60, 0)])
    cluster.close()


def test_operators_delete_a_person_and_may_write_no_value(nodes: str) -> None:
    let_in(nodes, "trainer", "first", ACCESS["trainer"])
    let_in(nodes, "control", "first", ACCESS["control"])
    no_tables: Any = None  # not asked where there are no versions
    trainer, control = connect(nodes, Passwords("trainer")), connect(nodes, Passwords("control"))
    alias = alias_key("default", "v1")
    trainer.set_many([(user_key("default", "u.gone"), b"x", 60), (alias, b"u.gone", 60)])
    deletion = Deletion(id="d", shop="default", requested_at=datetime(2026, 1, 1, tzinfo=UTC), user_id="gone")
    deletion.anonymous_ids += names_in_redis(control, deletion)
    assert deletion.anonymous_ids == ["v1"]
    removed = forget_online(control, no_tables, deletion, [], deletion.requested_at)
    assert [(each.what, each.count) for each in removed] == [("live values", 1), ("aliases", 1)]
    assert trainer.present([alias]) == [False]
    with pytest.raises(StoreError, match="no permissions"):
        control.set_many([("default:user:u.1", b"x", 60)])
    trainer.close()
    control.close()


def test_a_user_without_its_cache_is_refused_with_the_setting_that_is_missing() -> None:
    settings = Settings(redis_user="liveshelf-dev-stream")
    with pytest.raises(SettingsError, match=r"redis\.cache is not set"):
        Cluster.from_settings(settings)
