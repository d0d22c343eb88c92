"""A Chromium for tests and screenshots: the machine's own, or Debian's, installed where one may."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from contracts.errors import LocalStackError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["FLAGS", "ensure", "find", "running"]

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_INSTALL_SECONDS: Final = 600
FLAGS: Final = (
    "--no-sandbox",  # as root, as CI runs, Chromium starts no other way; it visits nothing but loopback
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)


def find() -> str | None:
    """Where Chromium is: ``LIVESHELF_CHROMIUM``, else the first one on PATH."""
    return os.environ.get("LIVESHELF_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)


def ensure() -> str:
    """Chromium's path, after an installation with apt-get where there is none and this process is root.

    Raises:
        LocalStackError: there is none, and it cannot be installed here; the message says what to do.
    """
    if found := find():
        return found
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        message = "no Chromium on PATH; install it (Debian: apt-get install chromium) or set LIVESHELF_CHROMIUM"
        raise LocalStackError(message)
    print("browser: installing Chromium with apt-get (once; some 300 MB)", flush=True)
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    said = ""
    for words in (("update", "-q"), ("install", "-q", "-y", "--no-install-recommends", "chromium")):
        done = subprocess.run(
            [apt, *words], env=env, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
        )
        said = (done.stdout + done.stderr).strip()
    if found := find():
        return found
    message = f"apt-get could not install Chromium: {' | '.join(said.splitlines()[-4:])}"
    raise LocalStackError(message)


@contextmanager
def running() -> "Iterator[Browser]":
    """A headless browser, gone afterwards."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=ensure(), args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


if __name__ == "__main__":
    try:
        print(f"browser: {ensure()}")
    except LocalStackError as error:
        sys.exit(f"browser: {error}")
