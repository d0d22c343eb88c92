"""Parameters that many routes share. Lists read theirs in :mod:`serving.wish`."""

from typing import Annotated

from fastapi import Depends, Header, Query, Request

from contracts.ids import DEFAULT_SHOP, is_id
from serving.replies import ApiError
from serving.services import Services

__all__ = ["Shop", "The", "checked"]


def services_of(request: Request) -> Services:
    """The process's services."""
    services = request.app.state.services
    assert isinstance(services, Services)
    return services


def shop_of(
    request: Request,
    shop: Annotated[str | None, Query(description="the shop; `X-Shop` does the same")] = None,
    x_shop: Annotated[str | None, Header()] = None,
) -> str:
    """The shop of the request."""
    asked = shop or x_shop or DEFAULT_SHOP
    shops = services_of(request).settings.shops
    if asked not in shops:
        raise ApiError(
            404, "unknown_shop", f"shop is {asked[:80]!r}; this deployment serves {', '.join(sorted(shops))}"
        )
    return asked


def checked(value: str, what: str) -> str:
    """An id of the path."""
    if is_id(value):
        return value
    raise ApiError(400, "bad_id", f"{what} is {value[:40]!r}; expected 1 to 128 printable characters")


The = Annotated[Services, Depends(services_of)]
Shop = Annotated[str, Depends(shop_of)]
