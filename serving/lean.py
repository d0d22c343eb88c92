"""Routes that are asked all the time: an ASGI application as thin as can be, documented like all others.

FastAPI's own handling of parameters costs several times what such a request takes. Here the endpoint gets the request
and reads what it wants from it; the documentation comes from ``openapi_extra``.
"""

from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from contracts.ids import DEFAULT_SHOP, is_id
from serving.ladder import Visitor
from serving.replies import ApiError
from serving.services import Services
from serving.wish import Asked, asked_of

__all__ = ["LeanRoute", "asked_in", "lean_router", "services_in", "shop_in", "visitor_in"]


class LeanRoute(APIRoute):
    """Calls the endpoint with the request, and sends what it returns."""

    def __init__(self, path: str, endpoint: Any, **options: Any) -> None:
        super().__init__(path, endpoint, **options)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            response = await endpoint(Request(scope, receive, send))
            await response(scope, receive, send)

        self.app = app


def lean_router(tag: str) -> APIRouter:
    """A router of such routes."""
    return APIRouter(tags=[tag], route_class=LeanRoute)


_NOT_UTF8: Final = "\ufffd"
"""What the server puts where the bytes of a path are no UTF-8: all such ids would be one person."""


def services_in(request: Request) -> Services:
    """The process's services."""
    services: Services = request.scope["app"].state.services
    return services


def asked_in(request: Request) -> Asked:
    """What the query asks.

    Raises:
        ApiError: a parameter cannot be read.
    """
    return asked_of(request.scope["query_string"])


def shop_in(request: Request, asked: Asked, the: Services) -> str:
    """The shop of the request.

    Raises:
        ApiError: this deployment does not serve it.
    """
    shop = asked.shop or request.headers.get("x-shop") or DEFAULT_SHOP
    if shop in the.settings.shops:
        return shop
    served = ", ".join(sorted(the.settings.shops))
    raise ApiError(404, "unknown_shop", f"shop is {shop[:80]!r}; this deployment serves {served}")


def visitor_in(request: Request, shop: str) -> Visitor:
    """The user or anonymous visitor of the path.

    Raises:
        ApiError: the id is malformed.
    """
    names = request.path_params
    what = "anonymous_id" if "anonymous_id" in names else "user_id"
    if not is_id(names[what]) or _NOT_UTF8 in names[what]:
        raise ApiError(
            400, "bad_id", f"{what} is {names[what][:40]!r}; expected 1 to 128 printable characters, as UTF-8"
        )
    return Visitor(shop, names[what], what == "anonymous_id")
