"""What went in and what it took: data checks, rows, events a day, seconds by stage, settings."""

from typing import Any, Final

from batch.report_charts import columns, figure, spans
from batch.report_html import DASH, Html, amount, duration, finite, join, named, share, signed, table, tag, utc
from batch.report_run import Missing, Part, Run, Section, first, flat, records

__all__ = ["changes", "check_rows", "data", "settings", "time"]

_DRAWN: Final = 400
_PILLS: Final = {
    "refuse": ("refused", "bad"),
    "warn": ("odd", "gold"),
    "note": ("noted", "soft"),
    "ok": ("passed", "good"),
}
_LEVELS: Final[dict[bool | str, str]] = {
    True: "ok", "ok": "ok", "passed": "ok", "pass": "ok", "info": "note", "note": "note", "warn": "warn",
    "warning": "warn", False: "refuse", "refuse": "refuse", "error": "refuse", "failed": "refuse",
}  # fmt: skip
_EMPTY: Final = tag("div", class_="charts")
_GROUPS: Final = {
    "moments": "what a day's sums are made of (a change means that every day is summed again)",
    "window": "how much the past counts",
    "solve": "from summed days to item-to-item weights",
    "lists": "people's batch lists",
    "model": "how live lists are scored; travels with the model",
    "search": "what was tried",
    "gate": "when a model may go live",
    "ranker": "the second regression",
}


def changes(run: Run) -> Part:
    """Settings that differ from those of the model that was live."""
    title = "What changed in the settings?"
    if run.manifest.parent is None:
        return Missing(title, "no model was live before this one")
    if run.parent is None:
        return Missing(title, f"the manifest of {run.manifest.parent}, live until now, was not at hand")
    now, before = run.settings(), flat(run.parent)
    names = [name for name in dict.fromkeys((*before, *now)) if now.get(name) != before.get(name)]
    if not names:
        return Section(
            "changes", title, "", tag("p", f"Nothing: all {len(now)} settings are those of {run.parent.version}.")
        )
    rows = [[tag("code", name), _value(before.get(name)), _value(now.get(name))] for name in names]
    lead = f"{len(names)} of {len(now)} settings differ from those of {run.parent.version}."
    return Section("changes", title, lead, table("Changed settings", ["setting", "before", "now"], rows))


def _value(value: Any) -> str:
    if value is None:
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    return amount(value) if finite(value) is not None else str(value)


def time(run: Run) -> Part:
    """Seconds by stage."""
    title = "How long did it take?"
    found = {name: seconds for name, value in run.manifest.seconds.items() if (seconds := finite(value)) is not None}
    total = found.pop("total", None) or sum(found.values())
    if not found:
        return Missing(title, "the seconds of the stages were not recorded")
    before = run.parent.seconds if run.parent else {}
    said = "; ".join(f"{named(name)} {duration(seconds)}" for name, seconds in found.items())
    bars = spans(said, [(named(name), seconds, duration(seconds), "live") for name, seconds in found.items()])
    rows = [
        [
            named(name),
            duration(seconds),
            share(seconds / total if total else None, 0),
            *([duration(before.get(name))] if before else []),
        ]
        for name, seconds in found.items()
    ]
    rows.append(["all", duration(total), "", *([duration(before.get("total"))] if before else [])])
    heads = ["stage", "took", "share", *(["the model before"] if before else [])]
    body = tag("div", figure("Seconds by stage", bars), table("Time by stage", heads, rows), class_="charts")
    lead = f"{duration(total)} in all. Stages that come after this page is written (the switch) are not in it."
    return Section("time", title, lead, body)


def data(run: Run) -> Part:
    """Checks, row counts against the model before, and events a day."""
    title = "What went in, and was it odd?"
    both = tag("div", _volume(run), _rows(run), class_="charts")
    parts = [part for part in (_checks(run), both if both != _EMPTY else "", _days(run)) if part]
    if not parts:
        return Missing(title, "neither rows nor checks were recorded")
    start, end = run.manifest.window_start, run.manifest.window_end
    none = "" if run.manifest.checks else " No data checks were recorded in this run."
    return Section("data", title, f"Events from {utc(start)} to {utc(end)}.{none}", join(parts))


