"""What grew day by day is what a full rebuild makes, whatever came late and in whatever order."""

import gzip
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batch.contents import Held
from batch.exchange import Exchange, objects_of
from batch.lake import hold, make_few
from batch.moments import Totals
from batch.partition import Input
from batch.plan import Plan, Window, make_plan
from batch.recipe import MomentRecipe
from batch.sums import Sums
from contracts.lake import day_prefix
from contracts.settings import Settings
from stores.objects import NotFound, Objects

FIRST = date(2026, 1, 18)
DAYS = 60
RECIPE = MomentRecipe(gram_exponent=2.0, cross_exponent=1.0, ordered=True, late_days=40)
SETTINGS = Settings.from_properties({"liveshelf": {"redis.nodes": "x:1"}})


class Memory(Objects):
    """Objects of a bucket that is a dictionary."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.written: list[str] = []
        self.bucket = "memory"

    def get(self, path: str) -> bytes:
        if path not in self.held:
            raise NotFound(path)
        return self.held[path]

    def put(self, path: str, data: bytes) -> None:
        self.held[path] = data
        self.written.append(path)


class Trainer:
    """The trainer's memory over a lake, without Spark: it learns what objects hold and makes the stale days."""

    def __init__(self, folder: Path, objects: Memory, half_life_d: float) -> None:
        self.folder, self.objects, self.half_life_d = folder, objects, half_life_d
        self.contents: dict[Input, Held] = {}

    def train(self, lake: Sequence[Input]) -> Plan:
        """Bring the stored days up to date."""
        self.contents |= hold(here, SETTINGS, "default", [o for o in lake if o not in self.contents], RECIPE.late_days)
        window = Window(None, date(2027, 1, 1))
        plan = make_plan(lake, self.contents, self.objects.held.keys(), "default", window, RECIPE, self.half_life_d)
        make_few(here, SETTINGS, "default", plan, RECIPE, 3)
        return plan

    def total(self, plan: Plan, name: str, **options: Any) -> Totals:
        """The total of a plan's days."""
        room = self.folder / f"exchange-{name}"
        room.mkdir()
        sums = Sums(here, Exchange(SETTINGS, room, ""), self.folder, plan, "default", self.half_life_d)
        return sums.total(name, min_units=2, **options)


def here(work: Any, inputs: Sequence[Any]) -> list[Any]:
    return [work(each) for each in inputs]


@pytest.fixture
def objects(monkeypatch: pytest.MonkeyPatch) -> Memory:
    memory = Memory()
    monkeypatch.setattr(Objects, "from_settings", lambda _: memory)
    objects_of.cache_clear()
    return memory


def history(seed: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """The records of each arrival day in random order: some come days late, some twice, some visits cross midnight."""
    rng = np.random.default_rng(seed)
    arriving: dict[int, list[dict[str, Any]]] = {number: [] for number in range(DAYS)}
    for number in range(DAYS):
        for visit in range(6):
            start = number + (rng.random() if visit else 0.999)
            for place in range(rng.integers(1, 6)):
                at = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC) + timedelta(days=start + place / 900)
                delay = int(rng.integers(1, 30)) if rng.random() < 0.05 else 0
                record = {
                    "event_id": f"{number}-{visit}-{place}",
                    "event_type": "view",
                    "user_id": f"u{rng.integers(9)}",
                    "item_id": f"i{rng.zipf(1.4) % 25:02}",
                    "occurred_at": at.isoformat(),
                    "received_at": (at + timedelta(days=delay)).isoformat(),
                } | ({"session_id": f"s{number}-{visit}"} if rng.random() < 0.8 else {})
                for copy in range(1 + (rng.random() < 0.05)):
                    arrival = (at.date() - FIRST).days + delay + copy
                    if arrival < DAYS:
                        arriving[arrival].append(record)
    for number, records in arriving.items():
        yield number, [records[at] for at in rng.permutation(len(records))]


def write(objects: Memory, number: int, records: Sequence[dict[str, Any]], name: str = "a") -> Input:
    data = gzip.compress(b"".join(json.dumps(record).encode() + b"\n" for record in records), mtime=0)
    path = f"{day_prefix(FIRST + timedelta(days=number))}{name}.gz"
    objects.held[path] = data
    return Input(path, len(data), sha256(data).hexdigest()[:16])


def assert_close(left: Totals, right: Totals, tolerance: float) -> None:
    assert left.items == right.items
    for name in ("indptr", "cols"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))
    for name in ("units", "events", "sources", "gram", "cross", "order"):
        np.testing.assert_allclose(getattr(left, name), getattr(right, name), rtol=tolerance, err_msg=name)


@pytest.mark.parametrize("half_life_d", [0.0, 14.0], ids=["no decay", "decay"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_grew_day_by_day_is_the_full_rebuild(
    seed: int, half_life_d: float, objects: Memory, tmp_path: Path
) -> None:
    grown, lake = Trainer(tmp_path, objects, half_life_d), list[Input]()
    for number, records in history(seed):
        lake.append(write(objects, number, records))
        if number > 40 and number % 3 == 0:  # a run every third day; its months are stored on the way
            plan = grown.train(lake)
            grown.total(plan, f"grown-{number}")
    plan = grown.train(lake)
    incremental = grown.total(plan, "incremental")
    held_out = grown.total(plan, "held-out", before=FIRST + timedelta(days=52))

    for path in [path for path in objects.held if "/moments/" in path]:
        del objects.held[path]
    fresh = Trainer(tmp_path, objects, half_life_d)
    whole = fresh.train(lake)
    assert whole.wanted == plan.wanted
    assert_close(incremental, fresh.total(whole, "full"), 1e-9)
    assert_close(held_out, fresh.total(whole, "full-held-out", before=FIRST + timedelta(days=52)), 1e-9)


def test_a_late_event_is_written_to_the_days_around_it_the_sum_of_their_month_and_the_base(
    objects: Memory, tmp_path: Path
) -> None:
    trainer = Trainer(tmp_path, objects, 0.0)
    lake = [write(objects, number, records) for number, records in history(4)]
    trainer.total(trainer.train(lake), "before")
    objects.written.clear()
    event = next(records for number, records in history(5) if number == 20)[0]
    event |= {"event_id": "late", "received_at": f"{FIRST + timedelta(days=DAYS - 1)}T12:00:00Z"}
    lake.append(write(objects, DAYS - 1, [event], "late"))  # 2026-02-07, 39 days late
    trainer.total(trainer.train(lake), "after")
    folders = sorted(path.split("/")[2] for path in objects.written)
    occurred = date.fromisoformat(event["occurred_at"][:10])
    around = [f"day={occurred + timedelta(days=shift)}" for shift in range(-2, 3)]
    assert folders == ["base", *around, "month=2026-02"]


def test_decay_halves_a_day_every_half_life_and_rewrites_no_day(objects: Memory, tmp_path: Path) -> None:
    trainer = Trainer(tmp_path, objects, 20.0)
    lake = [write(objects, number, records) for number, records in history(6)]
    plan = trainer.train(lake)
    days = {path: data for path, data in objects.held.items() if "/day=" in path}
    one = FIRST + timedelta(days=9)
    alone = {"since": one, "before": one + timedelta(days=1)}
    now = trainer.total(plan, "now", **alone, newest=one)
    later = trainer.total(plan, "later", **alone, newest=one + timedelta(days=40))
    np.testing.assert_allclose(later.gram, now.gram / 4, rtol=1e-12)
    np.testing.assert_allclose(later.events, now.events / 4, rtol=1e-12)
    assert later.items == now.items
    assert {path: data for path, data in objects.held.items() if "/day=" in path} == days
