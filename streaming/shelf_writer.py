"""One batch to Redis in two round trips: read people and their batch lists, score, write everything with guards."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import msgspec
import numpy as np

from contracts.errors import ContractError, StoreError
from contracts.keys import alias_key, batch_key, item_key, trending_key, user_key
from contracts.lists import REV_BYTES, RecommendationList, UserValue, decode_list, decode_user, encode_value
from contracts.ranker import ItemValues, Requests, compute
from contracts.scoring import score_rows
from contracts.settings import StreamingSettings
from contracts.snapshot import Snapshot
from stores.cluster import Cluster
from stores.retry import delays
from stores.scripts import Command, compare_and_set, grow_buckets
from streaming.batching import HORIZON_MS, Change, EventRow, Person, Served, changes_of, revise
from streaming.item_trends import ItemTrends
from streaming.measures import Measures
from streaming.models import Models
from streaming.shelf_scoring import live_lists

__all__ = ["ShelfWriter"]

_TRENDING_TTL_S: Final = 2 * 3600
_HISTORY_WITHOUT_MODEL: Final = 20
_ROUNDS: Final = 8
_LOGGED: Final = 20  # items of a list that the served log keeps

Who = tuple[str, str]
Value = TypeVar("Value")
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
    ) -> None:
        self._cluster = cluster
        self._models = models
        self._settings = settings
        self._measures = measures
        self._now_ns = now_ns
        self._trends = ItemTrends(cluster)

    def warm_up(self) -> None:
        """Compile the kernels of scoring and ranker (or load them from their cache) so that no visitor waits for them.

        A snapshot's arrays are mapped read-only, which is another type to Numba than a plain array.
        """
        empty = (np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
        matrix = (np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
        for array in matrix:
            array.setflags(write=False)
        score_rows(matrix, empty, empty, 0.0, 1)
        own = (np.zeros(2, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int64))
        one = np.full((1, 1), -1, np.int32), np.zeros((1, 1), np.float32)
        requests = Requests(np.zeros(1, np.int64), *one, own, empty)
        compute(requests, ItemValues(np.zeros(1, np.float32)), np.zeros((1, 1, 2)))

    def write(self, rows: Sequence[EventRow]) -> list[Served]:
        """Apply a batch and say what became of each row."""
        change = changes_of(rows)
        others = self._item_commands(change)
        pending = {who: person for who, person in change.people.items() if person.changed}
        values: dict[Who, UserValue] = {}
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
        self._note(rows, change)
        return self._served(change, values)

    def _served(self, change: Change, values: dict[Who, UserValue]) -> list[Served]:
        served = [Served(outcome) for outcome in change.outcomes]
        for who, person in change.people.items():
            if person.newest_row >= 0 and (live := values[who].live):
                items = msgspec.json.encode(live.items[:_LOGGED]).decode()
                served[person.newest_row] = Served("scored", live.model_version, items)
        return served

    def _write_people(
        self, people: dict[Who, Person], others: list[Command]
    ) -> tuple[dict[Who, UserValue], dict[Who, Person]]:
        """Read, revise, score and write people; return the values, and those that someone else changed in between."""
        snapshots = {shop: self._models.current(shop) for shop, _ in people}
        heads, known, batch_lists, strangers = self._read(people, snapshots)
        now_ns = self._now_ns()
        revised = {
            who: revise(known.get(who), person, strangers.get(who, []), self._keep(snapshots[who[0]]), now_ns // 1000)
            for who, person in people.items()
        }
        scored = self._score(revised, batch_lists, snapshots, now_ns // 1_000_000)
        commands = [
            compare_and_set(
                user_key(*who),
                heads[who],
                encode_value(scored[who]),
                self._settings.user_ttl_s,
            )
            for who in people
        ]
        for (shop, subject), person in people.items():
            others.extend(
                ("SET", alias_key(shop, alias), subject.encode(), "EX", self._settings.user_ttl_s)
                for alias in person.aliases
            )
        before = self._now_ns()
        answers = self._cluster.execute([*commands, *others])
        self._measures.set("redis_ms", (self._now_ns() - before) / 1e6)
        lost = {who: person for (who, person), won in zip(people.items(), answers, strict=False) if not won}
        return scored, lost

    def _read(
        self, people: dict[Who, Person], snapshots: dict[str, Snapshot | None]
    ) -> tuple[dict[Who, bytes], dict[Who, UserValue], dict[Who, RecommendationList], dict[Who, list[UserValue]]]:
        """One round trip for heads (what a replacement is guarded by) and stored values of people, their batch lists of
        the model in use, and the values of visitors who became known.
        """
        keys = [user_key(*who) for who in people]
        listed = [(who, snapshot.version) for who in people if (snapshot := snapshots[who[0]]) is not None]
        keys += [batch_key(who[0], version, who[1]) for who, version in listed]
        aliased = [(who, alias) for who, person in people.items() for alias in person.aliases]
        keys += [user_key(who[0], f"a.{alias}") for who, alias in aliased]
        values = iter(self._cluster.get_many(keys))
        stored = {who: next(values) or b"" for who in people}
        known = {who: value for who, data in stored.items() if (value := self._readable(data, decode_user))}
        lists = ((who, self._readable(next(values), decode_list)) for who, _ in listed)
        batch_lists = {who: batch for who, batch in lists if batch}
        strangers: dict[Who, list[UserValue]] = {}
        for who, _ in aliased:
            if value := self._readable(next(values), decode_user):
                strangers.setdefault(who, []).append(value)
        return {who: data[:REV_BYTES] for who, data in stored.items()}, known, batch_lists, strangers

    def _readable(self, data: bytes | None, decode: Callable[[bytes], Value]) -> Value | None:
        """The decoded value; nothing where there is none or it cannot be read: it is replaced, and counted.

        Raising would stop the stream, and a replay would read the same bytes again.
        """
        try:
            return decode(data) if data else None
        except ContractError as exc:
            self._measures.count("unreadable")
            _log.warning("a stored value is replaced: %s", exc)
            return None

    def _keep(self, snapshot: Snapshot | None) -> int:
        return 2 * (snapshot.manifest.model.history if snapshot else _HISTORY_WITHOUT_MODEL)

    def _score(
        self,
        people: dict[Who, UserValue],
        batch_lists: dict[Who, RecommendationList],
        snapshots: dict[str, Snapshot | None],
        now_ms: int,
    ) -> dict[Who, UserValue]:
        """The values with fresh live lists; unchanged where the shop has no model yet (serving falls back)."""
        before = self._now_ns()
        scored = dict(people)
        for shop, snapshot in snapshots.items():
            members = [who for who, value in people.items() if who[0] == shop and value.actions]
            if snapshot is None or not members:
                continue
            self._measures.set("model_trained_at_s", snapshot.manifest.trained_at.timestamp())
            lists = live_lists(
                snapshot,
                [people[who].actions for who in members],
                [batch_lists.get(who) for who in members],
                self._settings.list_size,
                now_ms,
                partial(self._trends.sums, shop, now_ms=now_ms),
            )
            for who, live in zip(members, lists, strict=True):
                scored[who] = msgspec.structs.replace(people[who], live=live)
        self._measures.set("scoring_us_per_list", (self._now_ns() - before) / 1e3 / max(1, len(people)))
        return scored

    def _item_commands(self, change: Change) -> list[Command]:
        """Guarded bucket values of items, and the trend counts of a bucket (``ZADD GT`` keeps the larger)."""
        oldest_s = (self._now_ns() // 1_000_000 - HORIZON_MS) // 1000
        ttl = self._settings.item_ttl_s
        commands: list[Command] = [
            grow_buckets(item_key(shop, item), buckets, ttl, oldest_s) for (shop, item), buckets in change.items.items()
        ]
        for (shop, start), scores in change.trends.items():
            key = trending_key(shop, start)
            commands.append(("ZADD", key, "GT", *(part for item, score in scores.items() for part in (score, item))))
            commands.append(("EXPIRE", key, _TRENDING_TTL_S))
        return commands

    def _note(self, rows: Sequence[EventRow], change: Change) -> None:
        now_ms = self._now_ns() // 1_000_000
        self._measures.count("counted", len(rows))
        self._measures.count("late", change.outcomes.count("late"))
        self._measures.count("lists_written", change.outcomes.count("scored"))
        self._measures.set("batch_rows", len(rows))
        fresh = (rows[p.newest_row].received_ms for p in change.people.values() if p.newest_row >= 0)
        self._measures.fresh([now_ms - received for received in fresh])
