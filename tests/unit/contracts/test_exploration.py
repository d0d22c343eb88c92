"""New items get seen, within their cap, by the same people all day, and never against a filter or a rule."""

import random
from collections import Counter
from datetime import UTC, datetime

import pytest

from contracts.errors import ContractError
from contracts.experiments import Exploration
from contracts.exploration import (
    POOL,
    NewItems,
    candidates,
    chosen,
    decode_new_items,
    draws,
    encode_new_items,
    placed,
)
from contracts.merchandise import NOTHING, Active, Chosen, apply

NOW_MS = 1_767_225_600_000
DAY_MS = 24 * 3_600_000
FOUND = NewItems(made_at=datetime(2026, 1, 1, tzinfo=UTC), model_version="v1", known=["A", "B"], counts={"N1": (40, 2)})
LIST = [f"i{n}" for n in range(20)]
NEW = {f"N{n}": (0, 0) for n in range(50)}


def no_category(_: str) -> str:
    return ""


def anything(_: str) -> bool:
    return True


def test_what_the_batch_knows_comes_back() -> None:
    assert decode_new_items(encode_new_items(FOUND)) == FOUND
    with pytest.raises(ContractError, match=r"expected the gzipped JSON that batch\.attribution writes"):
        decode_new_items(b"{}")


def test_an_item_nobody_ever_counted_is_new_and_the_pool_is_bounded() -> None:
    assert candidates(["A", "N1", "N2"], FOUND, 0) == {"N2": (0, 0), "N1": (40, 2)}
    many = [f"x{n}" for n in range(3 * POOL)]
    pools = [set(candidates(many, FOUND, day)) for day in range(30)]
    assert {len(pool) for pool in pools} == {POOL}
    assert set().union(*pools) == set(many)  # each gets its days


def test_the_share_of_people_who_see_new_items_is_kept_and_changes_by_day() -> None:
    people = [f"u.{n}" for n in range(5000)]
    exploration = Exploration(share=0.1)
    today = {p for p in people if chosen(exploration, p, NOW_MS)}
    tomorrow = {p for p in people if chosen(exploration, p, NOW_MS + DAY_MS)}
    assert 400 < len(today) < 600 and 400 < len(tomorrow) < 600
    assert 15 < len(today & tomorrow) < 100  # as if independent: 50
    assert not any(chosen(Exploration(enabled=False, share=0.5), p, NOW_MS) for p in people)
    assert not any(chosen(Exploration(share=0.0), p, NOW_MS) for p in people)


def test_a_page_does_not_flicker() -> None:
    morning, evening = NOW_MS, NOW_MS + DAY_MS - 1
    assert draws(NEW, Exploration(), "u.7", morning) == draws(NEW, Exploration(), "u.7", evening)
    assert draws(NEW, Exploration(), "u.7", morning) != draws(NEW, Exploration(), "u.7", evening + 1)
    assert draws(NEW, Exploration(), "u.7", morning) != draws(NEW, Exploration(seed="s"), "u.7", morning)


def test_every_new_item_gets_seen_and_a_good_one_more_often() -> None:
    arms = NEW | {"good": (100, 30), "bad": (100, 0)}
    first = Counter(draws(arms, Exploration(), f"u.{n}", NOW_MS)[0] for n in range(20_000))
    assert set(NEW) <= set(first)
    assert first["good"] > 20 * first["bad"] and first["good"] > 10 * first["N1"]


def test_what_is_shown_in_vain_leaves_its_place_to_others() -> None:
    """Twenty-one items, one of them good: most impressions go to it once it is found."""
    generator = random.Random(5)
    rates = {f"n{n}": 0.02 for n in range(20)} | {"good": 0.2}
    counts = dict.fromkeys(rates, (0, 0))
    for number in range(4000):
        item = draws(counts, Exploration(), f"u.{number}", NOW_MS)[0]
        shown, clicks = counts[item]
        counts[item] = shown + 1, clicks + (generator.random() < rates[item])
    assert counts["good"][0] > 2500
    assert min(shown for shown, _ in counts.values()) >= 5


@pytest.mark.parametrize("per_shelf", [1, 2])
def test_the_cap_and_the_first_position_hold(per_shelf: int) -> None:
    exploration = Exploration(per_shelf=per_shelf, first_position=3)
    ids, found = placed(exploration, list(NEW), LIST[:10], 10, NOTHING, no_category, anything)
    assert len(found) == per_shelf and len(ids) == 10
    assert [at for at, item in enumerate(ids) if item in NEW] == [3, 7][:per_shelf]
    assert [item for item in ids if item not in NEW] == LIST[: 10 - per_shelf]


@pytest.mark.parametrize("length", [0, 1, 4])
def test_a_list_that_does_not_reach_the_place_stays_as_it_is(length: int) -> None:
    short = LIST[:length]
    ids, found = placed(Exploration(first_position=5), list(NEW), short, 20, NOTHING, no_category, anything)
    assert (ids, found) == (short, [])
    assert placed(Exploration(first_position=5), list(NEW), LIST[:5], 5, NOTHING, no_category, anything)[1] == []


def test_no_filter_and_no_rule_is_broken_for_a_new_item() -> None:
    generator = random.Random(7)
    for _ in range(300):
        hidden = Chosen(frozenset(generator.sample(list(NEW), 20)))
        active = Active(pinned=("i5",), boosts={"i9": 3.0}, hidden=hidden, per_category=generator.choice([None, 2, 3]))
        gone = set(generator.sample(list(NEW) + LIST, 20))
        order = generator.sample(list(NEW), 15)
        n = generator.randint(1, 15)

        def category(item: str) -> str:
            return str(int(item[1:]) % 6)

        def may(item: str, gone: set[str] = gone) -> bool:
            return item not in gone

        before = apply(active, LIST, n, category, may)
        ids, found = placed(Exploration(first_position=2, per_shelf=2), order, before, n, active, category, may)
        assert len(ids) == len(set(ids)) <= n and len(found) <= 2 and set(found) <= set(ids)
        assert not set(ids) & gone and not set(ids) & hidden.items
        if active.per_category is not None:
            assert max(Counter(map(category, ids)).values(), default=0) <= active.per_category
        assert ids[: min(2, n)] == before[: min(2, n)]
        kept = [item for item in ids if item not in found]
        assert kept == [item for item in before if item in set(kept)]


def test_pinned_items_keep_their_places() -> None:
    active = Active(pinned=tuple(LIST[:6]))
    ids, found = placed(Exploration(first_position=2), list(NEW), LIST[:10], 10, active, no_category, anything)
    assert ids[:6] == LIST[:6] and ids[6] == found[0]
