"""For people whom the model can say nothing of: what trends in the categories they turn to, then in the whole shop."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from contracts.packed import TYPES
from contracts.scoring import action_weights
from contracts.snapshot import ModelSettings
from streaming.columns import Histories
from streaming.trending import SHOP, Ranking, Trending

__all__ = ["TrendingFallback", "blend"]

_SETTINGS: Final = ModelSettings()
"""Event weights and decay of a model with the usual settings: the shop may not have any."""
_CATEGORIES: Final = 4


class TrendingFallback:
    """Trending lists for new and unknown people. ``category`` gives an item's category in a shop, ``""`` for none."""

    def __init__(self, trending: Trending, category: Callable[[str, str], str]) -> None:
        self._trending = trending
        self._category = category

    def lists(
        self, histories: Histories, people: Sequence[int], size: int, *, shop: str, now_ms: int
    ) -> list[list[tuple[str, float]]]:
        """At most ``size`` items for each of the people (their places in ``histories``), with scores above 0.

        Nothing is offered that is among somebody's own actions.

        Raises:
            StoreError: Redis did not answer.
        """
        turns = [self._turns(shop, histories, person) for person in people]
        asked = dict.fromkeys(name for names in turns for name in names)
        rankings = self._trending.rankings(shop, [SHOP, *asked], now_ms)
        offsets, items = histories.offsets, histories.items
        return [
            blend(names, rankings, items[offsets[person] : offsets[person + 1]], size)
            for person, names in zip(people, turns, strict=True)
        ]

    def _turns(self, shop: str, histories: Histories, person: int) -> dict[str, float]:
        """The largest categories → share of the person's actions, of which the newer and the weightier count more."""
        span = slice(histories.offsets[person], histories.offsets[person + 1])
        kinds = [TYPES[chr(letter)] for letter in histories.letters[span].tolist()]
        shares: dict[str, float] = {}
        for item, weight in zip(
            histories.items[span], action_weights(kinds, _SETTINGS.event_weights, _SETTINGS.decay), strict=True
        ):
            if weight > 0 and (name := self._category(shop, item)):
                shares[name] = shares.get(name, 0.0) + weight
        largest = sorted(shares, key=lambda name: (-shares[name], name))[:_CATEGORIES]
        total = sum(shares.values())
        return {name: shares[name] / total for name in largest}


def blend(
    shares: Mapping[str, float], rankings: Mapping[str, Ranking], own: Iterable[str], size: int
) -> list[tuple[str, float]]:
    """Items of the categories by share × trend, then the shop's by trend, scaled to stay behind; none of ``own``.

    >>> rankings = {SHOP: (("M", 1.0), ("A", 0.5)), "TEA": (("A", 1.0), ("B", 0.5)), "CUPS": (("C", 1.0),)}
    >>> blend({"TEA": 0.75, "CUPS": 0.25}, rankings, ["B"], 4)
    [('A', 0.75), ('C', 0.25), ('M', 0.25)]
    """
    left_out = set(own)
    scores: dict[str, float] = {}
    for name, share in shares.items():
        for item, trend in rankings[name]:
            if item not in left_out:
                scores[item] = scores.get(item, 0.0) + share * trend
    best = sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))[:size]
    behind = best[-1][1] if best else 1.0
    left_out.update(item for item, _ in best)
    rest = ((item, behind * trend) for item, trend in rankings[SHOP] if item not in left_out)
    return best + [pair for pair, _ in zip(rest, range(size - len(best)), strict=False)]
