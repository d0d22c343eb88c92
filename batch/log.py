"""Every de-duplicated action of the window in one table, by person and time: histories, lists and held-out cases."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from batch.exchange import Exchange, objects_of, packed, unpacked
from batch.partition import Actions, DayPartition, decode_actions

__all__ = ["Log", "gather", "gather_stored"]

_DAYS_TOGETHER: Final = 31

Longs = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Log:
    """Actions sorted by person, then time; person r did ``offsets[r]:offsets[r + 1]``. ``unit`` numbers the units.

    ``item`` is a place in some item index; items outside of it are negative numbers from −2 on, one for each.
    """

    subjects: list[str]
    offsets: Longs
    item: npt.NDArray[np.int32]
    type: npt.NDArray[np.int8]
    ms: Longs
    unit: Longs

    def until(self, end_ms: int) -> "Log":
        """The same people, with only what they did before ``end_ms``."""
        kept = self.ms < end_ms
        offsets = np.concatenate(([0], np.cumsum(kept)))[self.offsets]
        return Log(self.subjects, offsets, self.item[kept], self.type[kept], self.ms[kept], self.unit[kept])

    def only(self, people: npt.NDArray[Any]) -> "Log":
        """The people at the given places, in that order."""
        spans = [np.arange(self.offsets[p], self.offsets[p + 1]) for p in people]
        rows = np.concatenate(spans) if spans else np.zeros(0, np.int64)
        offsets = np.concatenate(([0], np.cumsum([len(span) for span in spans]))).astype(np.int64)
        names = [self.subjects[p] for p in people]
        return Log(names, offsets, self.item[rows], self.type[rows], self.ms[rows], self.unit[rows])

    def onto(self, items: Sequence[str], wanted: Sequence[str]) -> "Log":
        """The same actions with places in ``wanted`` instead of in ``items``."""
        place = {item: at for at, item in enumerate(wanted)}
        to = np.array([place.get(item, -2 - at) for at, item in enumerate(items)], np.int32)
        item = to[self.item] if len(items) else self.item
        return Log(self.subjects, self.offsets, item, self.type, self.ms, self.unit)


def gather(days: Sequence[DayPartition]) -> tuple[Log, list[str]]:
    """The log of some days, and the item ids that it names by place.

    ``identify`` is followed: what an anonymous visitor did belongs to the user they turned out to be, at any time.
    """
    return _assemble([_bundle([(day.actions, day.moments.items) for day in days])])


def gather_stored(
    run: Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]], exchange: Exchange, paths: Sequence[str]
) -> tuple[Log, list[str], list[dict[str, int]]]:
    """The log of stored day partitions, the item ids it names, and the counts of each day in the order of ``paths``.

    Tasks decode the days; the driver gets compact arrays, about 30 bytes an action.

    Args:
        run: ``run(work, inputs)`` gives the results in order, see :data:`batch.merge.Runner`.
    """
    groups = [(at, paths[at : at + _DAYS_TOGETHER]) for at in range(0, len(paths), _DAYS_TOGETHER)]

    def work(group: tuple[int, Sequence[str]]) -> list[dict[str, int]]:
        objects = objects_of(exchange.settings)
        with ThreadPoolExecutor(4) as pool:
            days = [decode_actions(data) for data in pool.map(objects.get, group[1])]
        bundle = _bundle([(actions, items) for actions, items, _ in days])
        for name, values in bundle.items():
            exchange.put(f"log-{group[0]}-{name}", values if name in _KINDS else packed(values))
        return [counts for *_, counts in days]

    counts = [day for part in run(work, groups) for day in part]
    log, items = _assemble([_Stored(exchange, f"log-{at}") for at, _ in groups])
    exchange.drop("log-")
    return log, items, counts


_KINDS: Final = {"subject": np.int32, "item": np.int32, "type": np.int8, "ms": np.int64, "unit": np.int32}


class _Stored(Mapping[str, Any]):
    """A bundle in the exchange, one array at a time."""

    def __init__(self, exchange: Exchange, name: str) -> None:
        self._exchange, self._name = exchange, name

    def __getitem__(self, what: str) -> Any:
        name = f"{self._name}-{what}"
        if what in _KINDS:
            return self._exchange.get(name, _KINDS[what])
        return unpacked(self._exchange.get(name, np.uint8)).to_pylist()

    def __iter__(self) -> Iterator[str]:
        return iter([*_KINDS, "subjects", "items", "alias_from", "alias_to"])

    def __len__(self) -> int:
        return len(list(iter(self)))


def _bundle(days: Sequence[tuple[Actions, list[str]]]) -> dict[str, Any]:
    """Days as one, with places among the people and items of all of them."""
    subjects = sorted(set().union(*(actions.subjects for actions, _ in days)))
    items = sorted(set().union(*(names for _, names in days)))
    person_at, item_at = ({name: at for at, name in enumerate(names)} for names in (subjects, items))
    parts: list[tuple[Any, ...]] = []
    units = 0
    for actions, names in days:
        person = np.array([person_at[name] for name in actions.subjects], np.int32)[actions.subject]
        item = np.array([item_at[name] for name in names], np.int32)[actions.item]
        count = len(actions.unit_offsets) - 1
        unit = np.repeat(np.arange(units, units + count, dtype=np.int32), np.diff(actions.unit_offsets))
        parts.append((person, item, actions.type, actions.ms, unit))
        units += count
    columns = (np.concatenate(column) for column in zip(*parts, strict=True)) if parts else ()
    aliases = [pair for actions, _ in days for pair in actions.aliases]
    return dict(zip(_KINDS, columns, strict=True)) | {
        "subjects": subjects,
        "items": items,
        "alias_from": [anonymous for anonymous, _ in aliases],
        "alias_to": [user for _, user in aliases],
    }


def _assemble(bundles: Sequence[Mapping[str, Any]]) -> tuple[Log, list[str]]:
    """The log of bundles; one column after the other, so that no two copies of all of them exist at once."""
    alias = {
        f"a.{anonymous}": f"u.{user}"
        for bundle in bundles
        for anonymous, user in zip(bundle["alias_from"], bundle["alias_to"], strict=True)
    }
    named = [[alias.get(name, name) for name in bundle["subjects"]] for bundle in bundles]
    subjects, person_at = _union(named)
    items, item_at = _union([bundle["items"] for bundle in bundles])
    person = np.concatenate([to[bundle["subject"]] for bundle, to in zip(bundles, person_at, strict=True)])
    ms = np.concatenate([bundle["ms"] for bundle in bundles])
    order = np.lexsort((ms, person))  # stable: equal times stay in the order of the days
    offsets = np.concatenate([[0], np.cumsum(np.bincount(person, minlength=len(subjects)))]).astype(np.int64)
    del person
    ms = ms[order]
    item = np.concatenate([to[bundle["item"]] for bundle, to in zip(bundles, item_at, strict=True)])[order]
    kind = np.concatenate([bundle["type"] for bundle in bundles])[order]
    counts = [int(units[-1]) + 1 if len(units := bundle["unit"]) else 0 for bundle in bundles]
    starts = np.cumsum([0, *counts[:-1]])
    unit = np.concatenate([bundle["unit"] + first for bundle, first in zip(bundles, starts, strict=True)])[order]
    return Log(subjects, offsets, item, kind, ms, unit), items


def _union(lists: Sequence[Sequence[str]]) -> tuple[list[str], list[npt.NDArray[np.int32]]]:
    """Sorted distinct names, and where those of each list are among them."""
    names = sorted(set().union(*lists))
    place = {name: at for at, name in enumerate(names)}
    return names, [np.array([place[name] for name in found], np.int32) for found in lists]
