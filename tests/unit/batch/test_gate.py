"""What is worse, or of a damaged day, does not go live, and the sentence says what to do; noise does go live."""

from collections.abc import Callable
from datetime import date
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from batch.checks import DayFacts, Finding, check_days
from batch.days import day_of
from batch.evaluate import Judged, held_out_cases, judge
from batch.gate import Decision, GateRule, Incumbent, check_accepted, decide, opponent, same_model
from batch.log import Log
from batch.units import DAY_MS
from contracts.errors import SettingsError

RULE = GateRule()
PEOPLE, ITEMS, DAYS = 250, 400, 7
Longs = npt.NDArray[np.int64]


def habits(seed: int = 1) -> Longs:
    """Thirty items that each person likes, popular ones more often than others: ``(PEOPLE, 30)``."""
    rng = np.random.default_rng(seed)
    weight = 1 / np.arange(1, ITEMS + 1) ** 0.7
    return np.stack([rng.choice(ITEMS, 30, replace=False, p=weight / weight.sum()) for _ in range(PEOPLE)])


def week(damage: Callable[[Longs, Longs], Longs] = lambda item, day: item, seed: int = 2) -> Log:
    """A basket of six liked items a person and day; ``damage(item, day)`` changes the items of all actions."""
    rng, likes = np.random.default_rng(seed), habits()
    baskets = [rng.permutation(likes[who])[:6] for who in range(PEOPLE) for _ in range(DAYS)]
    day = np.tile(np.repeat(np.arange(DAYS), 6), PEOPLE)
    item = damage(np.concatenate(baskets), day).astype(np.int32)
    ms = day * DAY_MS + np.tile(np.arange(6) * 1000, PEOPLE * DAYS)
    unit = np.repeat(np.arange(PEOPLE * DAYS), 6)
    offsets = np.arange(PEOPLE + 1) * DAYS * 6
    return Log([f"u.{at}" for at in range(PEOPLE)], offsets, item, np.full(len(item), 3, np.int8), ms, unit)


def judged(log: Log, **known: float) -> Judged:
    """Models that know each of a person's likes with the given chance, and popularity, on the week's baskets."""
    cases = held_out_cases(log, 0, seed=3, most=10_000, history=0, task="completion")
    likes, rng = habits(), np.random.default_rng(5)
    popular = np.argsort(-np.bincount(likes.ravel(), minlength=ITEMS))[:20]
    lists: dict[str, Any] = {"popularity": popular}
    for model, share in known.items():
        by_person = np.where(rng.random((PEOPLE, 20)) < share, likes[:, :20], -1)
        lists[model] = by_person[[case.person for case in cases]]
    return judge(lists, cases)


LIVE = Incumbent(version="20260101T000000Z-abc", how="refit")
SAME = Incumbent(version="20260101T000000Z-abc", how="same")


def verdict(cases: Judged, incumbent: Incumbent | None = LIVE, findings: Any = (), **more: Any) -> Decision:
    return decide(cases, list(findings), RULE, incumbent=incumbent, **more)


def refused_by(decision: Decision) -> list[str]:
    names: list[str] = decision.plain(RULE)["refused_by"]
    return [] if decision.publish else names


def test_a_worse_candidate_is_refused_with_both_figures_and_what_to_do() -> None:
    decision = verdict(judged(week(), live=0.5, incumbent=0.9))
    assert refused_by(decision) == ["incumbent", "incumbent"]
    figures = decision.numbers["incumbent"]["metrics"]["HR@20"]
    for part in (f"{figures['live']:.3f}", f"{figures['incumbent']:.3f}", LIVE.version, "--accept incumbent"):
        assert part in decision.sentences[0]
    assert decision.sentences[2] == f"The live model {LIVE.version} stays."


def test_an_equal_candidate_is_published() -> None:
    cases = judged(week(), live=0.8)
    twice = Judged(
        (*cases.models, "incumbent"), np.append(cases.values, cases.values[1:], 0), cases.person, cases.began_ms
    )
    decision = verdict(twice)
    assert decision.publish
    assert decision.numbers["incumbent"]["metrics"]["HR@20"]["difference"] == 0


def test_a_better_candidate_is_published_and_the_sentence_names_both() -> None:
    decision = verdict(judged(week(), live=0.9, incumbent=0.5))
    assert decision.publish
    assert decision.sentences[0].startswith(f"Published: not worse than {LIVE.version}")


@pytest.mark.parametrize("seed", range(5))
def test_a_difference_of_the_size_of_noise_is_published(seed: int) -> None:
    """A loss on a handful of cases, drawn anew."""
    cases = judged(week(), live=0.8)
    values = np.append(cases.values, cases.values[1:], 0)
    rng = np.random.default_rng(seed)
    for model in (1, 2):
        values[model, rng.choice(len(cases), 20 + 4 * (model == 1), replace=False)] = 0
    assert verdict(Judged((*cases.models, "incumbent"), values, cases.person, cases.began_ms)).publish


