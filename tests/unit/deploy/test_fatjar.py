"""The fat jar holds every class once, and every service provider of every jar."""

import zipfile
from pathlib import Path

import pytest

from deploy.fatjar import fat_jar


def jar(path: Path, entries: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, text in entries.items():
            file.writestr(name, text)
    return path


@pytest.fixture
def jars(tmp_path) -> list[Path]:
    service = "META-INF/services/org.apache.flink.table.factories.Factory"
    one = {"a/One.class": "1", service: "a.One\n# note\n", "META-INF/X.RSA": "sig", "module-info.class": "m"}
    two = {"a/Two.class": "2", "a/One.class": "other", service: "a.Two\na.One", "META-INF/MANIFEST.MF": "m"}
    return [jar(tmp_path / "one.jar", one), jar(tmp_path / "two.jar", two)]


def test_service_files_are_joined_signatures_dropped_and_the_first_class_wins(jars, tmp_path):
    with zipfile.ZipFile(fat_jar(jars, tmp_path / "out")) as merged:
        assert sorted(merged.namelist()) == [
            "META-INF/MANIFEST.MF",
            "META-INF/services/org.apache.flink.table.factories.Factory",
            "a/One.class",
            "a/Two.class",
        ]
        assert merged.read("a/One.class") == b"1"
        assert merged.read("META-INF/services/org.apache.flink.table.factories.Factory") == b"a.One\na.Two\n"
        assert b"Multi-Release: true" in merged.read("META-INF/MANIFEST.MF")


def test_equal_inputs_give_the_same_file_and_a_change_another_name(jars, tmp_path):
    first = fat_jar(jars, tmp_path / "one")
    assert fat_jar(jars, tmp_path / "two").read_bytes() == first.read_bytes()
    jar(jars[1], {"a/Two.class": "changed"})
    assert fat_jar(jars, tmp_path / "one").name != first.name
