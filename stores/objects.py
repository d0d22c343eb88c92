"""S3 objects of the lake bucket by path, with clear errors."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from contracts.errors import ChangedMeanwhile, StoreError
from contracts.settings import Settings
from stores.aws import client

__all__ = ["NotFound", "Objects"]

# 412: the object is another one; 409: one is being written; 404 to If-Match: it was deleted (S3, "Conditional writes").
_CHANGED: Final = {"PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey", "412", "409", "404"}


class NotFound(StoreError):
    """There is no object at the path."""


class Objects:
    """Objects below one bucket. Every method raises :class:`StoreError` once boto3's retries are used up."""

    def __init__(self, s3: Any, bucket: str) -> None:
        self._s3 = s3
        self.bucket = bucket

    @classmethod
    def from_settings(cls, settings: Settings) -> "Objects":
        """Objects of ``settings.lake_bucket``."""
        return cls(client("s3", settings), settings.lake_bucket)

    def uri(self, path: str) -> str:
        """``s3://bucket/path``, for engines."""
        return f"s3://{self.bucket}/{path}"

    def get(self, path: str) -> bytes:
        """The object's bytes.

        Raises:
            NotFound: there is none.
        """
        try:
            return bytes(self._s3.get_object(Bucket=self.bucket, Key=path)["Body"].read())
        except (ClientError, BotoCoreError) as exc:
            raise self._error(path, exc, "read") from exc

    def get_range(self, path: str, begin: int, end: int) -> bytes:
        """The object's bytes from ``begin`` to ``end`` (excluded; more than ``begin``).

        Raises:
            NotFound: there is none.
        """
        try:
            found = self._s3.get_object(Bucket=self.bucket, Key=path, Range=f"bytes={begin}-{end - 1}")
            return bytes(found["Body"].read())
        except (ClientError, BotoCoreError) as exc:
            raise self._error(path, exc, "read") from exc

    def etag(self, path: str) -> str | None:
        """The object's entity tag, which changes with its content; ``None`` where there is no object."""
        try:
            return str(self._s3.head_object(Bucket=self.bucket, Key=path)["ETag"])
        except (ClientError, BotoCoreError) as exc:
            error = self._error(path, exc, "read")
            if isinstance(error, NotFound):
                return None
            raise error from exc

    def put(self, path: str, data: bytes) -> None:
        """Write the object, whole or not at all."""
        try:
            self._s3.put_object(Bucket=self.bucket, Key=path, Body=data)
        except (ClientError, BotoCoreError) as exc:
            raise self._error(path, exc, "write") from exc

    def get_tagged(self, path: str) -> tuple[bytes, str]:
        """The object's bytes and their entity tag, for :meth:`replace`.

        Raises:
            NotFound: there is none.
        """
        try:
            found = self._s3.get_object(Bucket=self.bucket, Key=path)
            return bytes(found["Body"].read()), str(found["ETag"])
        except (ClientError, BotoCoreError) as exc:
            raise self._error(path, exc, "read") from exc

    def replace(self, path: str, data: bytes, expected: str | None) -> str:
        """Write the object if it is still the one with the tag ``expected`` (``None``: if there is none yet).

        Returns:
            The new entity tag.

        Raises:
            ChangedMeanwhile: it is another one by now; nothing was written.
        """
        condition = {"IfNoneMatch": "*"} if expected is None else {"IfMatch": expected}
        try:
            return str(self._s3.put_object(Bucket=self.bucket, Key=path, Body=data, **condition)["ETag"])
        except (ClientError, BotoCoreError) as exc:
            if isinstance(exc, ClientError) and exc.response["Error"]["Code"] in _CHANGED:
                message = f"{self.uri(path)} was changed by somebody else; read it again and repeat the change"
                raise ChangedMeanwhile(message) from exc
            raise self._error(path, exc, "write") from exc

    def list(self, prefix: str) -> list[str]:
        """All keys below ``prefix``, sorted."""
        return sorted(self.sizes(prefix))

    def sizes(self, prefix: str) -> dict[str, int]:
        """Bytes of every object below ``prefix``, by key."""
        try:
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
            return {row["Key"]: int(row["Size"]) for page in pages for row in page.get("Contents", ())}
        except (ClientError, BotoCoreError) as exc:
            raise self._error(prefix, exc, "list") from exc

    def modified(self, prefix: str) -> dict[str, datetime]:
        """When every object below ``prefix`` was written, by key."""
        try:
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
            return {row["Key"]: row["LastModified"] for page in pages for row in page.get("Contents", ())}
        except (ClientError, BotoCoreError) as exc:
            raise self._error(prefix, exc, "list") from exc

    def purge_versions(self, path: str) -> int:
        """Delete what a versioned bucket keeps of an object's past; returns how many versions. What is there stays."""
        try:
            pages = self._s3.get_paginator("list_object_versions").paginate(Bucket=self.bucket, Prefix=path)
            rows = [row for page in pages for kind in ("Versions", "DeleteMarkers") for row in page.get(kind, ())]
            old = [row for row in rows if row["Key"] == path and (not row["IsLatest"] or "Size" not in row)]
            for row in old:
                self._s3.delete_object(Bucket=self.bucket, Key=path, VersionId=row["VersionId"])
        except (ClientError, BotoCoreError) as exc:
            raise self._error(path, exc, "delete old versions of") from exc
        return len(old)

    def delete(self, path: str) -> None:
        """Delete the object; nothing happens where there is none."""
        try:
            self._s3.delete_object(Bucket=self.bucket, Key=path)
        except (ClientError, BotoCoreError) as exc:
            raise self._error(path, exc, "delete") from exc

    def upload_folder(self, folder: Path, prefix: str, names: Iterable[str]) -> None:
        """Upload the named files of ``folder`` below ``prefix``, in parallel."""
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: self._upload(folder / name, prefix + name), names))

    def download_folder(self, prefix: str, names: Iterable[str], folder: Path) -> None:
        """Download the named objects below ``prefix`` into ``folder`` (created), in parallel."""
        folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda name: self._download(prefix + name, folder / name), names))

    def _upload(self, file: Path, path: str) -> None:
        try:
            self._s3.upload_file(str(file), self.bucket, path)
        except (ClientError, BotoCoreError, Boto3Error, OSError) as exc:
            raise self._error(path, exc, "upload") from exc

    def _download(self, path: str, file: Path) -> None:
        try:
            self._s3.download_file(self.bucket, path, str(file))
        except (ClientError, BotoCoreError, Boto3Error, OSError) as exc:
            raise self._error(path, exc, "download") from exc

    def _error(self, path: str, exc: Exception, what: str) -> StoreError:
        code = exc.response.get("Error", {}).get("Code") if isinstance(exc, ClientError) else None
        kind = NotFound if code in {"NoSuchKey", "404"} else StoreError
        return kind(
            f"could not {what} {self.uri(path)}: {exc}; check that the bucket exists and the role may {what} it"
        )
