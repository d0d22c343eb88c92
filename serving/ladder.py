"""The ladder: a visitor's shelf from the best source that holds something to show, whatever is away."""

from collections.abc import AsyncIterator
from typing import NamedTuple

from contracts.errors import ContractError, StoreError
from contracts.ids import subject_of
from contracts.keys import alias_key, batch_key, batch_row, user_key
from contracts.lists import RecommendationList, UserValue, decode_user
from serving.answers import Shelf, StoreName
from serving.catalogue import Catalogue
from serving.reader import Reader
from serving.shelf import build_shelf, empty_shelf, filled

__all__ = ["Ladder", "Visitor", "Wish"]


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


class Person(NamedTuple):
    """A visitor as the stores know them. ``readable`` is false where Redis did not answer."""

    subject: str
    known_as: str | None
    value: UserValue | None
    keys: tuple[str, ...]
    readable: bool


class Ladder:
    """Live list, batch list (Redis, then DynamoDB), trending, popular: the first that has anything to show."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def person(self, visitor: Visitor) -> Person:
        """The visitor's live value, through the alias where an anonymous visitor has signed in since."""
        own = user_key(visitor.shop, visitor.subject)
        keys = (own, alias_key(visitor.shop, visitor.id)) if visitor.anonymous else (own,)
        subject, known_as = visitor.subject, None
        try:
            data, *alias = await self._reader.redis([("GET", key) for key in keys])
            if alias and alias[0]:
                subject = alias[0].decode()
                known_as = subject.removeprefix("u.")
                keys = (*keys, user_key(visitor.shop, subject))
                data = (await self._reader.redis([("GET", keys[-1])]))[0]
            return Person(subject, known_as, decode_user(data) if data else None, keys, True)
        except (StoreError, ContractError):
            return Person(subject, known_as, None, keys, False)

    async def shelf(self, visitor: Visitor, wish: Wish, catalogue: Catalogue) -> tuple[Shelf, tuple[str, ...]]:
        """The shelf, and the Redis keys whose change may change it. Never raises for a store's sake."""
        person = await self.person(visitor)
        async for ranking, store in self._rungs(visitor.shop, person):
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
                return shelf, person.keys
        return empty_shelf(visitor.id, person.known_as), person.keys

    async def _rungs(self, shop: str, person: Person) -> AsyncIterator[tuple[RecommendationList, StoreName]]:
        if person.value and person.value.live:
            yield person.value.live, "redis"
        if pointer := self._reader.pointer(shop):
            place = (shop, pointer.version, person.subject)
            if found := await self._reader.listed(batch_key(*place), batch_row(*place)):
                yield found
        trending, popular = await self._reader.trending(shop), await self._reader.popular(shop)
        if trending:
            yield (filled(trending, popular[0]) if popular else trending), "redis"
        if popular:
            yield popular