def check_rows(run: Run) -> list[dict[str, Any]]:
    """The data checks: ``check``, ``level`` (``ok``, ``note``, ``warn``, ``refuse``), what was found and expected."""
    found = run.manifest.checks
    rows = []
    for row in records(first(found, "checks", "results") or found):
        said = first(row, "level", "ok", "passed", "status")
        level = "note" if said is None else _LEVELS.get(said, "warn") if isinstance(said, bool | str) else "note"
        check = f"{row['check']} {row['day']}" if row.get("check") and row.get("day") else first(row, "check", "name")
        rows.append(row | {"check": named(str(check or DASH)), "level": level})
    return rows


def _checks(run: Run) -> Html:
    rows = check_rows(run)
    if not rows:
        return Html()
    calm = sum(row["level"] in ("ok", "note") for row in rows)
    silent = [row for row in rows if row["level"] == "ok" and first(row, "sentence", "message", "value") is None]
    cells = [
        [
            row["check"],
            tag("span", _PILLS[row["level"]][0], class_=f"pill {_PILLS[row['level']][1]}"),
            _value(row.get("value")),
            _value(row.get("expected")),
        ]
        for row in sorted(rows, key=lambda row: list(_PILLS).index(row["level"]))
        if row not in silent
    ]
    caption = f"Data checks: {calm} of {len(rows)} without objection"
    passed = tag("p", f"Passed: {', '.join(row['check'] for row in silent)}.", class_="soft") if silent else Html()
    if not cells:
        return join((tag("p", tag("strong", caption)), passed))
    sentences = [first(row, "sentence", "message", "why") for row in rows if row["level"] != "ok"]
    told = tag("ul", *(tag("li", sentence) for sentence in sentences if sentence), class_="told")
    figures = table(caption, ["check", "result", "found", "expected"], cells, words=[1])
    return join((told if any(sentences) else "", figures, passed))


def _volume(run: Run) -> Html:
    rows = sorted(records(run.part("day_rows")), key=lambda row: str(row.get("day", row.get("name"))))[-_DRAWN:]
    values = [finite(first(row, "actions", "events")) for row in rows]
    if sum(value is not None for value in values) < 2:
        return Html()
    days = [str(row.get("day", row.get("name"))) for row in rows]
    known = sorted(value for value in values if value is not None)
    usual = known[len(known) // 2]
    odd = sum(not usual / 2 <= value <= usual * 2 for value in known)
    said = (
        f"Actions a day, {days[0]} to {days[-1]}: half of the days have {amount(usual)} or more; {odd} days have "
        "less than half or more than twice that"
    )
    drawn = columns(said, [day[2:] for day in days], values, (usual / 2, usual * 2))
    return figure("Actions a day", drawn, f"{said} (in red)." if odd else f"{said}.")


def _rows(run: Run) -> Html:
    if not run.manifest.rows:
        return Html()
    before = run.parent.rows if run.parent else {}
    rows = []
    for name, count in run.manifest.rows.items():
        then = before.get(name)
        change = [amount(then), f"{signed(100 * (count / then - 1), 1)} %" if then else DASH] if before else []
        rows.append([named(name), amount(count), *change])
    heads = ["what", "this run", *(["the model before", "change"] if before else [])]
    return table("Rows by what they are", heads, rows)


def _days(run: Run) -> Html:
    days = sorted(run.manifest.days)
    if not days:
        return Html()
    return tag(
        "p",
        f"Trained on the stored sums of {len(days)} days, {days[0]} to {days[-1]}; the manifest names their objects.",
        class_="soft",
    )


def settings(run: Run) -> Part:
    """Every setting."""
    title = "All settings"
    found = run.settings()
    if not found:
        return Missing(title, "no settings were recorded")
    groups: dict[str, list[list[object]]] = {}
    for name, value in found.items():
        group, _, rest = name.rpartition(".") if name.count(".") == 1 else name.partition(".")
        groups.setdefault(group if rest else "", []).append([tag("code", rest or name), _value(value)])
    tables = [
        table(f"{group}: {_GROUPS[group]}" if group in _GROUPS else group or "the run", ["setting", "value"], rows)
        for group, rows in sorted(groups.items(), key=lambda entry: entry[0] == "")
    ]
    digest = run.manifest.training.get("settings_digest")
    lead = f"Settings digest {str(digest)[:12]}: equal digests mean equal settings." if digest else ""
    return Section("settings", title, lead, tag("div", *tables, class_="groups"))
