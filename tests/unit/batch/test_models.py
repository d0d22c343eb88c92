"""The command line of the model versions: what it takes, and what it says where it cannot begin."""

from pathlib import Path

import pytest

from batch.models import main


def test_help_shows_examples_and_every_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    said = capsys.readouterr().out
    for part in ("activate --previous", "prune --keep 5", "exit status: 0 done, 2 the arguments", "5 a store did not"):
        assert part in said


@pytest.mark.parametrize("words", [["--properties", "FILE", "list"], ["list", "--properties", "FILE"]])
def test_options_may_stand_before_and_after_the_command(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = str(tmp_path / "absent.json")
    assert main([absent if word == "FILE" else word for word in words]) == 2
    assert f"models: cannot start: no settings file at {absent}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "required: list|show|activate|prune"),
        (["activate"], "one of the arguments version --previous is required"),
        (["activate", "v1", "--previous"], "not allowed with"),
        (["prune", "--keep", "few"], "'few' is not a whole number of 0 or more"),
    ],
)
def test_what_is_missing_or_wrong_is_named(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert said in capsys.readouterr().err
