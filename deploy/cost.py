"""``make cost``: the Markdown of docs/cost.md from deploy/prices.json, the profiles and the formulas."""

import argparse
import inspect
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from deploy import cost_model
from deploy.cdk.profiles import PROFILES
from deploy.cost_model import Assumptions, Costs, Prices, Traffic, kpus, personalize, product, shards

__all__ = ["PAGE", "PRICES", "SCENES", "main", "page", "prices"]

PRICES: Final = Path(__file__).with_name("prices.json")
PAGE: Final = Path(__file__).parents[1] / "docs" / "cost.md"

SCENES: Final = (
    ("dev", Traffic(1, 0.2)),
    ("dev", Traffic(10, 2)),
    ("small", Traffic(10, 2)),
    ("small", Traffic(50, 10)),
    ("small", Traffic(200, 40)),
    ("large", Traffic(1_000, 200)),
    ("large", Traffic(10_000, 2_000)),
    ("large", Traffic(100_000, 20_000)),
)
"""A profile at what it is meant for; a shop asks for recommendations about once in five events."""

_HEAD: Final = """\
# What it costs

Made by `make cost` from [deploy/prices.json](../deploy/prices.json),
[deploy/cdk/profiles.py](../deploy/cdk/profiles.py) and the formulas in
[deploy/cost_model.py](../deploy/cost_model.py); `make cost ARGS=--write` writes it anew, and a test fails where it is
not what the script prints. Estimates in US dollars a month of {hours:.0f} hours at list prices of {region}, without
free tiers, discounts and taxes. Of {count} prices {seen} were found again in stored copies of public pages when this
was written; the others carry `"seen": null` and are as last known. No bill was compared with it yet."""

_READING: Final = """\
*events/s* and *requests/s* are averages; what has to hold the peak (shards, KPUs) is sized for {peak:g} times as much.
Flink's automatic scaling and Kinesis on demand cost less where the peak is short. Amazon Personalize is its recipe
User-Personalization-v2, trained weekly on {days} days, with at least one request a second; collector, lake, features
and pages would come on top of it."""

_KNOBS: Final = """\
## What moves the bill

- **Lists of each version** are written by every publishing run and kept `list.ttl.s` (90 days) in the persistent store
  and `redis.list.ttl.s` (3 days) in the cache. The table counts the runs of the profile. A run of `--targets touched`
  publishes all lists, too: hourly training (`hourly` in the profile) multiplies the writes, and the versions that the
  cache holds, by 25; shorten both times to live with it.
- **A GB in ElastiCache Serverless** is ${gb:.0f} a month. Beyond some ten GB compare with a cluster of nodes.
- **Kinesis**: Firehose counts each record as 5 KB, streams on demand as 1 KB. From some hundred events a second on,
  shards cost a fraction; the profile `large` pays for not having to think about them (`shards` in the profile).
- **Events are the dear part of the API**: the tracker sends {together} at a time on average; larger batches, or the
  ASGI service on Fargate as the collector, are the knobs.
- **Flink** is paid by the KPU and hour, the orchestrating one included; [streaming.md](streaming.md) tells what an
  event costs.
- **Aurora instead of DynamoDB** (`--aurora`): ${acu:.2f} an ACU-hour, so ${idle:.0f} a month for each ACU that never
  sleeps, and ${store:.2f} a GB-month; DynamoDB at rest costs its storage alone."""


