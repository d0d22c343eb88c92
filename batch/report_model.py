"""What the program chose and what the ranker learned: the search, coefficients, θ and calibration."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final

from batch.report_charts import Series, figure, legend, lines
from batch.report_html import DASH, Html, amount, duration, finite, join, named, rounded, signed, table, tag
from batch.report_run import Missing, Part, Run, Section, first, records
from contracts.ranker import FEATURES

__all__ = ["ranker", "search"]

_TRIALS: Final = 12
_DRAWN: Final = 200
_ILL: Final = 900.0
"""A Gram matrix of a larger condition number (30 for the features themselves) lets coefficients trade off against each
other (Belsley, Kuh & Welsch 1980, "Regression diagnostics")."""
_WEAK: Final = 2.0


def search(run: Run) -> Part:
    """Which settings were tried, how each did, and which one was taken."""
    title = "How were the settings chosen?"
    found = run.manifest.search
    trials = _trials(found)
    if not trials and not first(found, "choice"):
        why = "nothing was searched in this run: the settings were given, or they are the defaults"
        return Missing(title, str(first(found, "why", "reason") or why))
    metric = str(first(found, "metric", "selection_metric") or "the selection metric")
    lead = (
        f"Each trial was trained and measured ({metric}) inside the training data; the held-out days were not touched."
    )
    parts = [tag("div", _curve(metric, trials), _choice(found), class_="charts"), _trial_table(metric, trials)]
    return Section("search", title, lead, join(parts))


def _trials(found: Any) -> list[dict[str, Any]]:
    """Trials as ``{settings, value, …}`` in the order in which they ran."""
    metric = first(found, "metric", "selection_metric")
    shaped = []
    for row in records(first(found, "curve", "trials")):
        value = finite(first(row, "value", "score", str(metric)))
        settings = first(row, "settings", "setting", "choice")
        if value is not None:
            shaped.append(row | {"value": value, "settings": settings if settings is not None else row.get("name", "")})
    return shaped


def _curve(metric: str, trials: Sequence[dict[str, Any]]) -> Html:
    if len(trials) < 2:
        return Html()
    values = [float(trial["value"]) for trial in trials]
    best = list(accumulate(values, max))
    drawn_at = range(0, len(values), -(-len(values) // _DRAWN))
    series = [
        Series("this trial", [values[at] for at in drawn_at], "popularity", joined=False),
        Series("best so far", [best[at] for at in drawn_at], "live", marked=False),
    ]
    said = f"{metric} of {len(values)} trials: the first {rounded(values[0], 4)}, the best {rounded(best[-1], 4)}"
    places = [str(at + 1) for at in drawn_at]
    drawn = lines(said, places, series, names=("trial", metric), form=lambda value: rounded(value, 4))
    key = legend([(one.label, one.tone) for one in series])
    return figure("The search", drawn, f"{said}.", key=key)


def _trial_table(metric: str, trials: Sequence[dict[str, Any]]) -> Html:
    if not trials:
        return Html()
    ranked = sorted(enumerate(trials), key=lambda pair: -pair[1]["value"])[:_TRIALS]
    top = ranked[0][1]["value"]
    rows = [
        [
            str(at + 1),
            rounded(trial["value"], 4),
            signed(trial["value"] - top, 4),
            _took(trial),
            _words(trial["settings"]),
        ]
        for at, trial in ranked
    ]
    caption = f"The best {len(ranked)} of {len(trials)} trials"
    return table(caption, ["trial", metric, "behind the best", "took", "settings"], rows, words=[4])


def _took(trial: dict[str, Any]) -> str:
    return duration(first(trial, "seconds", "took"))


def _words(settings: Any) -> str:
    if isinstance(settings, dict):
        return ", ".join(
            f"{name} {amount(value) if finite(value) is not None else value}" for name, value in settings.items()
        )
    return str(settings)


def _choice(found: Any) -> Html:
    choice = first(found, "choice")
    if not isinstance(choice, dict):
        return tag("p", tag("strong", "Taken: "), str(choice)) if choice else Html()
    rows = [[tag("code", name), amount(v) if finite(v) is not None else str(v)] for name, v in choice.items()]
    return table("Taken", ["setting", "value"], rows)


def ranker(run: Run) -> Part:
    """The second regression: coefficients, whether it is used (θ), and whether it predicts what happens."""
    title = "What did the ranker learn?"
    found = _fitted(run)
    rows = _coefficients(found)
    if not rows:
        why = "no ranker was fitted, so lists are ordered by the item-to-item scores alone (θ = 0)"
        return Missing(title, str(first(found, "reason") or why))
    theta = finite(found.get("theta"))
    theta = run.manifest.model.theta if theta is None else theta
    use = f"θ = {amount(theta)}: it has a say in live lists." if theta else "θ = 0: it did not pay, so it has no say."
    lead = "A regression inside each request (its mean taken out): why one shown item is chosen and not its neighbour."
    table_of = table("Coefficients", ["feature", "coefficient", "standard error", "t", "what it is"], rows, words=[4])
    charts = tag("div", _theta(found), _calibration(run), class_="charts")
    return Section("ranker", title, f"{lead} {use}", join((table_of, _told(found), charts, _theta_table(found))))


def _fitted(run: Run) -> dict[str, Any]:
    """The ranker's fields, also where the manifest keeps regression and choice of θ apart."""
    found = run.manifest.ranker
    parts = [found, *(value for value in found.values() if isinstance(value, dict))]
    merged = {name: value for part in parts[::-1] for name, value in part.items() if not isinstance(value, dict)}
    if not merged.get("coefficients"):
        merged |= {"names": run.manifest.feature_names, "coefficients": run.manifest.coefficients}
    return merged


