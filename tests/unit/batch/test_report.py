"""The page of a run: the verdict first, every figure with its interval, nothing fetched, and no manifest too old."""

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest

from batch.checks import Finding, checks_report
from batch.ranker import NAMES
from batch.recipe import Recipe
from batch.report import build_report, main
from batch.report_plots import calibration, popularity_bias
from contracts.snapshot import Manifest, ModelSettings

Make = Callable[..., Manifest]
NOW = datetime(2026, 11, 22, 17, 39, 45, tzinfo=UTC)
METRICS = {
    "live": {"HR@20": 0.688, "Recall@20": 0.312, "MRR@20": 0.301, "NDCG@20": 0.248},
    "batch": {"HR@20": 0.637, "Recall@20": 0.281, "MRR@20": 0.284, "NDCG@20": 0.226},
    "incumbent": {"HR@20": 0.681, "Recall@20": 0.309, "MRR@20": 0.297, "NDCG@20": 0.245},
    "popularity": {"HR@20": 0.334, "Recall@20": 0.103, "MRR@20": 0.121, "NDCG@20": 0.081},
}


def intervals() -> dict[str, dict[str, list[float]]]:
    return {m: {n: [v - 0.021, v + 0.022] for n, v in values.items()} for m, values in METRICS.items()}


def paired() -> list[dict[str, Any]]:
    return [
        {
            "model": "live",
            "against": against,
            "metric": metric,
            "difference": round(METRICS["live"][metric] - METRICS[against][metric], 6),
            "low": round(METRICS["live"][metric] - METRICS[against][metric] - half, 6),
            "high": round(METRICS["live"][metric] - METRICS[against][metric] + half, 6),
            "p": p,
        }
        for against, half, p in (("popularity", 0.024, 0.000999), ("incumbent", 0.011, 0.2148))
        for metric in ("HR@20", "MRR@20")
    ]


def per_day() -> dict[str, Any]:
    rng = np.random.default_rng(3)
    return {
        f"2026-11-{day}": {"cases": int(rng.integers(180, 260))}
        | {
            model: {metric: round(values[metric] + float(rng.normal(0, 0.02)), 4) for metric in ("HR@20", "MRR@20")}
            for model, values in METRICS.items()
        }
        for day in range(15, 22)
    }


def ranker() -> dict[str, Any]:
    coefficients = [0.212, 0.0871, 0.0319, -0.0412, 0.0268, 0.0021, 0.0134, 0.0046, -0.0007, 0.0]
    errors = [0.0041, 0.0052, 0.0024, 0.0061, 0.0031, 0.0019, 0.0022, 0.0008, 0.0011, 0.0]
    rises = [0, 0.0008, 0.0016, 0.0029, 0.0041, 0.0031, -0.002]
    return {
        "names": list(NAMES),
        "coefficients": coefficients,
        "standard_errors": errors,
        "t": [c / e if e else 0.0 for c, e in zip(coefficients, errors, strict=True)],
        "r_squared": 0.0312,
        "condition": 14.6,
        "requests": 20_114.0,
        "pairs": 1_911_230.0,
        "dropped": [NAMES[-1]],
        "theta": 1.84,
        "reason": "θ = 1.84 raises HR@20 by 0.6 % and MRR@20 by 1.4 % over both windows",
        "curve": [
            {
                "strength": strength,
                "theta": round(strength * 1.84, 3),
                "hr20": [round(0.672 + rise, 4), round(0.681 + rise * 0.7, 4)],
                "mrr20": [round(0.294 + rise, 4), round(0.297 + rise * 1.1, 4)],
                "z_hr20": round(rise * 700, 1),
                "z_mrr20": round(rise * 900, 1),
                "allowed": rise > 0.001,
            }
            for strength, rise in zip((0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0), rises, strict=True)
        ],
    }


