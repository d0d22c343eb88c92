"""Variants and new items at the running service: what the answer shows is what its request id says."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.assignment import assign
from contracts.experiments import Changes, Experiment, Experiments, Exploration, Variant, encode_experiments
from contracts.exploration import NewItems, chosen, encode_new_items
from contracts.keys import popular_key, similar_key, user_key
from contracts.lake import experiments_path, new_items_path
from contracts.lists import Action, RecommendationList, UserValue, decode_list, encode_value
from contracts.request_ids import explored, read_request_id
from stores.objects import Objects

pytestmark = pytest.mark.serving

SHOP, OTHER = "default", "20260101T000000Z-other0"
PLACE = "exp"
EXPERIMENT = Experiment(
    id="home",
    status="running",
    start=datetime.now(UTC) - timedelta(days=1),
    placements=(PLACE,),
    variants=(
        Variant(name="plain"),
        Variant(name="popular", changes=Changes(popular_only=True)),
        Variant(name="other", changes=Changes(model_version=OTHER)),
        Variant(name="new", changes=Changes(exploration=True)),
    ),
)
# Switched on by the one variant alone, so that the shop's other tests see nothing of it.
EXPLORATION = Exploration(enabled=False, share=0.5, first_position=1)
NEW = "i39"


def listed(items: list[str], version: str, source: Any = "batch") -> bytes:
    scores = [1.0 - 0.1 * place for place in range(len(items))]
    found = RecommendationList(
        source=source, model_version=version, based_on=None, written_at=1, items=items, scores=scores
    )
    return encode_value(found)


@pytest.fixture(scope="module", autouse=True)
def running(shop: Any, until: Any) -> Iterator[None]:
    objects = Objects.from_settings(shop.settings)
    document = Experiments(experiments=(EXPERIMENT,), exploration=EXPLORATION)
    known = [f"i{n}" for n in range(39)] + ["gone", "milk", "a/b c"]
    new = NewItems(made_at=datetime.now(UTC), model_version="v", known=known)
    objects.put(experiments_path(SHOP), encode_experiments(document))
    objects.put(new_items_path(SHOP), encode_new_items(new))
    shop.put_redis(similar_key(SHOP, OTHER, "i5"), listed(["i20", "gone", "i21"], OTHER))
    shop.put_redis(popular_key(SHOP, OTHER), listed(["i25", "i26"], OTHER, "popular"))
    explorer = next(who for who in people("new") if explores(who))
    shop.put_live(f"u.{explorer}", ["i1", "i2", "i3"], [Action(1_000, "e", "view", "i5")])
    until(lambda: NEW in ids(shelf(shop, explorer)), "the experiments and the new items")
    yield
    objects.put(experiments_path(SHOP), encode_experiments(Experiments(exploration=EXPLORATION)))


def people(variant: str) -> Iterator[str]:
    """Users of a variant."""
    for number in range(10_000):
        found = assign(EXPERIMENT, f"u.exp-{number}")
        if found and found.name == variant:
            yield f"exp-{number}"


def explores(user: str) -> bool:
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    return chosen(Exploration(share=EXPLORATION.share), f"u.{user}", now_ms)


def shelf(shop: Any, user: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = shop.get(f"/v1/users/{user}/recommendations", **({"placement": PLACE} | more))
    return found


def ids(answer: dict[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def someone(shop: Any, variant: str) -> str:
    """A user of a variant with a live list of the live version, who looked at i5."""
    user = next(people(variant))
    shop.put_live(f"u.{user}", ["i1", "i2", "i3"], [Action(1_000, "e", "view", "i5")])
    return user


@pytest.mark.parametrize(
    ("variant", "source", "expected"),
    [
        ("plain", "live", ["i1", "i2", "i3"]),
        ("popular", "popular", ["i30", "i31", "milk"]),
        ("other", "live", ["i20", "i21"]),
    ],
)
def test_each_variant_serves_what_it_changes(shop: Any, variant: str, source: str, expected: list[str]) -> None:
    answer = shelf(shop, someone(shop, variant))
    assert (answer["source"], ids(answer), answer["variant"]) == (source, expected, f"home:{variant}")
    facts = read_request_id(answer["request_id"])
    assert facts and facts.variants == (f"home:{variant}",)
    assert (facts.kind, facts.placement, facts.model_version) == (source, PLACE, answer["model_version"])


def test_elsewhere_on_the_pages_nobody_is_in_the_experiment(shop: Any) -> None:
    answer = shelf(shop, someone(shop, "popular"), placement="home")
    assert (answer["source"], answer["variant"]) == ("live", None)
    assert read_request_id(answer["request_id"])


def test_another_version_serves_its_own_popular_items_to_whoever_did_nothing(shop: Any) -> None:
    user = list(zip(range(3), people("other"), strict=False))[-1][1]
    answer = shelf(shop, user)
    assert (answer["source"], answer["model_version"], ids(answer)) == ("popular", OTHER, ["i25", "i26"])


def test_an_answer_that_stays_the_same_keeps_its_entity_tag(shop: Any) -> None:
    user = someone(shop, "plain")
    first = shop.http.get(f"/v1/users/{user}/recommendations")
    again = shop.http.get(f"/v1/users/{user}/recommendations", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304


def test_a_new_item_is_seen_within_its_cap_and_the_answer_says_so(shop: Any) -> None:
    shown = {user: explores(user) for _, user in zip(range(12), people("new"), strict=False)}
    assert set(shown.values()) == {True, False}
    for user, expected in shown.items():
        shop.put_live(f"u.{user}", ["i1", "i2", "i3"], [Action(1_000, "e", "view", "i5")])
        answer = shelf(shop, user, explain=True)
        assert ids(answer) == (["i1", NEW, "i2", "i3"] if expected else ["i1", "i2", "i3"])
        facts = read_request_id(answer["request_id"])
        assert facts and explored(facts, NEW) == expected and not explored(facts, "i1")
        if expected:
            assert (answer["items"][1]["new"], answer["items"][1]["reason"]) == (True, "new in the shop")
        assert shelf(shop, user, explain=True) == answer  # no flicker


def test_a_new_item_that_was_bought_is_not_shown(shop: Any) -> None:
    user = next(user for user in people("new") if explores(user))
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    live = decode_list(listed(["i1", "i2", "i3"], "v", "live"))
    shop.put_redis(user_key(SHOP, f"u.{user}"), encode_value(UserValue(rev="1" * 16, live=live)))
    assert ids(shelf(shop, user)) == ["i1", NEW, "i2", "i3"]
    value = UserValue(rev="2" * 16, live=live, bought={NEW: now_ms})
    shop.put_redis(user_key(SHOP, f"u.{user}"), encode_value(value))
    assert ids(shelf(shop, user)) == ["i1", "i2", "i3"]
