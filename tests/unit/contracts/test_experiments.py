"""Experiments: the document refuses what could not be told apart later; assignment is uniform, sticky, independent."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from scipy import stats

from contracts.assignment import assign, assignments, label, merged, unit_hash
from contracts.errors import ContractError
from contracts.experiments import (
    Changes,
    Experiment,
    Experiments,
    Variant,
    check_change,
    decode_experiment,
    decode_experiments,
    encode_experiments,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 1, 10, tzinfo=UTC)
PEOPLE = [f"u.{number}" for number in range(20_000)]


def experiment(name: str = "e", **more: Any) -> Experiment:
    arms = (Variant(name="a"), Variant(name="b", changes=Changes(popular_only=True)))
    return Experiment(**({"id": name, "status": "running", "start": START, "variants": arms} | more))


def document(*experiments: Experiment) -> bytes:
    return encode_experiments(Experiments(experiments=experiments))


def test_hashes_are_uniform() -> None:
    values = [unit_hash("variant", "e", person) for person in PEOPLE]
    assert stats.kstest(values, "uniform").pvalue > 0.01
    assert min(values) >= 0 and max(values) < 1


def test_experiments_are_independent_of_each_other_and_of_layers() -> None:
    for one, other in pairwise([("variant", "e"), ("variant", "f"), ("layer", "f"), ("layer", "e"), ("variant", "e")]):
        table = np.zeros((2, 2))
        for person in PEOPLE:
            table[int(unit_hash(*one, person) < 0.5), int(unit_hash(*other, person) < 0.5)] += 1
        assert stats.chi2_contingency(table).pvalue > 0.005


def test_shares_and_weights_are_kept() -> None:
    weights = (Variant(name="a", weight=1), Variant(name="b", weight=2), Variant(name="c", weight=1))
    chosen = [assign(experiment(share=0.4, variants=weights), person) for person in PEOPLE]
    names = [variant.name for variant in chosen if variant]
    assert stats.binomtest(len(names), len(PEOPLE), 0.4).pvalue > 0.01
    expected = [len(names) * part for part in (0.25, 0.5, 0.25)]
    assert stats.chisquare([names.count(name) for name in "abc"], expected).pvalue > 0.01


def test_a_variant_sticks_whatever_else_changes() -> None:
    before, after = experiment(share=0.3), experiment(share=0.6, status="stopped", end=NOW)
    kept = [person for person in PEOPLE[:2000] if assign(before, person)]
    assert kept and all(assign(before, person) == assign(after, person) for person in kept)


def test_another_salt_deals_anew() -> None:
    same = sum(assign(experiment(), p) == assign(experiment(salt="two"), p) for p in PEOPLE)
    assert stats.binomtest(same, len(PEOPLE), 0.5).pvalue > 0.01


def test_a_layer_excludes() -> None:
    one, other = experiment("one", layer="home", share=0.5), experiment("other", layer="home", share=0.5, offset=0.5)
    inside = [(assign(one, person) is not None) + (assign(other, person) is not None) for person in PEOPLE]
    assert set(inside) == {1}


def test_the_unit_decides_whose_id_is_hashed() -> None:
    person, visitor = experiment("p"), experiment("v", unit="visitor")
    for number in range(50):
        ids = {"person": f"u.{number}", "visitor": f"a.{number}"}
        found = assignments([person, visitor], NOW, **ids)
        assert [each.variant for each in found] == [assign(person, f"u.{number}"), assign(visitor, f"a.{number}")]


def test_only_active_experiments_of_the_place_take_part() -> None:
    off = [
        experiment("d", status="draft"),
        experiment("s", status="stopped"),
        experiment("x", start=NOW.replace(day=11)),
        experiment("y", end=NOW),
        experiment("z", placements=("cart",)),
    ]
    assert assignments(off, NOW, person="u.1", visitor="u.1", placement="home") == []
    found = assignments([*off, experiment("on")], NOW, person="u.1", visitor="u.1", placement="cart")
    assert [each.experiment.id for each in found] == ["on", "z"]
    assert label(found) == ",".join(each.label for each in found)


def test_changes_are_merged_and_the_first_wins() -> None:
    arms = [Changes(rules=False), Changes(rules=True, max_per_category=2)]
    pairs = [
        experiment(name, variants=(Variant(name="a", changes=changes),))
        for name, changes in zip("xy", arms, strict=True)
    ]
    found = assignments(pairs, NOW, person="u.1", visitor="u.1")
    assert merged(found) == Changes(rules=False, max_per_category=2)


def test_a_document_comes_back_as_it_was() -> None:
    text = document(experiment("one", layer="l", share=0.5, baseline=0.1), experiment("two", status="draft"))
    assert encode_experiments(decode_experiments(text)) == text


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"id": "A B"}, "id of an experiment is 'A B'; expected 1 to 18"),
        ({"variants": []}, "has 0 variants; expected two or more"),
        ({"variants": [{"name": "a"}, {"name": "a"}]}, "expected each name once"),
        ({"variants": [{"name": "a"}, {"name": "b", "weight": 0}]}, "weight"),
        ({"variants": [{"name": "a"}, {"name": "b", "changes": {"popular": True}}]}, "unknown field `popular`"),
        (
            {"variants": [{"name": "a"}, {"name": "b", "changes": {"popular_only": True, "model_version": "v"}}]},
            "one of the two",
        ),
        ({"start": "2026-01-01T00:00:00"}, "timezone"),
        ({"end": "2025-01-01T00:00:00Z"}, "expected after its start"),
        ({"share": 0}, "share"),
        ({"offset": 0.5}, "at most 1 together"),
        ({"offset": 0.5, "share": 0.5}, "offset only within a layer"),
        ({"metric": "happiness"}, "metric"),
        ({"status": "paused"}, "status"),
        ({"colour": "red"}, "unknown field `colour`"),
    ],
)
def test_what_cannot_be_meant_is_refused(change: dict[str, Any], complaint: str) -> None:
    good: dict[str, Any] = {"id": "e", "start": "2026-01-01T00:00:00Z", "variants": [{"name": "a"}, {"name": "b"}]}
    decode_experiment(msgspec.json.encode(good))
    with pytest.raises(ContractError, match=complaint):
        decode_experiment(msgspec.json.encode(good | change))


def test_experiments_that_disturb_each_other_are_refused() -> None:
    rules = (Variant(name="a"), Variant(name="b", changes=Changes(rules=False)))
    decode_experiments(document(experiment("one"), experiment("two", variants=rules)))
    with pytest.raises(ContractError, match="both change popular_only"):
        decode_experiments(document(experiment("one"), experiment("two")))
    with pytest.raises(ContractError, match="overlap in layer 'l'"):
        decode_experiments(document(experiment("one", layer="l"), experiment("two", layer="l", offset=0.5, share=0.5)))
    with pytest.raises(ContractError, match="at most 2 layers"):
        plain = (Variant(name="a"), Variant(name="b"))
        decode_experiments(document(*(experiment(name, variants=plain) for name in ("one", "two", "three"))))
    with pytest.raises(ContractError, match="each id once"):
        decode_experiments(document(experiment("one"), experiment("one", status="draft")))
    after = experiment("two", start=NOW)
    decode_experiments(document(experiment("one", end=NOW), after))


def test_an_experiment_that_ran_is_not_changed() -> None:
    running = experiment()
    check_change(experiment(status="draft"), experiment(share=0.5))
    check_change(running, experiment(status="stopped", end=NOW, description="done"))
    with pytest.raises(ContractError, match="share of experiment 'e' would change while it is running"):
        check_change(running, experiment(share=0.5))
    with pytest.raises(ContractError, match="from stopped to running"):
        check_change(experiment(status="stopped"), running)
