"""Routes about the catalogue: items, categories, live features of an item."""

import asyncio
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from contracts.errors import StoreError
from contracts.keys import item_key
from serving import answers
from serving.catalogue import Catalogue
from serving.openapi import answers_with
from serving.parameters import Shop, The, checked
from serving.profile import item_profile
from serving.replies import ApiError, tagged_answer
from serving.shelf import describe

__all__ = ["router"]

router = APIRouter(tags=["items"])


@router.get(
    "/v1/items/{item_id:path}/features",
    summary="An item's live features",
    responses=answers_with(answers.ItemFeaturesAnswer, 304, 400, 404, 503),
)
async def item_features(request: Request, the: The, shop: Shop, item_id: str) -> Response:
    """Sums over the last minutes, hour and day, conversion, trend and last purchase: fresh to the last event."""
    try:
        stored = (await the.reader.redis([("HGETALL", item_key(shop, checked(item_id, "item_id")))]))[0]
    except StoreError as exc:
        raise ApiError(503, "redis_away", "live features cannot be read now; try again") from exc
    fields = stored if isinstance(stored, dict) else dict(zip(stored[::2], stored[1::2], strict=True))
    return tagged_answer(request, item_profile(item_id, fields, the.now_ms()))


@router.get("/v1/items/{item_id:path}", summary="An item", responses=answers_with(answers.ItemAnswer, 304, 400, 404))
async def item(request: Request, the: The, shop: Shop, item_id: str) -> Response:
    """What the catalogue says of it."""
    return tagged_answer(request, _known(item_id, the.feed.catalogue(shop)))


def _known(item_id: str, catalogue: Catalogue) -> answers.ItemAnswer:
    found = describe(checked(item_id, "item_id"), catalogue)
    if found is None:
        raise ApiError(404, "unknown_item", f"the catalogue has no item {item_id[:128]!r}")
    return found


@router.get("/v1/items", summary="Search the catalogue", responses=answers_with(answers.ItemsAnswer, 304, 400, 404))
async def items(
    request: Request,
    the: The,
    shop: Shop,
    query: Annotated[str, Query(max_length=200)] = "",
    category: Annotated[str, Query(max_length=200)] = "",
    offset: Annotated[int, Query(ge=0, le=10_000)] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 24,
) -> Response:
    """Items that hold every word of `query`; popular ones first."""
    catalogue = the.feed.catalogue(shop)
    popular = await the.reader.popular(shop)
    first = popular[0].items if popular else ()
    # In a thread: a search that matches half of a large catalogue must not hold up the shelves.
    search = partial(catalogue.search, query, category, first=first, offset=offset, limit=limit + 1)
    found = await asyncio.to_thread(search)
    described = [d for i in found[:limit] if (d := describe(i.item_id, catalogue))]
    return tagged_answer(request, answers.ItemsAnswer(described, more=len(found) > limit))


@router.get("/v1/categories", summary="Categories", responses=answers_with(answers.CategoriesAnswer, 304, 404))
async def categories(request: Request, the: The, shop: Shop) -> Response:
    """With the number of items in stock."""
    counts = [answers.CategoryCount(*pair) for pair in the.feed.catalogue(shop).categories]
    return tagged_answer(request, answers.CategoriesAnswer(counts))


@router.get(
    "/v1/sample-users",
    summary="Users to look at the shop as",
    responses=answers_with(answers.SampleUsersAnswer, 304, 404),
)
async def sample_users(request: Request, the: The, shop: Shop) -> Response:
    """For the storefront's picker; empty where the shop names none."""
    return tagged_answer(request, answers.SampleUsersAnswer(the.feed.samples(shop)))
