"""``python -m batch.train`` as the scheduler runs it, on a small lake whose best next items are known.

The lake is written as Firehose writes it; Spark, Valkey and the command are real, AWS is the emulator. The module
trains three times: the first days, one day more, and a shop that has no events.
"""

import gzip
import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from batch.days import Chunk, day_number, make_days, sift
from batch.moments import sum_moments
from batch.partition import DayPartition
from batch.plan import arrival_day
from batch.publish import Stores, mend_mirrors, prune_versions, switch
from batch.recipe import Recipe
from batch.solve import build_system, keep_strongest, satiate, solve_targets
from batch.train import main
from contracts.errors import PublishConflict
from contracts.items import Item, encode_catalogue
from contracts.keys import popular_key, popular_row, registry_row, similar_key, similar_row
from contracts.lake import (
    EVENTS_PREFIX,
    catalogue_path,
    model_prefix,
    models_prefix,
    pointer_path,
)
from contracts.lists import RecommendationList
from contracts.pointer import Pointer
from contracts.snapshot import Manifest, Snapshot
from stores.forgetting import pruned_versions

pytestmark = pytest.mark.spark

SHOP = "default"
DAYS = 10
GROUPS, MEMBERS = 4, 5
START = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=20)
"""Midnight of the first day, some weeks ago so that no run crosses the end of the window."""


def item(group: int, member: int) -> str:
    return f"g{group}-{member}"


def day(number: int) -> date:
    return (START + timedelta(days=number)).date()


def event(id: str, at: float, **fields: Any) -> dict[str, Any]:
    """An event that occurred ``at`` days after START."""
    occurred = START + timedelta(days=at)
    times = {"occurred_at": occurred.isoformat(), "received_at": (occurred + timedelta(seconds=1)).isoformat()}
    return {"event_id": id, "event_type": "view"} | times | fields


def visits(number: int) -> list[dict[str, Any]]:
    """A day of visits: four of the five items of one group each, and often bread, which goes with everything."""
    rng = np.random.default_rng(number)
    events: list[dict[str, Any]] = []
    for visit in range(40):
        group = visit % GROUPS
        basket = [item(group, member) for member in rng.permutation(MEMBERS)[:4]]
        basket += ["bread"] if rng.random() < 0.4 else []
        for place, chosen in enumerate(basket):
            name, at = f"d{number}-v{visit}-{place}", number + 0.1 + visit / 60 + place / 5000
            user = f"{group}.{rng.integers(8)}" if place == 0 else events[-1]["user_id"]
            events.append(event(name, at, user_id=user, session_id=f"d{number}-v{visit}", item_id=chosen))
    return events


