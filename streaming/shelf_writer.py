"""One batch to Redis in two round trips: read people and their batch lists, score, write everything with guards."""

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, NamedTuple

import msgspec

from contracts.affinity import actions_kept
from contracts.errors import StoreError
from contracts.features import BUCKET_MS
from contracts.keys import alias_key, item_key, trending_key, user_key
from contracts.lists import next_rev
from contracts.packed import pack
from contracts.settings import StreamingSettings
from contracts.snapshot import Snapshot
from stores.cluster import Cluster, Started
from stores.retry import delays
from stores.scripts import Command, compare_and_set, grow_buckets
from streaming import indexed, live_blocks, shelf_scoring
from streaming.batching import Change, Columns, EventRow, Person, Served, Who, changes_of, columns_of
from streaming.fallback import TrendingFallback
from streaming.item_trends import ItemTrends
from streaming.live_blocks import Names
from streaming.measures import Measures
from streaming.models import Models
from streaming.revising import HORIZON_MS, actions_of, revise
from streaming.shelf_filling import cold_arrays
from streaming.shelf_scoring import live_arrays
from streaming.stored import Asked, StoredPeople, Value
from streaming.trending import Trending

__all__ = ["Outcomes", "ShelfWriter"]

_TRENDING_TTL_S: Final = 2 * 3600
_HISTORY_WITHOUT_MODEL: Final = 20
_ROUNDS: Final = 8
_PART: Final = 1000
"""People that are read, scored and written together; the fixed cost of a part is about that of ten people."""
_LOGGED: Final = 20  # items of a list that the served log keeps

Outcomes = tuple[list[str], list[str | None], list[str | None]]
"""The columns of :class:`streaming.batching.Served`."""

_log = logging.getLogger(__name__)


