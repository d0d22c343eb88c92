"""Rules are read strictly, hold when and where they say, and whatever is returned keeps every one of them."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InvalidRules
from contracts.merchandise import Active, activate, apply, dry_run
from contracts.rules import (
    KINDS,
    NO_RULES,
    Boost,
    BoughtWithin,
    Bury,
    Cap,
    Hide,
    PerCategory,
    Pin,
    Rule,
    Rules,
    decode_rules,
    encode_rules,
)

ITEMS = [f"{category}{n}" for category in "abc-" for n in range(5)]


def category(item: str) -> str:
    return "" if item[0] == "-" else item[0]


def everything(_: str) -> bool:
    return True


NAMES = st.lists(st.sampled_from(ITEMS), max_size=4, unique=True)
CATEGORIES = st.lists(st.sampled_from("abc"), max_size=2, unique=True)
IDS = st.uuids().map(str)
RULES = st.lists(
    st.one_of(
        st.builds(Pin, id=IDS, items=st.lists(st.sampled_from(ITEMS), min_size=1, max_size=4)),
        st.builds(Boost, id=IDS, items=NAMES, categories=CATEGORIES, factor=st.floats(1.1, 20)),
        st.builds(Bury, id=IDS, items=NAMES, categories=CATEGORIES),
        st.builds(Hide, id=IDS, items=NAMES, categories=CATEGORIES),
        st.builds(Cap, id=IDS, items=NAMES, categories=CATEGORIES, most=st.integers(0, 3)),
        st.builds(PerCategory, id=IDS, most=st.integers(1, 4)),
        st.builds(BoughtWithin, id=IDS, days=st.integers(0, 99)),
    ),
    max_size=6,
).map(lambda rules: Rules(rules=rules))
LISTS = st.permutations(ITEMS).flatmap(lambda items: st.integers(0, len(items)).map(lambda n: items[:n]))


def broken(rule: Rule, shown: list[str]) -> bool:
    """Whether a list does not keep a rule."""
    if isinstance(rule, PerCategory):
        return any(count > rule.most for name, count in Counter(map(category, shown)).items() if name)
    if isinstance(rule, Hide | Cap):
        most = rule.most if isinstance(rule, Cap) else 0
        return sum(item in rule.items or category(item) in rule.categories for item in shown) > most
    return False


@given(RULES, LISTS, st.integers(1, 20), st.sets(st.sampled_from(ITEMS)))
def test_whatever_the_rules_what_is_shown_keeps_them_all(rules: Rules, ids: list[str], n: int, never: set[str]) -> None:
    active = activate(rules, "home", 0)
    shown = apply(active, ids, n, category, lambda item: item not in never)
    assert len(shown) == len(set(shown)) <= n
    assert not never & set(shown)
    assert set(shown) <= {*ids, *active.pinned}
    assert [rule for rule in rules.rules if broken(rule, shown)] == []
    pinned = [item for item in active.pinned if item in shown]
    assert shown[: len(pinned)] == pinned
    rest = [active.buried.holds(item, category(item)) for item in shown[len(pinned) :]]
    assert rest == sorted(rest)


@given(LISTS, st.integers(1, 20))
def test_without_rules_a_list_stays_as_it_is(ids: list[str], n: int) -> None:
    assert apply(activate(NO_RULES, "home", 0), ids, n, category, everything) == ids[:n]


@given(RULES)
def test_rules_read_back_as_they_were(rules: Rules) -> None:
    sensible = Rules(rules=[r for r in rules.rules if not hasattr(r, "categories") or r.items or r.categories])  # type: ignore[union-attr]
    assert decode_rules(encode_rules(sensible)) == sensible


def test_a_boost_divides_the_place() -> None:
    ids = [f"-{n}" for n in range(10)]
    assert apply(Active(boosts={"-9": 6.0}), ids, 4, category, everything) == ["-0", "-9", "-1", "-2"]


def test_a_rule_holds_from_its_beginning_until_before_its_end_and_on_its_placements() -> None:
    begin = datetime(2026, 3, 1, tzinfo=UTC)
    rule = Hide(id="a", items=["a1"], placements=["home", "cart"], begins=begin, ends=begin + timedelta(days=1))
    rules, day = decode_rules(encode_rules(Rules(rules=[rule]))), 86_400_000
    at = int(begin.timestamp() * 1000)
    for instant, until in ((at - 1, at), (at, at + day), (at + day - 1, at + day), (at + day, None)):
        active = activate(rules, "home", instant)
        assert (bool(active.hidden.items), active.until_ms) == (at <= instant < at + day, until)
    assert not activate(rules, "trending", at).hidden.items


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ('{"kind":"pin","id":"a","items":[]}', "length >= 1.*rules.0..items"),
        ('{"kind":"pin","id":"a","items":["x"],"colour":1}', "unknown field `colour`"),
        ('{"kind":"shout","id":"a"}', f"Invalid value 'shout'.*expected one of {', '.join(KINDS)}"),
        ('{"id":"a","items":["x"]}', "missing required field `kind`"),
        ('{"kind":"boost","id":"a","items":["x"],"factor":1}', "> 1"),
        ('{"kind":"boost","id":"a","factor":2}', "rule 0 .'a'.: neither items nor categories"),
        ('{"kind":"hide","id":"","items":["x"]}', "id is ''"),
        ('{"kind":"hide","id":"a","items":["x\\n"]}', "is no name"),
        ('{"kind":"hide","id":"a","items":["x"]},{"kind":"hide","id":"a","items":["y"]}', "rule 0 has the same id"),
        ('{"kind":"hide","id":"a","items":["x"],"from":"2026-01-01T00:00:00"}', "timezone component.*from"),
        (
            '{"kind":"hide","id":"a","items":["x"],"from":"2026-01-02T00:00:00Z","until":"2026-01-02T00:00:00Z"}',
            "is not before until",
        ),
    ],
)
def test_a_wrong_rule_is_refused_with_its_place_and_what_was_expected(rule: str, says: str) -> None:
    with pytest.raises(InvalidRules, match=says):
        decode_rules(f'{{"rules":[{rule}]}}'.encode())


@pytest.mark.parametrize("data", [b"", b"[]", b'{"rules":{}}', b"\xff", b"[" * 10_000, b'{"rule":[]}'])
def test_other_bytes_are_no_rules(data: bytes) -> None:
    with pytest.raises(InvalidRules):
        decode_rules(data)


def test_of_two_rules_of_a_kind_the_careful_one_counts() -> None:
    rules = Rules(
        rules=[
            *(PerCategory(id=f"k{n}", most=n) for n in (3, 2)),
            *(BoughtWithin(id=f"d{n}", days=n) for n in (3, 9)),
        ]
    )
    active = activate(rules, "home", 0)
    assert (active.per_category, active.bought_days) == (2, 9)


def test_a_dry_run_tells_every_change_and_the_rules_behind_it() -> None:
    rules = Rules(
        rules=[Pin(id="spring", items=["c1"]), Hide(id="recall", categories=["a"]), PerCategory(id="k", most=2)]
    )
    ids = ["a1", "b1", "b2", "b3", "-1", "-2"]
    moved = dry_run(NO_RULES, rules, ids, placement="home", now_ms=0, n=5, category=category)
    assert [(m.item_id, m.before, m.after, m.rules) for m in moved] == [
        ("c1", None, 0, ["spring"]),
        ("-1", 4, 3, []),
        ("-2", None, 4, []),
        ("a1", 0, None, ["recall"]),
        ("b3", 3, None, []),
    ]
