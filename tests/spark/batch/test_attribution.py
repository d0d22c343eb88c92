"""The command on a real lake: what Spark writes is what the rule says of the same people, and a second run changes
nothing."""

import io
import json
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from batch.attribution import main
from contracts.assignment import assign
from contracts.attribution import decode_summary
from contracts.events import to_ms
from contracts.experiment_results import decode_results
from contracts.experiments import Changes, Experiment, Experiments, Variant, encode_experiments
from contracts.exploration import decode_new_items
from contracts.lake import (
    attribution_items_path,
    attribution_prefix,
    attribution_summary_path,
    attribution_totals_path,
    attribution_units_path,
    experiment_results_path,
    experiments_path,
    model_prefix,
    new_items_path,
)
from contracts.pointer import Pointer
from contracts.request_ids import make_request_id
from contracts.snapshot import Manifest, ModelSettings, write_snapshot

pytestmark = [
    pytest.mark.spark,
    # pyspark leaves sockets to the garbage collector, which may close them in anybody's frame.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]

SHOP, DAY = "default", date(2026, 1, 5)
AT = datetime(2026, 1, 5, 9, tzinfo=UTC)
ARMS = (Variant(name="a"), Variant(name="b", changes=Changes(popular_only=True)))
EXPERIMENT = Experiment(id="shelf", status="running", start=AT - timedelta(hours=9), variants=ARMS, metric="conversion")
PEOPLE = 400


class Log:
    """Events of a shop, as the collector leaves them."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(self, kind: str, item: str | None, minutes: float, **more: Any) -> None:
        at = (AT + timedelta(minutes=minutes)).isoformat()
        row = {"event_id": f"e{len(self.rows):06}", "event_type": kind, "occurred_at": at, "received_at": at}
        self.rows.append(row | ({"item_id": item} if item else {}) | more)


def seen(log: Log, person: int, minutes: float) -> str:
    """A shelf of two items that a person sees; returns its request id."""
    variant = assign(EXPERIMENT, f"u.{person}")
    assert variant
    request_id = make_request_id(
        "popular" if variant.name == "b" else "live",
        via="user",
        subject=f"u.{person}",
        items=["A", "B"],
        now_ms=to_ms(AT),
        placement="home",
        model_version="v1",
        variants=[f"shelf:{variant.name}"],
        new_items=["B"],
    )
    for item in ("A", "B"):
        log.add("impression", item, minutes, user_id=str(person), request_id=request_id)
    return request_id


def shop_log() -> tuple[Log, dict[str, list[int]]]:
    """All see a shelf; a quarter of ``a`` and half of ``b`` click and buy A, some of them a day later."""
    log, buyers = Log(), {"a": list[int](), "b": list[int]()}
    for person in range(PEOPLE):
        variant = assign(EXPERIMENT, f"u.{person}")
        assert variant
        request_id = seen(log, person, person / 10)
        if person % (4 if variant.name == "a" else 2) == 0:
            buyers[variant.name].append(person)
            log.add("click", "A", person / 10 + 1, user_id=str(person), request_id=request_id)
            later = 24 * 60 if person % 3 == 0 else 5
            log.add("purchase", "A", person / 10 + later, user_id=str(person), price=2.5, quantity=2)
    log.add("purchase", "Z", 60, user_id="stranger", price=99.0)
    return log, buyers


@pytest.fixture(scope="module")
def ran(stack: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, dict[str, list[int]]]]:
    log, buyers = shop_log()
    today = [row for row in log.rows if row["occurred_at"] < "2026-01-06"]
    stack.write(DAY, [today[:700], today[500:]], raw=[b"not json"])  # 200 of them twice, as at-least-once delivers
    stack.write(DAY + timedelta(days=1), [[row for row in log.rows if row not in today]])
    stack.stores.objects.put(experiments_path(SHOP), encode_experiments(Experiments(experiments=(EXPERIMENT,))))
    publish(stack, tmp_path_factory.mktemp("model"))
    assert attribute(stack, "--until", "2026-01-06")["dropped"] == 0
    yield stack, buyers


def publish(stack: Any, folder: Path) -> None:
    """A model that knows A well, and C hardly."""
    manifest = Manifest(
        shop_id=SHOP, version="v1", parent=None, trained_at=AT, window_start=AT, window_end=AT, model=ModelSettings(),
        training={}, feature_names=[], coefficients=[], metrics={}, rows={},
    )  # fmt: skip
    matrix = (np.zeros(3, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    sealed = write_snapshot(folder / "v1", manifest, ["A", "C"], matrix, np.array([50.0, 2.0]))
    stack.stores.objects.upload_folder(folder / "v1", model_prefix(SHOP, "v1"), [*sealed.files, "manifest.json"])
    stack.stores.tables.switch(SHOP, Pointer(version="v1", switched_at=AT), None)


def attribute(stack: Any, *options: str) -> dict[str, Any]:
    """The command in this process, on one Spark session for all of them."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
        patch.setattr(SparkSession, "stop", lambda session: stack.sessions.append(session))
        status = main(["--properties", str(stack.file), "--driver-memory", "512m", *options])
    assert status == 0, out.getvalue() + err.getvalue()
    return dict(json.loads(out.getvalue().strip().splitlines()[-1].removeprefix("ATTRIBUTED ")))


def table(stack: Any, path: str) -> pd.DataFrame:
    return pd.DataFrame(pq.read_table(pa.BufferReader(stack.stores.objects.get(path))).to_pydict())


def test_each_list_and_variant_has_what_came_of_it(ran: Any) -> None:
    stack, buyers = ran
    totals = table(stack, attribution_totals_path(SHOP, DAY)).set_index(["kind", "new"])
    for kind, variant in (("live", "a"), ("popular", "b")):
        people = sum(assign(EXPERIMENT, f"u.{n}") == EXPERIMENT.variants["ab".index(variant)] for n in range(PEOPLE))
        known, new = totals.loc[(kind, False)], totals.loc[(kind, True)]
        bought = len(buyers[variant])
        assert (known["placement"], known["model_version"], known["variant"]) == ("home", "v1", f"shelf:{variant}")
        assert (known["impressions"], known["clicks"], known["purchases"]) == (people, bought, bought)
        assert (known["purchases_after_click"], known["revenue"]) == (bought, 5.0 * bought)
        assert (new["impressions"], new["clicks"], new["revenue"]) == (people, 0, 0.0)


def test_the_day_after_has_no_lists_of_its_own(ran: Any) -> None:
    assert table(ran[0], attribution_totals_path(SHOP, DAY + timedelta(days=1))).empty


def test_units_are_the_people_and_their_whole_purchases(ran: Any) -> None:
    stack, buyers = ran
    units = table(stack, attribution_units_path(SHOP, DAY)).set_index("unit")
    assert "u.stranger" in units.index  # bought, saw nothing: kept here, left out of the experiment
    assert len(units) == PEOPLE + 1
    assert units["revenue"].sum() == 5.0 * sum(map(len, buyers.values()))
    late = table(stack, attribution_units_path(SHOP, DAY + timedelta(days=1)))
    assert set(late["impressions"]) == {0} and (late["total_revenue"] == 5.0).all()


def test_the_experiment_is_told_with_its_intervals(ran: Any) -> None:
    stack, buyers = ran
    found = decode_results(stack.stores.objects.get(experiment_results_path(SHOP, "shelf")))
    units = {each.variant: each.units for each in found.variants}
    assert sum(units.values()) == PEOPLE and found.sample_ratio.ok
    (primary,) = (each for each in found.comparisons if each.metric == "conversion")
    rates = {name: len(people) / units[name] for name, people in buyers.items()}
    assert primary.difference.value == pytest.approx(rates["b"] - rates["a"])
    assert (primary.decided, primary.p_value < 0.05) == ("better", True)
    total = {each.variant: each.total_revenue for each in found.variants}
    assert total == {name: 5.0 * len(people) for name, people in buyers.items()}  # the day after included
    assert (found.first_day, found.last_day) == ("2026-01-05", "2026-01-06")


def test_the_summary_and_the_items_that_are_not_new_any_more(ran: Any) -> None:
    stack, buyers = ran
    summary = decode_summary(stack.stores.objects.get(attribution_summary_path(SHOP)))
    assert sum(each.impressions for each in summary.lists) == 2 * PEOPLE
    assert sum(each.clicks for each in summary.lists) == sum(map(len, buyers.values()))
    new = decode_new_items(stack.stores.objects.get(new_items_path(SHOP)))
    assert new.known == ["A", "B"]  # the model knows A; B was shown more than 200 times; C is hardly known
    assert table(stack, attribution_items_path(SHOP, DAY)).set_index("item_id").loc["B", "impressions"] == PEOPLE


def test_a_second_run_changes_nothing_and_a_late_purchase_only_its_day(ran: Any) -> None:
    stack, buyers = ran
    objects = stack.stores.objects

    def etags() -> dict[str, str]:
        return {path: objects.etag(path) for path in objects.list(attribution_prefix(SHOP))}

    before = etags()
    attribute(stack, "--until", "2026-01-06")
    assert etags() == before
    log = Log()
    log.add("purchase", "A", 2 * 24 * 60, user_id=str(buyers["a"][0]), price=1.0, event_id="late")
    stack.write(DAY + timedelta(days=2), [log.rows])
    attribute(stack, "--until", "2026-01-07", "--days", "3")
    changed = {path for path, tag in etags().items() if before.get(path) != tag}
    mended = {attribution_totals_path(SHOP, DAY), attribution_units_path(SHOP, DAY)}
    assert {path for path in changed if path in before} == mended
    assert table(stack, attribution_totals_path(SHOP, DAY))["purchases"].sum() == 1 + sum(map(len, buyers.values()))
