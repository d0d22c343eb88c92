"""The pages in their bucket: under the paths at which the local service shows them, checked anew by each browser."""

import mimetypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from contracts.errors import DeploymentError
from deploy.archive import files_below
from deploy.cloud import Cloud, understood

__all__ = ["page_files", "publish_pages"]

_PATHS: Final = {
    "index.html": "index.html",
    "control": "control.html",
    "sign-in": "sign-in.html",
    "docs": "docs.html",
    "favicon.ico": "mark.svg",
}
"""Pages whose address is not that of their file."""


def page_files(root: Path) -> dict[str, Path]:
    """Keys of the bucket and the files behind them, Swagger's and the pages' libraries among them.

    Raises:
        DeploymentError: the libraries are not there: pages without them stay empty.
    """
    from swagger_ui_bundle import swagger_ui_path

    static = root / "serving" / "static"
    if not (static / "lib" / "lit-html" / "lit-html.js").is_file():
        message = f"the pages' libraries are not in {static / 'lib'}; python -m local.libraries brings them"
        raise DeploymentError(message)
    found = {key: static / name for key, name in _PATHS.items() if (static / name).is_file()}
    for prefix, folder in (("static/", static), ("static/swagger/", Path(str(swagger_ui_path)))):
        below = files_below(folder, prefix).items()
        found |= {key: Path(str(path)) for key, path in below if not key.rpartition("/")[2].startswith(".")}
    return found


def publish_pages(cloud: Cloud, root: Path, bucket: str, distribution: str, say: Callable[[str], None]) -> None:
    """Upload all pages, and tell CloudFront that what it holds is old.

    Raises:
        DeploymentError: AWS refused.
    """
    s3, files = cloud.client("s3"), page_files(root)
    with understood(f"pages in {bucket}"):
        for key, path in sorted(files.items()):
            kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
            data = path.read_bytes()
            s3.put_object(Bucket=bucket, Key=key, Body=data, ContentType=kind, CacheControl="no-cache")
        cloud.client("cloudfront").create_invalidation(
            DistributionId=distribution,
            InvalidationBatch={"Paths": {"Quantity": 1, "Items": ["/*"]}, "CallerReference": str(time.time_ns())},
        )
    say(f"  pages: {len(files)} files")
