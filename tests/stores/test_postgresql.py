"""The PostgreSQL store on a real server: verified TLS, passwords, lost connections, locks, and its schema."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from contracts.errors import SettingsError, StoreError
from contracts.pointer import Pointer
from contracts.settings import PostgresqlSettings, Settings
from local.emulator_process import client as emulated
from local.emulator_process import running_emulator
from local.postgres import SUPERUSER, running_postgres
from stores import postgresql_schema
from stores.postgresql import PostgresTables
from stores.postgresql_connections import connector
from stores.postgresql_schema import bring_up_to_date

pytestmark = pytest.mark.e2e

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
LATER = 4_000_000_000
PASSWORD = "s3cret – ünd lang"


def settings_for(port: int, schema: str, **fields: object) -> Settings:
    given = PostgresqlSettings(port=port, database="postgres", auth="none", tls=False, schema=schema)
    return Settings(persistent_store="postgresql", postgresql=replace(given, **fields))


@pytest.fixture
def open_tables(postgres: int, request: pytest.FixtureRequest) -> Iterator[Callable[..., PostgresTables]]:
    schema = "t" + "".join(c for c in request.node.name if c.isalnum()).lower()[:50]
    opened: list[PostgresTables] = []

    def open_one(*, timeout_s: float = 20, **fields: object) -> PostgresTables:
        settings = settings_for(postgres, schema, **fields)
        opened.append(PostgresTables.open(settings, timeout_s=timeout_s, writers=0))
        return opened[-1]

    yield open_one
    for tables in opened:
        tables.close()


@pytest.fixture
def admin(postgres: int) -> Iterator[psycopg.Connection]:
    with psycopg.connect(
        host="127.0.0.1", port=postgres, user=SUPERUSER, dbname="postgres", autocommit=True
    ) as connection:
        yield connection


# --- lost connections and locks -----------------------------------------------------------------------------------


def test_an_operation_survives_that_the_server_ends_every_connection(
    open_tables: Callable[..., PostgresTables], admin: psycopg.Connection
) -> None:
    tables = open_tables()
    tables.ensure()
    together = threading.Barrier(4)

    def read(_: int) -> None:
        together.wait(20)
        tables.get("a")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(read, range(4)))
    tables.put_many([("a", b"x", LATER)])
    ended = admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'liveshelf'"
    ).rowcount
    assert ended >= 1
    assert tables.get("a") == b"x"


def test_a_server_that_became_a_reader_is_left_for_one_that_writes(
    open_tables: Callable[..., PostgresTables], admin: psycopg.Connection
) -> None:
    """After a failover the old writer goes on as a reader: writes on connections to it fail with read_only."""
    tables = open_tables()
    tables.ensure()
    with tables._connections.one(5) as connection:
        connection.execute("SET default_transaction_read_only = on")
    assert tables.put_many([("a", b"x", LATER)]) == 1
    assert tables.get("a") == b"x"


def test_a_server_that_is_not_there_is_a_store_error_in_time() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refused
        settings = settings_for(taken.getsockname()[1], "s")
        tables = PostgresTables.open(settings, timeout_s=0.3, writers=0)
        with pytest.raises(StoreError, match=r"could not read schema s of PostgreSQL: .*refused.*; check that it runs"):
            tables.get("a")


def test_a_statement_that_waits_for_a_lock_ends_by_itself_and_says_so(
    open_tables: Callable[..., PostgresTables], admin: psycopg.Connection
) -> None:
    tables = open_tables(timeout_s=0.5)
    tables.ensure()
    tables.switch("shop", Pointer(version="v1", switched_at=NOW), None)
    with admin.transaction():
        admin.execute(f"SELECT * FROM {tables._schema}.pointers FOR UPDATE")
        with pytest.raises(StoreError, match=r"could not switch the pointer.*statement timeout.*locks"):
            tables.switch("shop", Pointer(version="v2", switched_at=NOW), "v1")
    live = tables.current("shop")
    assert live is not None
    assert live.version == "v1"


def test_writers_of_the_same_rows_in_any_order_do_not_lock_each_other_out(
    open_tables: Callable[..., PostgresTables],
) -> None:
    tables = open_tables(connections=8)
    tables.ensure()
    keys = [f"k{n:05d}" for n in range(2000)]

    def write(n: int) -> int:
        order = keys if n % 2 else keys[::-1]
        return tables.put_many((key, b"%d" % n, LATER) for key in order)

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(write, range(6))) == [2000] * 6
    assert len({row[1] for row in tables.rows(keys) if row}) <= 6


def test_rows_written_again_as_they_are_make_no_dead_rows(
    open_tables: Callable[..., PostgresTables], admin: psycopg.Connection
) -> None:
    tables = open_tables()
    tables.ensure()
    rows = [(f"k{n}", b"x" * 100, LATER) for n in range(300)]
    tables.put_many(rows)
    places = f"SELECT pk, ctid FROM {tables._schema}.rows ORDER BY pk"
    before = admin.execute(places).fetchall()
    tables.put_many(rows)
    assert admin.execute(places).fetchall() == before


# --- schema -------------------------------------------------------------------------------------------------------


def test_many_that_prepare_at_once_apply_each_step_once(open_tables: Callable[..., PostgresTables]) -> None:
    together = threading.Barrier(5)

    def prepare(_: int) -> None:
        mine = open_tables()
        together.wait(20)
        mine.prepare()

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(prepare, range(5)))
    with open_tables()._connections.one(5) as connection:
        assert connection.execute("SELECT number FROM steps").fetchall() == [(1,)]


def test_a_later_step_is_applied_to_a_schema_in_use_and_a_failing_one_not_at_all(
    open_tables: Callable[..., PostgresTables], monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = open_tables()
    tables.ensure()
    tables.put_many([("a", b"x", LATER)])
    steps = postgresql_schema.STEPS
    monkeypatch.setattr(postgresql_schema, "STEPS", (*steps, "ALTER TABLE rows ADD COLUMN extra int; SELECT nonsense"))
    with pytest.raises(StoreError, match="nonsense"):
        tables.prepare()
    with tables._connections.one(5) as connection:
        names = connection.execute("SELECT * FROM rows").description
        assert [column.name for column in names or ()] == ["pk", "v", "expires_at"]
        monkeypatch.setattr(postgresql_schema, "STEPS", (*steps, "ALTER TABLE rows ADD COLUMN extra int"))
        assert bring_up_to_date(connection, tables._schema) == 1
        assert bring_up_to_date(connection, tables._schema) == 0
    assert tables.get("a") == b"x"


def test_without_its_schema_the_store_says_how_to_make_it(open_tables: Callable[..., PostgresTables]) -> None:
    with pytest.raises(StoreError, match=r"\"rows\" does not exist.*batch\.models prepare"):
        open_tables().get("a")


def test_a_user_who_may_only_read_is_told_so(
    open_tables: Callable[..., PostgresTables], admin: psycopg.Connection
) -> None:
    """The API needs no more than SELECT, and preparing what is up to date needs no more either."""
    owner = open_tables()
    owner.ensure()
    owner.put_many([("a", b"x", LATER)])
    admin.execute("CREATE ROLE api LOGIN")
    admin.execute(f"GRANT USAGE ON SCHEMA {owner._schema} TO api")
    admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA {owner._schema} TO api")
    reader = open_tables(user="api")
    reader.prepare()
    assert reader.get("a") == b"x"
    with pytest.raises(StoreError, match=r"permission denied.*grant"):
        reader.put_many([("b", b"x", LATER)])


# --- TLS and passwords --------------------------------------------------------------------------------------------


class Authority:
    """A certificate authority of the test's own, and a server certificate for ``name``."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir()
        ca_key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"ca {folder.name}")])
        self.bundle = folder / "bundle.pem"
        ca = self._build(issuer, issuer, ca_key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.bundle.write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        server = self._build(subject, issuer, server_key.public_key()).add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False
        )
        self.chain = folder / "server.pem"
        self.chain.write_bytes(
            server.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
            + server_key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    @staticmethod
    def _build(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        now = datetime.now(UTC)
        return builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))