def _coefficients(found: dict[str, Any]) -> list[list[object]]:
    errors, ts = found.get("standard_errors") or [], found.get("t") or []
    dropped, told = set(found.get("dropped") or ()), _meanings()
    rows: list[list[object]] = []
    for at, (name, value) in enumerate(zip(found.get("names") or (), found["coefficients"], strict=False)):
        error, t = (finite(column[at]) if at < len(column) else None for column in (errors, ts))
        about = told.get(name, "")
        if name in dropped:
            rows.append(
                [tag("span", named(name), class_="soft"), *[DASH] * 3, f"{about} (left out: the others say it)"]
            )
            continue
        if t is None and error:
            t = (finite(value) or 0.0) / error
        label = tag("span", named(name), class_="soft") if t is not None and abs(t) < _WEAK else named(name)
        rows.append([label, _sized(value), _sized(error), DASH if t is None else signed(t, 1), about])
    return rows


def _meanings() -> dict[str, str]:
    """What each feature of today's code is; a coefficient is per unit of it."""
    return {feature.name: f"{feature.meaning}, {feature.unit}; {feature.window}" for feature in FEATURES}


def _sized(value: Any) -> str:
    """A coefficient, whose size may be anything, with three significant digits.

    >>> _sized(0.012345), _sized(-3.2e-7)
    ('0.0123', '−3.20e−07')
    """
    number = finite(value)
    if number is None:
        return DASH
    plain = number == 0 or 1e-4 <= abs(number) < 1e5
    return (f"{number:.3g}" if plain else f"{number:.2e}").replace("-", "−")


def _told(found: dict[str, Any]) -> Html:
    said = []
    fit, condition = finite(first(found, "r_squared", "r2")), finite(found.get("condition"))
    counts = {"requests": found.get("requests"), "shown items": first(found, "pairs", "rows")}
    known = [f"{amount(round(count))} {name}" for name, value in counts.items() if (count := finite(value)) is not None]
    if known:
        said.append(f"Fitted on {' with '.join(known)}.")
    if fit is not None:
        said.append(f"R² {rounded(fit, 4)}: the share of the differences inside a request that it explains;")
        said.append("choices are mostly chance, so small values are usual.")
    if condition is not None:
        ill = "some features say nearly the same: read single coefficients with care"
        judged = ill if condition > _ILL else "the features can be told apart"
        said.append(f"Condition number {amount(round(condition, 1))}: {judged}.")
    said.append(f"A feature with |t| below {_WEAK:g} is grey: its effect may be chance.")
    return tag("p", " ".join(said), class_="soft")


