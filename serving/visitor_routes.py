"""Routes about one visitor: the shelf, following it, and what is known of them."""

from collections.abc import AsyncIterator
from typing import Any, Final

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from contracts.access import Key
from serving.answers import ProfileAnswer, Shelf
from serving.guard import KEY
from serving.ladder import Visitor, Wish
from serving.lean import asked_in, lean_router, services_in, shop_in, visitor_in
from serving.openapi import answers_with
from serving.profile import profile
from serving.replies import ApiError, encode, tag_of, tagged_answer, tagged_body
from serving.services import Services
from serving.wish import documented

__all__ = ["recommend", "router"]

router = lean_router("shelf")
HEARTBEAT_S: Final = 5.0
_SHELF: Final = answers_with(Shelf, 304, 400, 404)
_PROFILE: Final = answers_with(ProfileAnswer, 304, 400, 404, 503)
_EVENTS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "server-sent events named `shelf`, each a Shelf", "content": {"text/event-stream": {}}}
}


def _documented(name: str, *, wished: bool = True) -> dict[str, Any]:
    """The parameters of a route about somebody."""
    path = {"name": name, "in": "path", "required": True, "schema": {"type": "string", "maxLength": 128}}
    query = documented()["parameters"]
    return {"parameters": [path, *(each for each in query if wished or each["name"] == "shop")]}


_USER: Final = _documented("user_id")
_VISITOR: Final = _documented("anonymous_id")


async def recommend(request: Request) -> Response:
    """The shelf of whom the path names."""
    the, asked = services_in(request), asked_in(request)
    visitor = visitor_in(request, shop_in(request, asked, the))
    encoded = await the.ladder.answer(visitor, asked.wish, the.feed.catalogue(visitor.shop))
    return tagged_body(request, *encoded)


async def _stream(request: Request) -> Response:
    the, asked = services_in(request), asked_in(request)
    visitor = visitor_in(request, shop_in(request, asked, the))
    if the.watcher.full:
        raise ApiError(503, "too_many_streams", "this process feeds as many pages as it may; poll instead")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    shelves = _shelves(the, visitor, asked.wish, request.scope.get(KEY))
    return StreamingResponse(shelves, 200, headers, "text/event-stream")


async def _shelves(the: Services, visitor: Visitor, wish: Wish, key: Key | None) -> AsyncIterator[bytes]:
    """The shelf whenever it changes, for as long as the process runs and the key that asked for it is in force."""
    with the.watcher.watch() as watch:
        last = b""
        yield b"retry: 1000\n\n"
        while not the.watcher.closing and (key is None or the.ring.in_force(key)):
            shelf, keys = await the.ladder.shelf(visitor, wish, the.feed.catalogue(visitor.shop))
            watch.follow(keys)
            body = encode(shelf)
            if body != last:
                yield b"event: shelf\nid: " + tag_of(body).strip('"').encode() + b"\ndata: " + body + b"\n\n"
                last = body
            if not await watch.changed(HEARTBEAT_S):
                yield b": still here\n\n"


async def _profile(request: Request) -> Response:
    the, asked = services_in(request), asked_in(request)
    visitor = visitor_in(request, shop_in(request, asked, the))
    person = await the.ladder.person(visitor)
    if not person.readable:
        raise ApiError(503, "redis_away", "live features cannot be read now; try again")
    catalogue = the.feed.catalogue(visitor.shop)
    return tagged_answer(request, profile(visitor.id, person.known_as, person.value, catalogue, the.now_ms()))


@router.get(
    "/v1/users/{user_id:path}/recommendations/stream",
    summary="Follow a user's shelf",
    responses=_EVENTS,
    openapi_extra=_USER,
)
async def user_stream(request: Request) -> Response:
    """Sends the shelf at once, and again whenever it changes."""
    return await _stream(request)


@router.get("/v1/users/{user_id:path}/recommendations", summary="A user's shelf", responses=_SHELF, openapi_extra=_USER)
async def user_recommendations(request: Request) -> Response:
    """The best list that is there: live, last training, trending, popular; never what must not be shown."""
    return await recommend(request)


@router.get(
    "/v1/users/{user_id:path}/profile",
    summary="What is known of a user",
    responses=_PROFILE,
    openapi_extra=_documented("user_id", wished=False),
)
async def user_profile(request: Request) -> Response:
    """Recent actions and live features, as the stream keeps them."""
    return await _profile(request)


@router.get(
    "/v1/visitors/{anonymous_id:path}/recommendations/stream",
    summary="Follow an anonymous visitor's shelf",
    responses=_EVENTS,
    openapi_extra=_VISITOR,
)
async def visitor_stream(request: Request) -> Response:
    """Sends the shelf at once, and again whenever it changes; goes on as the user's when the visitor signs in."""
    return await _stream(request)


@router.get(
    "/v1/visitors/{anonymous_id:path}/recommendations",
    summary="An anonymous visitor's shelf",
    responses=_SHELF,
    openapi_extra=_VISITOR,
)
async def visitor_recommendations(request: Request) -> Response:
    """As for users; a visitor who signed in is answered as that user."""
    return await recommend(request)


@router.get(
    "/v1/visitors/{anonymous_id:path}/profile",
    summary="What is known of a visitor",
    responses=_PROFILE,
    openapi_extra=_documented("anonymous_id", wished=False),
)
async def visitor_profile(request: Request) -> Response:
    """Recent actions and live features, as the stream keeps them."""
    return await _profile(request)
