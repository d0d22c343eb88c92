"""A shop's trainings day after day: what is damaged does not go live, the sentence says what to do, and doing it helps.

Every test looks at one training of one story; Spark, Valkey and the command are real, AWS is the emulator.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batch.moments import sum_moments
from batch.partition import decode, partition_path
from batch.recipe import Recipe
from batch.solve import Matrix, build_system, keep_strongest, satiate, solve_targets
from contracts.lake import moments_prefix, refused_report_path, report_path
from contracts.snapshot import Manifest

pytestmark = [
    pytest.mark.spark,
    # Spark runs in this process, and pyspark leaves its sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]

SHOP = "default"
GROUPS, MEMBERS, PEOPLE, BOUGHT = 10, 40, 140, 6
HALVED, STRANGE, QUIET = 37, 38, 39
"""The days on which something happens; those before are healthy."""

START = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=QUIET + 3)
WORSE = "solve.popularity=3"
"""The candidate would recommend what hardly anybody wants."""

Event = dict[str, Any]


def day(number: int) -> date:
    return (START + timedelta(days=number)).date()


def event(name: str, at: float, user: str, item: str, session: str) -> Event:
    occurred = (START + timedelta(days=at)).isoformat()
    return {
        "event_id": name,
        "event_type": "purchase",
        "user_id": user,
        "item_id": item,
        "session_id": session,
        "occurred_at": occurred,
        "received_at": occurred,
    }


def baskets(number: int) -> list[Event]:
    """A day: most people buy six things of one of their two groups, of which some items are loved most."""
    rng = np.random.default_rng(number)
    share = 1 / np.arange(1.0, MEMBERS + 1)
    events: list[Event] = []
    for person in np.flatnonzero(rng.random(PEOPLE) < 0.85):
        group = (person + (rng.random() < 0.4)) % GROUPS
        for place, member in enumerate(rng.choice(MEMBERS, BOUGHT, replace=False, p=share / share.sum())):
            at = number + 0.3 + person / 1000 + place / 50_000
            name = f"d{number}-{person}"
            events.append(event(f"{name}-{place}", at, f"p{person}", f"g{group}-{member:02}", name))
    return events


def halved(events: list[Event]) -> list[Event]:
    return [one for one, kept in zip(events, np.random.default_rng(1).random(len(events)) < 0.5, strict=True) if kept]


def shuffled(events: list[Event]) -> list[Event]:
    """The day's items dealt out anew: everything as popular as ever, but to anybody."""
    items = np.random.default_rng(2).permutation([one["item_id"] for one in events])
    return [one | {"item_id": str(item)} for one, item in zip(events, items, strict=True)]


def bot(number: int, actions: int = 100_000) -> list[Event]:
    """One visitor who looks at everything, faster than anybody can."""
    span = 0.9 / actions
    return [
        event(f"bot-{at}", number + at * span, "bot", f"g{at % GROUPS}-{at // GROUPS % MEMBERS:02}", "bot")
        for at in range(actions)
    ]


@dataclass
class Story:
    """Each training by its name, and the three pointers after it."""

    stack: Any
    runs: dict[str, Any] = field(default_factory=dict)
    pointers: dict[str, Any] = field(default_factory=dict)

    def train(self, name: str, *options: str, process: bool = False) -> Any:
        options = ("--search", "never", *options)
        self.runs[name] = self.stack.command(*options) if process else self.stack.train(*options)
        self.pointers[name] = self.stack.pointers()
        return self.runs[name]

    def version(self, name: str) -> str:
        assert self.runs[name].status == 0, self.runs[name].out + self.runs[name].err
        return str(self.runs[name].summary["version"])

    def refused(self, name: str, before: str) -> tuple[list[str], list[str], str]:
        """See that a training was refused and that everything is as it was before.

        Returns the names of the checks, the gate's sentences, and the report.
        """
        done, gate = self.runs[name], self.runs[name].summary["gate"]
        assert (done.status, gate["decision"]) == (3, "refuse"), done.out + done.err
        assert self.pointers[name] == self.pointers[before]
        assert {pointer.version for pointer in self.pointers[name]} == {self.version(before)}
        objects = self.stack.stores.objects
        path = refused_report_path(SHOP, done.summary["version"])
        assert f"train: the report is {path}" in done.out
        assert objects.list(report_path(SHOP, done.summary["version"]).rpartition("/")[0] + "/") == []
        for sentence in gate["sentences"]:
            assert f"train: {sentence}" in done.out
        return gate["refused_by"], gate["sentences"], objects.get(path).decode()