SPECIAL = {
    1: [
        event(f"collector-{n}", 1.5, user_id="collector", session_id="c", item_id=item(1, n), event_type="purchase")
        for n in range(3)
    ],
    2: [event("grocer", 2.5, user_id="grocer", item_id=item(0, 0), event_type="purchase")],
    5: [event(f"anonymous-{n}", 5.5, anonymous_id="visitor", session_id="x", item_id=item(2, n)) for n in range(2)],
    6: [event("hello", 6.5, event_type="identify", anonymous_id="visitor", user_id="known")],
}
AFTER_MIDNIGHT = event("owl", 3.999999, user_id="owl", item_id=item(0, 1))  # received on day 4
TOO_LATE = event("too-late", 1.5, user_id="slow", item_id=item(0, 1))  # arrives on day 4
OTHER_SHOP = [
    event(f"other-{n}", n // 20 + 0.5, shop_id="other", user_id=f"o{n}", session_id=f"o{n}", item_id=chosen)
    for n in range(100)
    for chosen in (item(0, 0), "lamp")
]
MALFORMED = [
    b"not json",
    b"[]",
    json.dumps(event("wave", 4.5, user_id="7", item_id="a", event_type="wave")).encode(),
    json.dumps(event("nothing", 4.5, user_id="7")).encode(),
]
COPIES_SAME_DAY, COPIES_NEXT_DAY = 7, 3


def arrivals() -> dict[int, list[list[dict[str, Any]]]]:
    """The objects of each arrival day."""
    days = {number: [visits(number) + SPECIAL.get(number, [])] for number in range(DAYS)}
    days[2].append(visits(2)[:COPIES_SAME_DAY])
    days[3].append(visits(2)[-COPIES_NEXT_DAY:])
    days[4].append([AFTER_MIDNIGHT, TOO_LATE])
    for number in range(5):
        days[number].append([e for e in OTHER_SHOP if e["event_id"] and e["occurred_at"][:10] == str(day(number))])
    return days


ACTIONS = sum(len(visits(number)) for number in range(DAYS)) + 3 + 1 + 2 + 1
"""Distinct actions of the shop: visits, collector, grocer, visitor, owl."""


@dataclass
class Story:
    """What each run said, and the stored sums after it."""

    stack: Any
    runs: dict[str, Any] = field(default_factory=dict)
    etags: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def stores(self) -> Stores:
        return self.stack.stores  # type: ignore[no-any-return]

    def train(self, name: str, *options: str) -> None:
        self.runs[name] = self.stack.command("--search", "never", *options)
        self.etags[name] = self.stack.etags()

    def summary(self, name: str) -> dict[str, Any]:
        """The JSON of the last line of a run that went well."""
        done = self.runs[name]
        assert done.status == 0, done.out + done.err
        return done.summary  # type: ignore[no-any-return]

    def snapshot(self, name: str, folder: Path) -> Snapshot:
        """What a run published."""
        return self.stack.snapshot(self.summary(name)["version"], folder)  # type: ignore[no-any-return]

    def partition(self, number: int) -> DayPartition:
        """The stored sums of a day."""
        return self.stack.partition(day(number))  # type: ignore[no-any-return]

    def person(self, subject: str) -> list[RecommendationList]:
        """A person's batch lists of the first version."""
        return self.stack.person(self.summary("first")["version"], subject)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def lake(stack: Any) -> Story:
    """The lake after the three runs."""
    told = Story(stack)
    catalogue = [
        Item(item_id=item(g, m), title=f"{g} {m}", repeatable=g == 0) for g in range(GROUPS) for m in range(MEMBERS)
    ]
    stack.stores.objects.put(catalogue_path(SHOP), encode_catalogue(catalogue))
    for number, objects in arrivals().items():
        stack.write(day(number), objects, MALFORMED if number == 4 else ())
    told.train("first", "--holdout-days", "2", "--cases", "50")
    stack.write(day(DAYS), [visits(DAYS)])
    told.train("second", "--no-evaluate")
    told.train("void", "--shop", "void", "--until", str(day(0)))
    return told


def test_the_published_model_knows_the_best_next_items(lake: Story, tmp_path: Path) -> None:
    found = lake.snapshot("first", tmp_path)
    assert found.items == sorted([item(g, m) for g in range(GROUPS) for m in range(MEMBERS)] + ["bread"])
    assert found.popular[0] == "bread"
    indptr, cols, data = found.matrix
    for g in range(GROUPS):
        group = {item(g, m) for m in range(MEMBERS)}
        for name in group:
            row = slice(indptr[found.row(name)], indptr[found.row(name) + 1])
            best = [found.items[cols[row][at]] for at in np.argsort(-data[row])[: MEMBERS - 1]]
            assert set(best) == group - {name}


def test_the_manifest_tells_the_whole_story(lake: Story, tmp_path: Path) -> None:
    said, found = lake.summary("first"), lake.snapshot("first", tmp_path).manifest
    assert (found.shop_id, found.version, found.parent) == (SHOP, said["version"], None)
    assert found.rows == said["rows"]
    assert found.training["settings_digest"] == said["settings_digest"]
    assert (found.rows["days"], found.rows["days_made"]) == (DAYS, DAYS)
    registered = lake.stores.tables.get(registry_row(SHOP, found.version))
    assert registered is not None
    assert msgspec.json.decode(registered, type=Manifest) == found


def test_every_record_is_counted_once_or_accounted_for(lake: Story) -> None:
    rows = lake.summary("first")["rows"]
    assert rows["actions"] == ACTIONS
    assert rows["duplicates"] == COPIES_SAME_DAY + COPIES_NEXT_DAY
    assert rows["too_late"] == 1
    assert {name: number for name, number in rows.items() if name.startswith("malformed.")} == {
        "malformed.not_json": 2,
        "malformed.unknown_type": 1,
        "malformed.missing_field": 1,
    }


def test_an_event_received_after_midnight_is_of_the_day_it_occurred(lake: Story) -> None:
    assert "u.owl" in lake.partition(3).actions.subjects
    assert "u.owl" not in lake.partition(4).actions.subjects


def test_another_shops_events_do_not_leak(lake: Story) -> None:
    for number in range(5):
        found = lake.partition(number)
        assert "lamp" not in found.moments.items
        assert not [subject for subject in found.actions.subjects if subject.startswith("u.o") and subject != "u.owl"]
    assert lake.person("u.o1") == []


def test_the_evaluation_finds_the_rest_of_a_visit(lake: Story) -> None:
    metrics = lake.summary("first")["metrics"]
    assert set(metrics) == {"live", "batch", "popularity"}
    assert metrics["live"]["MRR@20"] > 0.7
    assert metrics["popularity"]["MRR@20"] < 0.5


def test_a_persons_list_is_in_both_stores_and_carries_the_version(lake: Story) -> None:
    in_dynamodb, in_redis = lake.person("u.collector")
    assert in_dynamodb == in_redis
    assert (in_redis.source, in_redis.model_version) == ("batch", lake.summary("first")["version"])
    assert set(in_redis.items[:2]) == {item(1, 3), item(1, 4)}
    assert not {item(1, m) for m in range(3)} & set(in_redis.items)  # bought, and not bought again
    assert in_redis.scores == sorted(in_redis.scores, reverse=True)


def test_what_is_bought_again_comes_back(lake: Story) -> None:
    for found in lake.person("u.grocer"):
        assert found.items[0] == item(0, 0)


def test_what_a_visitor_did_before_they_said_who_they_are_is_theirs(lake: Story) -> None:
    assert lake.person("a.visitor") == []
    for found in lake.person("u.known"):
        assert {item(2, 2), item(2, 3), item(2, 4)} <= set(found.items[:5])


def test_similar_and_popular_lists_are_in_both_stores_and_expire(lake: Story) -> None:
    said = lake.summary("first")
    version = said["version"]
    similar = lake.stack.lists(similar_row(SHOP, version, item(3, 0)), similar_key(SHOP, version, item(3, 0)))
    popular = lake.stack.lists(popular_row(SHOP, version), popular_key(SHOP, version))
    assert (len(similar), len(popular)) == (2, 2)
    assert all(set(found.items[:4]) == {item(3, m) for m in range(1, MEMBERS)} for found in similar)
    assert all((found.source, found.items[0]) == ("popular", "bread") for found in popular)
    assert {found.model_version for found in (*similar, *popular)} == {version}
    (ttl,) = lake.stores.cluster.execute([("TTL", popular_key(SHOP, version))])
    assert 0 < ttl <= lake.stack.settings.training.list_ttl_s
    assert (said["rows"]["similar_lists"], said["rows"]["popular_lists"]) == (GROUPS * MEMBERS + 1, 1)


def test_the_second_version_follows_the_first_and_makes_only_the_days_around_the_new_one(lake: Story) -> None:
    first, second = lake.summary("first"), lake.summary("second")
    assert second["parent"] == first["version"]
    assert second["rows"]["days"] == DAYS + 1
    assert second["rows"]["days_made"] == 3  # the new day, and two before whose visits it can decide over
    untouched = [f"day={day(number)}" for number in range(DAYS - 2)]
    assert [lake.etags["second"][name] for name in untouched] == [lake.etags["first"][name] for name in untouched]
    assert len(lake.etags["second"]) == DAYS + 1
    assert second["rows"]["actions"] == ACTIONS + len(visits(DAYS))


def test_an_incremental_model_is_the_full_rebuild(lake: Story, tmp_path: Path) -> None:
    """The rebuild reads the whole lake at once, without Spark and without stored sums."""
    objects, recipe = lake.stores.objects, Recipe()
    tables = []
    for path in objects.list(EVENTS_PREFIX):
        lines, arrived = gzip.decompress(objects.get(path)).splitlines(), arrival_day(path)
        assert arrived is not None
        tables.append(sift(lines, day_number(arrived), SHOP, recipe.moments.late_days))
    chunk = Chunk(day_number(day(-1)), day_number(day(DAYS + 1)))
    days = list(make_days(pa.concat_tables(tables), chunk, recipe.moments))
    total = sum_moments([made.moments for made in days], recipe.solve.min_units)
    triples = solve_targets(build_system(total, recipe.solve), np.arange(len(total.items)), recipe.solve)
    matrix = satiate(keep_strongest(triples, len(total.items), recipe.solve.keep), recipe.solve.satiation)

    grown = lake.snapshot("second", tmp_path)
    assert grown.items == total.items
    np.testing.assert_array_equal(grown.matrix[0], matrix[0])
    np.testing.assert_array_equal(grown.matrix[1], matrix[1])
    np.testing.assert_allclose(grown.matrix[2], matrix[2], rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(grown.popularity, total.events)
    counts = sum((Counter(made.counts) for made in days), Counter[str]())
    assert grown.manifest.rows.items() >= dict(counts).items()


def test_a_shop_without_events_ends_with_status_2_and_changes_no_pointer(lake: Story) -> None:
    done = lake.runs["void"]
    assert done.status == 2, done.out + done.err
    assert f"train: cannot train: no events of shop 'void' between None and {day(0)}" in done.err
    assert lake.stores.tables.current("void") is None
    assert lake.stores.cluster.pointer("void") is None
    assert lake.stores.objects.list(models_prefix("void")) == []


def test_an_empty_window_ends_with_status_2_and_says_what_there_is(
    lake: Story, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--properties", str(lake.stack.file), "--dry-run", "--until", "2020-01-01"]) == 2
    assert f"2020-01-01; the lake holds arrivals from {day(0)} to {day(DAYS)}" in capsys.readouterr().err
    assert main(["--properties", str(lake.stack.file), "--dry-run"]) == 0
    assert f"{DAYS + 1} days, {DAYS + 1} of them stored" in capsys.readouterr().out


def test_the_three_pointers_agree_on_the_last_version(lake: Story) -> None:
    live = lake.stores.tables.current(SHOP)
    assert live is not None
    assert live.version == lake.summary("second")["version"]
    assert_mirrored(lake, live)


def assert_mirrored(lake: Story, live: Pointer) -> None:
    assert lake.stores.cluster.pointer(SHOP) == live
    assert msgspec.json.decode(lake.stores.objects.get(pointer_path(SHOP)), type=Pointer) == live


def test_a_run_that_another_one_overtook_leaves_the_others_version_live(lake: Story, tmp_path: Path) -> None:
    """It read the first version as its parent; meanwhile the second one went live."""
    live = lake.stores.tables.current(SHOP)
    assert live is not None
    first = lake.snapshot("first", tmp_path).manifest
    overtaken = msgspec.structs.replace(first, version="20990101T000000Z-ffffff", parent=first.version)
    with pytest.raises(PublishConflict, match=f"expected {first.version} to be live, found {live.version}"):
        switch(lake.stores, SHOP, overtaken, datetime.now(UTC))
    assert lake.stores.tables.current(SHOP) == live
    assert_mirrored(lake, live)


def test_a_switch_whose_answer_was_lost_may_be_repeated(lake: Story) -> None:
    live = lake.stores.tables.current(SHOP)
    assert live is not None
    lake.stores.tables.switch(SHOP, live, lake.summary("first")["version"])
    assert lake.stores.tables.current(SHOP) == live


def test_mirrors_left_behind_by_a_killed_run_are_mended(lake: Story) -> None:
    live = lake.stores.tables.current(SHOP)
    assert live is not None
    old = Pointer(version=lake.summary("first")["version"], switched_at=live.switched_at)
    lake.stores.objects.put(pointer_path(SHOP), msgspec.json.encode(old))
    lake.stores.cluster.publish_pointer(SHOP, old)
    assert mend_mirrors(lake.stores, SHOP) == live
    assert_mirrored(lake, live)
    lake.stores.objects.put(pointer_path(SHOP), b"torn")
    assert mend_mirrors(lake.stores, SHOP) == live
    assert_mirrored(lake, live)


def test_old_versions_are_deleted_but_never_the_live_one_or_its_parent(lake: Story) -> None:
    """Last in the module: it deletes the first version."""
    objects, first, second = lake.stores.objects, lake.summary("first")["version"], lake.summary("second")["version"]
    unpublished = "20990101T000000Z-aaaaaa"
    objects.put(model_prefix(SHOP, unpublished) + "manifest.json", b"{}")
    assert prune_versions(objects, SHOP, 1, (second, first)) == []
    assert prune_versions(objects, SHOP, 1, (second, None)) == [first]
    left = {path.removeprefix(models_prefix(SHOP)).partition("/")[0] for path in objects.list(models_prefix(SHOP))}
    assert left == {second, unpublished, "current.json", "pruned.json"}
    assert pruned_versions(objects, SHOP) == [first], "who deletes a person finds the lists that outlive their snapshot"
