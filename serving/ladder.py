"""The ladder: a visitor's shelf from the best source that holds something to show, whatever is away, in time.

    live (Redis) → batch (Redis) → batch (DynamoDB) → trending → popular → popular items of the deployment

Each rung is asked only where those above it had nothing, and only for as long as the request's budget lasts; the last
three are in memory, so an answer never waits for a store that hangs.
"""

import logging
from collections.abc import AsyncIterator
from typing import Any, Final, Literal, NamedTuple

from contracts.errors import ContractError, StoreError
from contracts.experiments import Changes
from contracts.ids import subject_of
from contracts.keys import alias_key, batch_key, batch_row, user_key
from contracts.lists import Brief, RecommendationList
from contracts.merchandise import Active
from serving.answers import Shelf, StoreName
from serving.budget import Budget
from serving.catalogue import Catalogue
from serving.choosing import Candidates, Held, choose, filters_of, may_show, never
from serving.composed import composed, newest_items
from serving.exploring import explored
from serving.feed import Feed
from serving.kept import Encoded, KeptAnswers, MadeOf, encoded_of
from serving.person import DAMAGED, Memory, Person, Stored
from serving.reader import Reader
from serving.reads import Reads
from serving.shelf import FILLED, rows_of, shelf_of
from serving.variants import sealed, treat, varied
from serving.wish import Wish

__all__ = ["Ladder", "Visitor", "Wish"]

_log = logging.getLogger(__name__)

Rung = Literal["live", "other"]

_TRENDING_FOR_MS: Final = 60 * 60 * 1000
"""How long a list of what trended, written for somebody of whom nothing else was known, may stand for the present."""

_HOUR_MS: Final = 60 * 60 * 1000  # a request id tells the hour

PLACEMENT: Final = "shelf"
"""The placement of a shelf for which none is named."""


class Visitor(NamedTuple):
    """Who is asked for: a known user, or an anonymous visitor."""

    shop: str
    id: str
    anonymous: bool = False

    @property
    def subject(self) -> str:
        """The key part of the person, before any alias is followed."""
        return subject_of(None, self.id) if self.anonymous else subject_of(self.id, None)


