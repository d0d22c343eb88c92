"""New items get seen: which items are new, and which of them somebody is shown today. Pure, and the same for a day.

A model knows nothing of an item before people met it, and people do not meet what no list shows. So a small, capped
share of the places goes to new items, to those first that may be worth it:

* *New* is an item of the catalogue that the live model does not know, or hardly, and that was shown fewer than
  ``enough`` times (:class:`contracts.experiments.Exploration`). The batch says which items are *not* new any more, and
  how often the others were shown and clicked; an item that it has not met yet is new at once.
* Of all people a ``share`` sees new items on a day, chosen by a hash of person, day and seed.
* *Thompson sampling* picks the items (Thompson 1933; Chapelle & Li 2011, "An empirical evaluation of Thompson
  sampling"): each new item's click rate has the posterior Beta(1 + clicks, 20 + impressions − clicks); one draw from
  each, by a generator seeded with person, day and seed, and the largest draws win. An item of which nothing is known is
  drawn widely and gets its chance; one that was shown in vain is drawn low and leaves the places to others.

The draw depends on person and day alone, so a page does not flicker: the same person sees the same new item all day,
unless it is filtered (then the next best draw takes its place) or the counts are brought up to date.
"""

import gzip
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

import msgspec

from contracts.assignment import unit_hash
from contracts.errors import ContractError
from contracts.experiments import Exploration
from contracts.merchandise import NONE_OF_THEM, Active, Category, apply

__all__ = [
    "POOL",
    "PRIOR",
    "NewItems",
    "candidates",
    "chosen",
    "decode_new_items",
    "draws",
    "encode_new_items",
    "placed",
]

PRIOR: Final = (1.0, 20.0)
"""Clicks and impressions without a click that every item begins with: one click in 21 impressions."""

POOL: Final = 200
"""At most so many new items are drawn from; where there are more, each day has others of them."""

_TRIES: Final = 10
"""So many of the best draws are tried until one may be shown."""

_DAY_MS: Final = 24 * 3_600_000


class NewItems(msgspec.Struct, frozen=True, kw_only=True):
    """``known`` items are not new any more; ``counts`` are impressions and clicks of those others that have any."""

    made_at: datetime
    model_version: str
    known: list[str]
    counts: dict[str, tuple[int, int]] = {}


_decode = msgspec.json.Decoder(NewItems)


def encode_new_items(found: NewItems) -> bytes:
    """The stored bytes: gzipped JSON."""
    return gzip.compress(msgspec.json.encode(found), compresslevel=6, mtime=0)


def decode_new_items(data: bytes) -> NewItems:
    """Read them.

    Raises:
        ContractError: the bytes are not such a file.
    """
    try:
        return _decode.decode(gzip.decompress(data))
    except (msgspec.MsgspecError, OSError, EOFError) as exc:
        message = f"the new items cannot be read: {exc}; expected the gzipped JSON that batch.attribution writes"
        raise ContractError(message) from exc


def candidates(catalogue: Iterable[str], found: NewItems, day: int) -> dict[str, tuple[int, int]]:
    """The new items of a day with their impressions and clicks, at most :data:`POOL`: the least shown, then by a hash.

    >>> from datetime import UTC
    >>> known = NewItems(made_at=datetime(2026, 1, 1, tzinfo=UTC), model_version="v", known=["A"], counts={"B": (7, 1)})
    >>> candidates(["A", "B", "C"], known, day=0)
    {'C': (0, 0), 'B': (7, 1)}
    """
    known = frozenset(found.known)
    new = [(found.counts.get(item, (0, 0)), item) for item in catalogue if item not in known]
    new.sort(key=lambda pair: (pair[0][0], unit_hash("pool", str(day), pair[1])))
    return {item: counts for counts, item in new[:POOL]}


def chosen(exploration: Exploration, subject: str, now_ms: int) -> bool:
    """Whether this person sees new items today (UTC)."""
    salt = f"{exploration.seed}:{now_ms // _DAY_MS}"
    return exploration.enabled and unit_hash("explore", salt, subject) < exploration.share


def draws(new: Mapping[str, tuple[int, int]], exploration: Exploration, subject: str, now_ms: int) -> list[str]:
    """The new items in the order of this person's draws of today, the largest first.

    >>> draws({"A": (1000, 0), "B": (1000, 200)}, Exploration(), "u.7", 0)
    ['B', 'A']
    """
    generator = random.Random(f"{exploration.seed}\0{now_ms // _DAY_MS}\0{subject}")
    drawn = []
    for item in sorted(new):
        shown, clicks = new[item]
        clicks = min(clicks, shown)
        drawn.append((-generator.betavariate(PRIOR[0] + clicks, PRIOR[1] + shown - clicks), item))
    return [item for _, item in sorted(drawn)]


def placed(
    exploration: Exploration,
    order: Sequence[str],
    shown_ids: Sequence[str],
    n: int,
    active: Active,
    category: Category,
    shown: Callable[[str], bool],
) -> tuple[list[str], list[str]]:
    """The list with new items on it, and which they are.

    One goes to ``first_position``, a second one as far behind it; both are held to the same rules and filters as all
    other items, and what stood there moves down. A list that does not reach so far stays as it is, since a new item
    must not come higher, and pinned items keep their places.

    Args:
        order: new items, the best draw first.
        shown_ids: the list as it would be shown, with all filters and rules applied.
        n: how many items are wanted.
    """
    still = replace(active, pinned=(), boosts={}, category_boosts={}, buried=NONE_OF_THEM)
    ids, found = list(shown_ids), list[str]()
    waiting = [item for item in order if item not in set(shown_ids)][:_TRIES]
    first = max(exploration.first_position, len(set(active.pinned) & set(shown_ids)))
    for nth in range(exploration.per_shelf):
        at = first * (nth + 1) + nth
        while at < n and at <= len(ids) and ids and waiting:
            item = waiting.pop(0)
            tried = apply(still, [*ids[:at], item, *ids[at:]], n, category, shown)
            if len(tried) > at and tried[at] == item:
                ids, found = tried, [*found, item]
                break
    return ids, found
