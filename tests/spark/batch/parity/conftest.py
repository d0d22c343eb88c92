"""A synthetic shop, the stream's SQL in Python before the product's own writer, and the stores they fill."""

import gzip
import io
import json
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from batch.lake import start_spark
from batch.parity_check import check
from batch.parity_report import Report
from contracts.features import BUCKET_MS, ITEM_FEATURES, USER_FEATURES, BucketFeature
from contracts.items import Item, encode_catalogue
from contracts.lake import catalogue_path, dataset_prefix, day_prefix
from contracts.records import parse_records
from contracts.settings import StreamingSettings
from streaming.batching import EventRow
from streaming.shelf_writer import ShelfWriter

AT: Final = int(datetime(2026, 3, 10, 12, 0, tzinfo=UTC).timestamp() * 1000)
"""The first instant of a bucket: the edge that is easiest to get wrong."""
MINUTE: Final = 60_000
DAY: Final = 24 * 60 * MINUTE
CATEGORIES: Final = ("TEA", "CUPS", "CAKE:DRY", "")


class Silent:
    """Measures that nobody reads."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


class NoModels:
    """A shop before its first model."""

    def current(self, shop: str) -> None:
        return None


@dataclass
class Shop:
    """Records in the order of their arrival, and what became of them."""

    name: str
    seed: int
    people: int
    items: int
    records: list[tuple[int, bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)
        self.number = 0

    def category(self, item: str) -> str:
        return CATEGORIES[int(item[1:]) % len(CATEGORIES)]

    def catalogue(self) -> list[Item]:
        goods = [f"i{n}" for n in range(self.items) if n % 13]
        prices = {i: None if int(i[1:]) % 17 == 0 else float(int(i[1:]) % 29) for i in goods}
        return [Item(item_id=i, title=i, category=self.category(i), price=prices[i]) for i in goods]

    def add(self, kind: str, ms: int, delay_ms: int, item: str | None, **who: str) -> None:
        """An event, sometimes sent twice; ``late`` is what the delay makes it."""
        self.number += 1
        event = {
            "shop_id": self.name,
            "event_id": f"{self.name}-{self.draw.randrange(10**6)}-{self.number}",
            "event_type": kind,
            "occurred_at": stamp(ms),
            "received_at": stamp(ms + delay_ms),
            **who,
        }
        if item:
            event |= {
                "item_id": item,
                "price": self.draw.randrange(1, 999) / 100,
                "quantity": self.draw.randrange(1, 4),
            }
        self.records.append((ms + delay_ms, json.dumps(event).encode()))
        if self.draw.random() < 0.05:
            again = event | {"received_at": stamp(ms + delay_ms + 9 * MINUTE)}
            self.records.append((ms + delay_ms + 9 * MINUTE, json.dumps(again).encode()))

    def fill(self) -> "Shop":
        """A day and a bit of traffic, thickest at the edges of windows and lateness."""
        kinds = ["view"] * 6 + ["click", "add_to_cart", "add_to_cart", "remove_from_cart", "purchase", "impression"]
        edges = [AT - window + shift for window in (0, 5 * MINUTE, 60 * MINUTE, DAY) for shift in (-1, 0, 1)]
        edges += [
            edge + shift for edge in (AT - 5 * MINUTE - DAY, AT - 65 * MINUTE, AT + 5 * MINUTE) for shift in (-1, 0)
        ]
        delays = [0, 40, 900, 5 * MINUTE, 10 * MINUTE, 10 * MINUTE + 1, 40 * MINUTE]
        for number in range(self.people):
            who = {"user_id": f"p{number}"} if number % 3 else {"anonymous_id": f"v{number}"}
            times = [self.draw.choice(edges)] + [self._visit() for _ in range(self.draw.randrange(1, 4))]
            for begin in times:
                ms = begin
                for _ in range(self.draw.randrange(1, 12)):
                    item = f"i{int(self.draw.paretovariate(0.7)) % self.items}"
                    self.add(self.draw.choice(kinds), ms, self.draw.choice(delays), item, **who)
                    ms += self.draw.choice([1, MINUTE, 29 * MINUTE, 30 * MINUTE, 30 * MINUTE + 1])
                    if ms > AT + 5 * MINUTE:
                        break
            if number % 6 == 0:
                signed = self.draw.randrange(max(1, self.people // 40))
                self.add("identify", times[-1], self.draw.choice(delays), None, user_id=f"p{signed}", **who)
        for number in range(self.items):  # so that every item is compared
            self.add("view", self._visit(), 0, f"i{number}", user_id="p1")
        self.records.append((AT, b'{"shop_id": "broken"'))
        self.records.sort(key=lambda pair: pair[0])
        return self

    def _visit(self) -> int:
        return AT - int(self.draw.random() * 25 * 60) * MINUTE + self.draw.choice([0, 1, 4 * MINUTE + 59_999])


def stamp(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")


def own_bucket(ms: int) -> int:
    return ms - ms % BUCKET_MS


@dataclass
class Stream:
    """The job's SQL in Python: first copies, and running values of buckets, in batches to the product's writer."""

    writer: ShelfWriter
    bucket: Callable[[int], int] = own_bucket
    late: Callable[[bool], bool] = lambda late: late
    seen: set[str] = field(default_factory=set)
    values: dict[tuple[str, str, int], list[float]] = field(default_factory=dict)
    counted: list[tuple[str, int]] = field(default_factory=list)

    def run(self, records: Sequence[tuple[int, bytes]]) -> "Stream":
        c = parse_records([data for _, data in records], [at for at, _ in records])
        rows: list[EventRow] = []
        for at in range(len(records)):
            if c.reason[at] or c.event_id[at] in self.seen:
                continue
            self.seen.add(c.event_id[at])
            self.counted.append((c.event_id[at], c.received_ms[at]))
            late, start = self.late(c.late[at]), self.bucket(c.occurred_ms[at])
            event = (c.event_type[at], c.occurred_ms[at] - start, c.amount[at])
            sums = [
                self._running((kind, entity, start), features, None if late else event)
                for kind, entity, features in (
                    ("item", c.item_id[at], ITEM_FEATURES),
                    ("user", c.subject[at], USER_FEATURES),
                )
            ]
            names = EventRow._fields[:8]
            plain = [getattr(c, name)[at] for name in names]
            rows.append(EventRow(*plain, late, c.action[at], start, *sums))
        for at in range(0, len(rows), 500):
            self.writer.write(rows[at : at + 500])
        return self

    def _running(
        self, key: tuple[str, str, int], features: Sequence[BucketFeature], event: tuple[str, int, float] | None
    ) -> tuple[float, ...]:
        if event is None:
            return tuple(self.values.get(key, [0.0] * len(features)))
        values = self.values.setdefault(key, [0.0] * len(features))
        for at, feature in enumerate(features):
            if event[0] not in feature.event_types:
                continue
            if feature.value in ("first", "last"):
                values[at] = max(values[at], BUCKET_MS - event[1] if feature.value == "first" else 1.0 + event[1])
            else:
                values[at] += 1.0 if feature.value == "count" else event[2]
        return tuple(values)

    def windows(self, entity: str, features: Sequence[BucketFeature]) -> list[dict[str, Any]]:
        """The rows of the event-time windows."""
        return [
            {
                "entity_id": name,
                "window_start": datetime.fromtimestamp(start / 1000, UTC).replace(tzinfo=None),
                "window_end": datetime.fromtimestamp((start + BUCKET_MS) / 1000, UTC).replace(tzinfo=None),
                **dict(zip([feature.name for feature in features], values, strict=True)),
            }
            for (kind, name, start), values in self.values.items()
            if kind == entity and name
        ]


class World:
    """The stores, a Spark session and the shops in them."""

    def __init__(self, stack: Any, spark: SparkSession) -> None:
        self.stack, self.spark, self.settings = stack, spark, stack.settings
        self.cluster, self.objects = stack.stores.cluster, stack.stores.objects

    def shop(self, name: str, seed: int, people: int, items: int) -> Shop:
        """A shop without traffic yet."""
        return Shop(name, seed, people, items)

    def stream(self, shop: Shop, now_ms: int = AT, **faults: Any) -> Stream:
        """A stream that writes at ``now_ms``."""
        return Stream(self.writer(shop, now_ms), **faults)

    def deliver(self, records: Iterable[tuple[int, bytes]], name: str) -> None:
        """Objects of the lake, by arrival day, as Firehose writes them."""
        days: dict[Any, list[bytes]] = {}
        for at, data in records:
            days.setdefault(datetime.fromtimestamp(at / 1000, UTC).date(), []).append(data + b"\n")
        for day, lines in days.items():
            for part in range(2):
                body = gzip.compress(b"".join(lines[part::2]), 1)
                self.objects.put(f"{day_prefix(day)}behaviour-1-{name}-{part}.gz", body)

    def writer(self, shop: Shop, now_ms: int = AT) -> ShelfWriter:
        models: Any = NoModels()
        measures: Any = Silent()
        categories = {item.item_id: item.category for item in shop.catalogue()}
        return ShelfWriter(
            self.cluster,
            models,
            StreamingSettings(),
            measures,
            lambda: now_ms * 1_000_000,
            lambda _, item: categories.get(item, ""),
        )

    def open(self, shop: Shop) -> None:
        self.objects.put(catalogue_path(shop.name), encode_catalogue(shop.catalogue()))
        self.deliver(shop.records, shop.name)

    def parquet(self, path: str, rows: list[dict[str, Any]]) -> None:
        file = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), file, use_deprecated_int96_timestamps=True)
        self.objects.put(path, file.getvalue())

    def write_files(self, shop: str, stream: Stream) -> None:
        served = [{"event_id": event_id, "received_ms": received} for event_id, received in stream.counted]
        self.parquet(f"{dataset_prefix(shop, 'served')}year=2026/month=03/day=10/part-0", served)
        for entity, features in (("item", ITEM_FEATURES), ("user", USER_FEATURES)):
            rows = stream.windows(entity, features)
            prefix = f"{dataset_prefix(shop, 'features')}entity={entity}/year=2026/month=03/day=10/"
            self.parquet(f"{prefix}part-0", rows[: len(rows) // 2])
            self.parquet(f"{prefix}part-1", rows[len(rows) // 2 :])

    def check(self, shop: str, at_ms: int = AT, **options: Any) -> Report:
        return check(self.settings, at_ms, spark=self.spark, shop=shop, **{"since_ms": 0, "drained": True, **options})

    def forget(self, shop: str) -> None:
        self.cluster.execute([("DEL", key.decode()) for key in self.cluster.scan(f"{shop}:*")])


@pytest.fixture(scope="module")
def world(stack: Any) -> Iterator[World]:
    spark = start_spark(stack.settings, "local[2]", "1g", "parity-test")
    yield World(stack, spark)
    spark.stop()


@pytest.fixture(scope="module")
def shop(world: World) -> Shop:
    """A shop whose stream made no mistake."""
    made = Shop("right", 1, 1500, 1100).fill()
    world.open(made)
    world.write_files(made.name, world.stream(made).run(made.records))
    return made