@pytest.fixture(scope="module")
def story(stack: Any) -> Iterator[Story]:
    """All trainings, one after the other."""
    told = Story(stack)
    for number in range(HALVED):
        stack.write(day(number), [baskets(number)])
    told.train("first", "--until", str(day(28)))
    told.train("second")
    stack.write(day(HALVED), [halved(baskets(HALVED))])
    refused = told.train("halved", process=True)
    accepted = re.findall(r"--accept (\S+?)\)", "".join(refused.summary["gate"]["sentences"]))
    told.train("accepted", *(option for name in accepted for option in ("--accept", name)))
    stack.write(day(STRANGE), [shuffled(baskets(STRANGE))])
    told.train("shuffled")
    stack.write(day(STRANGE), [baskets(STRANGE) + bot(STRANGE)])
    told.train("bot")
    stack.write(day(STRANGE), [baskets(STRANGE)])
    told.train("worse", "--set", WORSE)
    told.train("repaired")
    stack.write(day(QUIET), [[one for one in baskets(QUIET) if one["item_id"].startswith("g3-")]])
    told.train("touched", "--targets", "touched", "--no-evaluate")
    yield told


def test_the_first_model_goes_live_by_beating_popularity(story: Story) -> None:
    gate = story.runs["first"].summary["gate"]
    assert gate["decision"] == "publish"
    lead = gate["numbers"]["popularity"]
    assert lead["live"] > lead["popularity"] + 0.2
    assert {pointer.version for pointer in story.pointers["first"]} == {story.version("first")}


def test_a_live_model_that_has_not_seen_the_cases_is_compared_by_its_own_lists(story: Story) -> None:
    summary = story.runs["second"].summary
    incumbent = summary["gate"]["numbers"]["incumbent"]
    assert (incumbent["version"], incumbent["how"]) == (story.version("first"), "snapshot")
    assert incumbent["cases"] >= 200
    assert "incumbent" in summary["metrics"]
    assert summary["parent"] == story.version("first")


def test_a_day_that_lost_half_of_its_events_is_refused_and_the_sentence_says_what_to_do(story: Story) -> None:
    names, sentences, report = story.refused("halved", before="second")
    lost, usual = len(halved(baskets(HALVED))), len(baskets(HALVED - 7))
    assert f"volume:{day(HALVED)}" in names
    told = next(sentence for sentence in sentences if "--accept volume" in sentence)
    assert told.startswith(f"{lost:,} actions on {day(HALVED):%A} {day(HALVED)}; expected about ")
    expected = float(re.findall(r"expected about ([\d,]+)", told)[0].replace(",", ""))
    assert abs(expected - usual) < 0.2 * usual
    assert f"events/year={day(HALVED):%Y}/month={day(HALVED):%m}/day={day(HALVED):%d}/" in told
    assert "then train again" in told
    assert f"The live model {story.version('second')} stays." in sentences
    assert f"{lost:,} actions on" in report


def test_a_day_accepted_by_the_names_that_the_sentences_give_is_published_and_judged_no_more(story: Story) -> None:
    summary = story.runs["accepted"].summary
    assert summary["parent"] == story.version("second")
    assert f"volume:{day(HALVED)}" in summary["gate"]["accepted"]
    assert any(sentence.startswith("Accepted by --accept: ") for sentence in summary["gate"]["sentences"])
    later = story.runs["repaired"].summary["gate"]
    assert (later["decision"], later["accepted"], later["refused_by"]) == ("publish", [], [])


def test_a_day_of_shuffled_labels_is_refused_though_its_counts_are_in_order(story: Story) -> None:
    names, sentences, report = story.refused("shuffled", before="accepted")
    assert names == [f"labels:{day(STRANGE)}"]
    told = sentences[0]
    assert told.startswith(f"On {day(STRANGE):%A} {day(STRANGE)} the HR@20 of a model of the days before is ")
    for part in ("a lead of", "usual is", "expected at least", "repair or remove its objects", "--accept labels:"):
        assert part in told
    assert story.runs["shuffled"].summary["checks"] == story.runs["repaired"].summary["checks"]
    assert "do not belong together" in report


