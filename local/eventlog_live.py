"""The newest part of an own log, kept apart from the history and sent as live traffic."""

import gzip
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from contracts.events import Event, parse
from local.eventlog_days import DaySpill, in_order

__all__ = ["LIVE_FILE", "LogLine", "find_cut", "read_live"]

LIVE_FILE: Final = "live.jsonl.gz"
_SHARE: Final = 0.05
_MOST: Final = 100_000


class LogLine(NamedTuple):
    """An event of the log that waits to be sent; see :class:`local.replay_plan.Sendable`."""

    name: str
    record: Event

    @property
    def session(self) -> str | None:
        return self.record.session_id

    @property
    def subject(self) -> str:
        return self.record.subject

    @property
    def occurred_ms(self) -> int:
        return self.record.occurred_ms

    def event(self, event_id: str, session_id: str | None, occurred_at: datetime) -> Event:
        """The event under another id, session and time."""
        changed = {"event_id": event_id, "session_id": session_id, "occurred_at": occurred_at, "received_at": None}
        return msgspec.structs.replace(self.record, **changed)


def find_cut(spill: DaySpill) -> int | None:
    """Where the live part begins, epoch ms: the newest twentieth of the rows, at most 100,000.

    ``None`` where there is nothing to divide.
    """
    wanted = min(_MOST, max(1, int(_SHARE * sum(spill.days.values()))))
    for day in sorted(spill.days, reverse=True):
        if wanted > spill.days[day] or (wanted == spill.days[day] and len(spill.days) > 1):
            wanted -= spill.days[day]
            if wanted <= 0:
                return int(in_order(spill.read(day))[0]["ms"].iloc[0])
            continue
        frame, _ = in_order(spill.read(day))
        cut = int(frame["ms"].iloc[-min(wanted, len(frame))])
        first = day == min(spill.days) and cut <= int(frame["ms"].iloc[0])
        return None if first else cut
    return None


def read_live(folder: Path) -> list[LogLine]:
    """The live part of a preparation, oldest first."""
    path = folder / LIVE_FILE
    if not path.is_file():
        return []
    with gzip.open(path, "rb") as file:
        return [LogLine(str(number), parse(line)) for number, line in enumerate(file)]
