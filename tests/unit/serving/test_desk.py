"""The command that deletes beside the service: followed, told of where it fails, run again for who came later."""

import logging
import sys
from pathlib import Path

import pytest

from contracts.settings import Settings
from serving.admin.desk import Desk


def test_who_is_asked_about_while_it_runs_is_seen_to_and_a_failure_is_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    runs, command = tmp_path / "runs", tmp_path / "python"
    command.write_text(f"#!/bin/sh\necho run >> {runs}\nsleep 0.3\necho what is wrong >&2\nexit 3\n")
    command.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(command))
    desk = Desk(Settings())
    with caplog.at_level(logging.ERROR):
        assert desk.go_on_forgetting()
        going = desk._going
        assert going
        while not runs.exists():
            going.join(0.01)
        assert desk.go_on_forgetting() and desk.go_on_forgetting()  # both are seen to by one more run
        going.join(10)
    desk.close()
    assert runs.read_text().split() == ["run", "run"]
    assert caplog.text.count("status 3; open deletions are not done: what is wrong") == 2
