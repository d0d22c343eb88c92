"""What is deployed: artefacts and templates in the bucket under names that never change, and one file that says which.

``releases/current.json`` is written last, when output was seen. So whatever is interrupted, it names what worked.
"""

import hashlib
import io
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from botocore.exceptions import ClientError

from contracts.errors import DeploymentError
from deploy.artefacts import Artefact, Artefacts
from deploy.assembly import Template
from deploy.cloud import Cloud, understood

__all__ = ["CURRENT", "Release", "Releases"]

CURRENT: Final = "releases/current.json"


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """One state of a deployment that was seen to work."""

    at: datetime
    commit: str
    artefacts: Artefacts
    templates: dict[str, str]
    """Stack names, in the order of deployment, to the keys of their templates."""
    words: list[str] = []
    """What the CDK app was given beside the environment."""
    snapshot: str | None = None
    """The snapshot of the stream that was taken before this release."""


class Releases:
    """The bucket of artefacts of one deployment."""

    def __init__(self, cloud: Cloud, bucket: str, say: Callable[[str], None] = print) -> None:
        self._s3 = cloud.client("s3")
        self.bucket = bucket
        self._say = say

    def upload(self, artefacts: Artefacts, root: Path) -> None:
        """Upload the artefacts that are not there yet.

        Raises:
            DeploymentError: a file is missing or is not what ``make package`` recorded.
        """
        for name in artefacts.__struct_fields__:
            artefact: Artefact = getattr(artefacts, name)
            if self._there(artefact.key):
                self._say(f"  {artefact.key}: there already")
                continue
            path = root / artefact.file
            data = path.read_bytes() if artefact.file and path.is_file() else b""
            if hashlib.sha256(data).hexdigest() != artefact.sha256:
                message = f"{path} is not what build/artefacts.json says; run make package again"
                raise DeploymentError(message)
            with understood(f"upload of {artefact.key}"):
                self._s3.upload_fileobj(io.BytesIO(data), self.bucket, artefact.key)
            self._say(f"  {artefact.key}: uploaded, {len(data) / 2**20:.1f} MiB")

    def upload_templates(self, templates: Sequence[Template]) -> None:
        """Upload templates under their keys, from where CloudFormation reads them."""
        for template in templates:
            if not self._there(template.key):
                self._put(template.key, template.body.encode())

    def template(self, name: str, key: str) -> Template:
        """A template that was deployed once."""
        with understood(f"template {key}"):
            return Template(name, self._s3.get_object(Bucket=self.bucket, Key=key)["Body"].read().decode())

    def current(self) -> Release | None:
        """What is deployed and was seen to work; None before the first time.

        Raises:
            DeploymentError: the file cannot be read.
        """
        with understood(f"s3://{self.bucket}/{CURRENT}"):
            try:
                data: bytes = self._s3.get_object(Bucket=self.bucket, Key=CURRENT)["Body"].read()
            except ClientError as exc:
                if exc.response["Error"]["Code"] in ("NoSuchKey", "NoSuchBucket", "404"):
                    return None
                raise
        try:
            return msgspec.json.decode(data, type=Release)
        except msgspec.MsgspecError as exc:
            message = f"s3://{self.bucket}/{CURRENT} cannot be read: {exc}; restore an older version of it"
            raise DeploymentError(message) from exc

    def record(self, release: Release) -> None:
        """Say that a release works: under its time for later, and as the current one."""
        data = msgspec.json.format(msgspec.json.encode(release), indent=2)
        self._put(f"releases/{release.at:%Y%m%dT%H%M%SZ}.json", data)
        self._put(CURRENT, data)

    def _put(self, key: str, data: bytes) -> None:
        with understood(f"s3://{self.bucket}/{key}"):
            self._s3.put_object(Bucket=self.bucket, Key=key, Body=data)

    def _there(self, key: str) -> bool:
        with understood(f"s3://{self.bucket}/{key}"):
            try:
                self._s3.head_object(Bucket=self.bucket, Key=key)
            except ClientError as exc:
                if exc.response["Error"]["Code"] in ("404", "NoSuchKey"):
                    return False
                raise
        return True


def describe(artefacts: Artefacts) -> list[str]:
    """The keys, one a line.

    >>> describe(Artefacts())[0]
    'flink/not-built.zip'
    """
    found: list[Any] = [getattr(artefacts, name) for name in artefacts.__struct_fields__]
    return [each.key for each in found]
