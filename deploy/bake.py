"""The popular items of a running deployment, fetched before its functions are packaged: the ladder's last rung."""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from contracts.baked import Baked, baked_name, decode_baked, encode_baked
from contracts.errors import ContractError, LiveshelfError
from contracts.settings import Settings
from deploy.cdk.profiles import PROFILES
from deploy.cloud import connect
from deploy.deployment import Deployment
from local.paths import checkout
from serving.bake import bake

__all__ = ["baked_folder", "fetch", "keep", "main"]

_DESCRIPTION = """\
Fetch the popular items of a deployment's live models into build/baked/ENV, from where make package takes them into the
functions: what they show where no store answers. make deploy and make upgrade run it first.

What cannot be fetched is said and is no failure: before the first training there is nothing, and Aurora answers inside
its network alone. What was fetched before then stays."""


def baked_folder(env: str) -> Path:
    """Where the items of a deployment wait for the next package."""
    return checkout() / "build" / "baked" / env


def fetch(place: Deployment, folder: Path, now: datetime) -> list[str]:
    """Bake each shop of the deployment; returns what came of it, as lines to be read.

    Raises:
        DeploymentError: it is not deployed in this region.
    """
    release = place.releases().current()
    words = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    words.add_argument("--shops", default="default")
    words.add_argument("--aurora", action="store_true")
    given, _ = words.parse_known_args(release.words if release else [])
    if given.aurora:
        return ["Aurora answers inside its network alone; python -m serving.bake there, then make package BAKED=FOLDER"]
    bucket = place.stacks.outputs(place.stack_name("ingestion")).get("LakeBucket")
    if bucket is None:
        return ["the lake is not deployed yet"]
    settings = Settings(
        aws_region=place.cloud.region,
        aws_endpoint=place.cloud.endpoint,
        lake_bucket=bucket,
        dynamodb_table=place.prefix,
        shops=tuple(given.shops.split(",")),
    )
    lines = []
    for shop in settings.shops:
        try:
            baked = bake(settings, shop, now)
        except LiveshelfError as exc:
            lines.append(f"shop {shop}: {exc}")
            continue
        keep(folder, baked)
        lines.append(f"shop {shop}: {len(baked.items)} items of {baked.model_version or 'the catalogue'}")
    return lines


def keep(folder: Path, baked: Baked) -> None:
    """Write the file of a shop, unless only its time would be another: equal items give an equal package."""
    file = folder / baked_name(baked.shop_id)
    try:
        if msgspec.structs.replace(decode_baked(file.read_bytes()), made_at=baked.made_at) == baked:
            return
    except (OSError, ContractError):
        pass
    folder.mkdir(parents=True, exist_ok=True)
    file.write_bytes(encode_baked(baked))


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 0 also where nothing could be fetched."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.bake", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env", required=True, choices=sorted(PROFILES), help="which deployment")
    given = parser.parse_args(argv)
    try:
        place = Deployment(given.env, connect())
        lines = fetch(place, baked_folder(given.env), datetime.now(UTC))
    except LiveshelfError as exc:
        lines = [str(exc)]
    for line in lines:
        print(f"bake: {line}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
