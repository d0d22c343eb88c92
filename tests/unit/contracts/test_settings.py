"""Settings: one file, the managed service's format, and errors that say where to look."""

import json
from pathlib import Path

import pytest

from contracts import settings
from contracts.errors import SettingsError
from contracts.settings import ENVIRONMENT_VARIABLE, Settings, load, to_properties


def write(path: Path, stream: str) -> Path:
    path.write_text(json.dumps(to_properties(Settings(stream_name=stream))))
    return path


def test_a_path_comes_before_the_environment_and_that_before_the_managed_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "MANAGED_PATH", str(write(tmp_path / "managed.json", "managed")))
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    assert load().stream_name == "managed"
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(write(tmp_path / "env.json", "env")))
    assert load().stream_name == "env"
    assert load(write(tmp_path / "given.json", "given")).stream_name == "given"


def test_a_named_file_that_is_not_there_is_an_error_and_no_other_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "MANAGED_PATH", str(write(tmp_path / "managed.json", "managed")))
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, str(tmp_path / "absent.json"))
    with pytest.raises(SettingsError, match=rf"absent\.json \(from {ENVIRONMENT_VARIABLE}\)"):
        load()
    with pytest.raises(SettingsError, match=r"other\.json; set"):
        load(tmp_path / "other.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[1]", "expected a list of objects"),
        ('[{"PropertyGroupId": "liveshelf", "PropertyMap": {"redis.tsl": "true"}}]', "'redis.tsl'.*expected one of"),
        ('[{"PropertyGroupId": "liveshelf", "PropertyMap": {"redis.tls": "yes"}}]', "'redis.tls'.*is 'yes'"),
        ('[{"PropertyGroupId": "liveshelf.serving", "PropertyMap": {"max.batch": "many"}}]', "'max.batch'.*'many'"),
        ('[{"PropertyGroupId": "liveshelf", "PropertyMap": {"shops": "No Shop"}}]', "'shops'.*'No Shop'"),
    ],
)
def test_an_error_names_the_key_its_value_and_what_was_expected(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "properties.json"
    path.write_text(content)
    with pytest.raises(SettingsError, match=message):
        load(path)


def test_groups_of_others_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "properties.json"
    others = [{"PropertyGroupId": "kinesis.analytics.flink.run.options", "PropertyMap": {"python": "main.py"}}]
    path.write_text(json.dumps(others + to_properties(Settings(shops=("a", "b")))))
    assert load(path).shops == ("a", "b")


def test_the_variable_may_hold_the_settings_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, json.dumps(to_properties(Settings(stream_name="inline"))))
    assert load().stream_name == "inline"
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "[{")
    with pytest.raises(SettingsError, match=rf"{ENVIRONMENT_VARIABLE} cannot be read"):
        load()
