"""Basket completion: half of a basket is bought live; how often does a list hold something of the other half?

The live list, the batch list of the same version and popularity are scored on the same baskets, without hiding what was
bought: HR@20 is the share of baskets with at least one hit among the first 20 items, recall@20 the mean share found.
"""

import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import pandas as pd

from batch.compare import bootstrap, intervals
from contracts.errors import StoreError
from contracts.keys import batch_key, popular_key, user_key
from contracts.lists import BasedOn, RecommendationList, covers, decode_list, decode_user
from local.probe_events import Collector, Sender, covering

__all__ = ["BasketCase", "Completed", "hit_and_recall", "rounds", "run", "score"]

TOP: Final = 20
LEAST_LINES: Final = 4
_POLL_S: Final = 0.25
_SEED: Final = 7


class Values(Protocol):
    """Whoever reads Redis values; see :class:`stores.cluster.Cluster`."""

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """The values of ``keys``, ``None`` where there is none."""
        ...


@dataclass(frozen=True)
class BasketCase:
    """A basket never replayed: ``given`` is sent, ``hidden`` is to be found."""

    household: str
    basket: str
    given: tuple[str, ...]
    hidden: frozenset[str]


@dataclass(frozen=True)
class Completed:
    """The lists of one basket, best first; ``None`` where the live list never covered what was sent."""

    case: BasketCase
    live: list[str] | None
    batch: list[str]
    popularity: list[str]


def rounds(lines: pd.DataFrame, *, seed: int, count: int = 2000) -> list[list[BasketCase]]:
    """``count`` seeded baskets of four lines or more, in rounds that hold each household once.

    Every household comes once before any comes twice, and a household's second basket is sent after its first was
    scored: otherwise one half basket would be mixed up with the other. Baskets of a household stay in their order.
    """
    draw = random.Random(seed)
    baskets: dict[int, list[BasketCase]] = {}
    for (household, basket), items in lines.groupby(["household", "basket"])["product"]:
        products = [str(product) for product in items]
        if len(products) < LEAST_LINES:
            continue
        draw.shuffle(products)
        half = len(products) // 2
        case = BasketCase(str(household), str(basket), tuple(products[:half]), frozenset(products[half:]))
        baskets.setdefault(household, []).append(case)
    households = sorted(baskets)
    draw.shuffle(households)
    made: list[list[BasketCase]] = []
    while count > 0 and households:
        made.append([baskets[household][len(made)] for household in households[:count]])
        count -= len(made[-1])
        households = [household for household in households if len(baskets[household]) > len(made)]
    return made


def hit_and_recall(ranked: Sequence[str], hidden: Collection[str]) -> tuple[bool, float]:
    """Whether the first 20 hold one of ``hidden``, and how much of it.

    >>> hit_and_recall(["A", "B"], {"B", "C"})
    (True, 0.5)
    """
    found = len(set(ranked[:TOP]) & set(hidden))
    return found > 0, found / len(hidden)


def score(completed: Sequence[Completed]) -> dict[str, Any]:
    """``{"live", "batch", "popularity": HR@20, "cases", "recall", "intervals": the same names, "uncovered"}``.

    A basket whose live list never came counts as a miss of the live list. ``intervals`` are 95 % bootstrap intervals
    of HR@20 over households, [low, high].
    """
    figures: dict[str, Any] = {"cases": len(completed), "uncovered": sum(done.live is None for done in completed)}
    recalls, hits = {}, []
    names = ("live", "batch", "popularity")
    for name in names:
        results = [hit_and_recall(getattr(done, name) or [], done.case.hidden) for done in completed]
        figures[name] = round(sum(hit for hit, _ in results) / max(1, len(results)), 4)
        recalls[name] = round(sum(recall for _, recall in results) / max(1, len(results)), 4)
        hits.append([hit for hit, _ in results])
    households = np.array([done.case.household for done in completed])
    bounds = intervals(bootstrap(np.array(hits, float).T, households, _SEED)).T.round(4).tolist() if completed else []
    return figures | {"recall": recalls, "intervals": dict(zip(names, bounds, strict=False))}


def run(
    api: Collector,
    values: Values,
    cases: Sequence[Sequence[BasketCase]],
    *,
    shop: str,
    prefix: str,
    per_s: float = 1000.0,
    timeout_s: float = 60.0,
    say: Callable[[str], None] = print,
) -> list[Completed]:
    """Buy the first halves, wait for the live lists, and collect the three lists of each basket.

    Args:
        cases: as :func:`rounds` gives them.
        per_s: events a second at most.
        timeout_s: how long the lists of a round are awaited after its last event.
    """
    sender, done = Sender(api, f"{prefix}-hr"), []
    popular: dict[str, list[str]] = {}
    for nth, cases_of_round in enumerate(cases):
        wanted = _send(sender, cases_of_round, per_s)
        lists = _await(values, wanted, shop, timeout_s)
        done += _collect(values, cases_of_round, lists, shop, popular)
        covered = sum(case.live is not None for case in done)
        say(f"hr20: round {nth + 1} of {len(cases)}: {covered} of {len(done)} live lists came")
    return done


def _send(sender: Sender, cases: Sequence[BasketCase], per_s: float) -> dict[str, BasedOn]:
    """Send each case's half; return what the list of each household must be based on."""
    wanted = {}
    due = time.monotonic()
    for start in range(0, len(cases), 50):
        events = []
        for case in cases[start : start + 50]:
            bought = [sender.event("purchase", item, user=case.household) for item in case.given]
            wanted[case.household] = covering(bought)
            events += bought
        sender.send(events)
        due += len(events) / per_s
        time.sleep(max(0.0, due - time.monotonic()))
    return wanted


def _await(values: Values, wanted: Mapping[str, BasedOn], shop: str, timeout_s: float) -> dict[str, RecommendationList]:
    """The live list of each household that covers its events in time."""
    lists: dict[str, RecommendationList] = {}
    deadline = time.monotonic() + timeout_s
    while True:
        left = [household for household in wanted if household not in lists]
        for household, data in zip(left, values.get_many([user_key(shop, f"u.{h}") for h in left]), strict=True):
            live = decode_user(data).live if data else None
            based_on = wanted[household]
            if live is not None and covers(live.based_on, based_on.occurred_ms, based_on.event_id):
                lists[household] = live
        if len(lists) == len(wanted) or time.monotonic() >= deadline:
            return lists
        time.sleep(_POLL_S)


def _collect(
    values: Values,
    cases: Sequence[BasketCase],
    lists: Mapping[str, RecommendationList],
    shop: str,
    popular: dict[str, list[str]],
) -> list[Completed]:
    if not lists:
        message = f"none of {len(cases)} live lists covered what was sent; does the Flink job run with a model?"
        raise StoreError(message)
    newest = max(live.model_version for live in lists.values())
    versions = [lists[case.household].model_version if case.household in lists else newest for case in cases]
    for version in set(versions) - set(popular):
        popular[version] = _items(values.get_many([popular_key(shop, version)])[0])
    keys = [batch_key(shop, version, f"u.{c.household}") for c, version in zip(cases, versions, strict=True)]
    return [
        Completed(
            case=case,
            live=lists[case.household].items if case.household in lists else None,
            batch=_items(batch),
            popularity=popular[version],
        )
        for case, version, batch in zip(cases, versions, values.get_many(keys), strict=True)
    ]


def _items(data: bytes | None) -> list[str]:
    return decode_list(data).items if data else []