class Ladder:
    """Shelves of people; ``bought_days`` is how long a purchase stays off them where no rule says otherwise."""

    def __init__(self, reader: Reader, feed: Feed, bought_days: int) -> None:
        self._reader, self._feed, self._bought_days = reader, feed, bought_days
        self._memory = Memory()
        self._kept = KeptAnswers()

    async def person(self, visitor: Visitor, budget: Budget | None = None) -> Person:
        """The visitor's live value, through the alias where an anonymous visitor has signed in since.

        Of a user it is one with the values of the anonymous visitors they were (:func:`contracts.live.joined`).
        """
        person = await self._person(visitor, Reads(self._reader, budget or self._reader.budget()))
        try:
            _ = person.value, person.held  # all blocks: who asks for a person reads any of them, when it likes
        except DAMAGED:
            return _unread(person)
        return person

    async def _person(self, visitor: Visitor, reads: Reads) -> Person:
        keys = _keys(visitor)
        subject, known_as = visitor.subject, None
        data, *alias = await reads.get(keys)
        whole = not any(isinstance(each, StoreError) for each in alias)
        visitors: list[Stored] = []
        try:
            stored = _stored(data)
            owner = stored.packed.owner.subject if stored and stored.packed.owner else _text(alias)
            if owner:
                subject, known_as = owner, owner.removeprefix("u.")
                visitors = [stored] if stored else []
                keys = (*keys, user_key(visitor.shop, subject))
                stored = _stored((await reads.get(keys[-1:]))[0])
        except (StoreError, ContractError):
            return Person(subject, known_as, keys, None, visitors, readable=False)
        if stored and stored.packed.aliases:
            try:
                visitors += await self._visitors(visitor, stored, reads)
            except StoreError:
                whole = False
        return Person(subject, known_as, keys, stored, visitors, readable=whole)

    async def _visitors(self, asked: Visitor, stored: Stored, reads: Reads) -> list[Stored]:
        """The stored values of those whom a user was before; without the visitor who is asked for.

        One that cannot be read is left out: it costs its features, not the user's shelf.

        Raises:
            StoreError: they did not answer in time, so it is not known what they bought.
        """
        names = [name for name in stored.packed.aliases if not (asked.anonymous and name == asked.id)]
        found = []
        for data in await reads.get([user_key(asked.shop, subject_of(None, name)) for name in names]):
            try:
                found += [one] if (one := _stored(data)) else []
            except ContractError:
                continue
        return found

    def held(self, visitor: Visitor, person: Person) -> Held:
        """What a person holds; where not all of them can be read, with what they held when they last were."""
        name, held = f"{visitor.shop}:{visitor.subject}", person.held
        now_ms = self._reader.now_ms()
        if person.readable:
            self._memory.keep(name, held, now_ms)
            return held
        before = self._memory.get(name, now_ms)
        return Held({**before.bought, **held.bought}, [*before.cart, *held.cart], known=False)

    async def shelf(self, visitor: Visitor, wish: Wish, catalogue: Catalogue) -> tuple[Shelf, tuple[str, ...]]:
        """The shelf, and the Redis keys whose change may change it. Never raises for a store's sake, never late."""
        budget = self._reader.budget()
        person = await self.person(visitor, budget)
        return (await self._made(visitor, person, wish, catalogue, budget))[0], person.keys

    async def answer(self, visitor: Visitor, wish: Wish, catalogue: Catalogue) -> Encoded:
        """The shelf as it is sent: the one of before where nothing that it is made of has changed."""
        budget, now_ms = self._reader.budget(), self._reader.now_ms()
        name = (visitor.shop, visitor.subject, wish)
        # All that the answer of before was made of is read at once, also of people who had other names.
        keys = self._kept.keys(name) or _keys(visitor)
        answers = await self._reader.ask([("GET", key) for key in keys], budget)
        values = dict(zip(keys, answers, strict=True))
        shared = self._shared(visitor.shop, wish, catalogue, now_ms)
        if kept := self._kept.get(name, MadeOf(values, *shared), now_ms):
            return kept
        reads = Reads(self._reader, budget, values)
        person = await self._person(visitor, reads)
        shelf, of_person_alone = await self._made(visitor, person, wish, catalogue, budget)
        encoded = encoded_of(shelf)
        if of_person_alone:
            self._kept.keep(name, MadeOf(reads.used, *shared), encoded, now_ms)
        return encoded

    def _shared(self, shop: str, wish: Wish, catalogue: Catalogue, now_ms: int) -> tuple[tuple[Any, ...], int]:
        """What a live shelf is made of beside the person's values."""
        feed = self._feed
        active = feed.active(shop, wish.placement or PLACEMENT, now_ms)
        return (catalogue, active, feed.experiments(shop), feed.new_items(shop)), now_ms // _HOUR_MS

    async def _made(
        self, visitor: Visitor, person: Person, wish: Wish, catalogue: Catalogue, budget: Budget
    ) -> tuple[Shelf, bool]:
        """The shelf; and whether it is made of nothing but the person's values and what :meth:`_shared` names.

        A value is read block by block, as far as it is wanted. Where a block turns out to be damaged the person is
        treated as one who cannot be read: the shelf comes from the next rung.
        """
        try:
            return await self._shelf(visitor, person, wish, catalogue, budget)
        except DAMAGED:
            return (await self._shelf(visitor, _unread(person), wish, catalogue, budget))[0], False

    async def _shelf(
        self, visitor: Visitor, person: Person, wish: Wish, catalogue: Catalogue, budget: Budget
    ) -> tuple[Shelf, bool]:
        now_ms, placement = self._reader.now_ms(), wish.placement or PLACEMENT
        treatment = treat(
            self._feed.experiments(visitor.shop),
            asked=visitor.subject,
            subject=person.subject,
            placement=placement,
            now_ms=now_ms,
        )
        active = self.rules(visitor.shop, placement, now_ms, treatment.changes)
        held = self.held(visitor, person)
        may = may_show(catalogue, self.never(held, wish, catalogue, now_ms, active), wish)
        asked: list[Rung] = []
        rungs = self._rungs(visitor.shop, person, wish, treatment.changes, budget, asked)
        chosen = explored(
            await choose(rungs, active, wish, catalogue, may),
            self._feed.new_items(visitor.shop),
            self._feed.experiments(visitor.shop).exploration,
            treatment.changes,
            subject=person.subject,
            wish=wish,
            active=active,
            catalogue=catalogue,
            may=may,
            now_ms=now_ms,
        )
        rows = rows_of(chosen.picks, catalogue, person.actions if wish.explain else None)
        shelf = shelf_of(visitor.id, person.known_as, chosen, rows, filters_of(held, wish, catalogue))
        return sealed(shelf, treatment, now_ms), asked == ["live"] and shelf.source == "live" and person.readable

    def rules(self, shop: str, placement: str, now_ms: int, changes: Changes) -> Active:
        """The rules in force, as a variant has them."""
        return varied(self._feed.active(shop, placement, now_ms), changes)

    def never(self, held: Held, wish: Wish, catalogue: Catalogue, now_ms: int, active: Active) -> set[str]:
        """The item ids that must not be shown to a person."""
        days = self._bought_days if active.bought_days is None else active.bought_days
        return never(held, wish, catalogue, now_ms, days)

    async def _rungs(
        self, shop: str, person: Person, wish: Wish, changes: Changes, budget: Budget, asked: list[Rung]
    ) -> AsyncIterator[Candidates]:
        """The rungs as a variant wants them first, then those of everybody: an experiment never costs the shelf.

        What is tried is noted in ``asked``, whether or not it has anything.
        """
        if changes.popular_only or changes.model_version:
            asked.append("other")
        if changes.popular_only and (popular := await self._reader.popular(shop, budget=budget)):
            yield listed(*popular)
        if changes.model_version:
            async for found in self._of_version(shop, changes.model_version, person, budget):
                yield found
        asked.append("live")
        live = person.live(explained=wish.explain)
        if live and (live.source == "live" or self._reader.now_ms() - live.written_at < _TRENDING_FOR_MS):
            yield listed(live, "redis")
        asked.append("other")
        if pointer := self._reader.pointer(shop):
            place = (shop, pointer.version, person.subject)
            # Where Redis did not bring the person in time, it is not waited for again.
            cached = person.readable
            if batch := await self._reader.listed(batch_key(*place), batch_row(*place), budget, cached=cached):
                yield listed(*batch)
        async for found in self.for_everybody(shop, wish, budget):
            yield found

    async def _of_version(self, shop: str, version: str, person: Person, budget: Budget) -> AsyncIterator[Candidates]:
        """What a version says: the stream's list is of the live version alone, so it is composed here."""
        place = (shop, version, person.subject)
        batch = await self._reader.listed(batch_key(*place), batch_row(*place), budget)
        if actions := person.actions:
            similar = await self._reader.similar(shop, version, newest_items(actions), budget)
            if live := composed(actions, similar, batch[0] if batch else None, version):
                yield listed(live, "redis")
        if batch:
            yield listed(*batch)
        if popular := await self._reader.popular(shop, version, budget):
            yield listed(*popular)

    async def for_everybody(self, shop: str, wish: Wish, budget: Budget) -> AsyncIterator[Candidates]:
        """The rungs that are about nobody in particular: trending, popular, and the deployment's own."""
        trending = await self._reader.trending(shop, wish.category, budget)
        popular = await self._reader.popular(shop, budget=budget)
        if trending:
            yield listed(_filled(trending, popular[0]) if popular else trending, "redis")
        if popular:
            yield listed(*popular)
        if (baked := self._feed.baked(shop)) and baked.items:
            items = [item.item_id for item in baked.items]
            yield Candidates("baked", "deployment", items, [FILLED] * len(items), (), baked.model_version)


