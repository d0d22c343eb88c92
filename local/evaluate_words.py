"""The outcome of an evaluation in plain words: what the figures of the trainer mean for a shop."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from local.eventlog_findings import Findings

__all__ = ["summary_lines"]

_CUT: Final = "@20"
_TASKS: Final = {
    "completion": ("half of whose items were", "one of the other half"),
    "next": ("whose beginning was", "what came next"),
}
"""What the trainer asked: what it showed of a visit, and what was to be found (see ``batch.evaluate``)."""

_NAMES: Final = {
    "live": "live list (follows every click)",
    "batch": "nightly list (as of the last training)",
    "popularity": "best sellers (the same for all)",
}


def summary_lines(found: Findings, trained: Mapping[str, Any], refused: Sequence[str], held: int) -> list[str]:
    """What to print after a training without publishing.

    Args:
        trained: the object of the TRAINED line: ``metrics``, and where the trainer tells them ``evaluation``,
            ``checks`` and ``gate`` as in the manifest. May be empty where its checks said no.
        refused: the trainer's words then.
        held: the newest days that the model did not see.
    """
    metrics: Mapping[str, Mapping[str, float]] = trained.get("metrics") or {}
    evaluation: Mapping[str, Any] = trained.get("evaluation") or {}
    lines = [""]
    odd = [row["sentence"] for row in (trained.get("checks") or {}).get("checks", ()) if _worth_telling(row)]
    if odd:
        lines += ["what the trainer's checks of the data found:", *(f"  {sentence}" for sentence in odd), ""]
    if refused:
        told = (trained.get("gate") or {}).get("sentences") or refused
        lines += ["the trainer's checks would not let this model go live:", *(f"  {line}" for line in told), ""]
    if not {"live", "popularity"} <= metrics.keys():
        return [*lines, "no figures: the newest days hold no visit with enough different items to hide some of them"]
    lines += _table(metrics)
    lines += ["", *_words(metrics, evaluation, held), ""]
    lines += _advice(found, metrics)
    return lines


def _worth_telling(row: Mapping[str, Any]) -> bool:
    """Odd things about the data; that a log of the past ends before today is none."""
    return row.get("level") != "ok" and row.get("check") != "stale" and bool(row.get("sentence"))


def _table(metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
    names = [name for name in metrics["popularity"] if name.endswith(_CUT)]
    order = [name for name in (*_NAMES, *metrics) if name in metrics]
    rows = [(_NAMES.get(name, name), metrics[name]) for name in dict.fromkeys(order)]
    wide = max(len(title) for title, _ in rows)
    lines = [" " * (wide + 2) + "".join(f"{name:>11}" for name in names)]
    for title, values in rows:
        lines.append(f"  {title:<{wide}}" + "".join(f"{values.get(name, float('nan')):>11.3f}" for name in names))
    return lines


def _words(metrics: Mapping[str, Mapping[str, float]], evaluation: Mapping[str, Any], held: int) -> list[str]:
    """HR@20 as a count in a hundred, and how much more than the best sellers that is."""
    ends: Mapping[str, Any] = evaluation.get("intervals") or {}

    def times(name: str) -> str:
        low, high = (ends.get(name) or {}).get(f"HR{_CUT}", (None, None))
        sure = "" if low is None else f" ({100 * low:.0f} to {100 * high:.0f})"
        return f"{100 * metrics[name].get(f'HR{_CUT}', 0.0):.0f} times{sure}"

    days = "day" if held == 1 else f"{held} days"
    judged = f" ({evaluation['cases']:,} visits were looked at)" if "cases" in evaluation else ""
    shown, wanted = _TASKS.get(evaluation.get("task", ""), _TASKS["completion"])
    nightly = f"last night's list {times('batch')}, " if "batch" in metrics else ""
    lines = [
        f"The model did not see the newest {days}{judged}. Of 100 visits there, {shown} shown to it,",
        f"its live list of 20 held {wanted} {times('live')}, {nightly}the best sellers {times('popularity')}.",
    ]
    live, popular = (metrics[name].get(f"HR{_CUT}", 0.0) for name in ("live", "popularity"))
    if popular > 0 and live > popular:
        lines.append(f"That is {live / popular:.1f} times as often as the best sellers.")
    if ends:
        lines.append("In brackets: where the figure lies with 95 % certainty.")
    return lines


def _advice(found: Findings, metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
    live, popular = (metrics[name].get(f"HR{_CUT}", 0.0) for name in ("live", "popularity"))
    lines = []
    if live <= popular * 1.05:
        lines.append("The model finds hardly more than the best sellers do: this log may be too short or too thin.")
    if found.events < 20_000:
        lines.append(f"With {found.events:,} events these figures are rough; more history makes them surer.")
    if set(found.types) == {"purchase"}:
        lines.append("The log holds purchases only; with views and carts live lists have more to go by.")
    lines.append("These figures replay the past: what the lists would have found, not what they would have sold.")
    return lines
