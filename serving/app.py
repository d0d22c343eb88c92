"""The application: routes, errors of one shape, and the background work that keeps answers fresh."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect

from contracts.settings import Settings
from serving import (
    event_routes,
    item_routes,
    list_routes,
    operation_routes,
    pages,
    session_routes,
    visitor_routes,
)
from serving.admin import people_routes
from serving.admin import routes as admin_routes
from serving.control import activation
from serving.control import routes as control_routes
from serving.guard import Guard, guarded
from serving.openapi import document
from serving.replies import ApiError, api_error, error
from serving.services import Services
from serving.shortcut import Shortcut

__all__ = ["create_app"]

_log = logging.getLogger(__name__)
_DESCRIPTION = (
    "Send what visitors do, read what to show them. "
    'Every error is `{"error": {"code", "message"}}`; reads of the shop carry an `ETag`. '
    "Where API keys are set up, send one as `Authorization: Bearer lsk_…`. "
    "Ids are opaque strings of 1 to 128 printable characters; times in answers are milliseconds since the epoch, UTC."
)


def create_app(settings: Settings, *, access_log: bool = False, streams: int = 500) -> FastAPI:
    """The ASGI application for ``settings``; stores that are away at the start are found later.

    ``streams`` is how many pages it feeds with changes at a time; further ones are told to poll.

    Raises:
        SettingsError: API keys are configured and cannot be read.
        StoreError: they are in Secrets Manager, which does not answer.
    """
    services = Services(settings, streams)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with services.running():
            yield

    app = FastAPI(
        title="Liveshelf",
        version="1",
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},  # it would tell paths, which hold user ids
        redirect_slashes=False,
    )
    app.state.services = services
    for lean in (visitor_routes, list_routes):  # not included but taken over as they are: FastAPI would wrap each
        app.router.routes.extend(lean.router.routes)
    for part in (
        event_routes,
        item_routes,
        operation_routes,
        session_routes,
        control_routes,
        activation,
        admin_routes,
        people_routes,
    ):
        app.include_router(part.router)
    pages.mount(app)
    app.openapi = document(app)  # type: ignore[method-assign]
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(RequestValidationError, _bad_parameter)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _fault)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_middleware(Shortcut)  # inside of the guard: what is added last comes first
    app.add_middleware(
        Guard,
        ring=services.ring,
        settings=settings.serving,
        names=services.names,
        failures=services.failures,
        access_log=access_log,
    )
    if settings.serving.origins:  # outside of the guard: a browser asks leave (OPTIONS) without showing its key
        app.add_middleware(CORSMiddleware, allow_origins=settings.serving.origins, **_CORS)
    return app


_CORS: Final[dict[str, Any]] = {
    "allow_methods": ("GET", "POST", "PUT", "DELETE"),
    "allow_headers": ("Authorization", "Content-Type", "If-Match", "If-None-Match", "X-Api-Key", "X-Shop"),
    "expose_headers": ("ETag", "Retry-After"),
    "max_age": 3600,
}


async def _api_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, ApiError)
    return api_error(exc)


async def _bad_parameter(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)
    first = exc.errors()[0]
    name = first["loc"][-1] if first["loc"] else "request"
    return error(400, "bad_parameter", f"{name}: {first['msg']}; got {str(first.get('input'))[:80]!r}")


async def _http_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(exc.status_code, "http_error")
    return error(exc.status_code, code, str(exc.detail), dict(exc.headers or {}))


async def _gone(request: Request, exc: Exception) -> Response:
    """Nobody is left to read this."""
    return error(400, "disconnected", "the client went away before its request was whole")


async def _fault(request: Request, exc: Exception) -> Response:
    """Sent from outside of the guard, so the headers that it adds are added here."""
    response = error(500, "internal", "a fault of this process; it was logged")
    response.raw_headers = guarded(response.raw_headers, https=request.url.scheme == "https")
    return response
