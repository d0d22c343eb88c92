"""The command refuses what it cannot do before it starts an engine, with its exit status and the remedy."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from batch import pipeline, train
from batch.recipe import Recipe
from batch.train import main
from contracts.errors import PublishConflict, SettingsError, StoreError, TrainingError


def test_a_wrong_option_ends_with_status_2_and_the_names_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--set", "solve.lambda=3"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("train: cannot train: option 'solve.lambda=3' names nothing; expected")
    assert said.out == ""


def test_missing_settings_end_with_status_2_and_the_place_searched(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["--properties", str(tmp_path / "none.json")]) == 2
    assert f"no settings file at {tmp_path / 'none.json'}" in capsys.readouterr().err


def test_the_settings_are_shown_with_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--show-settings", "--set", "solve.keep=20"]) == 0
    assert json.loads(capsys.readouterr().out)["solve"]["keep"] == 20


def test_settings_from_a_file_are_those_shown_and_a_manifests_are_its_own(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    chosen = Recipe().with_options(["solve.keep=21", "model.decay=2"])
    (tmp_path / "all.json").write_text(chosen.json())
    (tmp_path / "manifest.json").write_text(json.dumps({"training": chosen.plain() | {"settings_digest": "x"}}))
    (tmp_path / "part.json").write_text('{"solve": {"keep": 21}, "model": {"decay": 2.0}}')
    for name in ("all", "manifest", "part"):
        assert main(["--show-settings", "--settings", str(tmp_path / f"{name}.json")]) == 0
        assert json.loads(capsys.readouterr().out) == chosen.plain()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"solve": {"kepe": 1}}', "solve.kepe"),
        ('{"sovle": {}}', "sovle"),
        ('{"solve": {"keep": 0}}', "keep"),
        ("[", "JSON"),
    ],
)
def test_settings_that_name_nothing_or_lie_out_of_range_are_told(
    text: str, told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "wrong.json").write_text(text)
    assert main(["--show-settings", "--settings", str(tmp_path / "wrong.json")]) == 2
    assert told in capsys.readouterr().err


def test_help_names_every_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    said = capsys.readouterr().out
    assert "exit status: 0 published (or done), 2 the data or the settings do not allow a training, 3 the gate" in said


@pytest.mark.parametrize(
    ("error", "status"),
    [(TrainingError, 2), (SettingsError, 2), (PublishConflict, 4), (StoreError, 5)],
)
def test_each_outcome_has_its_exit_status(
    error: type[Exception], status: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    def run(*_: Any) -> None:
        message = "why"
        raise error(message)

    monkeypatch.setattr(train, "run", run)
    (tmp_path / "properties.json").write_text("[]")
    assert main(["--properties", str(tmp_path / "properties.json")]) == status
    assert capsys.readouterr().err.endswith("why\n")


def test_a_refused_candidate_ends_with_status_3_and_all_its_figures(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    monkeypatch.setattr(train, "run", lambda *_: {"gate": {"decision": "refuse"}, "metrics": {"live": {}}})
    (tmp_path / "properties.json").write_text("[]")
    assert main(["--properties", str(tmp_path / "properties.json")]) == 3
    assert json.loads(capsys.readouterr().out.removeprefix("TRAINED "))["gate"] == {"decision": "refuse"}


def test_only_the_spark_stages_import_spark() -> None:
    """So that a dry run starts no JVM, and the arithmetic is tested without one."""
    engine = re.compile(r"^(from|import) (pyspark|batch\.(lake|job))\b", re.MULTILINE)
    modules = {path.name: engine.search(path.read_text()) for path in Path(pipeline.__file__).parent.glob("*.py")}
    training, live = {"lake.py", "job.py"}, {"parity_check.py", "parity_expected.py", "parity_stored.py"}
    others = {"records.py", "rebuild_lake.py", "attribution_read.py", "attribution_store.py"}
    assert {name for name, found in modules.items() if found} == {*training, *live, *others}


@pytest.mark.parametrize("option", ["--holdout-days", "--cases"])
def test_a_negative_number_of_days_or_cases_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([option, "-1"])
    assert "is not a whole number of 0 or more" in capsys.readouterr().err
