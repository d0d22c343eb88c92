"""The judgement of the probes: what counts as a rise, a hit, a loss."""

import gzip
import io
from collections.abc import Sequence
from datetime import UTC, datetime

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.errors import StoreError, TrainingError
from contracts.events import Event, encode, parse
from contracts.keys import batch_key, popular_key, user_key
from contracts.lists import BasedOn, RecommendationList, UserValue, encode_value
from local import probe_completion, probe_taste
from local.clients import Posted
from local.probe_accounts import LedgerReader, reconcile
from local.replay import Account
from local.replay_plan import malformed_record

NOW = datetime(2026, 3, 5, tzinfo=UTC)


# --- taste --------------------------------------------------------------------------------------------------------


def history() -> tuple[pd.DataFrame, dict[str, str]]:
    """Twelve types of 25 items, three in each of their baskets, k+1 baskets of type k; milk sells best, one each."""
    kinds = {str(100 * k + i): f"type {k:02d}" for k in range(12) for i in range(25)}
    kinds |= {str(9000 + i): "milk" for i in range(25)}
    rows, basket = [], 0
    for k in range(12):
        for b in range(k + 1):
            basket += 1
            rows += [(basket, 100 * k + (3 * b + i) % 25) for i in range(3)]
    rows += [(1000 + b, 9000 + b % 25) for b in range(500)]
    return pd.DataFrame(rows, columns=["basket", "product"]), kinds


def test_types_are_drawn_by_variety_in_a_basket_not_by_sales() -> None:
    lines, kinds = history()
    ranked = probe_taste.variety_kinds(lines, kinds, set(kinds))
    assert ranked == [f"type {k:02d}" for k in range(11, -1, -1)]


def test_a_type_with_few_items_in_the_model_is_not_drawn() -> None:
    lines, kinds = history()
    known = {item for item, kind in kinds.items() if kind != "type 11"} | {"1100", "1101", "1102"}
    assert "type 11" not in probe_taste.variety_kinds(lines, kinds, known)


def test_cases_are_seeded_distinct_types_and_the_control_sees_another() -> None:
    lines, kinds = history()
    cases = probe_taste.choose(lines, kinds, set(kinds), seed=1)
    assert cases == probe_taste.choose(lines, kinds, set(kinds), seed=1)
    assert cases != probe_taste.choose(lines, kinds, set(kinds), seed=2)
    assert len({case.kind for case in cases}) == 10
    for case in cases:
        assert case.kind != case.control_kind
        assert {kinds[item] for item in case.items} == {case.kind}
        assert {kinds[item] for item in case.control_items} == {case.control_kind}
        assert len(set(case.items)) == 3


def test_too_few_types_is_an_error_that_says_so() -> None:
    lines, kinds = history()
    with pytest.raises(TrainingError, match="0 product types"):
        probe_taste.choose(lines, kinds, set(), seed=1)


def test_a_rise_is_thirty_points_above_the_control_on_a_shelf_that_covers_the_event() -> None:
    def case(after: float, control: float, covered: bool = True) -> probe_taste.TasteShares:
        return probe_taste.TasteShares("soup", 0.0, after, control, covered, 1.0)

    assert case(0.35, 0.05).rose
    assert not case(0.30, 0.05).rose
    assert not case(1.0, 0.0, covered=False).rose
    assert probe_taste.judge([case(0.4, 0.0), case(0.2, 0.1)], 3.21) == {
        "before": 0.0,
        "after": 0.3,
        "control": 0.05,
        "rose": 1,
        "of": 2,
        "seconds": 3.2,
    }


# --- basket completion --------------------------------------------------------------------------------------------


def baskets(sizes: dict[int, list[int]]) -> pd.DataFrame:
    rows = [
        (household, 1000 * household + nth, 10_000 * household + 100 * nth + i)
        for household, counts in sizes.items()
        for nth, count in enumerate(counts)
        for i in range(count)
    ]
    return pd.DataFrame(rows, columns=["household", "basket", "product"])


def test_each_household_comes_once_before_any_comes_twice() -> None:
    rounds = probe_completion.rounds(baskets({1: [4, 5], 2: [3], 3: [8, 9, 10], 4: [4]}), seed=1, count=5)
    assert [sorted(case.household for case in cases) for cases in rounds] == [["1", "3", "4"], ["1", "3"]]
    assert all(case.basket == f"{case.household}001" for case in rounds[1]), "in the order in which they were bought"