def _theta_points(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The curve, by θ: ``theta``, ``HR@20`` and ``MRR@20`` as lists over the windows, and what else it says."""
    rows = records(first(found, "theta_curve", "curve"))
    shaped = []
    for row in rows:
        measured = {"HR@20": first(row, "hr20", "HR@20"), "MRR@20": first(row, "mrr20", "MRR@20")}
        lists = {name: value if isinstance(value, list) else [value] for name, value in measured.items()}
        if finite(row.get("theta")) is not None and all(finite(v) is not None for vs in lists.values() for v in vs):
            shaped.append(row | lists)
    return sorted(shaped, key=lambda row: float(row["theta"]))


def _theta(found: dict[str, Any]) -> Html:
    points = _theta_points(found)
    if len(points) < 2:
        return Html()
    series, places = [], [amount(point["theta"]) for point in points]
    for metric, tone in (("HR@20", "live"), ("MRR@20", "incumbent")):
        means = [sum(point[metric]) / len(point[metric]) for point in points]
        series.append(Series(metric, [_change(mean, means[0]) for mean in means], tone))
    best = (f"{s.label} {_percent(max((v for v in s.values if v is not None), default=0.0))}" for s in series)
    said = f"Change against θ = {places[0]}, at best: " + ", ".join(best)
    drawn = lines(said, places, series, names=("θ", "change, %"), form=_percent)
    reason = found.get("reason")
    note = f"{reason}." if isinstance(reason, str) else "Both must rise for the ranker to be used; 0 switches it off."
    return figure("How much say should it have?", drawn, note, key=legend([(s.label, s.tone) for s in series]))


def _theta_table(found: dict[str, Any]) -> Html:
    points = _theta_points(found)
    if not points:
        return Html()
    rows = [
        [
            amount(point["theta"]),
            *(" / ".join(rounded(value, 4) for value in point[metric]) for metric in ("HR@20", "MRR@20")),
            *(signed(point.get(name), 1) for name in ("z_hr20", "z_mrr20")),
            {True: "yes", False: "no"}.get(point.get("allowed", ""), DASH),
        ]
        for point in points
    ]
    heads = ["θ", "HR@20 by window", "MRR@20 by window", "z of HR", "z of MRR", "allowed"]
    return table("θ on the newest windows (z: rise over θ = 0 by its standard error)", heads, rows)


def _change(value: float | None, base: float | None) -> float | None:
    return None if value is None or not base else 100 * (value / base - 1)


def _percent(value: float) -> str:
    return f"{signed(value, 2)} %"


def _calibration(run: Run) -> Html:
    rows = [
        row
        for row in records(run.part("calibration"))
        if finite(row.get("predicted")) is not None and finite(row.get("observed")) is not None
    ]
    if len(rows) < 2:
        return Html()
    rows.sort(key=lambda row: float(row["predicted"]))
    predicted, observed = ([float(row[name]) for row in rows] for name in ("predicted", "observed"))
    errors = [1.96 * error if (error := finite(row.get("error"))) is not None else None for row in rows]
    places = [_sized(value) for value in predicted]
    said = f"Predicted from {places[0]} to {places[-1]}, observed from {_sized(observed[0])} to {_sized(observed[-1])}"
    series = [Series("observed", observed, "live", errors)]
    drawn = lines(said, places, series, at=predicted, diagonal=True, names=("predicted", "observed"), form=_sized)
    note = (
        f"{len(rows)} equally large bins of shown items, relative to their request. On the dashed line predictions "
        "come true; bars are 95 % intervals."
    )
    return figure("Calibration of the ranker", drawn, note)