def _keys(visitor: Visitor) -> tuple[str, ...]:
    own = user_key(visitor.shop, visitor.subject)
    return (own, alias_key(visitor.shop, visitor.id)) if visitor.anonymous else (own,)


def listed(found: RecommendationList | Brief, store: StoreName) -> Candidates:
    """A stored list as candidates.

    >>> found = RecommendationList(source="batch", model_version="v", based_on=None, written_at=1, items=[], scores=[])
    >>> listed(found, "redis").source
    'batch'
    """
    return Candidates(
        found.source,
        store,
        found.items,
        found.scores,
        found.reasons if isinstance(found, RecommendationList) else (),
        found.model_version,
        found.based_on,
        found.written_at,
    )


def _filled(ranking: RecommendationList, rest: RecommendationList) -> RecommendationList:
    """``ranking`` with the items of ``rest`` behind it, scored 0: one click of one visitor makes no shelf."""
    known = set(ranking.items)
    more = [item_id for item_id in rest.items if item_id not in known]
    return RecommendationList(
        source=ranking.source,
        model_version=ranking.model_version,
        based_on=ranking.based_on,
        written_at=ranking.written_at,
        items=ranking.items + more,
        scores=ranking.scores + [FILLED] * len(more),
    )


def _stored(data: object) -> Stored | None:
    """A value as it was answered; raises what stands in its place."""
    if isinstance(data, StoreError):
        raise data
    return Stored(data) if isinstance(data, bytes) and data else None


def _unread(person: Person) -> Person:
    """Somebody whose value has a damaged block, as one who cannot be read; to be called while that is handled."""
    _log.warning("a stored value is left out: it cannot be read", exc_info=True)
    return Person(person.subject, person.known_as, person.keys, readable=False)


def _text(alias: list[object]) -> str | None:
    """The owner that an alias key names.

    One that was not answered, or is no text, is none: the visitor's own value is readable.
    """
    if not (alias and isinstance(alias[0], bytes)):
        return None
    try:
        return alias[0].decode() or None
    except UnicodeDecodeError:
        return None
