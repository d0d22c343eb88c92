"""The storefront, the control room, and the API page from the bundled Swagger UI: static files, no build step."""

from importlib.resources import files
from pathlib import Path
from typing import Final

from fastapi import APIRouter, FastAPI, Response
from fastapi.responses import FileResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from swagger_ui_bundle import swagger_ui_path

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
async def storefront() -> Response:
    """The shop."""
    return _page("index.html")


@_router.get("/control")
async def control() -> Response:
    """The control room."""
    return _page("control.html")


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
