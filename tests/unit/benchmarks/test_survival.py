"""The parts of the survival rounds that need no stack: traffic, recomputation, accounts, and going on after a stop."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from benchmarks.survival import main
from benchmarks.survival_expected import differences, expect
from benchmarks.survival_rounds import Outcome, doubled_in, unsettled
from benchmarks.survival_state import Progress
from benchmarks.survival_traffic import Mix, Traffic
from contracts.errors import InvalidEvent, LocalStackError
from contracts.events import Event, is_late, parse
from contracts.features import USER_FEATURES
from contracts.lists import Action, UserValue
from local.probe_accounts import Ledger
from local.replay import Account

NOW = datetime(2026, 5, 1, 12, 2, tzinfo=UTC)


def event(event_id: str, kind: str, *, age_s: int = 0, **fields: object) -> Event:
    occurred = NOW - timedelta(seconds=age_s)
    plain = {"event_id": event_id, "event_type": kind, "user_id": "ada", "item_id": "A"}
    return Event(occurred_at=occurred, received_at=NOW, **plain | fields)  # type: ignore[arg-type]


def stored(values: dict[int, list[float]], *actions: Action) -> UserValue:
    return UserValue(rev="0" * 16, actions=list(actions), buckets={str(k): v for k, v in values.items()})


class TestTraffic:
    def test_a_run_has_as_many_duplicates_and_broken_records_as_the_mix_says(self) -> None:
        traffic = Traffic("r1", "shop", Mix(events=2000, duplicates=0.2, poison=0.05), seed=1)
        records = [record for _ in range(20) for record in traffic.take(100, NOW)]
        kinds = Counter(record.kind for record in records)
        assert kinds["event"] == len({r.name for r in records if r.kind == "event"}) == 2000
        assert 330 < kinds["duplicate"] < 470
        assert 70 < kinds["malformed"] < 130
        assert traffic.take(100, NOW) == []

    def test_duplicates_are_the_same_bytes_and_every_other_record_is_valid_or_broken_as_it_says(self) -> None:
        records = Traffic("r1", "shop", Mix(events=300, duplicates=0.5, poison=0.5), seed=2).take(300, NOW)
        sent = {record.name: record.data for record in records if record.kind == "event"}
        for record in records:
            if record.kind == "malformed":
                with pytest.raises(InvalidEvent):
                    parse(record.data)
            else:
                assert record.data == sent[record.name]
                assert parse(record.data).shop_id == "shop"

    def test_some_events_are_late_and_all_kinds_of_behaviour_occur(self) -> None:
        traffic = Traffic("r1", "shop", Mix(events=3000), seed=3)
        traffic.take(3000, NOW)
        late = sum(is_late(each.occurred_ms, each.received_ms) for each in traffic.events)
        assert 10 < late < 60
        assert len({each.event_type for each in traffic.events}) == 6

    def test_everybody_acts_once_more_under_new_event_ids(self) -> None:
        traffic = Traffic("r1", "shop", Mix(events=300), seed=4)
        traffic.take(300, NOW)
        again = traffic.once_more(NOW)
        assert {each.subject for each in again} == {each.subject for each in traffic.events}
        assert len({each.event_id for each in traffic.all_events}) == len(traffic.all_events) == 300 + len(again)


class TestRecomputation:
    def test_sums_and_times_of_a_bucket(self) -> None:
        events = [
            event("1", "view", age_s=60),
            event("2", "purchase", age_s=30, price=2.5, quantity=2),
            event("3", "remove_from_cart"),
        ]
        ((start, values),) = expect(events).users["u.ada"].items()
        named = dict(zip((feature.name for feature in USER_FEATURES), values, strict=True))
        assert start == int(NOW.timestamp()) - 120
        assert named["views"] == named["purchases"] == named["cart_removals"] == 1
        assert named["spend"] == 5.0
        assert (named["first"], named["last"]) == (240_000, 120_001)

    def test_what_is_late_or_comes_again_changes_nothing(self) -> None:
        once = [event("1", "view")]
        assert expect([*once, *once, event("2", "view", age_s=601)]) == expect(once)

    def test_agreement_is_silent_and_each_difference_is_told(self) -> None:
        expected = expect([event("1", "view")])
        right = stored(expected.users["u.ada"], *expected.actions["u.ada"])
        assert differences(expected, {"u.ada": right}, expected.items, 40) == []
        assert len(differences(expected, {"u.ada": None}, expected.items, 40)) == 2
        assert len(differences(expected, {"u.ada": right}, {}, 40)) == 1
        (start, values), *_ = expected.items["A"].items()
        off = {"A": {start: [values[0] + 1, *values[1:]]}}
        assert len(differences(expected, {"u.ada": right}, off, 40)) == 1

    def test_a_bucket_that_should_not_be_there_is_told(self) -> None:
        expected = expect([event("1", "view")])
        value = stored({**expected.users["u.ada"], 0: [1.0] * len(USER_FEATURES)}, *expected.actions["u.ada"])
        assert len(differences(expected, {"u.ada": value}, expected.items, 40)) == 1


class TestAccounts:
    account = Account("r1", events={"r1-1", "r1-2"}, malformed={"m"})

    def whole(self) -> Ledger:
        places = {("s", "1"), ("s", "2")}
        twice = Counter({"m": 2})
        both = Counter({"r1-1": 1, "r1-2": 1})
        return Ledger(lake=both + both, counted=Counter(both), lake_malformed=twice, rejected=twice, places=places)

    def test_equal_sets_settle_whatever_came_twice(self) -> None:
        assert unsettled(self.account, self.whole()) == []
        assert doubled_in(self.whole()) == 0

    def test_a_lost_event_a_stranger_and_a_missing_dead_letter_are_told(self) -> None:
        ledger = self.whole()
        del ledger.counted["r1-2"]
        ledger.lake["r1-9"] += 1
        ledger.rejected = Counter({"m": 1})
        told = unsettled(self.account, ledger)
        assert len(told) == 2
        assert "1 were never sent ['r1-9']" in told[0]
        assert "1 of 2 are missing ['r1-2']" in told[1]
        ledger = self.whole()
        ledger.rejected = Counter({"m": 1})
        assert len(unsettled(self.account, ledger)) == 1

    def test_a_second_count_and_a_second_dead_letter_of_one_place_are_doubles(self) -> None:
        ledger = self.whole()
        ledger.counted["r1-1"] += 1
        ledger.places = {("s", "1")}
        assert doubled_in(ledger) == 2


class TestProgress:
    def outcome(self, name: str, number: int) -> dict[str, object]:
        counts = dict.fromkeys(("sent", "lake", "accounted", "doubled", "window_drops", "mismatches"), 0)
        return Outcome(scenario=name, round=number, recover_s=1.0, **counts).plain()

    def test_a_run_goes_on_where_it_stopped(self, tmp_path: Path) -> None:
        file = tmp_path / "cache" / "survival.json"
        Progress.begin(file, "c1", resume=False).add(self.outcome("b", 1))
        resumed = Progress.begin(file, "c1", resume=True)
        assert resumed.left(["a", "b", "c"], 1) == ["a", "c"]
        assert resumed.left(["a", "b"], 2) == ["a", "b"]

    def test_without_resume_a_run_begins_anew(self, tmp_path: Path) -> None:
        file = tmp_path / "survival.json"
        Progress.begin(file, "c1", resume=False).add(self.outcome("b", 1))
        assert Progress.begin(file, "c1", resume=False).left(["b"], 1) == ["b"]

    def test_outcomes_of_another_commit_are_not_mixed_in(self, tmp_path: Path) -> None:
        file = tmp_path / "survival.json"
        Progress.begin(file, "c1", resume=False).add(self.outcome("b", 1))
        assert Progress.begin(file, "c2", resume=True).left(["b"], 1) == ["b"]

    def test_the_first_run_on_a_machine_has_nothing_to_go_on_with(self, tmp_path: Path) -> None:
        assert Progress.begin(tmp_path / "none.json", "c1", resume=True).rounds == []

    def test_what_is_no_such_file_is_left_alone(self, tmp_path: Path) -> None:
        file = tmp_path / "survival.json"
        file.write_text("[]")
        with pytest.raises(LocalStackError, match="no run to resume"):
            Progress.begin(file, "c1", resume=True)


def test_an_unknown_scenario_is_refused_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--only", "flood"])
    assert "taskmanager" in capsys.readouterr().err
