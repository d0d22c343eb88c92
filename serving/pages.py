"""The storefront, the control room, and the API page from the bundled Swagger UI: static files, no build step."""

from importlib.resources import files
from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.responses import FileResponse, PlainTextResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from swagger_ui_bundle import swagger_ui_path

from serving.credentials import COOKIE
from serving.parameters import services_of
from serving.session_routes import remember_key

__all__ = ["mount"]

_STATIC: Final = Path(str(files("serving"))) / "static"
_POLICY: Final = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_router = APIRouter(include_in_schema=False)


@_router.get("/")
async def storefront(request: Request) -> Response:
    """The shop. Who has no key yet gets the page's own, which is public, for this site alone."""
    answer, the = _page("index.html"), services_of(request)
    text = the.settings.serving.page_key
    if text and COOKIE not in request.cookies and (key := the.ring.find(text)) and key.public:
        remember_key(request, answer, text)
    return answer


@_router.get("/control")
async def control(request: Request) -> Response:
    """The control room, for who has signed in with an admin's key where there are keys."""
    ring = services_of(request).ring
    key = ring.find(request.cookies.get(COOKIE, ""))
    if ring.configured and (key is None or "admin" not in key.scopes):
        return RedirectResponse("/sign-in?next=/control", 303)
    return _page("control.html")


@_router.get("/sign-in")
async def sign_in() -> Response:
    """Where a person shows a key, for pages that need more than the public one."""
    return FileResponse(_STATIC / "sign-in.html", headers=_POLICY)


def _page(name: str) -> Response:
    """A page; a sentence where the libraries that it draws with were not installed, instead of an empty one."""
    if not (_STATIC / "lib" / "lit-html" / "lit-html.js").is_file():
        return PlainTextResponse("The pages' libraries are not installed: run `make setup`, then reload.", 503, _POLICY)
    return FileResponse(_STATIC / name, headers=_POLICY)


@_router.get("/docs")
async def docs() -> Response:
    """The API, to read and to try."""
    return FileResponse(_STATIC / "docs.html", headers=_POLICY)


@_router.get("/favicon.ico")
async def favicon() -> Response:
    """The mark that browsers ask for."""
    return FileResponse(_STATIC / "mark.svg")


def mount(app: FastAPI) -> None:
    """Add the pages and their files."""
    app.include_router(_router)
    app.mount("/static/swagger", StaticFiles(directory=str(swagger_ui_path)), name="swagger")
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
