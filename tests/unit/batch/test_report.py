"""The page of a run: the verdict first, every figure with its interval, nothing fetched, and no manifest too old."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from batch.report import build_report, main
from contracts.snapshot import Manifest

Make = Callable[..., Manifest]


class Reader(HTMLParser):
    """Checks nesting and collects what a page refers to."""

    VOID = frozenset({"meta", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        self.ids += [found["id"]] if found.get("id") else []
        self.links += [value for name in ("href", "src", "xlink:href") if (value := found.get(name)) is not None]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"


def read(page: bytes) -> Reader:
    reader = Reader()
    reader.feed(page.decode())
    assert reader.open == []
    return reader


def words(page: bytes) -> str:
    """What a reader sees, markup aside."""
    text = re.sub(r"<(script|style)\b.*?</\1>", "", page.decode(), flags=re.S)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", text)))


@pytest.fixture(scope="module")
def page(example_run: Make, example_extra: dict[str, Any]) -> bytes:
    return build_report(example_run(), example_extra)


def test_the_verdict_and_the_gates_sentences_come_before_any_figure(page: bytes) -> None:
    text = words(page)
    order = ["Published", "not worse than", "HR@20 of the new model", "Is it better?", "All settings"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_nothing_is_fetched_and_no_script_runs(page: bytes) -> None:
    reader = read(page)
    assert all(link.startswith("#") and link[1:] in reader.ids for link in reader.links)
    assert [found.get("type") for name, found in reader.tags if name == "script"] == ["application/json"]
    assert not {"img", "iframe", "link", "object", "embed"} & {name for name, _ in reader.tags}
    assert not re.search(rb"@import|url\(|https?:", page)


def test_a_full_page_is_small_and_the_same_every_time(
    page: bytes, example_run: Make, example_extra: dict[str, Any]
) -> None:
    assert len(page) < 300_000
    assert page == build_report(example_run(), example_extra)


def test_every_chart_says_in_words_what_it_shows_and_every_table_has_a_caption(page: bytes) -> None:
    reader = read(page)
    charts = [found for name, found in reader.tags if name == "svg" and found.get("class") == "chart"]
    assert len(charts) >= 10
    assert all(found.get("role") == "img" and len(found.get("aria-label") or "") > 20 for found in charts)
    names = [name for name, _ in reader.tags]
    assert names.count("caption") == names.count("table") > 5
    assert len(reader.ids) == len(set(reader.ids))
    levels = [int(name[1]) for name in names if re.fullmatch("h[1-6]", name)]
    assert levels[0] == 1
    assert all(after - before <= 2 for before, after in pairwise(levels))


def test_all_that_the_manifest_holds_is_on_the_page(page: bytes) -> None:
    text = words(page)
    expected = [
        "0.688", "0.667 to 0.710", "1,531 cases", "+0.354", "−0.005 to +0.017, from 0.682; may be chance",
        "bots:2026-11-21", "+0.330 to +0.378", "< 0.001", "0.215",
        "Coefficients", "0.212", "0.0041", "+51.7", "R² 0.0312", "Condition number 14.6", "left out",
        "θ = 1.84", "solve.l0", "60", "MRR@20 of 24 trials", "Taken", "2 min 31 s", "72 %", "1,346,898", "+0.3 %",
        "did 101,212 actions", "8 of 9 without objection",
        "1 odd", "340 days", "31.40 %", "12.91", "tenth", "2025-12-18",
    ]  # fmt: skip
    assert [part for part in expected if part not in text] == []
    assert "Not in this report" not in text


def test_a_refused_run_says_so_first_and_why(example_run: Make) -> None:
    sentence = "HR@20 0.512 is 0.169 below the live model's 0.681: labels look shuffled."
    refused = example_run(gate={"decision": "refuse", "sentences": [sentence]})
    text = words(build_report(refused, {}))
    assert (
        text.index("What was live before stays live") < text.index("labels look shuffled") < text.index("Is it better?")
    )
    assert "This model went live" not in text


@pytest.mark.parametrize(
    ("gate", "said", "expected"),
    [
        ({}, None, "No decision recorded"),
        ({"decision": "publish"}, None, "Passed the gate"),
        ({"publish": False}, None, "The gate refused"),
        ({"decision": "publish"}, "conflict", "Another run published first"),
        ({}, "measured", "Not published, as asked"),
        ({"decision": "publish"}, "published", "This model went live"),
    ],
)
def test_what_the_run_came_to_counts_before_what_the_gate_decided(
    gate: dict[str, Any], said: str | None, expected: str, example_run: Make
) -> None:
    assert expected in words(build_report(example_run(gate=gate), {"outcome": said} if said else {}))


@pytest.mark.parametrize(
    ("numbers", "parent", "expected"),
    [
        ({}, None, "no model was live"),
        ({"incumbent": {"how": "same", "metrics": {}}}, "v0", "on equal days the two are one model"),
        ({}, "v0", "not measured on the same cases"),
    ],
)
def test_without_a_comparison_with_the_live_model_the_page_says_why(
    numbers: dict[str, Any], parent: str | None, expected: str, example_run: Make
) -> None:
    metrics = {name: values for name, values in example_run().metrics.items() if name != "incumbent"}
    run = example_run(metrics=metrics, parent=parent, gate={"decision": "publish", "numbers": numbers})
    assert expected in words(build_report(run, {}))


def test_a_manifest_of_before_these_fields_gives_a_page_that_says_what_is_missing_and_why(make_manifest: Make) -> None:
    old = make_manifest(metrics={"live": {"HR@20": 0.5}, "popularity": {"HR@20": 0.4}}, rows={"actions": 5})
    page = build_report(old, {})
    text = words(page)
    read(page)
    assert "0.500" in text and "+0.100" in text
    missing = text[text.index("Not in this report") :]
    for part in (
        "no ranker was fitted",
        "nothing was searched",
        "seconds of the stages were not recorded",
        "no model was live",
    ):
        assert part in missing
    assert "No paired tests were recorded" in text


def test_an_unmeasured_run_says_why(make_manifest: Make) -> None:
    assert "switched off for this run" in words(build_report(make_manifest(training={"holdout_days": 0}), {}))


@pytest.mark.parametrize("field", ["evaluation", "gate", "search", "ranker", "checks", "seconds", "days", "training"])
@pytest.mark.parametrize(
    "nonsense", [{"a": None}, {"names": 3, "curve": "x", "intervals": [1]}, {"x": {"y": {"z": []}}}]
)
def test_nonsense_in_any_field_costs_at_most_that_part(
    field: str, nonsense: dict[str, Any], example_run: Make, example_extra: dict[str, Any]
) -> None:
    page = build_report(example_run(**{field: nonsense}), example_extra)
    read(page)
    assert "Is it better?" in words(page) or field == "evaluation"


@pytest.mark.parametrize("name", ["popularity_bias", "calibration", "per_day", "day_rows"])
def test_unusable_plot_arrays_cost_at_most_their_plot(
    name: str, example_run: Make, example_extra: dict[str, Any]
) -> None:
    for value in ("x", [1, 2], {"a": 1}, [{"predicted": float("nan"), "observed": None}], {"exposure": {"live": []}}):
        page = build_report(example_run(), {**example_extra, name: value})
        assert "Is it better?" in words(page)
        assert b"nan" not in page.replace(b"resonance", b"")


def test_names_from_outside_cannot_become_markup(example_run: Make) -> None:
    bad = "<script>alert(1)</script>&\"'"
    nasty = example_run(
        shop_id=bad,
        version=bad,
        gate={"decision": bad, "sentences": [bad], "rule": {bad: bad}},
        checks={bad: {"ok": False, "sentence": bad}},
        metrics={bad: {bad: 0.5}, "live": {bad: 0.5}},
        search={"curve": [{"settings": {bad: bad}, "value": 1.0}, {"settings": bad, "value": 0.5}]},
    )
    page = build_report(nasty, {"parent": nasty, "outcome": bad})
    assert b"<script>" not in page
    assert [name for name, _ in read(page).tags].count("script") == 1


def test_the_manifest_can_be_read_back_from_the_page(page: bytes, example_run: Make) -> None:
    found = re.search(rb'<script type="application/json" id="manifest">(.*?)</script>', page, re.S)
    assert found is not None
    back = msgspec.json.decode(found[1], type=Manifest)
    assert msgspec.json.encode(back) == msgspec.json.encode(example_run())


def test_a_page_stays_below_a_megabyte_whatever_the_manifest_holds(
    example_run: Make, example_extra: dict[str, Any]
) -> None:
    trials = [{"settings": {f"s{n}": n for n in range(20)}, "value": at / 9000} for at in range(5000)]
    days = {f"{datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=n):%Y-%m-%d}": "k" * 64 for n in range(3000)}
    page = build_report(example_run(search={"metric": "MRR@20", "curve": trials}, days=days), example_extra)
    assert len(page) < 1_000_000


def test_the_command_makes_the_page_of_a_stored_manifest(tmp_path: Any, capfdbinary: Any, example_run: Make) -> None:
    stored = example_run()
    (tmp_path / "manifest.json").write_bytes(msgspec.json.encode(stored))
    (tmp_path / "extra.json").write_text(json.dumps({"outcome": "published"}))
    main(
        [
            str(tmp_path / "manifest.json"),
            "--extra",
            str(tmp_path / "extra.json"),
            "--parent",
            str(tmp_path / "manifest.json"),
        ]
    )
    assert capfdbinary.readouterr().out == build_report(stored, {"outcome": "published", "parent": stored})
