"""What is in an own log, in figures and in the sentences one would want before trusting it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np
import pandas as pd

from local.eventlog_days import DAY_MS, HashTally, subjects
from local.eventlog_rejects import reject_lines

__all__ = ["Findings", "Watch", "findings_lines"]

_RECENT_DAYS: Final = 28
_VISITORS: Final = 24
_BUSY: Final = 0.05
_QUIET: Final = 0.2


@dataclass(frozen=True)
class Findings:
    """Figures of a log. ``events`` are those kept, ``repeated`` rows that were there before, ``days`` counts by day.

    ``repeat_share`` is the share of purchases (a person, an item, a day) of something the person had bought on an
    earlier day; ``None`` without purchases. ``busiest`` is how many events one person has at most.
    """

    path: str
    notes: list[str]
    rows: int
    events: int
    ignored: int
    repeated: int
    rejected: dict[str, int]
    shown: list[str]
    types: dict[str, int]
    first_ms: int
    last_ms: int
    users: int
    items: int
    repeat_share: float | None
    busiest: int
    days: dict[str, int]
    live: int


class Watch:
    """Sees each day's clean rows once, in order of days, and keeps the figures.

    Args:
        cut_ms: where the live part begins; ``None`` for no such part.
    """

    def __init__(self, cut_ms: int | None) -> None:
        self._cut_ms = cut_ms
        self.events = self.repeated = self.live = 0
        self.first_ms = self.last_ms = self.history_ms = 0
        self._types: Counter[str] = Counter()
        self._days: dict[str, int] = {}
        self._people, self._items, self._bought = HashTally(), HashTally(), HashTally()
        self._purchases = 0
        self._recent: dict[int, Counter[str]] = {}

    def day(self, day: int, frame: pd.DataFrame, repeated: int) -> None:
        """Take the rows of a day (since the epoch), by time and each once."""
        self.repeated += repeated
        if not len(frame):
            return
        person = subjects(frame)
        self.first_ms = self.first_ms or int(frame["ms"].iloc[0])
        self.last_ms = int(frame["ms"].iloc[-1])
        self.events += len(frame)
        self._types.update(frame["type"].value_counts().to_dict())
        self._days[f"{datetime.fromtimestamp(day * DAY_MS / 1000, UTC):%Y-%m-%d}"] = len(frame)
        self._people.add(person)
        self._items.add(frame["item"].to_numpy(object))
        bought = (frame["type"] == "purchase").to_numpy()
        pairs = pd.unique(person[bought] + "\n" + frame["item"].to_numpy(object)[bought])
        self._purchases += len(pairs)
        if len(pairs):
            self._bought.add(pairs)
        history = np.ones(len(frame), bool) if self._cut_ms is None else (frame["ms"] < self._cut_ms).to_numpy()
        self.live += int((~history).sum())
        if history.any():
            self.history_ms = int(frame["ms"].to_numpy()[history][-1])
            self._recent[day] = Counter(frame["user"][history].dropna())
            self._recent.pop(day - _RECENT_DAYS, None)

    def visitors(self) -> list[str]:
        """Known users to look at the shop as: the most active of the newest days of the history."""
        newest = max(self._recent, default=0)
        counts = sum((c for day, c in self._recent.items() if day > newest - _RECENT_DAYS), Counter[str]())
        return [user for user, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:_VISITORS]]

    def findings(
        self, path: str, notes: list[str], rows: int, ignored: int, rejected: dict[str, int], shown: list[str]
    ) -> Findings:
        """Everything that was seen."""
        return Findings(
            path=path,
            notes=notes,
            rows=rows,
            events=self.events,
            ignored=ignored,
            repeated=self.repeated,
            rejected=rejected,
            shown=shown,
            types=dict(self._types.most_common()),
            first_ms=self.first_ms,
            last_ms=self.last_ms,
            users=self._people.distinct,
            items=self._items.distinct,
            repeat_share=round(1 - self._bought.distinct / self._purchases, 4) if self._purchases else None,
            busiest=self._people.most,
            days=self._days,
            live=self.live,
        )


def findings_lines(found: Findings, rejects: str) -> list[str]:
    """The findings for the console, one sentence a line."""
    types = ", ".join(f"{kind} {number:,}" for kind, number in found.types.items())
    first, last = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (found.first_ms, found.last_ms))
    span = (last.date() - first.date()).days + 1
    lines = [
        f"{found.rows:,} rows: {found.events:,} events ({types})",
        f"{first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC, {span:,} days; "
        f"{found.users:,} people, {found.items:,} items",
    ]
    if found.repeat_share is not None:
        lines.append(f"repeat purchases: {found.repeat_share:.1%} (bought by the same person on an earlier day)")
    if found.repeated:
        lines.append(f"{found.repeated:,} repeated rows (same event id, or all the same), each counted once")
    if found.ignored:
        lines.append(f"{found.ignored:,} rows of ignored types")
    lines += _warnings(found, span)
    if found.live:
        lines.append(f"the newest {found.live:,} events are kept apart as live traffic")
    return lines + reject_lines(found.rejected, found.shown, rejects)


def _warnings(found: Findings, span: int) -> Sequence[str]:
    lines = []
    if found.busiest > 1000 and found.busiest > _BUSY * found.events:
        share = found.busiest / found.events
        lines.append(f"look: one person has {found.busiest:,} events ({share:.0%} of all); a bot, or a default id?")
    if missing := span - len(found.days):
        days = "1 day of these has" if missing == 1 else f"{missing:,} days of these have"
        lines.append(f"look: {days} no event")
    usual = float(np.median(list(found.days.values())))
    inner = list(found.days.items())[1:-1]
    quiet = [f"{day} ({number:,})" for day, number in inner if number < _QUIET * usual]
    if quiet:
        more = f" and {len(quiet) - 3} more" if len(quiet) > 3 else ""
        lines.append(f"look: far fewer events than on a usual day ({usual:,.0f}) on {', '.join(quiet[:3])}{more}")
    if found.users > 0.9 * found.events:
        lines.append("look: nearly every event is of another person; is the column of people the right one?")
    return lines
