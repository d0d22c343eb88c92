"""A shop that never was: seeded events with Zipf items, groups of items that go together, visits and people."""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import numpy.typing as npt

from batch.moments import Units
from contracts.lake import day_prefix

__all__ = ["Shop", "lake_objects"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """``events_a_day`` on average, in visits of a geometric length; equal shops make equal events.

    An item's share falls as ``rank^-exponent``; a share ``focus`` of a visit's events stays within one group of
    ``group`` items, so that there is something to learn. One event in a hundred is a purchase; ``late`` is the share of
    events that arrive a day after they occurred.
    """

    seed: int = 1
    items: int = 10_000
    people: int = 5_000
    events_a_day: int = 3_000
    visit: float = 6.0
    exponent: float = 1.0
    focus: float = 0.7
    group: int = 50
    late: float = 0.002
    first: date = date(2025, 1, 1)

    def day(self, number: int) -> list[tuple[int, bytes]]:
        """The records of a day after ``first``: how many days later each arrives, and its line.

        >>> lines = Shop(events_a_day=100).day(3)
        >>> lines == Shop(events_a_day=100).day(3), 50 < len(lines) < 200
        (True, True)
        """
        rng = np.random.default_rng((self.seed, number))
        lengths = rng.geometric(1 / self.visit, max(1, round(self.events_a_day / self.visit)))
        visit = np.repeat(np.arange(len(lengths)), lengths)
        place = np.arange(len(visit)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        item = self._items(rng, len(visit), len(lengths), visit)
        person = rng.zipf(1.3, len(lengths)) % self.people
        second = rng.integers(0, 85_000, len(lengths))[visit] + 20 * place
        bought, late = rng.random(len(visit)) < 0.01, rng.random(len(visit)) < self.late
        midnight = datetime.combine(self.first, datetime.min.time(), UTC) + timedelta(days=number)
        lines = []
        for at in range(len(visit)):
            occurred = midnight + timedelta(seconds=int(second[at]))
            received = occurred + (timedelta(days=1) if late[at] else timedelta(milliseconds=150))
            line = (
                f'{{"event_id":"{number:05}-{at:07}-{self.seed}","event_type":"{"purchase" if bought[at] else "view"}",'
                f'"user_id":"u{person[visit[at]]}","session_id":"s{number}-{visit[at]}","item_id":"item-{item[at]:07}",'
                f'"occurred_at":"{_time(occurred)}","received_at":"{_time(received)}"}}'
            )
            lines.append(((received.date() - midnight.date()).days, line.encode()))
        return lines

    def units(self, events: int) -> tuple[Units, npt.NDArray[np.float64]]:
        """About so many events as units over the places of ``items``, and the age of each unit in days, oldest first.

        >>> units, age_d = Shop(items=100).units(1000)
        >>> len(units.items), age_d.max() < 365, bool(np.all(np.diff(age_d) <= 0))
        (1000, True, True)
        """
        rng = np.random.default_rng((self.seed, events))
        lengths = rng.geometric(1 / self.visit, max(1, round(1.2 * events / self.visit)) + 100)
        ends = np.cumsum(lengths)
        visits = int(np.searchsorted(ends, events)) + 1
        lengths = lengths[:visits]
        lengths[-1] -= ends[visits - 1] - events
        offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
        visit = np.repeat(np.arange(visits), lengths)
        items = self._items(rng, len(visit), visits, visit).astype(np.int32)
        return Units(offsets, items), (1 - np.arange(1, visits + 1) / visits) * 365

    def entries(self, events: int, draws: int = 200_000) -> int:
        """How many pairs of items (both orders, and the diagonal) so many events are expected to bring together.

        With λ_ij occurrences of a pair expected it is seen with probability 1 − exp(−λ_ij). The sum over all pairs is
        estimated from pairs drawn as visits draw them: a sum of λ·(1 − exp(−λ))/λ, so each counts (1 − exp(−λ))/λ.
        """
        rng = np.random.default_rng((self.seed, events, draws))
        visits = events / self.visit
        pairs = visits * 2 * self.visit * (self.visit - 1)  # a visit of geometric length L has L² − L ordered pairs
        visit = np.repeat(np.arange(draws), 2)
        first, second = self._items(rng, 2 * draws, draws, visit).reshape(-1, 2).T
        expected = pairs * self._chance(first, second)
        apart = first != second
        return round(pairs * float((-np.expm1(-expected) / expected * apart).mean())) + min(self.items, events)

    def _chance(self, first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """The probability that two actions of a visit are on these items."""
        share = np.arange(1, self.items + 1, dtype=float) ** -self.exponent
        share /= share.sum()
        groups = -(-self.items // self.group)
        chosen = np.bincount(np.arange(self.items) % groups, share, groups)
        member = np.arange(1, self.group + 1, dtype=float) ** -self.exponent
        member = np.append(member / member.sum(), 0.0)
        at, inside = (np.stack([first, second]) % groups, member[np.stack([first, second]) // groups])
        whole, focus = share[np.stack([first, second])], self.focus
        same = np.where(at[0] == at[1], chosen[at[0]] * inside[0] * inside[1], 0.0)
        mixed = chosen[at[0]] * inside[0] * whole[1] + chosen[at[1]] * inside[1] * whole[0]
        found: npt.NDArray[np.float64] = (
            focus**2 * same + focus * (1 - focus) * mixed + (1 - focus) ** 2 * whole[0] * whole[1]
        )
        return found

    def _items(
        self, rng: np.random.Generator, count: int, visits: int, visit: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """A group a visit by the share of its best item, then items of it, or of the whole catalogue."""
        share = np.arange(1, self.items + 1, dtype=float) ** -self.exponent
        whole = np.cumsum(share / share.sum())
        groups = -(-self.items // self.group)
        chosen = np.searchsorted(whole, rng.random(visits)) % groups
        inner = np.arange(1, self.group + 1, dtype=float) ** -self.exponent
        member = np.searchsorted(np.cumsum(inner / inner.sum()), rng.random(count))
        inside = np.minimum(chosen[visit] + groups * member, self.items - 1)
        anywhere = np.minimum(np.searchsorted(whole, rng.random(count)), self.items - 1)
        picked: npt.NDArray[np.int64] = np.where(rng.random(count) < self.focus, inside, anywhere)
        return picked


def lake_objects(shop: Shop, first: int, last: int) -> Iterator[tuple[str, bytes]]:
    """The lake of the days ``first`` to ``last`` (included) as Firehose would write it: one object an arrival day.

    Events of ``last`` that would arrive a day later are left out, so that days can be added to the lake one by one:
    what arrives on a day depends on that day and the one before alone.
    """
    before = shop.day(first - 1) if first else []
    for number in range(first, last + 1):
        today = shop.day(number)
        lines = [line for shift, line in before if shift == 1] + [line for shift, line in today if shift == 0]
        arrival = shop.first + timedelta(days=number)
        name = f"{day_prefix(arrival)}behaviour-1-{arrival}-00-00-00-synthetic.gz"
        yield name, gzip.compress(b"".join(line + b"\n" for line in lines), 1, mtime=0)
        before = today


def _time(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
