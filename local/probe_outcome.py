"""What the loop left behind: lists in every store, features in Redis and S3, and whether each promise was kept."""

import io
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from contracts.keys import batch_row, user_key
from contracts.lake import dataset_prefix
from contracts.lists import UserValue, decode_list, decode_user
from local.clients import Api
from local.loop import Loop
from stores.tables import Tables

__all__ = ["counted_features", "failures", "stored_lists"]

LEAST_EVENTS: Final = 50_000
LEAST_LISTS: Final = 1_000
SAMPLE: Final = 200


def stored_lists(loop: Loop, shop: str) -> dict[str, int]:
    """How many people have a live list in Redis, a batch list of the live version in DynamoDB, a live shelf over HTTP.

    DynamoDB and HTTP are asked for people who have a live list, at most 200 of them over HTTP.
    """
    live = [subject for subject, value in _users(loop, shop) if value.live is not None]
    tables = Tables.from_settings(loop.stack.settings)
    pointer = tables.current(shop)
    assert pointer is not None
    known = [subject for subject in live if subject.startswith("u.")]
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda subject: tables.get(batch_row(shop, pointer.version, subject)), known))
    api = Api(loop.url)
    shelves = [api.shelf(subject) for subject in known[:SAMPLE]]
    return {
        "recommendations_redis": len(live),
        "recommendations_dynamodb": sum(bool(row and decode_list(row).items) for row in rows),
        "recommendations_http": sum(shelf.source == "live" and bool(shelf.items) for shelf in shelves),
    }


def counted_features(loop: Loop, shop: str) -> dict[str, int]:
    """Features at rest: keys in Redis with buckets, rows in S3, and what they add up to against what was counted.

    Every action that Flink counted and that is not late stands in exactly one window of its item and one of its person.
    """
    served = _table(loop, dataset_prefix(shop, "served"), ["event_type", "late"]).to_pandas()
    actions = served[~served["late"] & served["event_type"].isin(["view", "click", "add_to_cart", "purchase"])]
    rows, sums = 0, {}
    for entity in ("item", "user"):
        table = _table(loop, f"{dataset_prefix(shop, 'features')}entity={entity}/", None)
        frame = table.to_pandas()
        doubled = frame.duplicated(["entity_id", "window_end"]).sum()
        rows += len(frame)
        sums[f"features_s3_{entity}_actions"] = int(frame[["views", "carts", "purchases"]].to_numpy().sum())
        sums[f"features_s3_{entity}_doubled"] = int(doubled)
    items = sum(1 for _ in _keys(loop, f"{shop}:item:*"))
    users = sum(1 for _, value in _users(loop, shop) if value.buckets)
    return {"features_redis": items + users, "features_s3_rows": rows, "actions_counted": len(actions), **sums}


def _table(loop: Loop, prefix: str, columns: list[str] | None) -> pa.Table:
    files = [path for path in loop.objects.list(prefix) if not path.rpartition("/")[2].startswith(("_", "."))]
    parts = [pq.ParquetFile(io.BytesIO(loop.objects.get(path))).read(columns=columns) for path in files]
    return pa.concat_tables(parts)


def _keys(loop: Loop, pattern: str) -> Iterator[bytes]:
    yield from loop.redis.scan(pattern)


def _users(loop: Loop, shop: str) -> Iterator[tuple[str, UserValue]]:
    prefix = user_key(shop, "")
    keys = [key.decode() for key in _keys(loop, f"{prefix}*")]
    for key, value in zip(keys, loop.redis.get_many(keys), strict=True):
        if value is not None:
            yield key.removeprefix(prefix), decode_user(value)


def failures(figures: Mapping[str, Any]) -> list[str]:
    """The promises that were not kept, in words.

    >>> failures({"lost": 1})[0]
    'at least 50,000 distinct events were replayed: no figure'
    """
    promises: dict[str, Callable[[Mapping[str, Any]], bool]] = {
        f"at least {LEAST_EVENTS:,} distinct events were replayed": lambda f: f["events_sent"] >= LEAST_EVENTS,
        "every record is where it belongs, exactly once": lambda f: f["agreed"] and f["lost"] == 0,
        "every injected duplicate was dropped": lambda f: f["duplicates_dropped"] >= f["duplicates_injected"] > 0,
        "every malformed record was rejected": lambda f: f["malformed_rejected"] == f["malformed_injected"] > 0,
        "two models were published": lambda f: len(set(f["model_versions"])) == 2,
        "one Flink job served both, without a restart": lambda f: len(f["flink_job_ids"]) == 1 and f["restarts"] == 0,
        "features are in Redis and S3": lambda f: f["features_redis"] > 0 and f["features_s3_rows"] > 0,
        "features in S3 add up to what was counted": lambda f: all(
            f[f"features_s3_{entity}_actions"] == f["actions_counted"] and f[f"features_s3_{entity}_doubled"] == 0
            for entity in ("item", "user")
        ),
        "the second model was taken up while traffic ran": lambda f: f["switched_during_replay"],
        f"at least {LEAST_LISTS:,} people have a live list in Redis": lambda f: (
            f["recommendations_redis"] >= LEAST_LISTS
        ),
        "nearly all of them have one in DynamoDB": lambda f: (
            f["recommendations_dynamodb"] >= 0.9 * f["recommendations_redis"]
        ),
        "and over HTTP, each that was asked for": lambda f: f["recommendations_http"] == SAMPLE,
        "the shelf follows taste in nine of ten": lambda f: f["taste"]["rose"] >= 0.9 * f["taste"]["of"],
        "no shelf stayed out": lambda f: f["freshness_ms"]["timed_out"] == 0,
        "live beats batch beats popularity": lambda f: f["hr20"]["live"] > f["hr20"]["batch"] > f["hr20"]["popularity"],
        "and popularity beyond chance": lambda f: (
            min(f["hr20"]["intervals"][name][0] for name in ("live", "batch")) > f["hr20"]["intervals"]["popularity"][1]
        ),
    }
    broken = []
    for promise, kept in promises.items():
        try:
            if not kept(figures):
                broken.append(f"{promise}: not kept")
        except KeyError:
            broken.append(f"{promise}: no figure")
    return broken
