"""The outcome of an evaluation in plain words: what the figures of the trainer mean for a shop."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from local.eventlog_findings import Findings

__all__ = ["summary_lines"]

_CUT: Final = "@20"
_NAMES: Final = {
    "live": "live list (follows every click)",
    "batch": "nightly list (as of the last training)",
    "popularity": "best sellers (the same for all)",
}


def summary_lines(found: Findings, trained: Mapping[str, Any], refused: Sequence[str], held: int) -> list[str]:
    """What to print after a training without publishing.

    Args:
        trained: the object of the TRAINED line; may be empty where the trainer's checks said no.
        refused: the trainer's words then.
        held: the newest days that the model did not see.
    """
    metrics: Mapping[str, Mapping[str, float]] = trained.get("metrics") or {}
    lines = [""]
    if refused:
        lines += ["the trainer's checks would not let this model go live:", *(f"  {line}" for line in refused), ""]
    if not {"live", "popularity"} <= metrics.keys():
        return [*lines, "no figures: the newest days hold no visit with enough different items to hide some of them"]
    lines += _table(metrics)
    lines += ["", *_words(metrics, held), ""]
    lines += _advice(found, metrics)
    return lines


def _table(metrics: Mapping[str, Mapping[str, float]]) -> list[str]:
    names = [name for name in metrics["popularity"] if name.endswith(_CUT)]
    order = [name for name in (*_NAMES, *metrics) if name in metrics]
    rows = [(_NAMES.get(name, name), metrics[name]) for name in dict.fromkeys(order)]
    wide = max(len(title) for title, _ in rows)
    lines = [" " * (wide + 2) + "".join(f"{name:>11}" for name in names)]
    for title, values in rows:
        lines.append(f"  {title:<{wide}}" + "".join(f"{values.get(name, float('nan')):>11.3f}" for name in names))
    return lines


def _words(metrics: Mapping[str, Mapping[str, float]], held: int) -> list[str]:
    """HR@20 as a count in a hundred, and how much more than the best sellers that is."""
    rate = {name: values.get(f"HR{_CUT}", 0.0) for name, values in metrics.items()}
    live, popular = rate["live"], rate["popularity"]
    days = "day" if held == 1 else f"{held} days"
    nightly = f", last night's list {100 * rate['batch']:.0f} times" if "batch" in rate else ""
    lines = [
        f"The model did not see the newest {days}. Of 100 visits there, half of whose items were shown to it,",
        f"its live list of 20 held one of the other half {100 * live:.0f} times{nightly}, "
        f"the best sellers {100 * popular:.0f} times.",
    ]
    if popular > 0 and live > popular:
        lines.append(f"That is {live / popular:.1f} times as often as the best sellers.")
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
    lines.append(
        "These figures replay the past: they say what the lists would have found, not what they would have sold."
    )
    return lines
