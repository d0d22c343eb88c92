"""``python -m serving`` with one route more, ``/v1/constant``: what server, guard and framework cost by themselves."""

import sys
from typing import Any, Final

from fastapi import FastAPI, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

import serving.__main__ as program
from serving.app import create_app

__all__ = ["CONSTANT"]

CONSTANT: Final = "/v1/constant"
_BYTES: Final = 2600
"""About as many as a shelf of twenty."""


class _Constant:
    """As thin as an application can be: one response, made anew for every request as a shelf's is."""

    def __init__(self) -> None:
        self._body = b'{"source":"constant","padding":"' + b"x" * _BYTES + b'"}'

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Response(self._body, 200, {"Cache-Control": "no-store"}, "application/json")(scope, receive, send)


def _with_constant(*given: Any, **options: Any) -> FastAPI:
    app = create_app(*given, **options)
    app.router.routes.insert(0, Route(CONSTANT, endpoint=_Constant()))
    return app


if __name__ == "__main__":
    vars(program)["create_app"] = _with_constant
    sys.exit(program.main())
