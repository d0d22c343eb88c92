"""Routes of lists that are about an item, a cart, or the whole shop."""

from typing import Any, Final

from fastapi import Request, Response

from contracts.ids import is_id
from serving.answers import ListAnswer
from serving.lean import asked_in, lean_router, services_in, shop_in
from serving.openapi import answers_with
from serving.replies import ApiError, tagged_answer
from serving.services import Services
from serving.wish import documented

__all__ = ["router"]

router = lean_router("lists")
_LIST: Final = answers_with(ListAnswer, 304, 400, 404)
_FOR: Final = ("user_id", "anonymous_id")
_OF_ITEM: Final[dict[str, Any]] = {
    "parameters": [
        {"name": "item_id", "in": "path", "required": True, "schema": {"type": "string", "maxLength": 128}},
        *documented(*_FOR)["parameters"],
    ]
}


def _item(request: Request, the: Services, shop: str) -> str:
    item_id: str = request.path_params["item_id"]
    if not is_id(item_id):
        raise ApiError(400, "bad_id", f"item_id is {item_id[:40]!r}; expected 1 to 128 printable characters")
    if the.feed.catalogue(shop).get(item_id) is None:
        raise ApiError(404, "unknown_item", f"the catalogue has no item {item_id!r}")
    return item_id


@router.get("/v1/items/{item_id:path}/similar", summary="Similar items", responses=_LIST, openapi_extra=_OF_ITEM)
async def similar(request: Request) -> Response:
    """By the model of the last training; empty where it does not know the item."""
    the, asked = services_in(request), asked_in(request)
    shop = shop_in(request, asked, the)
    return tagged_answer(request, await the.lists.similar(shop, _item(request, the, shop), asked))


@router.get("/v1/items/{item_id:path}/together", summary="Bought together", responses=_LIST, openapi_extra=_OF_ITEM)
async def together(request: Request) -> Response:
    """What others bought in one go with the item; similar items where it was always bought alone."""
    the, asked = services_in(request), asked_in(request)
    shop = shop_in(request, asked, the)
    return tagged_answer(request, await the.lists.together(shop, _item(request, the, shop), asked))


@router.get(
    "/v1/cart/recommendations",
    summary="What goes with a cart",
    responses=_LIST,
    openapi_extra=documented(*_FOR, "item_id"),
)
async def cart(request: Request) -> Response:
    """For the items of the request, else for the cart of the person as their events tell it.

    Of an empty cart: what is wanted now.
    """
    the, asked = services_in(request), asked_in(request)
    return tagged_answer(request, await the.lists.cart(shop_in(request, asked, the), asked))


@router.get("/v1/trending", summary="What is wanted now", responses=_LIST, openapi_extra=documented(*_FOR))
async def trending(request: Request) -> Response:
    """By weighted actions of the last hour, of all items or of a category's.

    The popular items of the last training while nothing happened yet.
    """
    the, asked = services_in(request), asked_in(request)
    return tagged_answer(request, await the.lists.trending(shop_in(request, asked, the), asked))
