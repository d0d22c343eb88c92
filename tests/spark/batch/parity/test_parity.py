"""The parity check on synthetic shops that the product's own writer streamed into Redis, rightly or with a fault."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import pytest

import contracts.features
import contracts.sessions
from batch.rebuild import rebuild
from contracts.features import BUCKET_MS, ITEM_FEATURES, USER_FEATURES
from contracts.keys import user_key
from contracts.lake import dataset_prefix
from contracts.lists import Action, UserValue, decode_user, encode_value
from contracts.live import FEATURES

pytestmark = [
    pytest.mark.spark,
    # The JVM is reached over sockets that py4j leaves to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]

AT: Final = int(datetime(2026, 3, 10, 12, 0, tzinfo=UTC).timestamp() * 1000)
MINUTE: Final = 60_000


def own_bucket(ms: int) -> int:
    return ms - ms % BUCKET_MS


def test_every_live_feature_is_what_the_lake_says(world: Any, shop: Any) -> None:
    report = world.check(shop.name)
    assert report.agreed, report.text()
    names = {f"{f.entity}.{column}" for f in FEATURES for column in f.columns}
    assert names <= set(report.features)
    few = {n: t.compared for n, t in report.features.items() if t.compared < 1000 and n.startswith(("user.", "item."))}
    assert set(few) <= {"user.alias"}, few
    assert all(report.features[name].present > 0 for name in {*names, "user.bought", "user.cart"}), report.text()
    assert report.accounts["lost"] == report.accounts["doubled"] == report.accounts["extra"] == 0
    assert report.accounts["accepted"] > report.accounts["distinct"] > 0
    assert report.accounts["rejected"] == {"not_json": 1}


def longer(start_ms: int, now_ms: int, window_ms: int) -> bool:
    return now_ms - window_ms - 2 * BUCKET_MS < start_ms <= now_ms


def shorter(start_ms: int, now_ms: int, window_ms: int) -> bool:
    return now_ms - window_ms - BUCKET_MS + 1 < start_ms - BUCKET_MS + 1 <= now_ms


def without_the_last(start_ms: int, now_ms: int, window_ms: int) -> bool:
    return now_ms - window_ms - BUCKET_MS < start_ms < now_ms


@pytest.mark.parametrize("fault", [longer, shorter, without_the_last])
def test_a_window_that_is_off_by_one_bucket_is_caught(
    world: Any, shop: Any, fault: Callable[[int, int, int], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contracts.features, "in_window", fault)
    report = world.check(shop.name, files=False)
    assert not report.agreed
    assert report.features["user.views_1h"].mismatches > 0
    assert report.features["item.views_24h"].mismatches > 0


def test_a_visit_that_is_off_by_a_millisecond_is_caught(world: Any, shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contracts.sessions, "last_ms", lambda start, value: start + int(value) if value else None)
    report = world.check(shop.name, files=False)
    assert report.features["user.last_seen"].mismatches > 1000


FAULTS: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "a bucket begins a millisecond early": ({"bucket": lambda ms: own_bucket(ms + 1)}, "views_1h"),
    "late events count": ({"late": lambda late: False}, "views_24h"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_stream_is_caught(world: Any, fault: str) -> None:
    options, feature = FAULTS[fault]
    made = world.shop(f"fault{list(FAULTS).index(fault)}", 2, 200, 60).fill()
    world.open(made)
    world.write_files(made.name, world.stream(made, **options).run(made.records))
    report = world.check(made.name)
    assert report.features[f"user.{feature}"].mismatches > 0, report.text()
    assert report.features["s3.item.views"].mismatches > 0, report.text()
    first = report.features[f"user.{feature}"].examples[0]
    assert first.entity and first.expected != first.found


def test_doubled_and_lost_rows_and_events_are_told(world: Any) -> None:
    made = world.shop("doubled", 3, 60, 20).fill()
    world.open(made)
    stream = world.stream(made).run(made.records)
    stream.counted = [*stream.counted[1:], stream.counted[5]]
    world.write_files(made.name, stream)
    rows = stream.windows("item", ITEM_FEATURES)[:3]
    world.parquet(f"{dataset_prefix(made.name, 'features')}entity=item/year=2026/month=03/day=10/part-again", rows)
    report = world.check(made.name)
    assert report.features["s3.item.rows"].mismatches == 3
    assert report.features["s3.user.rows"].mismatches == 0
    assert (report.accounts["lost"], report.accounts["doubled"]) == (1, 1)
    assert report.features["stream.counted_once"].mismatches == 2


def test_nothing_to_compare_is_no_success(world: Any) -> None:
    report = world.check("nobody")
    assert report.events == 0
    assert not report.agreed
    assert report.mismatches == 0


def test_beside_a_running_stream_both_sides_are_of_an_earlier_instant(world: Any) -> None:
    made = world.shop("running", 4, 300, 50).fill()
    world.open(made)
    stream = world.stream(made).run(made.records)
    later = world.shop("running", 5, 0, 50)
    for at in range(60):  # more than a value holds
        later.add("view", AT + 6 * MINUTE + at, 0, f"i{at % 50}", user_id="p1")
    stream.writer = world.writer(made, AT + 9 * MINUTE)
    stream.run(later.records)
    report = world.check(made.name, AT + 5 * MINUTE - 1, now_ms=AT + 9 * MINUTE, files=False)
    assert report.agreed, report.text()
    assert report.features["user.views_1h"].present > 0


def test_an_item_that_is_never_quiet_keeps_the_whole_of_its_day(world: Any) -> None:
    made = world.shop("busy", 8, 0, 1)
    for span in range(27 * 12):  # so many that the writer drops the oldest
        made.add("view", AT - span * BUCKET_MS + 1, 0, "i0", user_id="p1")
    made.records.sort(key=lambda pair: pair[0])
    world.open(made)
    world.stream(made, AT + MINUTE).run(made.records)
    report = world.check(made.name, AT + MINUTE, files=False)
    assert report.agreed, report.text()


def test_an_emptied_redis_is_rebuilt_from_the_lake_twice_alike(world: Any, shop: Any) -> None:
    world.forget(shop.name)
    clock = lambda: AT * 1_000_000  # noqa: E731
    once = rebuild(world.spark, world.settings, shop.name, now_ms=AT, now_ns=clock)
    assert once.people > 1000 and once.items > 1000 and once.aliases > 0
    report = world.check(shop.name, since_ms=None, files=False)  # Redis itself says that it was rebuilt
    assert report.agreed, report.text()
    assert report.features["user.views_24h"].present > 1000
    assert report.features["user.bought"].present > 100 < report.features["user.cart"].present
    again = rebuild(world.spark, world.settings, shop.name, now_ms=AT, now_ns=clock)
    assert again.aliases == 0
    assert again.people < 10  # money that was added up in another order may be larger in its last digit


def test_a_rebuild_sets_nothing_back_that_is_newer(world: Any) -> None:
    made = world.shop("newer", 6, 30, 10).fill()
    world.open(made)
    newer = Action(AT + 10 * MINUTE, "newer-x", "view", "i1")
    start = str(own_bucket(AT - MINUTE) // 1000)
    value = UserValue(rev="0" * 16, actions=[newer], buckets={start: [1e9] * len(USER_FEATURES)})
    world.cluster.set_many([(user_key("newer", "u.p1"), encode_value(value), 60)])
    dry = rebuild(world.spark, world.settings, "newer", now_ms=AT, dry_run=True)
    assert dry.people > 10
    assert world.cluster.get_many([user_key("newer", "u.p2")]) == [None]
    rebuild(world.spark, world.settings, "newer", now_ms=AT, now_ns=lambda: AT * 1_000_000)
    stored = world.cluster.get_many([user_key("newer", "u.p1")])[0]
    assert stored is not None
    merged = decode_user(stored)
    assert merged.actions[-1] == newer and len(merged.actions) > 1
    assert merged.buckets[start] == [1e9] * len(USER_FEATURES)
