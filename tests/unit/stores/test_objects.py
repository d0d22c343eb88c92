"""The S3 adapter: whatever boto3 raises is a StoreError to its callers."""

from pathlib import Path
from typing import Any

import pytest
from boto3.exceptions import RetriesExceededError, S3UploadFailedError
from botocore.exceptions import EndpointConnectionError

from contracts.errors import StoreError
from stores.objects import Objects

FAULTS = [
    RetriesExceededError(TimeoutError()),
    S3UploadFailedError("the part was refused"),
    EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
    OSError("the disk is full"),
]


class Broken:
    """A client whose transfers fail."""

    def __init__(self, fault: Exception) -> None:
        self._fault = fault

    def upload_file(self, *_: Any) -> None:
        raise self._fault

    download_file = upload_file


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
def test_a_failed_transfer_is_a_store_error_with_its_cause(fault: Exception, tmp_path: Path) -> None:
    objects = Objects(Broken(fault), "lake")
    for transfer in (
        lambda: objects.upload_folder(tmp_path, "models/", ["a"]),
        lambda: objects.download_folder("models/", ["a"], tmp_path),
    ):
        with pytest.raises(StoreError, match="s3://lake/models/a") as raised:
            transfer()
        assert raised.value.__cause__ is fault
