"""The stack as the stream's benchmarks need it: a published synthetic model, batch lists in Redis, room for values."""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np

from batch.publish import Entry, ListWriter, Stores, switch, upload_snapshot
from benchmarks.stream_redis import flush
from benchmarks.stream_shop import StreamShop
from contracts.ids import DEFAULT_SHOP
from contracts.items import encode_catalogue
from contracts.keys import batch_key
from contracts.lake import catalogue_path, dataset_prefix
from contracts.lists import encode_value
from contracts.ranker import NAMES
from contracts.snapshot import Manifest, ModelSettings, write_snapshot
from local.stack import Stack
from stores.cluster import Cluster

__all__ = ["VERSION", "batch_lists", "clear", "cluster_options", "fill_lists", "publish", "start_stack"]

VERSION: Final = "20260101T000000Z-bench1"
_DIFFERENT: Final = 2000  # bodies of batch lists; a person takes one of them


def cluster_options(parser: argparse.ArgumentParser, given: Sequence[str], *, instead: str) -> dict[str, str]:
    """Flink options ``KEY=VALUE`` for the cluster; ends the program where the job sets one itself, and would win."""
    options = dict(option.split("=", 1) for option in given)
    if own := sorted(key for key in options if key.startswith(_OF_THE_JOB)):
        parser.error(f"{', '.join(own)}: the job sets it itself, whatever the cluster says; use {instead}")
    return options


_OF_THE_JOB: Final = ("python.fn-execution.bundle.", "python.fn-execution.arrow.", "execution.buffer-timeout")


def start_stack(stack: Stack, *, redis_mib: int, options: dict[str, str], emulator: tuple[str, ...] = ()) -> None:
    """Jars, stores and a Flink cluster with figures at most half a second old."""
    stack.stage("toolchain", stack.fetch_jars)
    stack.stage("stores", lambda: stack.start_stores(redis_mib=redis_mib, emulator=emulator))
    fetch = {"metrics.fetcher.update-interval": "500 ms"}
    stack.stage("flink", lambda: stack.start_flink(port=None, options=fetch | options))


def publish(stack: Stack, shop: StreamShop, *, theta: float = 0.0) -> None:
    """Catalogue and model: K = 50 neighbours an item, L = 20 actions; with ``theta`` above 0 the ranker orders too."""
    stores, now = Stores.open(stack.settings), datetime.now(UTC)
    stores.objects.put(catalogue_path(DEFAULT_SHOP), encode_catalogue(shop.catalogue()))
    manifest = Manifest(
        shop_id=DEFAULT_SHOP,
        version=VERSION,
        parent=None,
        trained_at=now,
        window_start=now - timedelta(days=30),
        window_end=now,
        model=ModelSettings(history=20, theta=theta),
        training={"synthetic": True},
        feature_names=list(NAMES),
        coefficients=[0.1] * len(NAMES),
        metrics={},
        rows={},
    )
    items = [shop.item(number) for number in range(shop.items)]
    popularity = shop.popularity()
    price = (np.arange(shop.items) % 200 / 200).astype(np.float32)
    extras = {"daily": (popularity / 30).astype(np.float32), "price": price}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / VERSION
        sealed = write_snapshot(folder, manifest, items, shop.matrix(), popularity, extras)
        upload_snapshot(stores.objects, folder, sealed, Path(scratch) / "read-back")
        popular = Entry("popular", "", items[:200], [1 / (1 + at) for at in range(200)])
        ListWriter(DEFAULT_SHOP, VERSION, int(now.timestamp() * 1000), 86_400).write(stack.settings, [popular])
        switch(stores, DEFAULT_SHOP, sealed, now)
    stores.cluster.close()


def batch_lists(shop: StreamShop, size: int) -> Iterator[tuple[str, bytes, int]]:
    """``(key, value, TTL)`` of every known person's list of the last training."""
    rng = np.random.default_rng((shop.seed, 2))
    writer = ListWriter(DEFAULT_SHOP, VERSION, 0, 0)
    bodies = []
    for _ in range(_DIFFERENT):
        items = [shop.item(int(number)) for number in rng.choice(shop.items, size, replace=False)]
        scores = np.sort(rng.random(size))[::-1].tolist()
        bodies.append(encode_value(writer.value(Entry("person", "", items, scores))))
    for number in range(shop.people):
        if (subject := shop.subject(number))[0] == "u":
            yield batch_key(DEFAULT_SHOP, VERSION, subject), bodies[number % _DIFFERENT], 86_400


def fill_lists(stack: Stack, shop: StreamShop) -> None:
    """An empty Redis with every batch list in it, as after a training and before the first click."""
    redis = Cluster.from_settings(stack.settings, timeout_ms=5000)
    try:
        pointer = redis.pointer(DEFAULT_SHOP)
        flush(stack.settings.redis_nodes)
        if pointer is not None:
            redis.publish_pointer(DEFAULT_SHOP, pointer)
        redis.set_many(batch_lists(shop, stack.settings.training.batch_size))
    finally:
        redis.close()


def clear(stack: Stack) -> None:
    """Remove what a job wrote to S3, which the emulator keeps in memory."""
    objects = Stores.open(stack.settings).objects
    for dataset in ("served", "features", "dead-letter"):
        for shop in (DEFAULT_SHOP, "_unknown"):
            for path in objects.list(dataset_prefix(shop, dataset)):
                objects.delete(path)
