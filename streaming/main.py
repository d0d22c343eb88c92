"""Entry point of the Flink job, the same locally and on the managed service: ``flink run -py streaming/main.py``."""

import logging
from dataclasses import fields
from typing import Any, Final

from contracts.settings import Settings, load, property_key
from streaming.job import JOB_NAME, build, environment, flink_options, submit

__all__ = ["main"]

OPTIONS: Final = (
    "parallelism.default",
    "state.backend.type",
    "state.backend.incremental",
    "state.backend.rocksdb.writebuffer.size",
    "state.backend.rocksdb.use-bloom-filter",
    "state.backend.rocksdb.memory.partitioned-index-filters",
    "execution.checkpointing.interval",
    "execution.checkpointing.mode",
    "execution.checkpointing.min-pause",
    "execution.checkpointing.timeout",
    "execution.checkpointing.incremental",
    "restart-strategy.type",
    "python.fn-execution.bundle.time",
    "python.fn-execution.bundle.size",
    "python.fn-execution.arrow.batch.size",
    "python.execution-mode",
    "execution.buffer-timeout.interval",
    "pipeline.object-reuse",
    "pipeline.max-parallelism",
    "taskmanager.memory.process.size",
    "taskmanager.memory.managed.fraction",
)
"""What speed, freshness and survival depend on. The managed service decides some of it itself, and does not say."""


def main() -> None:
    """Build the job from ``application_properties.json``, say with what settings, and submit it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = load()
    tables = environment(settings)
    for line in effective(settings, flink_options(tables, OPTIONS)):
        logging.info("%s", line)
    logging.info("job %s submitted as %s", JOB_NAME, submit(tables, build(tables, settings)))


def effective(settings: Settings, options: dict[str, str | None]) -> list[str]:
    """One line an option and property that is in force.

    >>> effective(Settings(), {"parallelism.default": "2", "python.execution-mode": None})[:3]
    ['parallelism.default = 2', 'python.execution-mode = (not set: the default)', 'getrecords.interval.ms = 250']
    """
    flink = [f"{key} = {'(not set: the default)' if value is None else value}" for key, value in options.items()]
    part: Any = settings.streaming
    return flink + [f"{property_key(f.name)} = {getattr(part, f.name)}" for f in fields(part)]


if __name__ == "__main__":
    main()
