"""What the local stack makes of a training's end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.errors import LocalStackError
from local.retrain import Refused, Trainer


def trainer(folder: Path, script: str) -> Trainer:
    """A trainer whose run is a few lines of Python."""

    class Scripted(Trainer):
        def _start(self) -> subprocess.Popen[str]:
            command = [sys.executable, "-c", script]
            return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    return Scripted({}, folder / "trainer.log", print)


def test_a_published_run_gives_its_summary(tmp_path: Path) -> None:
    made = trainer(tmp_path, "import json; print('train: plan'); print('TRAINED', json.dumps({'version': 'v1'}))")
    assert made.train() == {"version": "v1"}
    assert made.versions == ["v1"]


def test_a_refused_run_is_no_failure_and_keeps_its_reason(tmp_path: Path) -> None:
    summary = {"gate": {"sentences": ["HR@20 fell.", "The live model stays.", "A quiet Sunday."]}}
    made = trainer(tmp_path, f"print('TRAINED', {json.dumps(json.dumps(summary))}); raise SystemExit(3)")
    with pytest.raises(Refused, match=r"^HR@20 fell\. The live model stays\.$"):
        made.train()
    assert made.versions == []


def test_a_failed_run_says_how_its_log_ends(tmp_path: Path) -> None:
    made = trainer(tmp_path, "print('no store'); raise SystemExit(5)")
    with pytest.raises(LocalStackError, match=r"ended with code 5(?s:.*)no store") as failed:
        made.train()
    assert not isinstance(failed.value, Refused)
