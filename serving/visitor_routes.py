"""Routes about one visitor: the shelf, following it, and what is known of them."""

from collections.abc import AsyncIterator
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from serving.answers import ProfileAnswer, Shelf
from serving.ladder import Visitor, Wish
from serving.openapi import answers_with
from serving.parameters import Anonymous, The, User, Wished
from serving.profile import profile
from serving.replies import ApiError, encode, tag_of, tagged_answer
from serving.services import Services

__all__ = ["router"]

router = APIRouter(tags=["shelf"])
HEARTBEAT_S: Final = 5.0
_SHELF: Final = answers_with(Shelf, 304, 400, 404)
_PROFILE: Final = answers_with(ProfileAnswer, 304, 400, 404, 503)
_EVENTS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "server-sent events named `shelf`, each a Shelf", "content": {"text/event-stream": {}}}
}


async def _recommend(request: Request, the: Services, visitor: Visitor, wish: Wish) -> Response:
    shelf, _ = await the.ladder.shelf(visitor, wish, the.feed.catalogue(visitor.shop))
    return tagged_answer(request, shelf)


def _stream(the: Services, visitor: Visitor, wish: Wish) -> Response:
    if the.watcher.full:
        raise ApiError(503, "too_many_streams", "this process feeds as many pages as it may; poll instead")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_shelves(the, visitor, wish), 200, headers, "text/event-stream")


async def _shelves(the: Services, visitor: Visitor, wish: Wish) -> AsyncIterator[bytes]:
    with the.watcher.watch() as watch:
        last = b""
        yield b"retry: 1000\n\n"
        while not the.watcher.closing:
            shelf, keys = await the.ladder.shelf(visitor, wish, the.feed.catalogue(visitor.shop))
            watch.follow(keys)
            body = encode(shelf)
            if body != last:
                yield b"event: shelf\nid: " + tag_of(body).strip('"').encode() + b"\ndata: " + body + b"\n\n"
                last = body
            if not await watch.changed(HEARTBEAT_S):
                yield b": still here\n\n"


async def _profile(request: Request, the: Services, visitor: Visitor) -> Response:
    person = await the.ladder.person(visitor)
    if not person.readable:
        raise ApiError(503, "redis_away", "live features cannot be read now; try again")
    catalogue = the.feed.catalogue(visitor.shop)
    return tagged_answer(request, profile(visitor.id, person.known_as, person.value, catalogue, the.now_ms()))


@router.get("/v1/users/{user_id:path}/recommendations/stream", summary="Follow a user's shelf", responses=_EVENTS)
async def user_stream(the: The, visitor: User, wish: Wished) -> Response:
    """Sends the shelf at once, and again whenever it changes."""
    return _stream(the, visitor, wish)


@router.get("/v1/users/{user_id:path}/recommendations", summary="A user's shelf", responses=_SHELF)
async def user_recommendations(request: Request, the: The, visitor: User, wish: Wished) -> Response:
    """The best list that is there: live, last training, trending, popular."""
    return await _recommend(request, the, visitor, wish)


@router.get("/v1/users/{user_id:path}/profile", summary="What is known of a user", responses=_PROFILE)
async def user_profile(request: Request, the: The, visitor: User) -> Response:
    """Recent actions and live features, as the stream keeps them."""
    return await _profile(request, the, visitor)


@router.get(
    "/v1/visitors/{anonymous_id:path}/recommendations/stream",
    summary="Follow an anonymous visitor's shelf",
    responses=_EVENTS,
)
async def visitor_stream(the: The, visitor: Anonymous, wish: Wished) -> Response:
    """Sends the shelf at once, and again whenever it changes; goes on as the user's when the visitor signs in."""
    return _stream(the, visitor, wish)


@router.get(
    "/v1/visitors/{anonymous_id:path}/recommendations", summary="An anonymous visitor's shelf", responses=_SHELF
)
async def visitor_recommendations(request: Request, the: The, visitor: Anonymous, wish: Wished) -> Response:
    """As for users; a visitor who signed in is answered as that user."""
    return await _recommend(request, the, visitor, wish)


@router.get("/v1/visitors/{anonymous_id:path}/profile", summary="What is known of a visitor", responses=_PROFILE)
async def visitor_profile(request: Request, the: The, visitor: Anonymous) -> Response:
    """Recent actions and live features, as the stream keeps them."""
    return await _profile(request, the, visitor)
