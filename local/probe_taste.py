"""Taste: a new visitor looks at three items of one product type; does the shelf follow, and only theirs?

For each of ten types a visitor views three of its items and a control visitor three items of another. The share of the
type among the 20 items of the shelf is taken before, after, and on the control's shelf.
"""

import random
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from contracts.errors import TrainingError
from contracts.items import Item
from local.probe_events import Collector, Sender, covering
from local.probe_reader import ShelfReader

__all__ = ["TasteCase", "TasteShares", "choose", "judge", "kinds_of", "run", "share", "variety_kinds"]

SHELF: Final = 20
RISE: Final = 0.30
LEAST_ITEMS: Final = 20
POOL: Final = 20
BEST_SOLD: Final = 10


@dataclass(frozen=True)
class TasteCase:
    """A type with the items its visitor views, and the items that the control visitor views."""

    kind: str
    items: tuple[str, ...]
    control_kind: str
    control_items: tuple[str, ...]


@dataclass(frozen=True)
class TasteShares:
    """Shares of the case's type, 0 to 1; ``seconds`` from the collector's answer to the shelf."""

    kind: str
    before: float
    after: float
    control: float
    covered: bool
    seconds: float

    @property
    def rose(self) -> bool:
        """At least 30 points above the control."""
        return self.covered and self.after - self.control >= RISE - 1e-9


def kinds_of(items: Iterable[Item]) -> dict[str, str]:
    """Product type by item id, where the catalogue knows one."""
    return {item.item_id: item.attributes["type"] for item in items if item.attributes.get("type")}


def variety_kinds(lines: pd.DataFrame, kinds: Mapping[str, str], known: Collection[str]) -> list[str]:
    """The types to draw from, a rule of the data alone, fixed before any shelf was seen.

    Three views of one type in a visit must be a thing that people do: so the 20 types of which most baskets hold three
    different items, among the types with at least 20 items that the model knows. (A basket holds one milk and one
    bread: such types say nothing of what else is wanted, however well they sell.)

    Args:
        lines: basket lines of the history, with ``basket`` and ``product``.
        kinds: type by item id.
        known: items of the model.
    """
    of_product = {int(item): kind for item, kind in kinds.items() if item in known}
    kind = lines["product"].map(of_product)
    within = lines.assign(kind=kind)[kind.notna()].groupby(["basket", "kind"], sort=False)["product"].nunique()
    baskets = within[within >= 3].groupby(level="kind").size()
    items = pd.Series(list(of_product.values())).value_counts()
    enough = baskets[baskets.index.map(items) >= LEAST_ITEMS].reset_index(name="baskets")
    ranked = enough.sort_values(["baskets", "kind"], ascending=[False, True])
    return [str(kind) for kind in ranked["kind"][:POOL]]


def choose(
    lines: pd.DataFrame, kinds: Mapping[str, str], known: Collection[str], *, seed: int, cases: int = 10
) -> list[TasteCase]:
    """Seeded cases: ``cases`` types, three items each out of the type's ten best sold; the next type is the control's.

    Raises:
        TrainingError: the data hold too few such types.
    """
    pool = variety_kinds(lines, kinds, known)
    if len(pool) < cases:
        message = f"only {len(pool)} product types qualify; expected at least {cases}; is the model of this data?"
        raise TrainingError(message)
    draw = random.Random(seed)
    drawn = draw.sample(pool, cases)
    sold = lines["product"].value_counts(sort=False)
    counts: dict[str, list[tuple[int, str]]] = {kind: [] for kind in drawn}
    for product, count in zip(sold.index.tolist(), sold.tolist(), strict=True):
        item = str(product)
        if kinds.get(item) in counts and item in known:
            counts[kinds[item]].append((-count, item))

    def pick(kind: str) -> tuple[str, ...]:
        return tuple(draw.sample([item for _, item in sorted(counts[kind])[:BEST_SOLD]], 3))

    following = drawn[1:] + drawn[:1]
    return [TasteCase(kind, pick(kind), other, pick(other)) for kind, other in zip(drawn, following, strict=True)]


def share(items: Sequence[str], kind: str, kinds: Mapping[str, str]) -> float:
    """The part of a full shelf that is of a type: an empty place counts against it.

    >>> share(["A", "B"], "milk", {"A": "milk"})
    0.05
    """
    return sum(kinds.get(item) == kind for item in items[:SHELF]) / SHELF


def judge(shares: Sequence[TasteShares], seconds: float) -> dict[str, Any]:
    """The figures of the result line: means, how many rose, of how many."""
    count = len(shares)
    return {
        "before": round(sum(s.before for s in shares) / count, 3),
        "after": round(sum(s.after for s in shares) / count, 3),
        "control": round(sum(s.control for s in shares) / count, 3),
        "rose": sum(s.rose for s in shares),
        "of": count,
        "seconds": round(seconds, 1),
    }


def run(
    api: Collector,
    reader: ShelfReader,
    cases: Sequence[TasteCase],
    kinds: Mapping[str, str],
    *,
    prefix: str,
    timeout_s: float = 20.0,
) -> tuple[list[TasteShares], float]:
    """Let the visitors look and return each case's shares and the seconds it took in all."""
    began, sender = time.monotonic(), Sender(api, f"{prefix}-taste")
    return [_one(sender, reader, case, kinds, f"{prefix}-t{i}", timeout_s) for i, case in enumerate(cases)], (
        time.monotonic() - began
    )


def _one(
    sender: Sender, reader: ShelfReader, case: TasteCase, kinds: Mapping[str, str], visitor: str, timeout_s: float
) -> TasteShares:
    before = reader.ask(f"a.{visitor}").result()
    views = [sender.event("view", item, visitor=visitor) for item in case.items]
    answered = sender.send(views)
    after = reader.ask(f"a.{visitor}", covering(views), timeout_s=timeout_s)
    others = [sender.event("view", item, visitor=f"{visitor}-control") for item in case.control_items]
    sender.send(others)
    control = reader.ask(f"a.{visitor}-control", covering(others), timeout_s=timeout_s).result()
    seen = after.result()
    return TasteShares(
        kind=case.kind,
        before=share(before.items, case.kind, kinds),
        after=share(seen.items, case.kind, kinds),
        control=share(control.items, case.kind, kinds),
        covered=seen.covered and control.covered,
        seconds=seen.at - answered,
    )