@contextmanager
def tls_before(port: int, chain: Path) -> Iterator[int]:
    """A listener that speaks PostgreSQL's TLS with the certificate and passes what it decrypts to the server.

    The server of the wheel is built without OpenSSL; what is on trial here is the client's side.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_accept, args=(listener, context, port), daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _accept(listener: socket.socket, context: ssl.SSLContext, port: int) -> None:
    while True:
        try:
            plain, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_relay, args=(plain, context, port), daemon=True).start()


def _relay(plain: socket.socket, context: ssl.SSLContext, port: int) -> None:
    with plain:
        if plain.recv(8)[4:] != b"\x04\xd2\x16\x2f":  # SSLRequest, 80877103
            return
        plain.sendall(b"S")
        try:
            with (
                context.wrap_socket(plain, server_side=True) as inner,
                socket.create_connection(("127.0.0.1", port)) as server,
            ):
                inner.settimeout(0.02)
                server.settimeout(0.02)
                while _pass(inner, server) and _pass(server, inner):
                    pass
        except OSError:
            return


def _pass(source: socket.socket, target: socket.socket) -> bool:
    """Pass on what there is; false once the source has closed."""
    try:
        data = source.recv(65536)
    except TimeoutError:
        return True
    target.sendall(data)
    return bool(data)


@pytest.fixture(scope="module")
def guarded() -> Iterator[int]:
    """A server that asks for a password."""
    with running_postgres(password=PASSWORD) as port:
        yield port


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "local")
        with running_emulator() as endpoint:
            yield endpoint


def test_tls_is_verified_by_chain_and_name_and_the_password_comes_from_the_secret(
    guarded: int, aws: str, tmp_path: Path
) -> None:
    manager = emulated("secretsmanager", aws)
    secret = json.dumps({"username": SUPERUSER, "password": "not yet"})
    arn = manager.create_secret(Name="database", SecretString=secret)["ARN"]
    right, other = Authority(tmp_path / "right", "localhost"), Authority(tmp_path / "other", "localhost")
    elsewhere = Authority(tmp_path / "elsewhere", "db.example")

    def ask(port: int, bundle: Path, host: str = "localhost", timeout_s: float = 0.4) -> object:
        settings = settings_for(port, "tls", auth="secret", secret=arn, tls=True, ca_bundle=str(bundle), host=host)
        tables = PostgresTables.open(replace(settings, aws_endpoint=aws), timeout_s=timeout_s, writers=0)
        try:
            tables.ensure()
            return tables.current("shop")
        finally:
            tables.close()

    with tls_before(guarded, right.chain) as port, tls_before(guarded, elsewhere.chain) as renamed:
        with pytest.raises(StoreError, match="password authentication failed"):
            ask(port, right.bundle, timeout_s=3)
        manager.put_secret_value(
            SecretId=arn, SecretString=json.dumps({"username": SUPERUSER, "password": PASSWORD, "engine": "postgres"})
        )
        assert ask(port, right.bundle, timeout_s=20) is None
        with pytest.raises(StoreError, match="certificate verify failed"):
            ask(port, other.bundle)
        with pytest.raises(StoreError, match=r'certificate for "db.example".* does not match host name "localhost"'):
            ask(renamed, elsewhere.bundle)
        with pytest.raises(StoreError, match="server does not support SSL"):
            ask(guarded, right.bundle)  # no way back to plain text
    with pytest.raises(SettingsError, match=r"no certificates at .*global-bundle\.pem"):
        ask(guarded, tmp_path / "absent.pem")


def test_a_secret_of_another_form_is_named(guarded: int, aws: str) -> None:
    emulated("secretsmanager", aws).create_secret(Name="odd", SecretString='{"user": "x"}')
    settings = replace(settings_for(guarded, "s", auth="secret", secret="odd"), aws_endpoint=aws)
    with pytest.raises(SettingsError, match=r"secret odd cannot be read.*expected JSON with username and password"):
        PostgresTables.open(settings, timeout_s=1, writers=0).get("a")


def test_each_connection_gets_an_iam_token_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token is valid for 15 minutes and is made for host, port and user; it goes where a password would."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "local")
    sent: list[dict[str, object]] = []
    monkeypatch.setattr(psycopg, "connect", lambda **given: sent.append(given))
    host = "shop.cluster-abc.eu-central-1.rds.amazonaws.com"
    connect: Callable[[], object] = partial(
        connector(settings_for(5432, "s", auth="iam", host=host, user="api"), timeout_s=1.0)
    )
    connect()
    connect()
    for given in sent:
        token = urlsplit(f"//{given['password']}")
        asked = parse_qs(token.query)
        assert (token.netloc, asked["Action"], asked["DBUser"]) == (f"{host}:5432", ["connect"], ["api"])
        assert asked["X-Amz-Expires"] == ["900"]
        assert given["user"] == "api"
    assert len(sent) == 2
