"""The ladder: a visitor's shelf from the best source that holds something to show, whatever is away."""

from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Final, NamedTuple

from contracts.errors import ContractError, StoreError
from contracts.experiments import Changes, Experiments
from contracts.ids import subject_of
from contracts.keys import alias_key, batch_key, batch_row, user_key
from contracts.lists import RecommendationList, UserValue, decode_user
from contracts.live import joined
from serving.answers import Shelf, StoreName
from serving.catalogue import Catalogue
from serving.composed import composed, newest_items
from serving.reader import Reader
from serving.shelf import build_shelf, empty_shelf, filled
from serving.variants import sealed, treat

__all__ = ["Ladder", "Visitor", "Wish"]

_TRENDING_FOR_MS: Final = 60 * 60 * 1000
"""How long a list of what trended, written for somebody of whom nothing else was known, may stand for the present."""


class Visitor(NamedTuple):
    """Who is asked for: a known user, or an anonymous visitor."""

    shop: str
    id: str
    anonymous: bool = False

    @property
    def subject(self) -> str:
        """The key part of the person, before any alias is followed."""
        return subject_of(None, self.id) if self.anonymous else subject_of(self.id, None)


class Wish(NamedTuple):
    """How the shelf is wanted."""

    n: int = 20
    explain: bool = False
    hide_bought: bool = True
    placement: str = ""


class Person(NamedTuple):
    """A visitor as the stores know them, under all their names. ``readable`` is false where Redis did not answer."""

    subject: str
    known_as: str | None
    value: UserValue | None
    keys: tuple[str, ...]
    readable: bool


class Ladder:
    """Live list, batch list (Redis, then DynamoDB), trending, popular: the first that has anything to show."""

    def __init__(self, reader: Reader, experiments: Callable[[str], Experiments] = lambda _: Experiments()) -> None:
        self._reader = reader
        self._experiments = experiments

    async def person(self, visitor: Visitor) -> Person:
        """The visitor's live value, through the alias where an anonymous visitor has signed in since.

        Of a user it is one with the values of the anonymous visitors they were (:func:`contracts.live.joined`).
        """
        own = user_key(visitor.shop, visitor.subject)
        keys = (own, alias_key(visitor.shop, visitor.id)) if visitor.anonymous else (own,)
        subject, known_as = visitor.subject, None
        try:
            stored, *alias = await self._reader.redis([("GET", key) for key in keys])
            value = decode_user(stored) if stored else None
            visitors: list[UserValue] = []
            owner = value.owner.subject if value and value.owner else alias[0].decode() if alias and alias[0] else None
            if owner:
                subject, known_as = owner, owner.removeprefix("u.")
                visitors = [value] if value else []
                value = await self._value(key := user_key(visitor.shop, subject))
                keys = (*keys, key)
            visitors += await self._visitors(visitor, value)
            return Person(subject, known_as, joined(subject, value, visitors), keys, True)
        except (StoreError, ContractError):
            return Person(subject, known_as, None, keys, False)

    async def _value(self, key: str) -> UserValue | None:
        (data,) = await self._reader.redis([("GET", key)])
        return decode_user(data) if data else None

    async def _visitors(self, asked: Visitor, value: UserValue | None) -> list[UserValue]:
        """The stored values of those whom a user was before; without the visitor who is asked for.

        One that cannot be read is left out: it costs its features, not the user's shelf.
        """
        names = [name for name in (value.aliases if value else ()) if not (asked.anonymous and name == asked.id)]
        if not names:
            return []
        keys = [user_key(asked.shop, subject_of(None, name)) for name in names]
        found = []
        for data in await self._reader.redis([("GET", key) for key in keys]):
            with suppress(ContractError):
                found += [decode_user(data)] if data else []
        return found

    async def shelf(self, visitor: Visitor, wish: Wish, catalogue: Catalogue) -> tuple[Shelf, tuple[str, ...]]:
        """The shelf, and the Redis keys whose change may change it. Never raises for a store's sake."""
        person = await self.person(visitor)
        now_ms = self._reader.now_ms()
        treatment = treat(
            self._experiments(visitor.shop),
            asked=visitor.subject,
            subject=person.subject,
            placement=wish.placement,
            now_ms=now_ms,
        )
        async for ranking, store in self._rungs(visitor.shop, person, treatment.changes):
            shelf = build_shelf(
                visitor.id,
                person.known_as,
                ranking,
                person.value,
                catalogue,
                n=wish.n,
                store=store,
                explain=wish.explain,
                hide_bought=wish.hide_bought,
                actions_known=person.readable,
            )
            if shelf.items:
                return sealed(shelf, treatment, now_ms), person.keys
        return sealed(empty_shelf(visitor.id, person.known_as), treatment, now_ms), person.keys

    async def _rungs(
        self, shop: str, person: Person, changes: Changes
    ) -> AsyncIterator[tuple[RecommendationList, StoreName]]:
        """The rungs as a variant wants them first, then those of everybody: an experiment never costs the shelf."""
        if changes.popular_only and (popular := await self._reader.popular(shop)):
            yield popular
        if changes.model_version:
            async for found in self._of_version(shop, changes.model_version, person):
                yield found
        async for found in self._usual(shop, person):
            yield found

    async def _of_version(
        self, shop: str, version: str, person: Person
    ) -> AsyncIterator[tuple[RecommendationList, StoreName]]:
        """What a version says: the stream's list is of the live version alone, so it is composed here."""
        place = (shop, version, person.subject)
        batch = await self._reader.listed(batch_key(*place), batch_row(*place))
        if actions := person.value.actions if person.value else []:
            similar = await self._reader.similar(shop, version, newest_items(actions))
            if live := composed(actions, similar, batch[0] if batch else None, version):
                yield live, "redis"
        if batch:
            yield batch
        if popular := await self._reader.popular(shop, version):
            yield popular

    async def _usual(self, shop: str, person: Person) -> AsyncIterator[tuple[RecommendationList, StoreName]]:
        live = person.value.live if person.value else None
        if live and (live.source == "live" or self._reader.now_ms() - live.written_at < _TRENDING_FOR_MS):
            yield live, "redis"
        if pointer := self._reader.pointer(shop):
            place = (shop, pointer.version, person.subject)
            if found := await self._reader.listed(batch_key(*place), batch_row(*place)):
                yield found
        trending, popular = await self._reader.trending(shop), await self._reader.popular(shop)
        if trending:
            yield (filled(trending, popular[0]) if popular else trending), "redis"
        if popular:
            yield popular
