"""Starts the emulator as a process of its own, and makes clients for it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config

from contracts.errors import LocalStackError

__all__ = ["client", "running_emulator"]

REGION = "eu-central-1"


def client(service: str, endpoint: str, region: str = REGION) -> Any:
    """A boto3 client for the emulator: fixed local credentials, short time-outs, and no retries that hide an error."""
    config = Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 1})
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=config,
    )


@contextmanager
def running_emulator(*flags: str) -> Iterator[str]:
    """Run ``python -m local.emulator`` with ``flags`` and yield its address; it is gone when the block ends.

    Raises:
        LocalStackError: the process ended before it listened.
    """
    command = [sys.executable, "-m", "local.emulator", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line.startswith("emulator: "):
                message = f"{' '.join(command)} ended before it listened; see its messages above"
                raise LocalStackError(message)
            yield line.split()[1]
        finally:
            process.terminate()
            process.wait(timeout=10)