class ShelfWriter:
    """Applies batches of events to Redis. Raises :class:`StoreError` when Redis stays away: Flink then replays."""

    def __init__(
        self,
        cluster: Cluster,
        models: Models,
        settings: StreamingSettings,
        measures: Measures,
        now_ns: Callable[[], int],
        category: Callable[[str, str], str] | None = None,
    ) -> None:
        self._cluster = cluster
        self._models = models
        self._settings = settings
        self._measures = measures
        self._now_ns = now_ns
        self._category = category
        self._trends = ItemTrends(cluster)
        self._fallback = TrendingFallback(Trending(cluster), category or (lambda *_: ""))
        self._names: dict[str, Names] = {}
        self._people = StoredPeople(cluster, measures, settings.kept_people)

    def warm_up(self) -> None:
        """Compile the kernels (or load them from their cache) so that no visitor waits for them."""
        shelf_scoring.warm_up()
        live_blocks.warm_up()

    def write(self, rows: Sequence[EventRow]) -> list[Served]:
        """Apply a batch and say what became of each row."""
        return [Served(*cells) for cells in zip(*self.write_columns(columns_of(rows)), strict=True)] if rows else []

    def write_columns(self, columns: Columns) -> Outcomes:
        """:meth:`write` of and as columns."""
        with _without_collection():
            return self._write_columns(columns)

    def _write_columns(self, columns: Columns) -> Outcomes:
        change = changes_of(columns)
        pending = {who: person for who, person in change.people.items() if person.changed}
        others = self._item_commands(change)
        values: dict[Who, Value] = {}
        for _ in delays(_ROUNDS, base_s=0.002, cap_s=0.1):
            written, pending = self._write_people(pending, others)
            values.update(written)
            others = []
            if not pending:
                break
            self._measures.count("conflicts", len(pending))
        else:
            message = f"{len(pending)} people were changed by others in each of {_ROUNDS} rounds; the batch is replayed"
            raise StoreError(message)
        self._note(columns, change)
        return _outcomes(change, values)

    def _write_people(
        self, people: dict[Who, Person], others: list[Command]
    ) -> tuple[dict[Who, Value], dict[Who, Person]]:
        """Read, revise, score and write people; return the values, and those that someone else changed in between.

        Part by part: while one is scored, Redis answers for the next and takes the one before.
        """
        snapshots = {shop: self._models.current(shop) for shop, _ in people}
        now_ns = self._now_ns()
        values: dict[Who, Value] = {}
        lost: dict[Who, Person] = {}
        under_way: list[Started] = []
        try:
            writing: list[_Written] = []
            for part, asked in self._asked(_parts(people), snapshots, others, now_ns // 1_000_000, under_way):
                writing.append(self._revise(part, asked, snapshots, now_ns))
                under_way.append(writing[-1].started)
                if len(writing) > 1:
                    self._take(writing.pop(0), values, lost)
            for written in writing:
                self._take(written, values, lost)
        except BaseException:
            for started in under_way:
                started.close()
            raise
        return values, lost

    def _asked(
        self,
        parts: list[dict[Who, Person]],
        snapshots: dict[str, Snapshot | None],
        others: list[Command],
        now_ms: int,
        under_way: list[Started],
    ) -> Iterator[tuple[dict[Who, Person], Asked]]:
        """Each part with its values under way, those of the next one as well."""
        following: Asked | None = None
        for at, part in enumerate(parts):
            asked = following or self._people.ask(part, snapshots, others, now_ms)
            following = self._people.ask(parts[at + 1], snapshots, [], now_ms) if at + 1 < len(parts) else None
            under_way.extend(one.started for one in (asked, following) if one)
            yield part, asked

    def _revise(
        self, people: dict[Who, Person], asked: Asked, snapshots: dict[str, Snapshot | None], now_ns: int
    ) -> "_Written":
        """Merge, score, and begin to write one part."""
        now_ms = now_ns // 1_000_000
        values = self._people.values(asked, snapshots, now_ms)
        self._merge(people, values, snapshots, now_ms)
        people = self._join_owners(people, values, snapshots, now_ms)
        self._score(values, snapshots, now_ms)
        commands = self._replacements(values, now_ns // 1000)
        before = self._now_ns()
        return _Written(self._cluster.start([*commands, *self._aliases(people, values)]), people, values, before)

    def _merge(
        self,
        people: dict[Who, Person],
        values: dict[Who, Value],
        snapshots: dict[str, Snapshot | None],
        now_ms: int,
    ) -> None:
        held_ms = 1000 * self._settings.user_ttl_s
        keep = {shop: self._keep(snapshot) for shop, snapshot in snapshots.items()}
        for who, person in people.items():
            revise(values[who].packed, person, keep[who[0]], now_ms, held_ms)

    def _take(self, written: "_Written", values: dict[Who, Value], lost: dict[Who, Person]) -> None:
        won = written.started.results()
        self._measures.set("redis_ms", (self._now_ns() - written.since_ns) / 1e6)
        values.update(written.values)
        for (who, value), done in zip(written.values.items(), won, strict=False):
            if done:
                self._people.keep(who, written.people[who], value)
            else:
                lost[who] = written.people[who]

    def _replacements(self, values: dict[Who, Value], now_us: int) -> list[Command]:
        """The guarded writes. Each value gets a revision of its own."""
        commands = []
        for who, value in values.items():
            value.rev = next_rev(value.rev, now_us)
            data = pack(value.rev, value.packed)
            commands.append(compare_and_set(user_key(*who), value.head, data, self._settings.user_ttl_s))
        return commands

    def _join_owners(
        self,
        people: dict[Who, Person],
        values: dict[Who, Value],
        snapshots: dict[str, Snapshot | None],
        now_ms: int,
    ) -> dict[Who, Person]:
        """Bring the actions of visitors who are known by now to their owners, whose lists they change.

        Owners who are not in the batch are read, so this takes a round trip, but only where there are such people. It
        is done again in each round: whichever of a visitor's event and an ``identify`` is first, the owner has both.
        """
        brought: dict[Who, Person] = {}
        for who, person in people.items():
            owner = values[who].packed.owner
            if owner is not None and (person.actions or person.owner):
                target = (who[0], owner.subject)
                brought.setdefault(target, Person()).actions += actions_of(values[who].packed)
        if not brought:
            return people
        if absent := [who for who in brought if who not in values]:
            values.update(self._people.read(absent, {who[0]: snapshots[who[0]] for who in absent}, now_ms))
        people = dict(people)
        for who, extra in brought.items():
            revise(values[who].packed, extra, self._keep(snapshots[who[0]]), now_ms)
            known = people.setdefault(who, Person())
            known.actions = known.actions + extra.actions
        return people

    def _aliases(self, people: dict[Who, Person], values: dict[Who, Value]) -> list[Command]:
        """The keys by which a visitor's owner is looked up, wherever this batch says who somebody is."""
        return [
            (
                "SET",
                alias_key(shop, subject.removeprefix("a.")),
                owner.subject.encode(),
                "EX",
                self._settings.user_ttl_s,
            )
            for (shop, subject), person in people.items()
            if person.owner and (owner := values[shop, subject].packed.owner)
        ]

    def _keep(self, snapshot: Snapshot | None) -> int:
        return actions_kept(snapshot.manifest.model.history if snapshot else _HISTORY_WITHOUT_MODEL)

    def _score(self, values: dict[Who, Value], snapshots: dict[str, Snapshot | None], now_ms: int) -> None:
        """Give the values fresh live lists. Where nothing can be shown at all they keep theirs (serving falls back)."""
        before = self._now_ns()
        for shop, snapshot in snapshots.items():
            members = [(who, value) for who, value in values.items() if who[0] == shop and value.packed.letters]
            if not members:
                continue
            packed = [value.packed for _, value in members]
            fallback = partial(self._fallback.lists, shop=shop, now_ms=now_ms)
            if snapshot is None:
                histories = indexed.histories_of_values(packed, _HISTORY_WITHOUT_MODEL)
                ranked = cold_arrays(histories, self._settings.list_size, fallback)
            else:
                self._measures.set("model_trained_at_s", snapshot.manifest.trained_at.timestamp())
                for one in packed:
                    indexed.place(one, snapshot)
                histories = indexed.histories_of_values(packed, snapshot.manifest.model.history)
                listed = indexed.listed_of_values(packed)
                trends = partial(self._trends.sums, shop, now_ms=now_ms)
                ranked = live_arrays(snapshot, histories, listed, self._settings.list_size, now_ms, trends, fallback)
            version = snapshot.version if snapshot else ""
            names = self._names_of(shop, snapshot)
            lists = live_blocks.live_blocks(ranked, histories, packed, version, now_ms, names)
            for (_, value), block, items in zip(members, lists.blocks, lists.items, strict=True):
                if items:
                    value.packed.live, value.items, value.version = block, items, version
        self._measures.set("scoring_us_per_list", (self._now_ns() - before) / 1e3 / max(1, len(values)))

    def _names_of(self, shop: str, snapshot: Snapshot | None) -> Names:
        items = snapshot.items if snapshot else []
        known = self._names.get(shop)
        if known is None or (known.names is not items and (items or known.names)):
            known = self._names[shop] = Names.of(items)
        return known

    def _item_commands(self, change: Change) -> list[Command]:
        """Guarded bucket values of items, and the trend counts of a bucket (``ZADD GT`` keeps the larger)."""
        oldest_s = (self._now_ns() // 1_000_000 - HORIZON_MS - BUCKET_MS) // 1000  # a window takes what it overlaps
        ttl = self._settings.item_ttl_s
        commands: list[Command] = [
            grow_buckets(item_key(shop, item), buckets, ttl, oldest_s) for (shop, item), buckets in change.items.items()
        ]
        for (shop, start), scores in change.trends.items():
            for key, members in self._trending(shop, start, scores).items():
                commands.append(("ZADD", key, "GT", *members))
                commands.append(("EXPIRE", key, _TRENDING_TTL_S))
        return commands

    def _trending(self, shop: str, start: int, scores: dict[str, float]) -> dict[str, list[Any]]:
        """Sorted set → scores and members: all items of a bucket, and those of each category."""
        sets: dict[str, list[Any]] = {trending_key(shop, start): [p for i, s in scores.items() for p in (s, i)]}
        if self._category is None:
            return sets
        for item, score in scores.items():
            if category := self._category(shop, item):
                sets.setdefault(trending_key(shop, start, category), []).extend((score, item))
        return sets

    def _note(self, columns: Columns, change: Change) -> None:
        now_ms = self._now_ns() // 1_000_000
        self._measures.count("counted", len(change.outcomes))
        self._measures.count("late", change.outcomes.count("late"))
        self._measures.count("lists_written", change.outcomes.count("scored"))
        self._measures.set("batch_rows", len(change.outcomes))
        received = columns["received_ms"]
        rows = (person.newest_row for person in change.people.values() if person.newest_row >= 0)
        self._measures.fresh([now_ms - int(received[row]) for row in rows])


def _head(items: bytes) -> str:
    """The first ids of a list, as JSON."""
    return msgspec.json.encode(items.decode().split("\n", _LOGGED)[:_LOGGED]).decode()


class _Written(NamedTuple):
    """Values that are being written: of these people, since then."""

    started: Started
    people: dict[Who, Person]
    values: dict[Who, Value]
    since_ns: int


def _parts(people: dict[Who, Person]) -> list[dict[Who, Person]]:
    """Equal parts of at most :data:`_PART` people."""
    count = max(1, -(-len(people) // _PART))
    whos = list(people)
    return [{who: people[who] for who in whos[at::count]} for at in range(count)] if count > 1 else [people]


@contextmanager
def _without_collection() -> Iterator[None]:
    """No cyclic garbage is looked for within a batch: it makes none, and looking takes a fifth of the step's time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _outcomes(change: Change, values: dict[Who, Value]) -> Outcomes:
    nothing: list[str | None] = [None] * len(change.outcomes)
    versions, items = nothing, list(nothing)
    for who, person in change.people.items():
        if person.newest_row >= 0 and (version := values[who].version):
            versions[person.newest_row] = version
            items[person.newest_row] = _head(values[who].items)
    return change.outcomes, versions, items
