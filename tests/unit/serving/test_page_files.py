"""The pages' files fit each other: what a page loads is there, and nothing comes from another host."""

import json
import re
from pathlib import Path

import pytest

from local import libraries
from local.paths import checkout

STATIC = checkout() / "serving" / "static"
SOURCES = [path for path in STATIC.iterdir() if path.suffix in {".html", ".js", ".css"}]
MANIFEST = json.loads((checkout() / "serving" / "web" / "package.json").read_bytes())["served"]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_what_a_page_loads_is_a_file_here_or_installed(source: Path) -> None:
    installed = {f"/static/lib/{name}" for name in [*MANIFEST["files"], "icons.svg"]}
    for link in re.findall(r"""["'(](/static/[^"'?#)$]+)""", source.read_text()):
        if not link.startswith("/static/swagger/"):
            assert link in installed or (STATIC / link.removeprefix("/static/")).is_file(), link


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_nothing_is_asked_of_another_host(source: Path) -> None:
    assert not re.search(r"(?:src|href|from|import|url)\W{1,3}(?:https?:)?//", source.read_text())


def test_every_icon_that_a_page_names_is_in_the_sprite() -> None:
    text = "".join(path.read_text() for path in SOURCES)
    named = set(re.findall(r"""(?:icon\("|icons\.svg#)([a-z][a-z0-9-]+)""", text))
    named |= set(re.findall(r"/i, \"([a-z0-9-]+)\", \d+", text))
    assert len(named) > 40 and named <= set(MANIFEST["icons"])


def test_the_lock_names_no_host_and_pins_every_file_by_its_digest() -> None:
    lock = json.loads((checkout() / "serving" / "web" / "package-lock.json").read_bytes())
    packages = {name: about for name, about in lock["packages"].items() if name}
    assert packages and all("integrity" in about and "resolved" not in about for about in packages.values())
    assert all(about["license"] in {"MIT", "ISC", "OFL-1.1", "BSD-3-Clause", "MPL-2.0"} for about in packages.values())


def test_an_icon_becomes_a_symbol_that_inherits_its_colour() -> None:
    made = libraries.sprite({"a": '<svg stroke="currentColor">\n <path d="M0 0" />\n</svg>', "broken": "no picture"})
    assert made.count("<symbol") == 1 and "stroke" not in made and '<path d="M0 0" />' in made
