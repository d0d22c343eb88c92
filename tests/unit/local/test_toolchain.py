"""The jars end up exactly as locked, or the user is told what to do."""

import hashlib
from pathlib import Path

import pytest

from contracts.errors import LocalStackError
from local import toolchain

GOOD = {"a-1.jar": b"good a", "b-1.jar": b"good b"}
LOCK = "".join(f"{hashlib.sha256(body).hexdigest()}  flink-lib/{name}\n" for name, body in GOOD.items())


def writing(files: dict[str, bytes], calls: list[str]):
    def fetch(into: Path) -> None:
        calls.append(",".join(sorted(files)))
        for name, body in files.items():
            (into / name).write_bytes(body)

    return fetch


def test_a_second_run_fetches_nothing(tmp_path):
    calls: list[str] = []
    first = toolchain.ensure(LOCK, tmp_path, (writing(GOOD, calls),))
    second = toolchain.ensure(LOCK, tmp_path, (writing(GOOD, calls),))
    assert first == second
    assert [path.read_bytes() for path in second.flink_lib] == [b"good a", b"good b"]
    assert len(calls) == 1


def test_a_corrupt_jar_is_fetched_again(tmp_path):
    calls: list[str] = []
    jars = toolchain.ensure(LOCK, tmp_path, (writing(GOOD, calls),))
    jars.flink_lib[0].write_bytes(b"torn")
    again = toolchain.ensure(LOCK, tmp_path, (writing(GOOD, calls),))
    assert again.flink_lib[0].read_bytes() == b"good a"
    assert len(calls) == 2


def test_the_next_fetcher_is_tried_when_one_brings_a_wrong_jar(tmp_path):
    calls: list[str] = []
    jars = toolchain.ensure(LOCK, tmp_path, (writing(GOOD | {"a-1.jar": b"evil"}, calls), writing(GOOD, calls)))
    assert jars.flink_lib[0].read_bytes() == b"good a"
    assert len(calls) == 2


def test_what_cannot_be_fetched_is_named_with_reason_and_remedy(tmp_path):
    def offline(_: Path) -> None:
        msg = "no route to host"
        raise OSError(msg)

    with pytest.raises(LocalStackError, match=r"flink-lib/a-1\.jar: missing.*no route to host.*Maven repository"):
        toolchain.ensure(LOCK, tmp_path, (offline,))


def test_a_wrong_jar_never_reaches_the_folder(tmp_path):
    with pytest.raises(LocalStackError):
        toolchain.ensure(LOCK, tmp_path, (writing({"a-1.jar": b"evil"}, []),))
    assert not list(tmp_path.rglob("*.jar"))


def test_every_jar_of_the_lock_is_declared_in_the_pom_and_the_reverse():
    pom = toolchain._text("pom.xml")
    locked = set(toolchain.parse_lock(toolchain._text("jars.sha256")))
    group, declared = "", set()
    for line in pom.splitlines():
        if "<!-- group: " in line:
            group = line.split("<!-- group: ")[1].split()[0]
        if "<artifactId>" in line and "<dependency>" in line:
            artifact = line.split("<artifactId>")[1].split("<")[0]
            version = line.split("<version>")[1].split("<")[0]
            declared.add(f"{group}/{artifact}-{version}.jar")
    assert declared == locked