def test_a_bot_of_a_hundred_thousand_events_is_refused_and_not_trained_on(story: Story) -> None:
    names, sentences, report = story.refused("bot", before="accepted")
    assert names == [f"bots:{day(STRANGE)}"]
    when = f"on {day(STRANGE):%A} {day(STRANGE)}"
    assert sentences[0].startswith(f"1 bot-like visitor did 100,000 actions {when}, 99% of the day; expected at most ")
    assert "block them; then train again" in sentences[0]
    assert story.runs["bot"].summary["rows"]["actions"] == story.runs["repaired"].summary["rows"]["actions"]
    assert "100,000 actions" in report


def test_a_worse_recipe_is_refused_against_the_live_ones_trained_on_the_same_days(story: Story) -> None:
    names, sentences, report = story.refused("worse", before="accepted")
    assert set(names) == {"incumbent"}
    numbers = story.runs["worse"].summary["gate"]["numbers"]["incumbent"]
    assert numbers["how"] == "refit"
    figures = numbers["metrics"]["NDCG@20"]
    assert figures["high"] < 0
    for part in (f"{figures['live']:.3f}", f"{figures['incumbent']:.3f}", "(its recipe, trained on the same days)"):
        assert any(part in sentence for sentence in sentences)
    assert "--accept incumbent" in report


def test_a_refitted_live_model_is_as_good_as_a_twin_of_its_own_recipe(story: Story) -> None:
    """Made from the log, where the twin is made from stored sums; only their rankers differ."""
    refitted = story.runs["worse"].summary["metrics"]["incumbent"]
    assert refitted == pytest.approx(story.runs["repaired"].summary["metrics"]["live"], abs=0.01)


def test_each_published_run_keeps_the_requests_of_its_first_judged_day(story: Story) -> None:
    """Also the first, which makes every day's sums, and so deletes what was derived from older ones."""
    for last in (28, HALVED - 1, HALVED, STRANGE):
        kept = story.stack.stores.objects.list(f"{moments_prefix(SHOP, day(last - 6))}requests-")
        assert len(kept) == 1, last


def test_a_repaired_lake_is_published_and_the_same_recipe_is_no_opponent(story: Story) -> None:
    summary = story.runs["repaired"].summary
    assert summary["gate"]["numbers"]["incumbent"]["how"] == "same"
    assert summary["parent"] == story.version("accepted")
    assert {pointer.version for pointer in story.pointers["repaired"]} == {story.version("repaired")}


def whole(objects: Any, manifest: Manifest, recipe: Recipe) -> tuple[list[str], Matrix]:
    """All targets solved from the days of a model, without Spark."""
    paths = [partition_path(SHOP, date.fromisoformat(one), key) for one, key in manifest.days.items()]
    days = [decode(objects.get(path)).moments for path in paths]
    totals = sum_moments(days, recipe.solve.min_units)
    found = solve_targets(build_system(totals, recipe.solve), np.arange(len(totals.items)), recipe.solve)
    kept = keep_strongest(found, len(totals.items), recipe.solve.keep)
    return totals.items, satiate(kept, recipe.solve.satiation)


def dense(matrix: Matrix) -> Any:
    indptr, cols, data = matrix
    out = np.zeros((len(indptr) - 1,) * 2)
    out[np.repeat(np.arange(len(out)), np.diff(indptr)), cols] = data
    return out


def test_only_touched_targets_are_solved_and_the_model_is_nearly_the_whole_one(story: Story, tmp_path: Path) -> None:
    run = story.runs["touched"]
    found = story.stack.snapshot(story.version("touched"), tmp_path / "touched")
    before = story.stack.snapshot(story.version("repaired"), tmp_path / "before")
    items, exact = whole(story.stack.stores.objects, found.manifest, Recipe())
    assert found.items == items == before.items
    touched = {one["item_id"] for one in baskets(QUIET) if one["item_id"].startswith("g3-")} & set(items)
    assert f"{len(touched)} of {len(items)} items" in run.out

    mine, full, old = dense(found.matrix), dense(exact), dense(before.matrix)
    at = np.array([item in touched for item in items])
    others = ~np.eye(len(items), dtype=bool)
    both = (mine != 0) & (old != 0) & others  # a row keeps its strongest, so which entries it has may change
    np.testing.assert_array_equal(mine[:, ~at][both[:, ~at]], old[:, ~at][both[:, ~at]])
    both = (mine != 0) & (full != 0) & others
    np.testing.assert_allclose(mine[:, at][both[:, at]], full[:, at][both[:, at]], rtol=1e-5, atol=1e-6)
    tops = [(set(np.argsort(-row)[:20]), set(np.argsort(-other)[:20])) for row, other in zip(mine, full, strict=True)]
    assert np.mean([len(one & other) / 20 for one, other in tops]) > 0.95
