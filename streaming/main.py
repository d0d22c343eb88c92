"""Entry point of the Flink job, the same locally and on the managed service: ``flink run -py streaming/main.py``."""

import logging

from contracts.settings import load
from streaming.job import JOB_NAME, build, environment

__all__ = ["main"]

_FRESHNESS_OPTIONS = (
    "python.fn-execution.bundle.time",
    "python.fn-execution.bundle.size",
    "execution.buffer-timeout.interval",
)


def main() -> None:
    """Build the job from ``application_properties.json`` and submit it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = load()
    tables = environment(settings)
    configuration = tables.get_config().get_configuration()
    for key in _FRESHNESS_OPTIONS:
        # Freshness depends on these, and not every runner lets a job set them: say what is in force.
        logging.info("%s = %s", key, configuration.get_string(key, "default"))
    result = build(tables, settings).execute()
    logging.info("job %s submitted as %s", JOB_NAME, result.get_job_client().get_job_id())


if __name__ == "__main__":
    main()
