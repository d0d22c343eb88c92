"""What an experiment may change of an answer, and what it says of itself."""

from datetime import UTC, datetime
from typing import Any

import pytest

from contracts.assignment import assign
from contracts.events import to_ms
from contracts.experiments import Changes, Experiment, Experiments, Variant
from contracts.lists import Action, RecommendationList
from contracts.merchandise import Active, Chosen
from contracts.request_ids import explored, read_request_id
from serving.answers import Shelf, ShelfItem
from serving.composed import composed, newest_items
from serving.variants import sealed, treat, varied

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW_MS = to_ms(datetime(2026, 1, 2, tzinfo=UTC))


def shop(**more: Any) -> Experiments:
    arms = (Variant(name="a"), Variant(name="b", changes=Changes(popular_only=True)))
    return Experiments(experiments=(Experiment(id="e", status="running", start=START, variants=arms, **more),))


def shelf(source: Any = "live") -> Shelf:
    items = [ShelfItem("A", "A", "", None, 1.0), ShelfItem("B", "B", "", None, 0.5, new=True)]
    return Shelf("7", None, source, "redis", "v1", None, 1, ["stock"], items)


def listed(**scores: float) -> RecommendationList:
    return RecommendationList(
        source="batch", model_version="v2", based_on=None, written_at=0, items=[*scores], scores=[*scores.values()]
    )


def test_an_answer_names_its_variants_and_its_id_says_the_same() -> None:
    treatment = treat(shop(), asked="u.7", subject="u.7", placement="home", now_ms=NOW_MS)
    answer = sealed(shelf(), treatment, NOW_MS)
    expected = assign(shop().experiments[0], "u.7")
    assert expected and answer.variant == f"e:{expected.name}"
    facts = read_request_id(answer.request_id or "")
    assert facts and facts.variants == (answer.variant,)
    assert (facts.kind, facts.via, facts.placement, facts.model_version) == ("live", "user", "home", "v1")
    assert explored(facts, "B") and not explored(facts, "A")


def test_who_signed_in_gets_the_variant_of_the_user_or_keeps_the_visitors() -> None:
    by_person, by_visitor = shop(), shop(unit="visitor")
    for number in range(40):
        known = {"asked": f"a.{number}", "subject": f"u.{number}", "placement": "", "now_ms": NOW_MS}
        person, visitor = treat(by_person, **known), treat(by_visitor, **known)
        assert person.via == visitor.via == "alias"
        assert person.assigned[0].variant == assign(by_person.experiments[0], f"u.{number}")
        assert visitor.assigned[0].variant == assign(by_visitor.experiments[0], f"a.{number}")


def test_an_answer_outside_of_any_experiment_has_an_id_all_the_same() -> None:
    treatment = treat(Experiments(), asked="a.9", subject="a.9", placement="", now_ms=NOW_MS)
    answer = sealed(shelf("none"), treatment, NOW_MS)
    facts = read_request_id(answer.request_id or "")
    assert answer.variant is None and facts and (facts.kind, facts.via, facts.variants) == ("none", "visitor", ())


def test_facts_that_do_not_fit_cost_the_id_and_never_the_answer() -> None:
    treatment = treat(shop(), asked="u.7", subject="u.7", placement="p" * 120, now_ms=NOW_MS)
    answer = sealed(shelf(), treatment, NOW_MS)
    assert answer.request_id is None and answer.items == shelf().items


@pytest.mark.parametrize("changes", [Changes(rules=False), Changes(rules=False, max_per_category=0)])
def test_no_variant_shows_what_is_hidden_or_was_bought(changes: Changes) -> None:
    hidden = Chosen(frozenset("H"))
    active = Active(pinned=("P",), boosts={"B": 2.0}, hidden=hidden, caps=((hidden, 1),), per_category=3, bought_days=9)
    assert varied(active, changes) == Active(hidden=hidden, bought_days=9)
    assert varied(active, Changes()) is active


def test_a_composed_list_is_the_decayed_sum_over_what_was_done() -> None:
    actions = [Action(1, "e1", "purchase", "P"), Action(2, "e2", "view", "V")]
    similar = {"P": listed(X=1.0, Y=0.5), "V": listed(Y=1.0)}
    found = composed(actions, similar, listed(Z=4.0, X=2.0), "v2", blend=0.5)
    decay = 0.8824969  # exp(−1/8)
    taste = {"X": 3 * decay, "Y": 1 + 1.5 * decay}
    top = max(taste.values())
    expected = {"X": taste["X"] / top + 0.25, "Y": taste["Y"] / top, "Z": 0.5}
    assert found and dict(zip(found.items, found.scores, strict=True)) == pytest.approx(expected, abs=1e-4)
    assert found.items == ["X", "Y", "Z"] and found.reasons[0][0].item_id == "P"
    assert (found.source, found.model_version, found.based_on and found.based_on.event_id) == ("live", "v2", "e2")


def test_nothing_is_composed_where_nothing_similar_is_known() -> None:
    assert composed([], {}, listed(Z=1.0), "v2") is None
    assert composed([Action(1, "e", "view", "A")], {}, None, "v2") is None
    assert newest_items([Action(n, f"e{n}", "view", item) for n, item in enumerate("ABCAB")]) == ["B", "A", "C"]
