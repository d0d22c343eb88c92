"""Where the job can be cut off: what a part of it costs is the difference of two such jobs."""

from typing import Final, Literal

__all__ = ["STAGES", "Stage"]

Stage = Literal["parsed", "events", "windows", "bucketed", "counted", "served"]
"""``events`` are parsed and free of repetitions. Behind them are the two event-time windows without the running sums
(``windows``), the running sums without windows (``bucketed``), both (``counted``: all that Flink does by itself), and
everything but the files of the windows and of the rejected records (``served``).
"""
STAGES: Final[tuple[Stage, ...]] = ("parsed", "events", "windows", "bucketed", "counted", "served")
