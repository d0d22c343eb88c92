"""Rules at work on a list: a pure function from candidates in their order to what is shown, and its dry run."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from contracts.rules import (
    Boost,
    BoughtWithin,
    Bury,
    Cap,
    Hide,
    PerCategory,
    Pin,
    Rule,
    Rules,
    active_rules,
)

__all__ = ["NOTHING", "Active", "Moved", "activate", "apply", "dry_run"]

Category = Callable[[str], str]
"""Item id → its category, '' for none."""


class Chosen(NamedTuple):
    """Items, and all items of categories."""

    items: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()

    def holds(self, item_id: str, category: str) -> bool:
        """Whether the item is among them."""
        return item_id in self.items or category in self.categories


NONE_OF_THEM: Final = Chosen()


@dataclass(frozen=True, slots=True)
class Active:
    """The rules in force on one placement, arranged to be applied quickly; valid until ``until_ms`` (``None``: always).

    ``boosts`` are factors by item id, ``category_boosts`` by category; ``caps`` pairs of what and how many.
    ``bought_days`` stands in place of the deployment's own where it is not ``None``.
    """

    pinned: tuple[str, ...] = ()
    boosts: dict[str, float] = field(default_factory=dict)
    category_boosts: dict[str, float] = field(default_factory=dict)
    buried: Chosen = NONE_OF_THEM
    hidden: Chosen = NONE_OF_THEM
    caps: tuple[tuple[Chosen, int], ...] = ()
    per_category: int | None = None
    bought_days: int | None = None
    until_ms: int | None = None

    @property
    def changes(self) -> bool:
        """Whether any of them may change a list."""
        return self.orders or bool(any(self.hidden) or self.caps) or self.per_category is not None

    @property
    def orders(self) -> bool:
        """Whether any of them changes the order of a list."""
        return bool(self.pinned or self.boosts or self.category_boosts or any(self.buried))


NOTHING: Final = Active()


def activate(rules: Rules, placement: str, now_ms: int) -> Active:
    """The rules in force on a placement at an instant.

    >>> from contracts.rules import Rules
    >>> rules = Rules(rules=[Boost(id="a", items=["A"], factor=2), Boost(id="b", items=["A"], factor=3)])
    >>> activate(rules, "home", 0).boosts
    {'A': 3}
    """
    found, until_ms = active_rules(rules, placement, now_ms)
    boosts: dict[str, float] = {}
    category_boosts: dict[str, float] = {}
    for rule in found:
        if isinstance(rule, Boost):
            for item in rule.items:
                boosts[item] = max(rule.factor, boosts.get(item, 1.0))
            for category in rule.categories:
                category_boosts[category] = max(rule.factor, category_boosts.get(category, 1.0))
    return Active(
        pinned=tuple(dict.fromkeys(item for rule in found if isinstance(rule, Pin) for item in rule.items)),
        boosts=boosts,
        category_boosts=category_boosts,
        buried=_together(rule for rule in found if isinstance(rule, Bury)),
        hidden=_together(rule for rule in found if isinstance(rule, Hide)),
        caps=tuple((_together([rule]), rule.most) for rule in found if isinstance(rule, Cap)),
        per_category=min((rule.most for rule in found if isinstance(rule, PerCategory)), default=None),
        bought_days=max((rule.days for rule in found if isinstance(rule, BoughtWithin)), default=None),
        until_ms=until_ms,
    )


def _together(rules: Iterable[Bury | Hide | Cap]) -> Chosen:
    rules = list(rules)
    items = frozenset(item for rule in rules for item in rule.items)
    return Chosen(items, frozenset(category for rule in rules for category in rule.categories))


def apply(active: Active, ids: Sequence[str], n: int, category: Category, shown: Callable[[str], bool]) -> list[str]:
    """At most ``n`` of the distinct ``ids`` (best first) and the pinned items, in the order in which they are shown.

    Every rule holds on what is returned: what is hidden or not ``shown`` is not there, not even pinned, and pinned
    items count towards caps like all others, before them.

    Args:
        shown: whether an item may be shown at all; asked at most once for each.

    >>> active = Active(pinned=("P",), boosts={"D": 4.0}, buried=Chosen(frozenset("A")), per_category=2)
    >>> apply(active, list("ABCDEF"), 4, lambda item: "vowels" if item in "AEIOU" else "rest", lambda item: item != "C")
    ['P', 'D', 'E', 'A']
    """
    if active.orders:
        ids = _ordered(active, ids, category)
    caps, most = active.caps, active.per_category
    counts: dict[str, int] = {}
    left = [at_most for _, at_most in caps]
    hidden = active.hidden if any(active.hidden) else None
    found: list[str] = []
    for item in ids:
        if len(found) >= n:
            break
        if not shown(item):
            continue
        if hidden is not None or most is not None or caps:
            own = category(item)
            if hidden is not None and hidden.holds(item, own):
                continue
            if most is not None and own and counts.get(own, 0) >= most:
                continue
            within = [at for at, (chosen, _) in enumerate(caps) if chosen.holds(item, own)]
            if any(left[at] <= 0 for at in within):
                continue
            for at in within:
                left[at] -= 1
            counts[own] = counts.get(own, 0) + 1
        found.append(item)
    return found


def _ordered(active: Active, ids: Sequence[str], category: Category) -> list[str]:
    """Pinned items, then the others by place over boost, then what is buried."""
    pinned = set(active.pinned)
    places: list[tuple[bool, float, int, str]] = []
    for at, item in enumerate(ids):
        if item in pinned:
            continue
        own = category(item)
        factor = max(active.boosts.get(item, 1.0), active.category_boosts.get(own, 1.0))
        places.append((active.buried.holds(item, own), (at + 1) / factor, at, item))
    places.sort()
    return [*active.pinned, *(item for _, _, _, item in places)]


class Moved(NamedTuple):
    """What rules change for one item: its place (from 0) before and after, ``None`` for not shown, and which rules
    name it.
    """

    item_id: str
    before: int | None
    after: int | None
    rules: list[str]


def dry_run(
    before: Rules,
    after: Rules,
    ids: Sequence[str],
    *,
    placement: str,
    now_ms: int,
    n: int,
    category: Category,
    shown: Callable[[str], bool] = lambda _: True,
) -> list[Moved]:
    """Every item of a list whose place differs between two sets of rules, by the new places, the gone last.

    Nothing is changed anywhere. ``ids`` are candidates as the model orders them; more of them than ``n``, so that it
    shows what takes the place of what is left out.

    >>> rules = Rules(rules=[Hide(id="recall", items=["A"])])
    >>> for moved in dry_run(Rules(), rules, ["A", "B"], placement="home", now_ms=0, n=2, category=lambda item: ""):
    ...     print(*moved)
    B 1 0 []
    A 0 None ['recall']
    """
    old = apply(activate(before, placement, now_ms), ids, n, category, shown)
    new = apply(activate(after, placement, now_ms), ids, n, category, shown)
    places = {item: at for at, item in enumerate(old)}, {item: at for at, item in enumerate(new)}
    named = [*active_rules(before, placement, now_ms)[0], *active_rules(after, placement, now_ms)[0]]
    return [
        Moved(item, was, now, list(dict.fromkeys(rule.id for rule in named if _names(rule, item, category(item)))))
        for item in dict.fromkeys([*new, *old])
        if (was := places[0].get(item)) != (now := places[1].get(item))
    ]


def _names(rule: Rule, item: str, category: str) -> bool:
    if isinstance(rule, Pin):
        return item in rule.items
    return isinstance(rule, Boost | Bury | Hide | Cap) and (item in rule.items or category in rule.categories)
