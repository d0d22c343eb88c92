"""Writes the days of an own log as objects of the lake, and the live part beside them."""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pandas as pd

from contracts.lake import day_prefix
from local.eventlog_days import DAY_MS, DaySpill, encode_rows, in_order, pack
from local.eventlog_findings import Watch
from local.eventlog_live import LIVE_FILE
from local.eventlog_rejects import Rejects

__all__ = ["Written", "write_days"]

_NAMESPACE: Final = uuid.UUID("7b7a3f52-6f0d-4b0c-9a49-5c6df2b8a9d1")
_SLICE_ROWS: Final = 250_000
_TOLD_EVERY_S: Final = 5.0


@dataclass
class Written:
    """What went into the lake's folder."""

    records: int = 0
    objects: int = 0
    bytes: int = 0


def write_days(
    spill: DaySpill,
    folder: Path,
    shop: str,
    cut_ms: int | None,
    shift_ms: int,
    watch: Watch,
    rejects: Rejects,
    say: Callable[[str], None],
) -> Written:
    """Each day's rows, once and by time, below the folder of their (shifted) day; what is newer than ``cut_ms`` apart.

    Object names depend on the content alone, so that filling twice overwrites every object with itself.
    """
    written, told = Written(), time.monotonic()
    for done, day in enumerate(sorted(spill.days)):
        frame, repeated = in_order(spill.read(day))
        watch.day(day, frame, repeated)
        old = frame if cut_ms is None else frame[frame["ms"] < cut_ms]
        for start in range(0, len(old), _SLICE_ROWS):
            records, bad = encode_rows(old.iloc[start : start + _SLICE_ROWS], shop, shift_ms)
            rejects.add(bad)
            _put(folder, day * DAY_MS + shift_ms, shop, records, written)
        if len(old) < len(frame):
            _keep_live(folder, frame.iloc[len(old) :], shop, shift_ms, rejects)
        if time.monotonic() - told > _TOLD_EVERY_S:
            told = time.monotonic()
            say(f"events: {done + 1} of {len(spill.days)} days written")
    return written


def _put(folder: Path, day_ms: int, shop: str, records: list[bytes], written: Written) -> None:
    for body in pack(records):
        start = datetime.fromtimestamp(day_ms / 1000, UTC)
        name = f"behaviour-1-{start:%Y-%m-%d-%H-%M-%S}-{uuid.uuid5(_NAMESPACE, f'{shop}/{records[0]!r}')}.gz"
        file = folder / (day_prefix(start.date()) + name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(body)
        written.objects, written.bytes = written.objects + 1, written.bytes + len(body)
    written.records += len(records)


def _keep_live(folder: Path, frame: pd.DataFrame, shop: str, shift_ms: int, rejects: Rejects) -> None:
    records, bad = encode_rows(frame, shop, shift_ms)
    rejects.add(bad)
    with (folder / LIVE_FILE).open("ab") as file:
        for body in pack(records):
            file.write(body)