def search() -> dict[str, Any]:
    rng = np.random.default_rng(5)
    trials = [
        {
            "settings": {
                "solve.l0": [5, 20, 60][at % 3],
                "solve.a": [0.8, 1.0][at % 2],
                "model.decay": [2, 4, 8][at // 8],
            },
            "value": round(0.285 + 0.012 * (1 - 0.85**at) + float(rng.normal(0, 0.004)), 5),
            "seconds": round(float(rng.uniform(4, 9)), 2),
        }
        for at in range(24)
    ]
    best = max(trials, key=lambda trial: float(trial["value"]))
    return {"metric": "MRR@20", "grid": {"solve.l0": [5, 20, 60]}, "curve": trials, "choice": best["settings"]}


def checks() -> dict[str, Any]:
    day = date(2026, 11, 21)
    told = "1 bot-like visitor did 101,212 actions on Saturday 2026-11-21, 96 % of the day. Look who it is."
    found = Finding("bots", day, 101212, "20 % of the day or less", "warn", told)
    return checks_report([found])


def full(make: Make, **changes: Any) -> Manifest:
    """A run with every field filled."""
    recipe = Recipe()
    fields: dict[str, Any] = {
        "version": "20261122T173945Z-78da14",
        "parent": "20261121T173801Z-11fe02",
        "trained_at": NOW,
        "window_start": datetime(2025, 12, 18, tzinfo=UTC),
        "window_end": NOW,
        "model": ModelSettings(history=20, decay=4.0, blend=1.0, theta=1.84),
        "training": msgspec.to_builtins(recipe) | {"settings_digest": recipe.digest, "holdout_days": 7},
        "feature_names": list(NAMES),
        "coefficients": ranker()["coefficients"],
        "metrics": METRICS,
        "rows": {
            "actions": 1346898,
            "units": 143789,
            "items": 26937,
            "weights": 1409573,
            "people": 2467,
            "days": 340,
            "days_made": 1,
            "person_lists": 2461,
            "similar_lists": 26919,
            "popular_lists": 1,
        },
        "evaluation": {
            "cases": 1531,
            "first_day": "2026-11-15",
            "last_day": "2026-11-21",
            "intervals": intervals(),
            "paired": paired(),
            "beyond": {
                "live": {"coverage@20": 0.314, "novelty@20": 12.91, "gini@20": 0.871, "cold@20": 0.034},
                "incumbent": {"coverage@20": 0.309, "novelty@20": 12.88, "gini@20": 0.874, "cold@20": 0.033},
                "popularity": {"coverage@20": 0.0007, "novelty@20": 7.42, "gini@20": 0.9993, "cold@20": 0.0},
            },
            "per_day": per_day(),
        },
        "gate": {
            "decision": "publish",
            "rule": "not worse than the live model by more than 0.010 HR@20, and better than popularity",
            "sentences": [
                "HR@20 0.688 is 0.007 above the live model's 0.681 (95 % interval −0.004 to +0.018) on 1,531 cases: "
                "not worse than allowed (−0.010).",
                "HR@20 is 0.354 above popularity's 0.334, with intervals that do not overlap.",
            ],
        },
        "search": search(),
        "ranker": ranker(),
        "checks": checks(),
        "seconds": {
            "plan": 0.7,
            "start": 3.3,
            "moments": 6.1,
            "search": 151.2,
            "evaluate": 19.7,
            "solve": 15.1,
            "lists": 13.1,
            "total": 210.0,
        },
        "days": {f"{datetime(2025, 12, 18) + timedelta(days=n):%Y-%m-%d}": f"moments/{n}" for n in range(340)},  # noqa: DTZ001
    }
    return make(**fields | changes)


def extra(make: Make) -> dict[str, Any]:
    """All that may be given beside a manifest."""
    rng = np.random.default_rng(11)
    popularity = rng.pareto(1.1, 2000) + 1
    sharp = popularity / popularity.sum()
    drawn = {
        "live": rng.choice(2000, (500, 20), p=sharp**0.8 / (sharp**0.8).sum()),
        "incumbent": rng.choice(2000, (500, 20), p=sharp),
        "popularity": np.argsort(-popularity)[None, :20],
    }
    predicted = rng.normal(0, 0.03, 20000)
    observed = (rng.random(20000) < 0.06 + predicted).astype(float) - 0.06
    before = Recipe().with_options(["solve.l0=60", "model.decay=8"])
    days = [datetime(2025, 12, 18, tzinfo=UTC) + timedelta(days=n) for n in range(340)]
    counts = [int(3900 + 700 * np.sin(n / 1.1) + 200 * rng.normal()) for n in range(340)]
    counts[211], counts[300] = 1500, 101212
    return {
        "outcome": "published",
        "parent": full(
            make,
            version="20261121T173801Z-11fe02",
            training=msgspec.to_builtins(before) | {"settings_digest": before.digest, "holdout_days": 7},
            model=before.model,
            rows={"actions": 1342986, "units": 143402, "items": 26911, "weights": 1408201, "people": 2467, "days": 339},
            seconds={
                "plan": 0.7,
                "start": 3.4,
                "moments": 6.0,
                "evaluate": 18.9,
                "solve": 15.3,
                "lists": 13.0,
                "total": 58,
            },
        ),
        "popularity_bias": popularity_bias(popularity, drawn),
        "calibration": calibration(predicted, observed),
        "day_rows": {"day": [f"{day:%Y-%m-%d}" for day in days], "actions": counts},
    }


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
def page(make_manifest: Make) -> bytes:
    return build_report(full(make_manifest), extra(make_manifest))


def test_the_verdict_and_the_gates_sentences_come_before_any_figure(page: bytes) -> None:
    text = words(page)
    order = ["Published", "not worse than allowed", "HR@20 of the new model", "Is it better?", "All settings"]
    places = [text.index(part) for part in order]
    assert places == sorted(places)


def test_nothing_is_fetched_and_no_script_runs(page: bytes) -> None:
    reader = read(page)
    assert all(link.startswith("#") and link[1:] in reader.ids for link in reader.links)
    assert [found.get("type") for name, found in reader.tags if name == "script"] == ["application/json"]
    assert not {"img", "iframe", "link", "object", "embed"} & {name for name, _ in reader.tags}
    assert not re.search(rb"@import|url\(|https?:", page)


def test_a_full_page_is_small_and_the_same_every_time(page: bytes, make_manifest: Make) -> None:
    assert len(page) < 300_000
    assert page == build_report(full(make_manifest), extra(make_manifest))


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
        "0.688", "0.667 to 0.710", "1,531 cases", "+0.354", "+0.330 to +0.378", "< 0.001", "0.215",
        "Coefficients", "0.212", "0.0041", "+51.7", "R² 0.0312", "Condition number 14.6", "left out",
        "θ = 1.84", "solve.l0", "60", "MRR@20 of 24 trials", "Taken", "2 min 31 s", "72 %", "1,346,898", "+0.3 %",
        "did 101,212 actions", "8 of 9 without objection",
        "1 odd", "340 days", "31.40 %", "12.91", "tenth", "2025-12-18",
    ]  # fmt: skip
    assert [part for part in expected if part not in text] == []
    assert "Not in this report" not in text