def test_half_of_a_basket_is_sent_and_the_other_half_hidden() -> None:
    (cases,) = probe_completion.rounds(baskets({1: [9]}), seed=1)
    assert (len(cases[0].given), len(cases[0].hidden)) == (4, 5)
    assert not set(cases[0].given) & cases[0].hidden


def test_the_number_of_cases_is_bounded_and_seeded() -> None:
    lines = baskets({household: [6, 6] for household in range(50)})
    cases = probe_completion.rounds(lines, seed=1, count=70)
    assert [len(part) for part in cases] == [50, 20]
    assert cases == probe_completion.rounds(lines, seed=1, count=70)
    assert cases != probe_completion.rounds(lines, seed=2, count=70)


class Loop:
    """A stream and a Redis in one: a household's live list is what it bought, but the odd households never get one."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    def post_events(self, events: Sequence[bytes]) -> Posted:
        for event in (parse(data, require_received=False) for data in events):
            live = self.ranking("live", [f"hidden {event.user_id}"], BasedOn(event.occurred_ms, event.event_id))
            if int(event.user_id or 0) % 2 == 0:
                self.values[user_key("default", event.subject)] = encode_value(UserValue(rev="0" * 16, live=live))
        return Posted(len(events))

    def ranking(self, source: str, items: list[str], based_on: BasedOn | None = None) -> RecommendationList:
        return RecommendationList(
            source=source,  # type: ignore[arg-type]
            model_version="v2",
            based_on=based_on,
            written_at=0,
            items=items,
            scores=[1.0] * len(items),
        )

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        return [self.values.get(key) for key in keys]


def cases_of(households: Sequence[int]) -> list[probe_completion.BasketCase]:
    return [
        probe_completion.BasketCase(str(h), f"b{h}", ("a", "b"), frozenset({f"hidden {h}", "popular"}))
        for h in households
    ]


def test_live_batch_and_popularity_are_scored_on_the_same_baskets() -> None:
    loop = Loop()
    loop.values[batch_key("default", "v2", "u.2")] = encode_value(loop.ranking("batch", ["hidden 2", "popular"]))
    loop.values[popular_key("default", "v2")] = encode_value(loop.ranking("popular", ["x"] * 20 + ["popular"]))
    cases = [cases_of([1, 2, 4]), cases_of([2])]
    done = probe_completion.run(loop, loop, cases, shop="default", prefix="p", timeout_s=0.0, say=lambda _: None)
    figures = probe_completion.score(done)
    assert figures["cases"] == 4
    assert figures["uncovered"] == 1, "a live list that never came counts as a miss"
    assert (figures["live"], figures["batch"], figures["popularity"]) == (0.75, 0.5, 0.0)
    assert figures["recall"] == {"live": 0.375, "batch": 0.5, "popularity": 0.0}
    low, high = figures["intervals"]["live"]
    assert 0.0 <= low <= 0.75 <= high <= 1.0
    assert figures["intervals"]["popularity"] == [0.0, 0.0], "nobody's basket was hit, whoever is drawn"


def test_a_list_of_before_the_purchase_does_not_count() -> None:
    class Stale(Loop):
        def post_events(self, events: Sequence[bytes]) -> Posted:
            stale = self.ranking("live", ["hidden 2"], BasedOn(1, "old"))
            self.values[user_key("default", "u.2")] = encode_value(UserValue(rev="0" * 16, live=stale))
            return Posted(len(events))

    loop = Stale()
    with pytest.raises(StoreError, match="none of 1 live lists"):
        probe_completion.run(loop, loop, [cases_of([2])], shop="default", prefix="p", timeout_s=0.0)


# --- accounts -----------------------------------------------------------------------------------------------------


class Bucket:
    """What the loop leaves behind for an account: the lake, the rows Flink counted, the dead letters."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def list(self, prefix: str) -> "list[str]":
        return sorted(path for path in self.objects if path.startswith(prefix))

    def get(self, path: str) -> bytes:
        return self.objects[path]

    def lake(self, name: str, *records: bytes) -> None:
        body = b"".join(record + b"\n" for record in records)
        self.objects[f"events/year=2026/month=03/day=05/{name}.gz"] = gzip.compress(body)

    def table(self, path: str, rows: "list[dict[str, object]]") -> None:
        file = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows), file)
        self.objects[path] = file.getvalue()

    def served(self, *event_ids: str) -> None:
        rows: list[dict[str, object]] = [{"event_id": event_id, "late": False} for event_id in event_ids]
        self.table(f"shop=default/dataset=served/year=2026/part-{len(self.objects)}", rows)

    def dead(self, *letters: tuple[str, bytes]) -> None:
        rows: list[dict[str, object]] = [
            {"reason": reason, "shard_id": "shard-0", "sequence_number": str(n), "data": data, "detail": ""}
            for n, (reason, data) in enumerate(letters)
        ]
        self.table(f"shop=_unknown/dataset=dead-letter/year=2026/part-{len(self.objects)}", rows)


