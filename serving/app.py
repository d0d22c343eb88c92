"""The application: routes, errors of one shape, and the background work that keeps answers fresh."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from contracts.settings import Settings
from serving import event_routes, item_routes, operation_routes, pages, visitor_routes
from serving.openapi import document
from serving.replies import ApiError, error
from serving.services import Services

__all__ = ["create_app"]

_log = logging.getLogger(__name__)
_DESCRIPTION = (
    "Send what visitors do, read what to show them. "
    'Every error is `{"error": {"code", "message"}}`; reads of the shop carry an `ETag`. '
    "Ids are opaque strings of 1 to 128 printable characters; times in answers are milliseconds since the epoch, UTC."
)


def create_app(settings: Settings) -> FastAPI:
    """The ASGI application for ``settings``; stores that are away at the start are found later."""
    services = Services(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with services.running():
            yield

    app = FastAPI(
        title="Liveshelf", version="1", description=_DESCRIPTION, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.services = services
    for part in (event_routes, visitor_routes, item_routes, operation_routes):
        app.include_router(part.router)
    pages.mount(app)
    app.openapi = document(app)  # type: ignore[method-assign]
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(RequestValidationError, _bad_parameter)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _fault)
    return app


async def _api_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, ApiError)
    return error(exc.status, exc.code, str(exc), {"Retry-After": "1"} if exc.status in (429, 503) else None)


async def _bad_parameter(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)
    first = exc.errors()[0]
    name = first["loc"][-1] if first["loc"] else "request"
    return error(400, "bad_parameter", f"{name}: {first['msg']}; got {str(first.get('input'))[:80]!r}")


async def _http_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    code = {404: "not_found", 405: "method_not_allowed"}.get(exc.status_code, "http_error")
    return error(exc.status_code, code, str(exc.detail), dict(exc.headers or {}))


async def _fault(request: Request, exc: Exception) -> Response:
    return error(500, "internal", "a fault of this process; it was logged")
