"""What a long run of the survival rounds has done so far, in a file, so that it can go on after an interruption."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contracts.errors import LocalStackError

__all__ = ["Progress"]


@dataclass
class Progress:
    """The outcomes so far, as plain dictionaries; every :meth:`add` is on disk before it returns.

    ``stamp`` says what was measured (commit and settings): outcomes of another one are not mixed with these.
    """

    path: Path
    stamp: str
    rounds: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def begin(cls, path: Path, stamp: str, *, resume: bool) -> "Progress":
        """A new run, or with ``resume`` the one that the file tells of where that is of the same stamp.

        Raises:
            LocalStackError: the file is there and is not what this writes.
        """
        if not resume or not path.exists():
            return cls(path, stamp)
        try:
            found = json.loads(path.read_text())
            known, rounds = found["stamp"], found["rounds"]
        except (OSError, ValueError, TypeError, KeyError) as exc:
            msg = f"{path} holds no run to resume: {exc!r}; delete it, or start without --resume"
            raise LocalStackError(msg) from exc
        return cls(path, stamp, rounds if known == stamp else [])

    def left(self, names: Sequence[str], number: int) -> list[str]:
        """The scenarios of a round that have no outcome yet, in order."""
        done = {outcome["scenario"] for outcome in self.rounds if outcome["round"] == number}
        return [name for name in names if name not in done]

    def add(self, outcome: dict[str, Any]) -> None:
        """Keep an outcome."""
        self.rounds.append(outcome)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps({"stamp": self.stamp, "rounds": self.rounds}))
        fresh.replace(self.path)