def record(event_id: str) -> bytes:
    return encode(
        Event(event_id=event_id, event_type="view", user_id="1", item_id="A", occurred_at=NOW, received_at=NOW)
    )


def good_run() -> tuple[Account, Bucket]:
    """Three events of which one is doubled, two malformed records, and somebody else's traffic beside them."""
    account, bucket = Account("r1"), Bucket()
    for n in range(3):
        account.event(f"r1-{n}")
    account.duplicate("r1-1")
    broken = [malformed_record("r1", n, NOW) for n in (0, 1)]
    for marker, _ in broken:
        account.marker(marker)
    bucket.lake("a", record("r1-0"), record("r1-1"), broken[0][1], record("other"))
    bucket.lake("b", record("r1-1"), record("r1-2"), broken[1][1])
    bucket.served("r1-0", "r1-1", "other")
    bucket.served("r1-2")
    bucket.dead(("not_json", broken[0][1]), ("unknown_type", broken[1][1]), ("not_json", b"\xff"))
    return account, bucket


def test_a_run_where_every_record_is_where_it_belongs_agrees() -> None:
    account, bucket = good_run()
    assert reconcile(account, LedgerReader(bucket, "r1").read()) == {
        "events_sent": 3,
        "events_in_lake": 3,
        "events_counted": 3,
        "lost": 0,
        "extra": 0,
        "lake_records": 6,
        "duplicates_injected": 1,
        "duplicates_dropped": 1,
        "malformed_injected": 2,
        "malformed_rejected": 2,
        "refused": 0,
        "uncertain": 0,
        "agreed": True,
    }


def test_the_ledger_grows_as_objects_arrive_and_reads_each_once() -> None:
    account, bucket = good_run()
    late = bucket.objects.pop("events/year=2026/month=03/day=05/b.gz")
    reader = LedgerReader(bucket, "r1")
    assert reconcile(account, reader.read())["lost"] == 1
    bucket.objects["events/year=2026/month=03/day=05/b.gz"] = late
    assert reconcile(account, reader.read())["agreed"]
    assert reconcile(account, reader.read())["agreed"]


def test_a_lost_event_is_seen_though_the_totals_agree() -> None:
    account, bucket = good_run()
    bucket.lake("b", record("r1-1"), record("r1-9"), malformed_record("r1", 1, NOW)[1])
    figures = reconcile(account, LedgerReader(bucket, "r1").read())
    assert (figures["events_in_lake"], figures["lost"], figures["extra"], figures["agreed"]) == (3, 1, 1, False)


def test_an_event_counted_twice_is_seen() -> None:
    account, bucket = good_run()
    bucket.served("r1-1")
    figures = reconcile(account, LedgerReader(bucket, "r1").read())
    assert (figures["duplicates_dropped"], figures["agreed"]) == (0, False)


def test_a_malformed_record_rejected_for_another_reason_is_seen() -> None:
    account, bucket = good_run()
    broken = [malformed_record("r1", n, NOW)[1] for n in (0, 1)]
    bucket.objects = {p: data for p, data in bucket.objects.items() if "dead-letter" not in p}
    bucket.dead(("not_json", broken[0]), ("bad_time", broken[1]))
    figures = reconcile(account, LedgerReader(bucket, "r1").read())
    assert (figures["malformed_rejected"], figures["agreed"]) == (1, False)


def test_a_doubling_that_nobody_injected_is_seen_unless_a_retry_may_have_made_it() -> None:
    account, bucket = good_run()
    bucket.lake("c", record("r1-0"))
    ledger = LedgerReader(bucket, "r1").read()
    assert not reconcile(account, ledger)["agreed"]
    account.uncertain = 1
    assert reconcile(account, ledger)["agreed"]


def test_objects_of_before_the_run_are_not_read() -> None:
    account, bucket = good_run()
    bucket.objects["events/year=2025/month=01/day=01/fill.gz"] = b"not even gzip"
    reader = LedgerReader(bucket, "r1", ignore=["events/year=2025/month=01/day=01/fill.gz"])
    assert reconcile(account, reader.read())["agreed"]
