"""Installs what an artefact brings along from its own lock: for Linux on x86-64 with Python 3.11."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Final

from contracts.errors import PackagingError

__all__ = ["LOCKS", "install", "locked", "pins", "without"]

LOCKS: Final = Path(__file__).with_name("locks")
_PINS: Final = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", re.MULTILINE)
# Wheels for glibc 2.17 run on every Linux in question; which one the managed Flink runtime is, AWS does not say.
_PLATFORM: Final = ("--python-platform", "x86_64-manylinux2014", "--python-version", "3.11")
_SECONDS: Final = 900


def pins(text: str) -> dict[str, str]:
    """Names and versions of a lock.

    >>> pins("six==1.17.0 --hash=sha256:ab\\nnumpy==1.24.4 ; python_version < '3.12'")
    {'six': '1.17.0', 'numpy': '1.24.4'}
    """
    return {name.lower().replace("_", "-"): version for name, version in _PINS.findall(text)}


def locked(name: str) -> dict[str, str]:
    """Names and versions of the lock ``deploy/locks/<name>.txt``."""
    return pins((LOCKS / f"{name}.txt").read_text())


def without(text: str, names: Collection[str]) -> str:
    """A lock without some packages.

    >>> without("six==1 \\\\\\n  --hash=a\\nnumpy==2 \\\\\\n  --hash=b\\n", {"six"})
    'numpy==2 \\\\\\n  --hash=b\\n'
    """
    parts = re.split(r"(?m)^(?=\S)", text)
    return "".join(part for part in parts if not (pins(part).keys() & set(names)))


def install(lock: str, folder: Path, *, leave_out: Collection[str] = ()) -> None:
    """Install a lock into a folder, each file checked against its SHA-256, and nothing that the lock does not name.

    ``leave_out`` are packages that the runtime brings: no package is asked what it would like to have installed.

    Raises:
        PackagingError: the installer failed; the message holds what it said.
    """
    with tempfile.TemporaryDirectory() as made:
        wanted = Path(made) / "requirements.txt"
        wanted.write_text(without((LOCKS / f"{lock}.txt").read_text(), leave_out))
        command = [str(Path(sys.executable).with_name("uv")), "pip", "install", "-q", "--no-deps", "--require-hashes"]
        command += ["--only-binary", ":all:", "--link-mode", "copy", *_PLATFORM]
        command += ["--target", str(folder), "-r", str(wanted)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode:
        message = f"deploy/locks/{lock}.txt could not be installed: {done.stderr.strip()}"
        raise PackagingError(message)
