"""Commands of the batch beside a running loop."""

from pathlib import Path

import pytest

from contracts.errors import SettingsError
from contracts.settings import ENVIRONMENT_VARIABLE
from local.beside import environment, main
from local.stack import CREDENTIALS

_HERE = {"JAVA_HOME": "/java", "LIVESHELF_SPARK_JARS": "a.jar"}


def test_a_running_loop_is_found_with_its_credentials(tmp_path: Path) -> None:
    (tmp_path / "application_properties.json").write_text("[]")
    found = environment({**_HERE, "LIVESHELF_DATA": str(tmp_path), "AWS_ACCESS_KEY_ID": "of another place"})
    assert found[ENVIRONMENT_VARIABLE] == str(tmp_path / "application_properties.json")
    assert {name: found[name] for name in CREDENTIALS} == CREDENTIALS
    assert found["JAVA_HOME"] == "/java"


def test_settings_that_are_named_stay_and_keep_their_credentials() -> None:
    given = {**_HERE, ENVIRONMENT_VARIABLE: "/elsewhere.json", "AWS_ACCESS_KEY_ID": "mine"}
    assert environment(given) == given


def test_where_nothing_runs_the_message_says_what_to_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SettingsError, match="make demo"):
        environment({**_HERE, "LIVESHELF_DATA": str(tmp_path)})
    monkeypatch.setenv("LIVESHELF_DATA", str(tmp_path))
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    assert main(["batch.parity"]) == 2
    assert "no loop runs here" in capsys.readouterr().err
