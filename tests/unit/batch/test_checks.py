"""A damaged day is found and told in a sentence one can act on; ordinary days, weekends and a day under way are not."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from batch.bots import find_bots
from batch.checks import CHECKS, CheckRule, DayFacts, Finding, check_days, checks_report, facts_of
from batch.days import midnight_ms
from batch.log import Log

FIRST = date(2026, 1, 1)
DAY = timedelta(days=1)


def shop(days: int = 60, mean: float = 4000, noise: float = 0.07, seed: int = 1) -> list[DayFacts]:
    """A shop with twice as much on weekends, nine actions a unit, some bad records, and a little of everything."""
    rng = np.random.default_rng(seed)
    facts = []
    for number in range(days):
        day = FIRST + number * DAY
        level = mean * (2.0 if day.weekday() >= 5 else 1.0) * np.exp(rng.normal(0, noise))
        units = int(rng.poisson(level / 9))
        actions = int(units * 9 * rng.normal(1, 0.02))
        counts = {
            "actions": actions,
            "units": units,
            "duplicates": actions // 200,
            "malformed.not_json": actions // 500,
        }
        types = {"view": actions * 9 // 10, "purchase": actions // 10}
        top = {"top_item": ("tea", actions // 50), "top_person": ("u.7", actions // 100)}
        facts.append(DayFacts(day, counts | {"cut": 0}, types, top))
    return facts


def found(facts: Sequence[DayFacts], *, after: float = 1.5, judge_from: date | None = None) -> list[Finding]:
    """Findings ``after`` days from the beginning of the newest day."""
    now = midnight_ms(facts[-1].day) + int(after * 24 * 3600 * 1000)
    return check_days(facts, now, judge_from=judge_from)


def newest(facts: list[DayFacts], **counts: Any) -> list[DayFacts]:
    """The same days with other counts of the newest."""
    return [*facts[:-1], replace(facts[-1], counts={**facts[-1].counts, **counts})]


def halved(fact: DayFacts) -> DayFacts:
    half = {name: count // 2 for name, count in fact.counts.items()}
    return replace(fact, counts=half, types={name: count // 2 for name, count in fact.types.items()})


@pytest.mark.parametrize("seed", range(7))
def test_half_of_the_events_gone_is_refused_with_the_day_the_numbers_and_what_to_do(seed: int) -> None:
    facts = shop(60 - seed, seed=seed)
    (finding,) = found([*facts[:-1], halved(facts[-1])])
    day = facts[-1].day
    assert (finding.check, finding.day, finding.severity) == ("volume", day, "refuse")
    assert finding.value == facts[-1].counts["actions"] // 2
    for part in (f"{day:%A} {day}", f"{finding.value:,.0f} actions", "expected about", f"--accept volume:{day}"):
        assert part in finding.sentence
    assert f"events/year={day:%Y}/month={day:%m}/day={day:%d}/" in finding.sentence


def test_single_events_lost_from_every_unit_are_seen_where_the_total_does_not_show_it() -> None:
    """A day twice as busy as usual loses half: as many actions as ever, in units half as long."""
    facts = shop()
    counts = facts[-1].counts
    (finding,) = found(newest(facts, units=counts["units"] * 2))
    assert (finding.check, finding.severity) == ("unit_size", "refuse")
    assert f"--accept unit_size:{facts[-1].day}" in finding.sentence


def test_a_year_of_ordinary_days_and_weekends_is_without_a_finding() -> None:
    assert found(shop(365), judge_from=FIRST) == []


def test_the_day_under_way_is_not_judged_and_is_once_it_is_over() -> None:
    facts = shop()
    partial = [*facts[:-1], halved(facts[-1])]
    assert found(partial, after=0.5) == []
    assert found(partial, after=1.01) == [], "the buffers before the lake need half an hour"
    assert len(found(partial, after=1.03)) == 1


def test_a_bot_of_the_day_under_way_is_found_at_once() -> None:
    (finding,) = found(newest(shop(), bots=1, bot_actions=100_000), after=0.5)
    assert (finding.check, finding.severity) == ("bots", "refuse")


def test_few_days_of_history_are_no_judgement() -> None:
    facts = shop(6)
    assert found([*facts[:-1], halved(facts[-1])]) == []


def test_with_two_weeks_of_history_the_days_before_are_the_reference() -> None:
    facts = shop(14, mean=400)
    gone = replace(facts[-1], counts={**facts[-1].counts, "actions": 30, "units": 3})
    assert "volume" in {finding.check for finding in found([*facts[:-1], gone])}


def test_a_tiny_shop_is_not_judged_by_its_noise() -> None:
    facts = shop(60, mean=60)
    assert found([*facts[:-1], halved(facts[-1])]) == []


def test_a_day_without_events_inside_the_window_is_refused() -> None:
    facts = shop()
    day = facts[-3].day
    (finding,) = found([fact for fact in facts if fact.day != day])
    assert (finding.name, finding.value, finding.severity) == (f"volume:{day}", 0, "refuse")


def test_a_shop_that_is_always_closed_on_sundays_may_be() -> None:
    open_days = [fact for fact in shop() if fact.day.weekday() != 6]
    assert found(open_days) == []


def test_days_after_the_newest_action_are_one_warning() -> None:
    (finding,) = found(shop(), after=4.5)
    assert (finding.check, finding.value, finding.severity) == ("stale", 3, "warn")


def test_what_the_live_model_was_trained_on_is_not_judged_again() -> None:
    facts = shop()
    facts[-3] = halved(facts[-3])
    assert [finding.day for finding in found(facts)] == [facts[-3].day]
    assert found(facts, judge_from=facts[-2].day) == []


def test_one_event_type_gone_is_found_though_it_is_a_tenth_of_all() -> None:
    facts = shop()
    types = {"view": facts[-1].types["view"], "purchase": 0}
    (finding,) = found([*facts[:-1], replace(facts[-1], types=types)])
    assert (finding.check, finding.severity) == ("volume.purchase", "refuse")


def test_a_busy_day_is_only_a_warning() -> None:
    facts = shop()
    busy = {name: count * 3 for name, count in facts[-1].counts.items()}
    (finding,) = found([*facts[:-1], replace(facts[-1], counts=busy)])
    assert (finding.check, finding.severity) == ("volume", "warn")


def test_malformed_records_warn_then_refuse_and_name_the_commonest_reason() -> None:
    facts = shop()
    actions = facts[-1].counts["actions"]
    (some,) = found(newest(facts, **{"malformed.bad_time": actions // 25}))
    (many,) = found(newest(facts, **{"malformed.bad_time": actions // 4}))
    assert (some.severity, many.severity) == ("warn", "refuse")
    assert "'bad_time'" in many.sentence


def test_a_shop_that_always_had_bad_records_is_not_told_every_day() -> None:
    facts = [replace(f, counts={**f.counts, "malformed.bad_time": f.counts["actions"] // 20}) for f in shop()]
    assert found(facts) == []


def test_records_that_came_too_late_are_refused_and_repeats_only_warned_of() -> None:
    facts = shop()
    actions = facts[-1].counts["actions"]
    late = found(newest(facts, too_late=actions // 4))
    again = found(newest(facts, duplicates=actions))
    assert [(f.check, f.severity) for f in (*late, *again)] == [("too_late", "refuse"), ("duplicates", "warn")]


def test_a_bot_with_1e5_events_is_refused_and_a_few_crawlers_are_a_warning() -> None:
    counts = find_bots(np.zeros(100_000, np.int64), np.arange(100_000) * 864).counts(0)
    (one,) = found(newest(shop(), **counts))
    assert (one.check, one.value, one.severity) == ("bots", 100_000, "refuse")
    assert "1 bot-like visitor did 100,000 actions" in one.sentence
    (few,) = found(newest(shop(mean=20_000), bots=2, bot_actions=2_400))
    assert few.severity == "warn"


@pytest.mark.parametrize("check", ["top_item", "top_person"])
def test_one_item_or_person_taking_most_of_a_day_is_found_by_its_name(check: str) -> None:
    facts = shop()
    actions = facts[-1].counts["actions"]
    for share, severity in ((0.3, "warn"), (0.6, "refuse")):
        top = {**facts[-1].top, check: ("x-1", int(actions * share))}
        (finding,) = found([*facts[:-1], replace(facts[-1], top=top)])
        assert (finding.check, finding.severity) == (check, severity)
        assert "'x-1'" in finding.sentence


def test_thresholds_come_from_the_rule() -> None:
    facts = shop()
    now = midnight_ms(facts[-1].day) + 2 * 24 * 3600 * 1000
    assert check_days([*facts[:-1], halved(facts[-1])], now, CheckRule(least_share=0.3)) == []


def test_a_lake_without_an_action_has_nothing_to_judge() -> None:
    assert check_days([], 0) == check_days([DayFacts(FIRST, {"actions": 0})], 0) == []


def test_the_facts_are_those_of_the_log() -> None:
    """Person u.1 looks at tea on two days, u.2 buys milk twice and tea once on the second."""
    kinds, items = np.array([0, 0, 3, 3, 3], np.int8), np.array([1, 1, 0, 1, 0], np.int32)
    ms = midnight_ms(FIRST) + np.array([0, 1, 1, 1, 1]) * 24 * 3600 * 1000 + np.arange(5)
    log = Log(["u.1", "u.2"], np.array([0, 2, 5]), items, kinds, ms, np.arange(5))
    counts = {FIRST: {"actions": 1}, FIRST + DAY: {"actions": 4}, FIRST + 2 * DAY: {"too_late": 1}}
    first, second, third = facts_of(counts, log, ["milk", "tea"])
    assert (first.day, first.types["view"], first.top["top_item"]) == (FIRST, 1, ("tea", 1))
    assert second.types == {"view": 1, "click": 0, "add_to_cart": 0, "purchase": 3}
    assert second.top == {"top_item": second.top["top_item"], "top_person": ("u.2", 3)}
    assert second.top["top_item"][1] == 2
    assert (third.counts, third.top) == ({"too_late": 1}, {})
    assert [fact.day for fact in facts_of(counts, log, ["milk", "tea"], newest=2)] == [FIRST + DAY, FIRST + 2 * DAY]


def test_the_manifest_names_every_check_also_those_without_a_finding() -> None:
    rows = checks_report(found(newest(shop(), bots=1, bot_actions=100_000)))["checks"]
    assert [row["check"] for row in rows] == list(CHECKS)
    assert {row["check"]: row["level"] for row in rows}["bots"] == "refuse"
    assert sum(row["level"] == "ok" for row in rows) == len(CHECKS) - 1


def test_days_are_utc_days() -> None:
    assert midnight_ms(FIRST) == datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000
