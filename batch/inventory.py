"""What lies in the bucket: objects with their sizes and ETags, so that a day knows what it was made from."""

from botocore.exceptions import BotoCoreError, ClientError

from batch.partition import Input
from contracts.errors import StoreError
from contracts.settings import Settings
from stores.aws import client

__all__ = ["list_objects"]


def list_objects(settings: Settings, prefix: str) -> list[Input]:
    """Every object of the lake bucket below ``prefix``.

    Raises:
        StoreError: the bucket cannot be listed.
    """
    try:
        pages = client("s3", settings).get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=settings.lake_bucket, Prefix=prefix)
        return [Input(o["Key"], o["Size"], o["ETag"].strip('"')) for page in found for o in page.get("Contents", ())]
    except (ClientError, BotoCoreError) as exc:
        message = f"could not list s3://{settings.lake_bucket}/{prefix}: {exc}; check that the bucket exists"
        raise StoreError(message) from exc
