"""``python -m serving.bake``: the popular items of the live model into files that a deployment brings along."""

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from contracts.baked import MOST_ITEMS, Baked, baked_name, encode_baked
from contracts.errors import LiveshelfError, SettingsError
from contracts.items import Item, decode_catalogue
from contracts.keys import popular_row
from contracts.lake import catalogue_path, rules_path
from contracts.lists import decode_list
from contracts.rules import NO_RULES, Rules, decode_rules
from contracts.settings import Settings, load
from serving.baked import FOLDER
from stores.objects import NotFound, Objects
from stores.tables import Tables

__all__ = ["bake", "main"]

_DESCRIPTION = """\
Write the popular items of each shop's live model, with what the catalogue says of them and the rules of the shop, as
files of a few KiB. Serving shows them on the day when neither Redis nor DynamoDB nor S3 answers.

Run it when a deployment is packaged: without --out the files go beside the code of serving and travel in the package.
A shop without a live model gets the first items of its catalogue."""

_EPILOG = "exit status: 0 written, 2 the settings or the shop's data do not allow it, 5 a store did not answer."


def bake(settings: Settings, shop: str, now: datetime, most: int = MOST_ITEMS) -> Baked:
    """The popular items of a shop that are in stock.

    Raises:
        StoreError: a store did not answer; a missing catalogue is :class:`stores.objects.NotFound`.
        ContractError: what is stored cannot be read.
    """
    objects, tables = Objects.from_settings(settings), Tables.from_settings(settings)
    items = decode_catalogue(objects.get(catalogue_path(shop)))
    pointer = tables.current(shop)
    stored = tables.get(popular_row(shop, pointer.version)) if pointer else None
    popular = decode_list(stored).items if stored else list(items)
    found: list[Item] = [item for item_id in popular if (item := items.get(item_id)) and item.in_stock]
    version = pointer.version if pointer else ""
    return Baked(shop_id=shop, model_version=version, made_at=now, items=found[:most], rules=_rules(objects, shop))


def _rules(objects: Objects, shop: str) -> Rules:
    try:
        return decode_rules(objects.get(rules_path(shop)))
    except NotFound:
        return NO_RULES


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m serving.bake",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--properties", help="settings file (default: $LIVESHELF_PROPERTIES, then managed Flink's)")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the files (default: beside the code)")
    given = parser.parse_args(argv)
    try:
        settings = load(given.properties)
        for shop in settings.shops:
            baked = bake(settings, shop, datetime.fromtimestamp(time.time(), UTC))
            file = given.out / baked_name(shop)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encode_baked(baked))
            print(f"bake: {file}: {len(baked.items)} items of {baked.model_version or 'the catalogue'}", flush=True)
    except (SettingsError, NotFound) as exc:
        return _fail(exc, 2)
    except LiveshelfError as exc:
        return _fail(exc, 5)
    return 0


def _fail(exc: Exception, status: int) -> int:
    print(f"bake: {exc}", file=sys.stderr, flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
