"""How good the model is: metrics with intervals, paired tests, what the lists are like, and each day."""

from collections.abc import Sequence
from typing import Any, Final

from batch.report_charts import Range, Series, figure, legend, lines, ranges, stacks
from batch.report_html import (
    DASH,
    Html,
    amount,
    between,
    finite,
    join,
    named,
    p_value,
    rounded,
    share,
    signed,
    table,
    tag,
)
from batch.report_run import Missing, Part, Run, Section, first, records
from batch.report_verdict import signed_share, why_unmeasured

__all__ = ["beyond", "daily", "quality"]

_MEANINGS: Final = {
    "HR": "share of cases in which at least one hidden item is among the {n} shown",
    "Recall": "share of the hidden items that are among the {n} shown",
    "MRR": "1 / place of the first hidden item found (0 if none of {n}), on average",
    "NDCG": "hidden items found, worth more near the top; 1 is the best possible order",
}
_BEYOND: Final = {
    "coverage": ("share of the model's items that are shown to anybody", True),
    "novelty": ("surprise of what is shown, −log₂ of its share of the events, higher is less obvious", False),
    "gini": ("0: every item is shown equally often; 1: one item takes every place", False),
    "cold": ("share of the places shown that go to items with hardly any events", True),
}
_TASKS: Final = {
    "completion": "Each held-out basket is cut in two: the model sees one half and must find the other.",
    "next": "Each held-out visit is shown to the model but for its last item, which it must find.",
}
_ANY_TASK: Final = "Part of each held-out unit (a basket, a visit) is hidden, and the model must find it."


def quality(run: Run) -> Part:
    """Metrics by model, with paired tests and charts."""
    title = "Is it better?"
    if not run.measures:
        return Missing(title, why_unmeasured(run))
    cases = f"{amount(run.cases)} cases" if run.cases else "cases whose number was not recorded"
    span = [str(first(run.manifest.evaluation, name)) for name in ("first_day", "last_day")]
    when = f", {span[0]} to {span[1]}" if "None" not in span else ", from the newest days"
    task = _TASKS.get(str(first(run.manifest.evaluation, "task")), _ANY_TASK)
    lead = f"{task} All models on the same {cases}{when}, which none of them was trained on."
    if "live" in run.models:
        lead += " The new model is judged by its twin: the same settings, trained without these days."
    body = join((_table(run), _meanings(run), _charts(run), _tests(run)))
    return Section("quality", title, lead, body)


def _table(run: Run) -> Html:
    columns = ["model", *run.measures]
    rows = []
    for model in run.models:
        cells: list[object] = [tag("span", run.label(model), class_=f"name {run.tone(model)}")]
        for metric in run.measures:
            low, high = run.interval(model, metric)
            value = rounded(run.value(model, metric))
            small = tag("small", between(low, high)) if low is not None else Html()
            cells.append(join((value, small)))
        rows.append(cells)
    told = any(run.interval(model, metric)[0] is not None for model in run.models for metric in run.measures)
    note = "with 95 % bootstrap intervals" if told else "no intervals were recorded"
    return table(f"Metrics by model, {note}", columns, rows)


def _meanings(run: Run) -> Html:
    entries = []
    for metric in run.measures:
        kind, _, cut = metric.partition("@")
        if kind in _MEANINGS:
            entries.append(join((tag("dt", metric), tag("dd", _MEANINGS[kind].format(n=cut or "shown")))))
    return tag("dl", *entries, class_="terms") if entries else Html()


def _charts(run: Run) -> Html:
    charts = []
    for metric in run.measures:
        rows = []
        for model in run.models:
            value = run.value(model, metric)
            if value is not None:
                rows.append(Range(run.label(model), value, *run.interval(model, metric), run.tone(model)))
        if rows:
            said = f"{metric}: " + "; ".join(_said(row) for row in rows)
            charts.append(figure(metric, ranges(said, rows)))
    return tag("div", *charts, class_="charts")


def _said(row: Range) -> str:
    found = f" ({between(row.low, row.high)})" if row.low is not None else ""
    return f"{row.label} {rounded(row.value)}{found}"


def _tests(run: Run) -> Html:
    found = run.paired()
    if not found:
        return tag("p", "No paired tests were recorded, so small differences above may be chance.", class_="soft")
    rows = []
    for row in found:
        names = f"{run.label(row['model'])} − {run.label(str(row['against']))}"
        theirs = run.value(str(row["against"]), row["metric"])
        change = signed_share(theirs + row["difference"], theirs) if theirs else DASH
        interval = between(row["low"], row["high"], sign=True)
        rows.append([names, row["metric"] or DASH, signed(row["difference"]), interval, change, p_value(row["p"])])
    columns = ["difference", "metric", "by", "95 % interval", "relative", "p"]
    words = (
        "Case by case, so that easy and hard cases cancel. An interval that holds 0, or a large p, means: "
        "no proof of a difference."
    )
    return join(
        (
            table("Paired differences on the same cases", columns, rows, words=[1]),
            tag("p", words, class_="soft"),
            _gaps(run, found),
        )
    )


def _gaps(run: Run, found: Sequence[dict[str, Any]]) -> Html:
    metrics = dict.fromkeys(row["metric"] for row in found)
    charts = []
    for metric in list(metrics)[:2]:
        rows = [
            Range(
                f"− {run.label(str(row['against']))}",
                row["difference"],
                row["low"],
                row["high"],
                run.tone(str(row["against"])),
            )
            for row in found
            if row["metric"] == metric and row["model"] == "live"
        ]
        if rows:
            said = f"New model minus others, {metric}: " + "; ".join(f"{row.label} {signed(row.value)}" for row in rows)
            charts.append(figure(f"New model minus …, {metric}", ranges(said, rows, form=signed, zero=True, left=106)))
    return tag("div", *charts, class_="charts")


