"""The top of a report: was it published and why, then the figures one looks for first."""

from typing import Any, Final

from batch.report_html import (
    DASH,
    Html,
    amount,
    between,
    duration,
    finite,
    join,
    named,
    rounded,
    share,
    signed,
    tag,
    utc,
)
from batch.report_run import Run, first
from batch.report_work import check_rows

__all__ = ["verdict"]

_TITLES: Final = {
    "published": ("good", "Published", "This model went live at the end of the run."),
    "approved": ("good", "Passed the gate", "Nothing stands against publishing this model."),
    "refused": ("bad", "Not published", "The gate refused this model. What was live before stays live."),
    "conflict": ("bad", "Not published", "Another run published first. Its model is live."),
    "measured": ("plain", "Not published, as asked", "This run only measured."),
    "unknown": ("plain", "No decision recorded", "The manifest says nothing about a gate: it was written before there "
                "was one, or the evaluation was switched off."),
}  # fmt: skip
_WORDS: Final = {
    "published": "published",
    "publish": "approved",
    "approved": "approved",
    "pass": "approved",
    "refused": "refused",
    "refuse": "refused",
    "reject": "refused",
    "keep": "refused",
    "kept": "refused",
    "conflict": "conflict",
    "measured": "measured",
}


def outcome(run: Run) -> str:
    """A key of the titles: what the caller says the run came to, or else what the gate decided."""
    for said in (run.extra.get("outcome"), first(run.manifest.gate, "decision", "publish")):
        if isinstance(said, bool):
            return "approved" if said else "refused"
        if isinstance(said, str) and said.lower() in _WORDS:
            return _WORDS[said.lower()]
    return "unknown"


def verdict(run: Run) -> Html:
    """The banner, and the tiles below it."""
    tone, title, line = _TITLES[outcome(run)]
    sentences = first(run.manifest.gate, "sentences") or []
    said = [sentences] if isinstance(sentences, str) else list(sentences)
    rule = first(run.manifest.gate, "rule")
    parts = [tag("p", tag("strong", title, class_="title")), tag("p", line)]
    if said:
        parts.append(tag("ul", *(tag("li", sentence) for sentence in said)))
    if accepted := first(run.manifest.gate, "accepted"):
        parts.append(tag("p", "Accepted by hand: ", _listed(accepted)))
    if rule:
        parts.append(tag("p", "The rule: ", _rule(rule), class_="soft"))
    banner = tag("section", *parts, class_=f"verdict {tone}", aria_label="Verdict")
    return join((banner, tag("dl", *_tiles(run), class_="tiles")))


def _rule(rule: Any) -> str:
    if not isinstance(rule, dict):
        return str(rule)
    return ", ".join(f"{named(str(name))} {_listed(value)}" for name, value in rule.items())


def _listed(value: Any) -> str:
    return " and ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _tiles(run: Run) -> list[Html]:
    manifest = run.manifest
    days = (manifest.window_end - manifest.window_start).total_seconds() / 86400
    rows = manifest.rows
    counts = [f"{amount(rows[name])} {name}" for name in ("actions", "units", "people", "items") if name in rows]
    span = f"{days:.0f} days" if days >= 1.5 else duration(days * 86400) if days else DASH
    trained = finite(manifest.seconds.get("total")) or sum(finite(value) or 0 for value in manifest.seconds.values())
    tiles = [_quality(run), *(_against(run, other) for other in ("popularity", "incumbent")), _odd(run)]
    tiles.append(_tile("Trained on", span, " · ".join(counts) or "rows not recorded"))
    tiles.append(_tile("Took", duration(trained) if trained else DASH, f"begun {utc(manifest.trained_at)}"))
    return [tile for tile in tiles if tile]


def _odd(run: Run) -> Html:
    checks = check_rows(run)
    if not checks:
        return _tile("Data checks", DASH, "not recorded")
    odd = list(dict.fromkeys(row["check"] for row in checks if row["level"] in ("warn", "refuse")))
    tone = "bad" if any(row["level"] == "refuse" for row in checks) else "gold"
    if not odd:
        return _tile("Data checks", "all passed", f"{len(checks)} checks")
    names = ", ".join(odd[:3]) + (f" and {len(odd) - 3} more" if len(odd) > 3 else "")
    return _tile("Data checks", f"{len(odd)} odd", tag("a", names, href="#data"), tone)


def _tile(name: str, value: str, note: object, tone: str | None = None) -> Html:
    return tag("div", tag("dt", name), tag("dd", tag("b", value), tag("span", note)), class_=tone)


def _quality(run: Run) -> Html:
    metric = next(iter(run.measures), None)
    value = run.value("live", metric) if metric else None
    if metric is None or value is None:
        return _tile("Quality", "not measured", why_unmeasured(run))
    low, high = run.interval("live", metric)
    note = f"95 % interval {between(low, high)}" if low is not None else "no interval recorded"
    return _tile(
        f"{metric} of the new model", rounded(value), note + (f", {amount(run.cases)} cases" if run.cases else "")
    )


def _against(run: Run, other: str) -> Html:
    metric = next(iter(run.measures), None)
    if metric is None or run.value("live", metric) is None:
        return Html()
    name = {"popularity": "Against popularity", "incumbent": "Against the model live before"}[other]
    found = run.duel(other, metric)
    if found is None:
        return _tile(name, DASH, why_no_duel(run, other))
    note = f"from {rounded(found.theirs)}"
    if found.low is not None and found.high is not None:
        note = f"95 % interval {between(found.low, found.high, sign=True)}, {note}"
        note += "; may be chance" if found.low <= 0 <= found.high else ""
    elif found.theirs:
        note += f", {signed_share(found.theirs + found.difference, found.theirs)}"
    return _tile(name, signed(found.difference), note)


def why_no_duel(run: Run, other: str) -> str:
    """Why the new model was not compared with another."""
    if other == "popularity":
        return "not measured"
    if run.manifest.parent is None:
        return "no model was live"
    how = first(first(first(run.manifest.gate, "numbers"), "incumbent"), "how")
    return "equal settings: on equal days the two are one model" if how == "same" else "not measured on the same cases"


def signed_share(ours: float, theirs: float) -> str:
    """By how much the first is more than the second.

    >>> signed_share(0.6, 0.4)
    '+50.0 %'
    """
    change = ours / theirs - 1
    return ("+" if change >= 0 else "") + share(change)


def why_unmeasured(run: Run) -> str:
    """Why a manifest holds no metrics, as far as it says."""
    if run.manifest.training.get("holdout_days") == 0:
        return "the evaluation was switched off for this run"
    return "the lake held no unit to complete in the newest days, or none before them to learn from"
