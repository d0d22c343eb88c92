"""A step of a run on AWS: exit statuses become an outcome that can be read, or a failure that may be tried again."""

import base64
import json
import sys
from types import ModuleType
from typing import Any

import pytest

from batch import step
from contracts.lake import outcome_path
from contracts.settings import ENVIRONMENT_VARIABLE, Settings, to_properties

WORDS = ["--run", "daily-1", "--step", "train", "--shop", "tea"]


class Store:
    """Stands in for S3."""

    def __init__(self) -> None:
        self.written: dict[str, Any] = {}
        self.settings: Settings | None = None

    def __call__(self, settings: Any, path: str, data: bytes) -> None:
        self.settings = settings
        self.written[path] = json.loads(data)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a step whose command prints a line and returns a status; gives the step's status, and what it wrote."""

    def go(status: int, line: str = "TRAINED {}", command: str = "batch.train", *more: str) -> tuple[int, Store]:
        fake, seen = ModuleType(command), []

        def main(argv: Any) -> int:
            seen.extend(argv)
            print("something before")
            print(line)
            return status

        fake.main = main  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, command, fake)
        store = Store()
        settings = base64.b64encode(json.dumps(to_properties(Settings(shops=("tea",)))).encode()).decode()
        monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
        ended = step.main([command, *WORDS, "--settings", settings, *more], store)
        assert seen[:2] == ["--shop", "tea"]
        store.written["words"] = seen[2:]
        return ended, store

    return go


@pytest.mark.parametrize(("status", "outcome"), [(0, "published"), (2, "invalid"), (3, "refused"), (4, "overtaken")])
def test_what_is_decided_ends_well_and_is_written_down(run: Any, status: int, outcome: str) -> None:
    ended, store = run(status, 'TRAINED {"version": "v1"}')
    assert ended == 0
    told = store.written[outcome_path("tea", "daily-1", "train")]
    assert told == {"outcome": outcome, "status": status, "command": "batch.train", "summary": {"version": "v1"}}


def test_what_another_try_may_mend_ends_badly_and_leaves_no_outcome(run: Any) -> None:
    ended, store = run(5)
    assert (ended, store.written) == (1, {"words": []})


def test_a_command_that_is_told_nonsense_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store()
    settings = base64.b64encode(json.dumps(to_properties(Settings())).encode()).decode()
    monkeypatch.delenv(ENVIRONMENT_VARIABLE, raising=False)
    words = ["batch.train", *WORDS, "--settings", settings, "--arguments", '["--no-such-word"]']
    assert step.main(words, store) == 0
    assert store.written[outcome_path("tea", "daily-1", "train")]["outcome"] == "invalid"


def test_further_words_reach_the_command_and_the_settings_the_process(run: Any) -> None:
    ended, store = run(0, "COMPACTED {}", "batch.compact", "--arguments", '["--day", "2026-01-05"]')
    assert ended == 0
    assert store.written["words"] == ["--day", "2026-01-05"]
    assert store.settings is not None
    assert store.settings.shops == ("tea",)


def test_values_that_differ_are_an_outcome_of_their_own(run: Any) -> None:
    _, store = run(1, "RESULT {}", "batch.parity")
    assert store.written[outcome_path("tea", "daily-1", "train")]["outcome"] == "differs"
