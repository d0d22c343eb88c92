"""Settings are searched once, kept by the runs that follow, and pinned by a file; Spark and the command are real."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from batch.recipe import Recipe
from contracts.snapshot import Manifest

pytestmark = [
    pytest.mark.spark,
    # Spark runs in this process, and pyspark leaves its sockets to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]

ITEMS, VISITS, DAYS = 150, 120, 12
START = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS + 2)
RUN = ("--holdout-days", "2", "--cases", "200")


def day(number: int) -> date:
    return (START + timedelta(days=number)).date()


def visits(number: int) -> list[dict[str, Any]]:
    """A day of visits in which the next item follows from the last one: an order that baskets know nothing of."""
    after = np.random.default_rng(99).permutation(np.tile(np.arange(ITEMS), 2)).reshape(ITEMS, 2)
    rng = np.random.default_rng(number)
    events: list[dict[str, Any]] = []
    for visit in range(VISITS):
        item = int(rng.zipf(1.4) % ITEMS)
        user = f"p{rng.integers(500)}"
        for step in range(int(rng.integers(2, 6))):
            at = (START + timedelta(days=number + 0.1 + visit / 200 + step / 10_000)).isoformat()
            one = {"event_id": f"d{number}-{visit}-{step}", "event_type": "view", "user_id": user}
            one |= {"session_id": f"d{number}-{visit}", "item_id": f"i{item:03}", "occurred_at": at, "received_at": at}
            events.append(one)
            item = int(after[item, int(rng.random() < 0.2)] if rng.random() < 0.8 else rng.zipf(1.4) % ITEMS)
    return events


@dataclass
class Story:
    """Each training by its name, and the manifests of those that were published."""

    stack: Any
    runs: dict[str, Any] = field(default_factory=dict)
    manifests: dict[str, Manifest] = field(default_factory=dict)

    def train(self, name: str, folder: Path, *options: str) -> None:
        done = self.runs[name] = self.stack.train(*RUN, *options)
        assert done.status == 0, done.out + done.err
        if done.summary.get("published"):
            self.manifests[name] = self.stack.snapshot(done.summary["version"], folder / name).manifest

    def digest(self, name: str) -> str:
        """Of the settings that a training used."""
        return str(self.runs[name].summary["settings_digest"])


@pytest.fixture(scope="module")
def story(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """All trainings, one after the other."""
    told, folder = Story(stack), tmp_path_factory.mktemp("story")
    for number in range(DAYS):
        stack.write(day(number), [visits(number)])
    told.train("searched", folder)
    stack.write(day(DAYS), [visits(DAYS)])
    told.train("next", folder)
    pinned = folder / "pinned.json"
    pinned.write_text(json.dumps({"solve": {"l0": 77.0}}))
    trial = ("--no-publish", "--no-evaluate")
    told.train("dry", folder, "--dry-run")
    told.train("never", folder, *trial, "--search", "never", "--set", "solve.keep=9")
    told.train("pinned", folder, *trial, "--settings", str(pinned), "--set", "solve.keep=9")
    yield told


def chosen(story: Story) -> Recipe:
    """The settings of the searched model."""
    training = story.manifests["searched"].training
    groups = {name: training[name] for name in Recipe().plain()}
    return msgspec.convert(groups, Recipe)


def test_a_first_run_searches_finds_the_planted_order_and_tells_every_trial(story: Story) -> None:
    manifest, run = story.manifests["searched"], story.runs["searched"]
    recipe = chosen(story)
    assert recipe.digest == story.digest("searched") == manifest.training["settings_digest"]
    assert recipe.moments.ordered
    assert recipe.solve.a < 1
    search = manifest.search
    values = [step["value"] for step in search["curve"]]
    assert run.out.count("train: search     ") == len(values) + 1
    assert search["value"] > 1.2 * min(values)
    for name, value in search["choice"].items():
        group, _, key = name.partition(".")
        if name != "model.blend":  # chosen last, with whole batch lists
            assert manifest.training[group][key] == value
    assert manifest.model.history <= 50, "the stream keeps no more of a person"


def test_the_searched_model_is_made_of_sums_of_its_own_settings(story: Story) -> None:
    """The first sums were made for the defaults, before there was a choice."""
    manifest = story.manifests["searched"]
    assert manifest.rows["days_made"] == DAYS
    assert manifest.metrics["live"]["MRR@20"] > 1.5 * manifest.metrics["popularity"]["MRR@20"]
    assert story.manifests["next"].rows["days_made"] < DAYS, "the stored sums are those the next run needs"


def test_the_next_run_keeps_the_settings_and_says_when_they_were_chosen(story: Story) -> None:
    assert story.digest("next") == story.digest("searched")
    assert "train: search  " not in story.runs["next"].out
    assert story.manifests["next"].search == story.manifests["searched"].search
    assert story.manifests["next"].parent == story.manifests["searched"].version


def test_without_a_search_the_live_models_settings_hold_and_single_ones_change(story: Story) -> None:
    assert story.digest("never") == chosen(story).with_options(["solve.keep=9"]).digest
    assert "train: search  " not in story.runs["never"].out


def test_settings_from_a_file_hold_whatever_is_live(story: Story) -> None:
    assert story.digest("pinned") == Recipe().with_options(["solve.l0=77", "solve.keep=9"]).digest
    assert "train: search  " not in story.runs["pinned"].out


def test_a_dry_run_plans_with_the_settings_that_the_next_run_will_use(story: Story) -> None:
    assert story.digest("dry") == story.digest("searched")
    assert story.runs["dry"].summary["stale"] == 0
