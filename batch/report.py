"""One self-contained page per training run: was it published, why, how good is it, and what is behind that."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from batch.report_html import Html, join, tag, utc
from batch.report_model import ranker, search
from batch.report_quality import beyond, daily, quality
from batch.report_run import Missing, Part, Run, Section
from batch.report_style import STYLE
from batch.report_verdict import verdict
from batch.report_work import changes, data, settings, time
from contracts.snapshot import Manifest

__all__ = ["build_report"]

_PARTS: Final[tuple[tuple[str, Callable[[Run], Part]], ...]] = (
    ("quality", quality),
    ("days", daily),
    ("settings that changed", changes),
    ("ranker", ranker),
    ("lists", beyond),
    ("search", search),
    ("time", time),
    ("data", data),
    ("settings", settings),
)
_MOST: Final = 400_000


def build_report(manifest: Manifest, extra: Mapping[str, Any]) -> bytes:
    """The page as UTF-8 HTML, below 1 MB; equal arguments give equal bytes. It needs no script and fetches nothing.

    A part without data is named at the end with the reason; one that cannot be read is named there too. Writing a
    report must not be what stops a training.

    Args:
        manifest: of the run; its optional fields may be empty.
        extra: what the manifest does not hold, all optional: ``outcome`` (``published``, ``refused``, ``conflict``,
            ``measured``; otherwise the gate's decision counts), ``parent`` (manifest of the model that was live),
            ``popularity_bias`` and ``calibration`` (see :mod:`batch.report_plots`), ``per_day`` (``{day: {"cases": n,
            model: {metric: value}}}``), ``day_rows`` (columns ``day``, ``actions``).
    """
    run = Run(manifest, extra)
    parts = [_built(name, make, run) for name, make in _PARTS]
    sections = [part for part in parts if isinstance(part, Section)]
    missing = [part for part in parts if isinstance(part, Missing)]
    try:
        top = verdict(run)
    except Exception as exc:  # as below
        top = tag("p", f"The verdict could not be written ({exc!r}); the manifest is in this page's source.")
    body = join(
        (
            _header(manifest),
            tag("main", top, _contents(sections), *map(_section, sections), _missing(missing), id="main"),
        )
    )
    title = f"{manifest.version}: training report, shop {manifest.shop_id}"
    head = join(
        (
            tag("meta", charset="utf-8"),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="color-scheme", content="light dark"),
            tag("title", title),
            tag("style", Html(STYLE)),
        )
    )
    page = tag("html", tag("head", head), tag("body", _skip(), body, _footer(), _source(manifest)), lang="en")
    return f"<!doctype html>\n{page}\n".encode()


def _built(name: str, make: Callable[[Run], Part], run: Run) -> Part:
    try:
        return make(run)
    except Exception as exc:  # whatever an older or a half-written manifest holds: the rest is worth reading
        return Missing(f"The part about {name}", f"what the manifest holds could not be read ({exc!r})")


def _skip() -> Html:
    return tag("a", "Skip to the verdict", href="#main", class_="skip")


def _header(manifest: Manifest) -> Html:
    facts = [
        ("shop", manifest.shop_id),
        ("trained", utc(manifest.trained_at)),
        ("events", f"{manifest.window_start:%Y-%m-%d} to {utc(manifest.window_end)}"),
        ("live before", manifest.parent or "none"),
    ]
    about = tag("div", *(tag("span", name, " ", tag("b", value)) for name, value in facts), class_="about")
    return tag("header", tag("h1", "Training run ", manifest.version), about)


def _contents(sections: Sequence[Section]) -> Html:
    entries = (tag("li", tag("a", section.name.capitalize(), href=f"#{section.name}")) for section in sections)
    return tag("nav", tag("ul", *entries), aria_label="On this page")


def _section(section: Section) -> Html:
    lead = tag("p", section.lead, class_="lead") if section.lead else Html()
    title = tag("h2", section.title, id=f"{section.name}-title")
    return tag(
        "section", title, lead, section.body, id=section.name, class_="part", aria_labelledby=f"{section.name}-title"
    )


def _missing(parts: Sequence[Missing]) -> Html:
    if not parts:
        return Html()
    rows = (join((tag("dt", part.title), tag("dd", part.why))) for part in parts)
    return tag(
        "section",
        tag("h2", "Not in this report", id="missing-title"),
        tag("dl", *rows, class_="terms"),
        id="missing",
        class_="part",
        aria_labelledby="missing-title",
    )


def _footer() -> Html:
    words = "All times are UTC. The manifest that this page was made from is in its source, in the element “manifest”."
    return tag("footer", tag("p", words))


def _source(manifest: Manifest) -> Html:
    """The manifest as data, for programs: for a refused run it is stored nowhere else."""
    text = msgspec.json.encode(manifest).decode()
    if len(text) > _MOST:
        text = msgspec.json.encode(msgspec.structs.replace(manifest, days={}, search={})).decode()
    safe = text.replace("<", "\\u003c").replace("&", "\\u0026")
    return tag("script", Html(safe), type="application/json", id="manifest")


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m batch.report manifest.json [--extra plots.json] > report.html``: a page for a stored manifest."""
    parser = argparse.ArgumentParser(prog="python -m batch.report", description=main.__doc__)
    parser.add_argument("manifest", type=Path, help="manifest.json of a snapshot")
    parser.add_argument("--extra", type=Path, metavar="FILE", help="JSON object with plot arrays")
    parser.add_argument("--parent", type=Path, metavar="FILE", help="manifest.json of the model that was live before")
    arguments = parser.parse_args(argv)
    extra = json.loads(arguments.extra.read_bytes()) if arguments.extra else {}
    if arguments.parent:
        extra["parent"] = msgspec.json.decode(arguments.parent.read_bytes(), type=Manifest)
    sys.stdout.buffer.write(build_report(msgspec.json.decode(arguments.manifest.read_bytes(), type=Manifest), extra))
    return 0


if __name__ == "__main__":
    sys.exit(main())
