"""Signing a browser in: the key goes into a cookie that scripts cannot read and other sites cannot send."""

from typing import Final

from fastapi import APIRouter, Request, Response

from serving.answers import SessionOpened, SessionWish
from serving.bodies import json_of
from serving.credentials import COOKIE, client_of, from_elsewhere
from serving.openapi import answers_with, json_body
from serving.parameters import The
from serving.replies import ApiError, json_answer

__all__ = ["remember_key", "router"]

router = APIRouter(tags=["operation"])
_DAYS: Final = 30


@router.post(
    "/v1/session",
    summary="Sign a browser in",
    responses=answers_with(SessionOpened, 400, 401, 403, 413, 429),
    openapi_extra=json_body(SessionWish),
)
async def open_session(request: Request, the: The) -> Response:
    """Keeps the key in a cookie of this site, so that its pages can use what the key allows."""
    _own(request)
    wish = await json_of(request, SessionWish, 1024)
    key = the.ring.find(wish.key.strip())
    if key is None:
        if wait_s := the.failures.take(client_of(request.scope)):
            raise ApiError(429, "too_many_failures", f"too many keys that are none; wait {wait_s:.1f} s")
        raise ApiError(401, "unknown_key", "the API key is unknown, revoked or expired")
    answer = json_answer(SessionOpened(key.id, list(key.scopes)), headers={"Cache-Control": "no-store"})
    remember_key(request, answer, wish.key.strip())
    return answer


@router.delete(
    "/v1/session", summary="Sign out", status_code=204, responses={403: answers_with(SessionOpened, 403)[403]}
)
async def end_session(request: Request) -> Response:
    """Forgets the cookie."""
    _own(request)
    answer = Response(None, 204)
    answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return answer


def _own(request: Request) -> None:
    """Another site's page must not choose with which key a browser uses this one.

    Raises:
        ApiError: the request is of such a page.
    """
    headers = request.headers
    if from_elsewhere(*(headers.get(name, "") for name in ("origin", "host", "sec-fetch-site"))):
        raise ApiError(403, "cross_site", "this is asked by another site; open this one's /sign-in")


def remember_key(request: Request, answer: Response, key: str) -> None:
    """Put a key into the cookie: HttpOnly, SameSite=Strict, and Secure where the page came by https."""
    secure = request.url.scheme == "https"
    answer.set_cookie(COOKIE, key, max_age=_DAYS * 86_400, path="/", secure=secure, httponly=True, samesite="strict")