def prices(path: Path = PRICES) -> dict[str, Any]:
    """The price file."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def page(known: Mapping[str, Any], given: Assumptions) -> str:
    """The whole page."""
    listed = known["prices"]
    usd = {name: float(entry["usd"]) for name, entry in listed.items()}
    seen = sum(entry["seen"] is not None for entry in listed.values())
    head = _HEAD.format(hours=cost_model.HOURS, region=known["region"], count=len(listed), seen=seen)
    reading = _READING.format(peak=given.peak, days=given.personalize_days)
    knobs = _KNOBS.format(
        gb=usd["cache_gb_hour"] * cost_model.HOURS,
        together=given.events_a_request,
        acu=usd["aurora_acu_hour"],
        idle=usd["aurora_acu_hour"] * cost_model.HOURS,
        store=usd["aurora_gb_month"],
    )
    parts = [head, "## By profile and traffic", *_by_scene(usd, given), reading, knobs, "## Formulas", *_formulas()]
    return "\n\n".join([*parts, "## Assumptions", _assumptions(given), "## Prices", _prices(listed)]) + "\n"


def _by_scene(usd: Prices, given: Assumptions) -> list[str]:
    ours = [product(PROFILES[name], traffic, usd, given) for name, traffic in SCENES]
    theirs = [personalize(traffic, usd, given) for _, traffic in SCENES]
    overview = [
        _overview(name, traffic, cost, other, given)
        for (name, traffic), cost, other in zip(SCENES, ours, theirs, strict=True)
    ]
    head = ["profile", "events/s", "requests/s", "shards", "KPUs", "Liveshelf", "Amazon Personalize", "share"]
    columns = [f"{name}, {t.events_per_s:,.0f}/s" for name, t in SCENES]
    by_part = [[part, *(_money({part: cost[part]}) for cost in ours)] for part in ours[0]]
    by_part.append(["**all**", *(f"**{_money(cost)}**" for cost in ours)])
    return [_table(head, overview), "By part:", _table(["", *columns], by_part)]


def _overview(name: str, traffic: Traffic, cost: Costs, other: Costs, given: Assumptions) -> list[str]:
    rates = [f"{traffic.events_per_s:,.0f}", f"{traffic.requests_per_s:,.1f}"]
    sizes = [_shards(name, traffic, given), str(kpus(PROFILES[name], traffic, given))]
    share = f"{sum(cost.values()) / sum(other.values()):.0%}"
    return [name, *rates, *sizes, f"**{_money(cost)}**", _money(other), share]


def _shards(name: str, traffic: Traffic, given: Assumptions) -> str:
    """How many shards, or that it scales itself."""
    profile = PROFILES[name]
    return "on demand" if profile.shards is None else str(shards(profile, traffic, given))


def _formulas() -> list[str]:
    """What each formula says of itself: its first sentence or two."""
    names = {
        "shards": "Shards",
        "kpus": "KPUs",
        "_kinesis": "Kinesis",
        "_s3": "S3",
        "_flink": "Flink",
        "_cache": "ElastiCache",
        "_table": "DynamoDB",
        "_training": "EMR",
        "_serving": "API and Lambda",
        "_network": "Network",
        "_watching": "CloudWatch, KMS",
        "personalize": "Amazon Personalize",
    }
    lines = []
    for function, name in names.items():
        said = inspect.getdoc(getattr(cost_model, function)) or ""
        lines.append(f"- **{name}**: {' '.join(said.partition('>>>')[0].split())}")
    lines.append("- **Firehose**: each record as 5 KB.")
    return ["\n".join(lines)]


def _assumptions(given: Assumptions) -> str:
    rows = []
    for each in fields(given):
        value = getattr(given, each.name)
        rows.append([f"`{each.name}`", f"{value:,g}" if isinstance(value, float) else f"{value:,}"])
    return _table(["what", "value"], rows)


def _prices(listed: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name, entry in listed.items():
        seen = entry["seen"]
        when = f"{seen['date']}: {seen['where']}" if seen else "not checked"
        usd = f"{entry['usd']:.10f}".rstrip("0").rstrip(".")
        rows.append([f"`{name}`", usd, entry["unit"], f"[AWS]({entry['source']})", when])
    return _table(["price", "USD", "per", "source", "seen"], rows)


def _money(cost: Costs) -> str:
    """
    >>> _money({"a": 0.4}), _money({"a": 1234.5, "b": 1})
    ('$0', '$1,236')
    """
    return f"${sum(cost.values()):,.0f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.cost", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write docs/cost.md instead of printing")
    given = parser.parse_args(argv)
    text = page(prices(), Assumptions())
    if given.write:
        PAGE.write_text(text)
        print(f"cost: {PAGE} written")
    else:
        print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
