"""boto3 clients with time-outs, retries and the emulator's endpoint, made one way for every part."""

from functools import cache
from threading import Lock
from typing import Any

import boto3
from botocore.config import Config

from contracts.settings import Settings

__all__ = ["client"]


def client(service: str, settings: Settings, *, read_timeout_s: float = 20.0, attempts: int = 5, pool: int = 32) -> Any:
    """A client of ``service`` in the settings' region; credentials come from the environment, as AWS advises.

    Clients are thread-safe; the session that makes them is not, hence the lock. One session for all: each one reads a
    megabyte of endpoints and service models, which took a Lambda function as long as its imports.
    """
    config = Config(
        region_name=settings.aws_region,
        connect_timeout=3,
        read_timeout=read_timeout_s,
        retries={"mode": "standard", "max_attempts": attempts},
        max_pool_connections=pool,
        s3={"addressing_style": "path"} if settings.aws_endpoint else None,
    )
    with _making:
        return _session().client(service, endpoint_url=settings.aws_endpoint, config=config)


_making = Lock()


@cache
def _session() -> boto3.session.Session:
    return boto3.session.Session()