def beyond(run: Run) -> Part:
    """Coverage, novelty and concentration, and who gets the exposure."""
    title = "What do the lists look like?"
    found = first(run.manifest.evaluation, "beyond", "beyond_accuracy")
    bias = run.part("popularity_bias")
    if not found and not bias:
        return Missing(
            title, "neither coverage, novelty, Gini and cold share nor the exposure by popularity were recorded"
        )
    lead = "A model can win on hits by showing everybody the same few best sellers. These figures would show it."
    figures, terms = _beyond_table(run, found)
    body = join((figures, tag("div", _bias(run, bias), terms, class_="charts")))
    return Section("lists", title, lead, body)


def _beyond_table(run: Run, found: Any) -> tuple[Html, Html]:
    """The table, and what its columns mean."""
    by_model = {str(row["name"]): row for row in records(found) if "name" in row}
    names = list(dict.fromkeys(name for row in by_model.values() for name in row if finite(row[name]) is not None))
    if not names:
        return Html(), Html()
    models = [*(model for model in run.models if model in by_model), *(m for m in by_model if m not in run.models)]
    rows = [
        [
            tag("span", run.label(model), class_=f"name {run.tone(model)}"),
            *(_figure(n, by_model[model].get(n)) for n in names),
        ]
        for model in models
    ]
    terms = [(name, known[0]) for name in names if (known := _known(name))]
    told = tag("dl", *(join((tag("dt", named(name)), tag("dd", text))) for name, text in terms), class_="terms")
    return table("Beyond hits", ["model", *map(named, names)], rows), told


def _known(name: str) -> tuple[str, bool] | None:
    return next((known for start, known in _BEYOND.items() if name.lower().startswith(start)), None)


def _figure(name: str, value: Any) -> str:
    known = _known(name)
    if known is not None and known[1]:
        return share(value, 2)
    return f"{rounded(value, 2)} bits" if name.lower().startswith("novelty") else rounded(value)


def _bias(run: Run, bias: Any) -> Html:
    exposure = first(bias, "exposure")
    if not exposure:
        return Html()
    models = [*(m for m in run.models if m in exposure), *(m for m in exposure if m not in run.models)]
    rows = [(run.label(model), _shares(exposure[model])) for model in models]
    if first(bias, "events"):
        rows.insert(0, ("people's actions", _shares(bias["events"])))
    rows = [(label, shares) for label, shares in rows if shares]
    if not rows:
        return Html()
    most = max(len(shares) for _, shares in rows)
    parts = [f"tenth {at + 1} of the items by popularity" if most == 10 else f"part {at + 1}" for at in range(most)]
    said = "Share of the exposure that goes to the most popular tenth of the items: "
    said += "; ".join(f"{label} {share(shares[-1])}" for label, shares in rows)
    note = (
        f"{said}. Strongest colour: the most popular tenth; palest: the least popular. More of the strong colours "
        "than in people's actions means that a model leans on best sellers."
    )
    return figure("Exposure by popularity", stacks(said, rows, parts), note)


def _shares(values: Any) -> list[float]:
    numbers = [max(finite(value) or 0.0, 0.0) for value in values]
    total = sum(numbers)
    return [number / total for number in numbers] if total else []


def daily(run: Run) -> Part:
    """Metrics on each held-out day."""
    title = "Day by day"
    days, cases, found = _per_day(run.part("per_day"))
    metrics = [m for m in run.measures if any(m in values for values in found.values())][:2]
    if not days or not metrics:
        return Missing(title, "the metrics of the single days were not recorded")
    charts = []
    models = [model for model in run.models if model in found]
    short = [day[5:] if len(day) == 10 else day for day in days]
    for metric in metrics:
        series = [Series(run.label(m), found[m][metric], run.tone(m)) for m in models if metric in found[m]]
        said = f"{metric} by day: " + "; ".join(
            f"{one.label} {between(min(known), max(known))}"
            for one in series
            if (known := [v for v in one.values if v is not None])
        )
        if any(value is not None for one in series for value in one.values):
            charts.append(
                figure(f"{metric} by day", lines(said, short, series), key=legend([(s.label, s.tone) for s in series]))
            )
    rows = [
        [
            day,
            amount(cases[at]) if at < len(cases) else DASH,
            *(rounded(found[m][metrics[0]][at]) for m in models if metrics[0] in found[m]),
        ]
        for at, day in enumerate(days)
    ]
    columns = ["day (UTC)", "cases", *(run.label(m) for m in models if metrics[0] in found[m])]
    body = join((tag("div", *charts, class_="charts"), table(f"{metrics[0]} by day", columns, rows)))
    lead = "One odd day among good ones points at its data; all days sinking together points at the model."
    return Section("days", title, lead, body)


def _per_day(value: Any) -> tuple[list[str], list[Any], dict[str, dict[str, list[float | None]]]]:
    """Days, cases, and {model: {metric: values}} from columns or from a mapping by day."""
    by_day = first(value, "metrics")
    if by_day:
        shaped = {m: {n: [finite(v) for v in column] for n, column in values.items()} for m, values in by_day.items()}
        return [str(day) for day in value["days"]], list(value.get("cases") or ()), shaped
    rows = sorted(records(value), key=lambda row: str(row.get("name", row.get("day"))))
    days = [str(row.get("day", row.get("name"))) for row in rows]
    models = dict.fromkeys(name for row in rows for name in row if isinstance(row[name], dict))
    shaped = {
        model: {
            metric: [finite(first(row.get(model), metric)) for row in rows]
            for metric in dict.fromkeys(name for row in rows for name in row.get(model) or ())
        }
        for model in models
    }
    return days, [row.get("cases") for row in rows], shaped