def test_a_sure_but_tiny_loss_is_published() -> None:
    cases = judged(week(), live=0.8)
    values = np.append(cases.values, cases.values[1:], 0)
    lost = np.flatnonzero(values[1, :, 0])[::120][:8]
    values[1, lost] = 0
    decision = verdict(Judged((*cases.models, "incumbent"), values, cases.person, cases.began_ms))
    assert decision.numbers["incumbent"]["metrics"]["HR@20"]["high"] < 0
    assert decision.publish


def shuffled(item: Longs, day: Longs, which: int = DAYS - 1) -> Longs:
    """The items of one day dealt out anew: as popular as ever, to anybody."""
    here = np.flatnonzero(day == which)
    item = item.copy()
    item[here] = np.random.default_rng(9).permutation(item[here])
    return item


def renamed(item: Longs, day: Longs) -> Longs:
    """On the newest day every item has a number of another one."""
    return np.where(day == DAYS - 1, (item + ITEMS // 2) % ITEMS, item)


@pytest.mark.parametrize("damage", [shuffled, renamed])
def test_a_day_with_shuffled_labels_is_refused_by_its_name(damage: Callable[[Longs, Longs], Longs]) -> None:
    """Both models suffer alike, so comparing them could not show it."""
    decision = verdict(judged(week(damage), live=0.8), SAME)
    assert refused_by(decision) == [f"labels:{day_of(DAYS - 1)}"]
    assert f"{day_of(DAYS - 1):%A} {day_of(DAYS - 1)}" in decision.sentences[0]
    assert f"--accept labels:{day_of(DAYS - 1)}" in decision.sentences[0]
    assert decision.sentences[1] == f"The live model {SAME.version} stays."


def test_a_day_that_the_live_model_was_trained_on_is_not_held_against_the_next_one() -> None:
    damaged = judged(week(lambda item, day: shuffled(item, day, 2)), live=0.8)
    assert not verdict(damaged, SAME).publish
    assert verdict(damaged, SAME, judge_from=day_of(3)).publish


def test_a_week_without_damage_has_no_odd_day() -> None:
    for seed in range(5):
        assert verdict(judged(week(seed=seed), live=0.8), SAME).publish


def test_a_holiday_on_which_popularity_suffers_as_well_is_no_damage() -> None:
    """Every second item wanted is one that nobody ever wanted."""

    def holiday(item: Longs, day: Longs) -> Longs:
        new = (day == DAYS - 1) & (np.arange(len(item)) % 3 == 0)
        return np.where(new, ITEMS + item, item)

    assert verdict(judged(week(holiday), live=0.8), SAME).publish


def test_where_every_held_out_day_is_damaged_the_recorded_lead_shows_it() -> None:
    good = judged(week(), live=0.8)
    recorded = Incumbent(version="v1", how="same", recorded=good.means(), task="completion")
    everything = judged(week(lambda item, day: np.random.default_rng(1).permutation(item)), live=0.8)
    assert "record" in refused_by(verdict(everything, recorded, task="completion"))
    assert verdict(good, recorded, task="completion").publish


def test_one_held_out_day_alone_is_compared_with_the_recorded_lead() -> None:
    recorded = Incumbent(version="v1", how="same", recorded=judged(week(), live=0.8).means())
    only = judged(week(shuffled), live=0.8)
    only = only.only(only.day == DAYS - 1)
    assert f"labels:{day_of(DAYS - 1)}" in refused_by(verdict(only, recorded))


def test_a_record_of_another_question_is_not_compared() -> None:
    recorded = {"live": {"HR@20": 1.0}, "popularity": {"HR@20": 0.0}}
    other = Incumbent(version="v1", how="same", recorded=recorded, task="next")
    assert verdict(judged(week(), live=0.6), other, task="completion").publish


def test_a_candidate_that_is_not_better_than_popularity_is_refused_also_as_the_first() -> None:
    for incumbent in (None, SAME):
        decision = verdict(judged(week(), live=0.0), incumbent)
        assert refused_by(decision) == ["popularity"]
        assert "--accept popularity" in decision.sentences[0]


def test_the_first_model_needs_only_to_be_better_than_popularity() -> None:
    odd = Finding("volume", date(2026, 1, 1), 1, "2", "refuse", "Half is missing.")
    decision = verdict(judged(week(shuffled), live=0.8), None, [odd])
    assert decision.publish
    assert any(said.endswith("Half is missing.") for said in decision.sentences)


def test_with_too_few_cases_clean_data_suffice_and_it_is_said() -> None:
    few = judged(week(), live=0.0, incumbent=0.9)
    few = few.only(np.arange(len(few)) < 150)
    decision = verdict(few)
    assert decision.publish
    assert "only 150 cases of at least 200" in decision.sentences[0]
    odd = Finding("volume", date(2026, 1, 1), 1, "2", "refuse", "Half is missing.")
    for incumbent in (LIVE, None):
        assert refused_by(verdict(few, incumbent, [odd])) == ["volume:2026-01-01"]


def test_half_of_the_events_and_a_bot_are_refused_however_good_the_model_looks() -> None:
    days = [DayFacts(day_of(n), {"actions": 4000 + n % 7, "units": 400}) for n in range(40)]
    good, now = judged(week(), live=0.9, incumbent=0.5), 42 * DAY_MS
    half = check_days([*days[:-1], DayFacts(day_of(39), {"actions": 2000, "units": 200})], now)
    bot = check_days([*days[:-1], DayFacts(day_of(39), {**days[-1].counts, "bots": 1, "bot_actions": 100_000})], now)
    assert refused_by(verdict(good, findings=half)) == [f"volume:{day_of(39)}"]
    assert refused_by(verdict(good, findings=bot)) == [f"bots:{day_of(39)}"]
    assert verdict(good, findings=check_days(days, now)).publish


@pytest.mark.parametrize("name", ["labels", f"labels:{day_of(DAYS - 1)}"])
def test_what_is_accepted_no_longer_refuses_and_is_still_said(name: str) -> None:
    decision = verdict(judged(week(shuffled), live=0.8), SAME, accepted=[name])
    assert decision.publish
    assert any(said.startswith("Accepted by --accept: On ") for said in decision.sentences)
    assert decision.plain(RULE)["accepted"] == [name]


def test_accepting_another_day_or_check_changes_nothing() -> None:
    damaged = judged(week(shuffled), live=0.8)
    assert not verdict(damaged, SAME, accepted=["labels:1970-01-02", "volume"]).publish


def test_accepting_a_family_accepts_its_event_types() -> None:
    odd = Finding("volume.purchase", date(2026, 1, 1), 0, "9", "refuse", "No purchases.")
    assert verdict(judged(week(), live=0.8), SAME, [odd], accepted=["volume"]).publish


def test_a_misspelt_acceptance_is_an_error_that_lists_the_checks() -> None:
    check_accepted(["labels:2026-01-01", "volume", "bots"])
    for wrong in ("label", "labels:monday", "volume.wave"):
        with pytest.raises(SettingsError, match="unit_size"):
            check_accepted([wrong])


def test_warnings_are_said_and_do_not_refuse() -> None:
    odd = Finding("stale", None, 3, "0", "warn", "Nothing came for three days.")
    decision = verdict(judged(week(), live=0.8), SAME, [odd])
    assert decision.publish
    assert decision.sentences[-1] == "Nothing came for three days."


@pytest.mark.parametrize(
    ("window_end", "same", "how"),
    [
        (3.0, False, "snapshot"),
        (3.0, True, "snapshot"),
        (3.4, False, "snapshot"),
        (5.0, False, "refit"),
        (5.0, True, "same"),
    ],
)
def test_the_live_model_is_never_scored_on_days_it_has_seen(window_end: float, same: bool, how: str) -> None:
    """The cut is day 3; there are 100 cases a day from then on."""
    began = np.repeat(np.arange(3, 10) * DAY_MS, 100) + DAY_MS // 2
    end = int(window_end * DAY_MS)
    found = opponent("v1", end, 3 * DAY_MS, began.tolist(), same_recipe=same, rule=RULE)
    assert (found.how, found.since_ms) == (how, end if how == "snapshot" else 0)


def test_another_number_of_any_formula_makes_another_model() -> None:
    mine = {"moments": {"tau": 2.0}, "window": {"half_life_d": 0.0}, "solve": {}, "lists": {}, "model": {"decay": 4.0}}
    assert same_model(mine, {**mine, "checks": {"weeks": 4}})
    assert not same_model(mine, {**mine, "model": {"decay": 5.0}})


def test_with_too_few_cases_after_its_window_the_live_models_recipe_is_trained_instead() -> None:
    began = [4 * DAY_MS] * 199
    assert opponent("v1", 3 * DAY_MS, 3 * DAY_MS, began, same_recipe=False, rule=RULE).how == "refit"


def test_a_snapshot_is_compared_on_the_cases_after_its_window_only() -> None:
    """It knows nothing of the days it has not seen, and everything of those it has."""
    cases = judged(week(), live=0.5, incumbent=0.0)
    cases.values[cases.models.index("incumbent"), cases.began_ms < 3 * DAY_MS] = 1.0
    decision = verdict(cases, Incumbent(version="v1", how="snapshot", since_ms=3 * DAY_MS))
    assert decision.publish
    assert decision.numbers["incumbent"]["cases"] == PEOPLE * 4


def test_the_decision_is_the_same_each_time_and_fits_into_the_manifest() -> None:
    cases = judged(week(shuffled), live=0.8, incumbent=0.7)
    first, second = (verdict(cases).plain(RULE) for _ in range(2))
    assert first == second
    assert msgspec.json.decode(msgspec.json.encode(first))["rule"]["least_cases"] == RULE.least_cases
