"""Lists about an item, a cart or the whole shop: the same filters and rules as on shelves, their own ladders."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NamedTuple, cast

from contracts.experiments import Experiments
from contracts.keys import similar_key, similar_row, together_key, together_row
from contracts.lists import Action, RecommendationList
from serving.answers import ListAnswer, StoreName
from serving.budget import Budget
from serving.cart import MOST_LOOKED_AT, with_cart
from serving.choosing import NOBODY, Candidates, Held, choose, filters_of, may_show
from serving.feed import Feed
from serving.ladder import Ladder, Visitor, listed
from serving.person import Person
from serving.reader import Reader
from serving.shelf import NONE, rows_of
from serving.variants import Treatment, sealed, treat
from serving.wish import Asked

__all__ = ["Lists"]

Key = Callable[[str, str, str], str]
_FROM_DYNAMODB = 4  # items of a cart that are looked up while Redis is away


class _For(NamedTuple):
    """Whom a list is for, and how it is made."""

    person: Person | None
    held: Held
    treatment: Treatment
    budget: Budget


class Lists:
    """Makes the lists; every method ends within the deadline, whatever is away."""

    def __init__(self, reader: Reader, feed: Feed, ladder: Ladder) -> None:
        self._reader, self._feed, self._ladder = reader, feed, ladder

    async def similar(self, shop: str, item_id: str, asked: Asked) -> ListAnswer:
        """Items like one; none where the model does not know it."""
        who = await self._for(shop, asked, "similar")
        return await self._answer(
            shop, asked, who, "similar", self._of_item(shop, item_id, who, ["similar"]), [item_id]
        )

    async def together(self, shop: str, item_id: str, asked: Asked) -> ListAnswer:
        """What is bought together with an item; similar items where nothing was."""
        who = await self._for(shop, asked, "together")
        rungs = self._of_item(shop, item_id, who, ["together", "similar"])
        return await self._answer(shop, asked, who, "together", rungs, [item_id])

    async def cart(self, shop: str, asked: Asked) -> ListAnswer:
        """What goes with the items of a cart: of the request, else of the person's own."""
        who = await self._for(shop, asked, "cart")
        items = list(asked.items) or list(reversed(who.held.cart))
        return await self._answer(shop, asked, who, "cart", self._of_cart(shop, items, asked, who), items)

    async def trending(self, shop: str, asked: Asked) -> ListAnswer:
        """What is wanted now; what is popular while nothing happens."""
        who = await self._for(shop, asked, "trending")
        return await self._answer(shop, asked, who, "trending", self._of_shop(shop, asked, who), [])

    async def _for(self, shop: str, asked: Asked, placement: str) -> _For:
        budget, placement = self._reader.budget(), asked.wish.placement or placement
        name = asked.user_id or asked.anonymous_id
        if name is None:
            return _For(
                None, NOBODY, treat(Experiments(), asked="u.", subject="", placement=placement, now_ms=0), budget
            )
        visitor = Visitor(shop, name, asked.user_id is None)
        person = await self._ladder.person(visitor, budget)
        treatment = treat(
            self._feed.experiments(shop),
            asked=visitor.subject,
            subject=person.subject,
            placement=placement,
            now_ms=self._reader.now_ms(),
        )
        return _For(person, self._ladder.held(visitor, person), treatment, budget)

    async def _answer(
        self, shop: str, asked: Asked, who: _For, kind: str, rungs: AsyncIterator[Candidates], about: Sequence[str]
    ) -> ListAnswer:
        """Choose, and tell. What the list is ``about`` is not on it."""
        catalogue, now_ms, wish = self._feed.catalogue(shop), self._reader.now_ms(), asked.wish
        active = self._ladder.rules(shop, wish.placement or kind, now_ms, who.treatment.changes)
        hidden = self._ladder.never(who.held, wish, catalogue, now_ms, active).union(about)
        chosen = await choose(rungs, active, wish, catalogue, may_show(catalogue, hidden, wish))
        first = chosen.first or NONE
        actions: list[Action] | None = None
        if wish.explain:
            actions = who.person.actions if who.person else []
        answer = ListAnswer(
            source=cast("Any", first.source),
            store=first.store,
            model_version=first.model_version or self._version(shop),
            written_at=first.written_at,
            filters=filters_of(who.held if who.person else who.held._replace(known=False), wish, catalogue),
            items=rows_of(chosen.picks, catalogue, actions),
        )
        return sealed(answer, who.treatment, now_ms)

    def _version(self, shop: str) -> str | None:
        pointer = self._reader.pointer(shop)
        return pointer.version if pointer else None

    async def _of_item(self, shop: str, item_id: str, who: _For, kinds: Sequence[str]) -> AsyncIterator[Candidates]:
        version = who.treatment.changes.model_version or self._version(shop)
        for kind in kinds if version else ():
            key, row = _KEYS[kind]
            place = (shop, version or "", item_id)
            if found := await self._reader.listed(key(*place), row(*place), who.budget):
                yield listed(*found)._replace(source=kind)

    async def _of_cart(self, shop: str, items: Sequence[str], asked: Asked, who: _For) -> AsyncIterator[Candidates]:
        version = who.treatment.changes.model_version or self._version(shop)
        items = items[:MOST_LOOKED_AT]
        for kind in ("together", "similar") if version and items else ():
            found, store = await self._lists(kind, shop, version or "", items, who.budget)
            if together := with_cart(found):
                yield listed(together, store)._replace(source="cart")
        async for each in self._ladder.for_everybody(shop, asked.wish, who.budget):
            yield each

    async def _lists(
        self, kind: str, shop: str, version: str, items: Sequence[str], budget: Budget
    ) -> tuple[dict[str, RecommendationList], StoreName]:
        """The lists of some items from Redis; while it is away those of the first few from DynamoDB."""
        key, row = _KEYS[kind]
        places = [(shop, version, item) for item in items]
        stored = await self._reader.lists([key(*place) for place in places], budget)
        if any(stored) or self._reader.redis_ok:
            return {item: found for item, found in zip(items, stored, strict=True) if found}, "redis"
        asked = (self._reader.listed(key(*p), row(*p), budget) for p in places[:_FROM_DYNAMODB])
        behind = await asyncio.gather(*asked)
        return {item: found[0] for item, found in zip(items, behind, strict=False) if found}, "dynamodb"

    async def _of_shop(self, shop: str, asked: Asked, who: _For) -> AsyncIterator[Candidates]:
        trending = await self._reader.trending(shop, asked.wish.category, who.budget)
        if trending:
            yield listed(trending, "redis")
        async for each in self._ladder.for_everybody(shop, asked.wish, who.budget):
            if each.source != "trending":
                yield each


_KEYS: dict[str, tuple[Key, Key]] = {
    "similar": (similar_key, similar_row),
    "together": (together_key, together_row),
}