def test_a_refused_run_says_so_first_and_why(make_manifest: Make) -> None:
    sentence = "HR@20 0.512 is 0.169 below the live model's 0.681: labels look shuffled."
    refused = full(make_manifest, gate={"decision": "refuse", "sentences": [sentence]})
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
    gate: dict[str, Any], said: str | None, expected: str, make_manifest: Make
) -> None:
    assert expected in words(build_report(full(make_manifest, gate=gate), {"outcome": said} if said else {}))


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
    field: str, nonsense: dict[str, Any], make_manifest: Make
) -> None:
    page = build_report(full(make_manifest, **{field: nonsense}), extra(make_manifest))
    read(page)
    assert "Is it better?" in words(page) or field == "evaluation"


@pytest.mark.parametrize("name", ["popularity_bias", "calibration", "per_day", "day_rows"])
def test_unusable_plot_arrays_cost_at_most_their_plot(name: str, make_manifest: Make) -> None:
    for value in ("x", [1, 2], {"a": 1}, [{"predicted": float("nan"), "observed": None}], {"exposure": {"live": []}}):
        page = build_report(full(make_manifest), {**extra(make_manifest), name: value})
        assert "Is it better?" in words(page)
        assert b"nan" not in page.replace(b"resonance", b"")


def test_names_from_outside_cannot_become_markup(make_manifest: Make) -> None:
    bad = "<script>alert(1)</script>&\"'"
    nasty = full(
        make_manifest,
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


def test_the_manifest_can_be_read_back_from_the_page(page: bytes, make_manifest: Make) -> None:
    found = re.search(rb'<script type="application/json" id="manifest">(.*?)</script>', page, re.S)
    assert found is not None
    assert msgspec.json.decode(found[1], type=Manifest) == full(make_manifest)


def test_a_page_stays_below_a_megabyte_whatever_the_manifest_holds(make_manifest: Make) -> None:
    trials = [{"settings": {f"s{n}": n for n in range(20)}, "value": at / 9000} for at in range(5000)]
    days = {f"{datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=n):%Y-%m-%d}": "k" * 64 for n in range(3000)}
    page = build_report(
        full(make_manifest, search={"metric": "MRR@20", "curve": trials}, days=days), extra(make_manifest)
    )
    assert len(page) < 1_000_000


def test_popularity_alone_shows_ten_in_ten_places_of_the_top(make_manifest: Make) -> None:
    bias = popularity_bias(np.arange(100), {"popularity": np.arange(99, 79, -1), "even": np.arange(100)})
    assert bias["exposure"]["popularity"][-2:] == [0.5, 0.5]
    assert bias["exposure"]["even"] == [0.1] * 10
    assert sum(bias["events"]) == pytest.approx(1, abs=1e-5)
    assert bias["items"] == [10] * 10


def test_a_true_model_is_calibrated() -> None:
    rng = np.random.default_rng(1)
    predicted = rng.uniform(0.1, 0.9, 40_000)
    rows = calibration(predicted, (rng.random(40_000) < predicted).astype(float))
    assert sum(row["count"] for row in rows) == 40_000
    assert all(abs(row["predicted"] - row["observed"]) < 4 * row["error"] for row in rows)


def test_the_command_makes_the_page_of_a_stored_manifest(tmp_path: Any, capfdbinary: Any, make_manifest: Make) -> None:
    stored = full(make_manifest)
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
