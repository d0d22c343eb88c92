"""Stored values of people, read with the lists of the training that they may not hold yet, in one round trip."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from contracts.keys import batch_key, user_key
from contracts.packed import REV_BYTES, Packed, unpack
from contracts.snapshot import Snapshot
from stores.cluster import Cluster, Command, Started
from streaming import indexed
from streaming.batch_lists import BatchLists
from streaming.batching import Person, Who
from streaming.kept_people import Kept, KeptPeople
from streaming.measures import Measures

__all__ = ["Asked", "Snapshots", "StoredPeople", "Value"]

Snapshots = Mapping[str, Snapshot | None]
"""The model in use by shop, ``None`` for a shop without one."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Value:
    """A stored value and what becomes of it. ``head`` is what it began with when it was read, ``b""`` for none; ``rev``
    is that as a revision, if it was one, and from when it is to be written on its new one.
    """

    head: bytes
    rev: str | None
    packed: Packed
    items: bytes = b""
    version: str | None = None


@dataclass(slots=True)
class Asked:
    """Values under way: of ``whos``, with the lists under ``lists`` (key → whose), behind ``before`` other answers.

    ``kept`` need not be read.
    """

    started: Started
    kept: dict[Who, Kept]
    whos: list[Who]
    lists: dict[str, Who]
    before: int


class StoredPeople:
    """Reads people. What is read fits the models: places of their items, and the list of the training, are in it."""

    def __init__(self, cluster: Cluster, measures: Measures, kept: int) -> None:
        self._cluster = cluster
        self._measures = measures
        self._kept = KeptPeople(kept)
        self._batch_lists = BatchLists(lambda: measures.count("unreadable"))

    def ask(self, people: Mapping[Who, Person], snapshots: Snapshots, others: Sequence[Command], now_ms: int) -> Asked:
        """Send for the values of people and those of their lists that are due; ``others`` go with them.

        Who is at hand in the form of the last write (:mod:`streaming.kept_people`) is not read.
        """
        kept = {who: value for who, person in people.items() if (value := self._kept.take(who, person))}
        whos = [who for who in people if who not in kept]
        keys = {batch_key(who[0], snapshot.version, who[1]): who for who in people if (snapshot := snapshots[who[0]])}
        lists = {key: keys[key] for key in self._batch_lists.missing(list(keys), now_ms)}
        commands = [*others, *(("GET", user_key(*who)) for who in whos), *(("GET", key) for key in lists)]
        return Asked(self._cluster.start(commands), kept, whos, lists, len(others))

    def values(self, asked: Asked, snapshots: Snapshots, now_ms: int) -> dict[Who, Value]:
        """What was asked for.

        A value that turns out to hold no list of the model in use takes another round trip: it was written by a worker
        that knew another model, or Redis has lost it.
        """
        answers = asked.started.results()[asked.before :]
        values = {who: self._value(data) for who, data in zip(asked.whos, answers, strict=False)}
        values.update({who: Value(rev.encode(), rev, packed) for who, (rev, packed) in asked.kept.items()})
        self._embed(values, asked.lists, answers[len(asked.whos) :], snapshots, now_ms)
        if late := _without_list(values, snapshots, now_ms):
            self._embed(values, late, self._cluster.execute([("GET", key) for key in late]), snapshots, now_ms)
        return values

    def read(self, people: Iterable[Who], snapshots: Snapshots, now_ms: int) -> dict[Who, Value]:
        """:meth:`ask` and wait, for people of whom there is no news of their own."""
        return self.values(self.ask({who: Person() for who in people}, snapshots, [], now_ms), snapshots, now_ms)

    def keep(self, who: Who, person: Person, value: Value) -> None:
        """The value was written with its ``rev``, for this news."""
        if value.rev is not None:
            self._kept.keep(who, person, value.rev, value.packed)

    def _value(self, data: bytes | None) -> Value:
        """A read value; where it cannot be decoded it is replaced, and counted.

        Raising would stop the stream, and a replay would read the same bytes again.
        """
        if not data:
            return Value(b"", None, Packed())
        try:
            return Value(data[:REV_BYTES], _rev(data[:REV_BYTES]), unpack(data))
        except (msgspec.MsgspecError, ValueError) as exc:
            self._measures.count("unreadable")
            _log.warning("a stored value is replaced: %s; got %r", exc, data[:80])
            return Value(data[:REV_BYTES], None, Packed())

    def _embed(
        self,
        values: Mapping[Who, Value],
        lists: Mapping[str, Who],
        answers: Sequence[bytes | None],
        snapshots: Snapshots,
        now_ms: int,
    ) -> None:
        """Put the lists that were read into the values of those whose they are."""
        for shop, snapshot in snapshots.items():
            found = {key: answer for key, answer in zip(lists, answers, strict=True) if lists[key][0] == shop}
            if snapshot is None or not found:
                continue
            ranked = self._batch_lists.learn(list(found), list(found.values()), snapshot, now_ms)
            for key, (rows, scores) in ranked.items():
                indexed.embed(indexed.block_of(values[lists[key]].packed, snapshot.version), rows, scores, now_ms)


def _without_list(values: Mapping[Who, Value], snapshots: Snapshots, now_ms: int) -> dict[str, Who]:
    return {
        batch_key(who[0], snapshot.version, who[1]): who
        for who, value in values.items()
        if (snapshot := snapshots[who[0]])
        and not indexed.fresh(indexed.block_of(value.packed, snapshot.version), now_ms // 1000)
    }


def _rev(head: bytes) -> str:
    int(head, 16)
    return head.decode()
