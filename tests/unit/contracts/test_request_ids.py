"""Request ids carry the facts of an answer, fit the event contract, and are the same for the same answer."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ContractError
from contracts.ids import is_id
from contracts.request_ids import KINDS, explored, make_request_id, read_request_id

HOUR = 3_600_000
GOOD: dict[str, Any] = {"via": "user", "subject": "u.7", "items": ["A", "B", "C"], "now_ms": 490_000 * HOUR}
LONGEST: dict[str, Any] = GOOD | {
    "placement": "p" * 16,
    "model_version": "v" * 25,
    "variants": ["e" * 18 + ":" + "a" * 12, "f" * 18 + ":" + "b" * 12],
    "new_items": ["B", "C"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_facts_come_back(kind: str) -> None:
    made = make_request_id(kind, **LONGEST)
    facts = read_request_id(made)
    assert facts is not None and is_id(made)
    assert (facts.kind, facts.via, facts.placement, facts.model_version) == (kind, "user", "p" * 16, "v" * 25)
    assert list(facts.variants) == LONGEST["variants"] and facts.hour_ms == GOOD["now_ms"]
    assert [explored(facts, item) for item in "ABC"] == [False, True, True]


def test_the_same_answer_has_the_same_id_for_an_hour() -> None:
    first = make_request_id("live", **GOOD)
    assert make_request_id("live", **(GOOD | {"now_ms": GOOD["now_ms"] + HOUR - 1})) == first
    others = [{"now_ms": GOOD["now_ms"] + HOUR}, {"subject": "u.8"}, {"items": ["A", "C", "B"]}, {"placement": "x"}]
    assert len({first, *(make_request_id("live", **(GOOD | other)) for other in others)}) == 5


@pytest.mark.parametrize("facts", [{"placement": "p" * 90}, {"model_version": "a~b"}])
def test_facts_that_would_not_come_back_are_refused(facts: dict[str, str]) -> None:
    with pytest.raises(ContractError, match="request id"):
        make_request_id("live", **(LONGEST | facts))


@given(st.text(max_size=140) | st.from_regex(r"1[a-z][a-z][0-9a-z]*~[^~]*~[^~]*~[^~]*~[^~]*~[^~]*", fullmatch=True))
def test_any_text_can_be_read_without_harm(text: str) -> None:
    facts = read_request_id(text)
    assert facts is None or facts.kind in KINDS
