"""The shelf of a person, taken before all other routes: it is what nearly every request asks for.

The route is in the router, too, which documents it and would answer the same. On the way to it a request passes through
several layers of the framework, each of which costs a tenth of what the answer does.
"""

from typing import Final

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.replies import ApiError, api_error
from serving.visitor_routes import recommend

__all__ = ["Shortcut", "path_params"]

_END: Final = "/recommendations"
_BEGINNINGS: Final = (("/v1/users/", "user_id"), ("/v1/visitors/", "anonymous_id"))


def path_params(path: str) -> dict[str, str] | None:
    """What the router would find in the path of a shelf; ``None`` for any other path.

    >>> path_params("/v1/users/a/b/recommendations"), path_params("/v1/users/7/profile")
    ({'user_id': 'a/b'}, None)
    """
    if path.endswith(_END):
        for beginning, name in _BEGINNINGS:
            if path.startswith(beginning) and len(path) >= len(beginning) + len(_END):
                return {name: path[len(beginning) : -len(_END)]}
    return None


class Shortcut:
    """ASGI middleware, to stand inside of the guard."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = path_params(scope["path"]) if scope["type"] == "http" and scope["method"] == "GET" else None
        if found is None:
            return await self._app(scope, receive, send)
        scope["path_params"] = found
        try:
            response = await recommend(Request(scope, receive, send))
        except ApiError as exc:
            response = api_error(exc)
        await response(scope, receive, send)
        return None
