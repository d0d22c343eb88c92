"""New items on what was chosen: after all filters and rules, held to the same ones. Pure."""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from contracts.experiments import Changes, Exploration
from contracts.exploration import chosen as explores
from contracts.exploration import draws, placed
from contracts.merchandise import Active
from serving.catalogue import Catalogue
from serving.choosing import Candidates, Chosen, Pick
from serving.wish import Wish

__all__ = ["NEW", "explored"]

NEW: Final = "new"
"""The source of an item that is on the list to be seen."""


def explored(
    chosen: Chosen,
    new: Mapping[str, tuple[int, int]],
    exploration: Exploration,
    changes: Changes,
    *,
    subject: str,
    wish: Wish,
    active: Active,
    catalogue: Catalogue,
    may: Callable[[str], bool],
    now_ms: int,
) -> Chosen:
    """What is shown, with new items where this person sees some today (:mod:`contracts.exploration`).

    Args:
        new: the new items of the day with their impressions and clicks.
        changes: a variant may switch the exploration on or off.
        may: the filters, the very ones that ``chosen`` passed.
    """
    if changes.exploration is not None:
        exploration = msgspec.structs.replace(exploration, enabled=changes.exploration)
    if not (new and chosen.picks and explores(exploration, subject, now_ms)):
        return chosen
    order = draws(new, exploration, subject, now_ms)
    shown = [pick.item_id for pick in chosen.picks]
    ids, found = placed(exploration, order, shown, wish.n, active, catalogue.category, may)
    if not found:
        return chosen
    picks = {pick.item_id: pick for pick in chosen.picks}
    picks |= {item: Pick(item, Candidates(NEW, None, [item], [0.0]), 0) for item in found}
    return Chosen([picks[item] for item in ids], chosen.first)
