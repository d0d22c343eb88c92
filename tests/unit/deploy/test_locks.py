"""What is deployed has the versions that were tested, and only what its platform lacks."""

import ast
import re
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from deploy import flink_zip, functions_zip, spark_archive
from deploy.wheels import LOCKS, locked, pins
from local.paths import checkout

PLATFORM = {
    "flink": {*locked("flink-runtime")},
    "spark": {"pyspark", "py4j"},
    "functions": set[str](),
    "service": set[str](),
}
PACKAGES = {
    "flink": flink_zip.PACKAGES,
    "spark": spark_archive.PACKAGES,
    "functions": functions_zip.PACKAGES,
    "service": functions_zip.PACKAGES,
}

STARTS = {"flink": "streaming", "spark": "batch", "functions": "serving/functions.py", "service": "serving/__main__.py"}


def _named(path: Path) -> set[str]:
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return {re.split(r"[\[<>=~!]", line)[0].strip().lower() for line in lines if line}


@pytest.mark.parametrize("lock", sorted(path.stem for path in LOCKS.glob("*.in")))
def test_a_lock_has_the_versions_of_the_environment_that_is_tested(lock: str) -> None:
    tested = pins((checkout() / "requirements.txt").read_text())
    # a marker of Python 3.11.0 to 3.11.2: needed there, and not where this environment was made
    drifted = {n: v for n, v in locked(lock).items() if tested.get(n, v) != v}
    assert not drifted, f"deploy/locks/{lock}.txt differs from requirements.txt: run make lock"
    assert _named(LOCKS / f"{lock}.in") <= _named(checkout() / "requirements.in")
    assert _named(LOCKS / f"{lock}.in") <= locked(lock).keys()


def test_every_file_of_a_lock_has_a_digest_and_no_registry_is_named() -> None:
    for path in LOCKS.glob("*.txt"):
        text = path.read_text()
        assert text.count("==") == len(re.findall(r"(?m)^\S+==\S+.*\\\n    --hash=sha256:", text)), path
        assert "://" not in text


def test_the_flink_zip_brings_nothing_that_the_runtime_has() -> None:
    brought = locked("flink").keys() - PLATFORM["flink"]
    assert not brought & flink_zip.FORBIDDEN
    assert {"msgspec", "redis", "hiredis", "boto3", "numba", "llvmlite"} <= brought


def _imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _file(module: str) -> Path | None:
    path = checkout() / module.replace(".", "/")
    return next((each for each in (path.with_suffix(".py"), path / "__init__.py") if each.is_file()), None)


def _reached(start: str, others: tuple[str, ...]) -> Iterator[tuple[Path, str]]:
    """What a file, or a package's files, import, and those that they reach: each file with the foreign names in it."""
    waiting = sorted((checkout() / start).rglob("*.py")) or [checkout() / start]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        for module in _imported(path):
            top = module.partition(".")[0]
            found = _file(module) if top in others else None
            if found is not None and found not in seen:
                seen.add(found)
                waiting.append(found)
            elif top not in others:
                yield path, top


@pytest.mark.parametrize("artefact", sorted(PACKAGES))
def test_packaged_code_imports_only_what_is_packaged_with_it(artefact: str) -> None:
    distributions = packages_distributions()
    there = locked(artefact).keys() | PLATFORM[artefact]
    missing = set()
    for path, name in _reached(STARTS[artefact], PACKAGES[artefact]):
        owners = {re.sub(r"[._]", "-", owner.lower()) for owner in distributions.get(name, [])}
        if name not in sys.stdlib_module_names and not owners & there:
            missing.add(f"{path.relative_to(checkout())} imports {name}")
    assert not missing
