"""Parameters that many routes share: shop, visitor, and how the shelf is wanted."""

from typing import Annotated

from fastapi import Depends, Header, Query, Request

from contracts.ids import DEFAULT_SHOP, is_id
from serving.ladder import Visitor, Wish
from serving.replies import ApiError
from serving.services import Services

__all__ = ["Anonymous", "Count", "Shop", "The", "User", "Wished", "checked"]


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


def wish_of(
    n: Annotated[int, Query(ge=1, le=200, description="how many items")] = 20,
    explain: Annotated[bool, Query(description="add the reasons of each item")] = False,
    hide_bought: Annotated[
        bool, Query(alias="filter", description="hide what was bought lately; off only for measuring")
    ] = True,
) -> Wish:
    """How the shelf is wanted."""
    return Wish(n, explain, hide_bought)


def user_of(shop: Annotated[str, Depends(shop_of)], user_id: str) -> Visitor:
    """The known user of the path."""
    return Visitor(shop, checked(user_id, "user_id"))


def visitor_of(shop: Annotated[str, Depends(shop_of)], anonymous_id: str) -> Visitor:
    """The anonymous visitor of the path."""
    return Visitor(shop, checked(anonymous_id, "anonymous_id"), anonymous=True)


The = Annotated[Services, Depends(services_of)]
Shop = Annotated[str, Depends(shop_of)]
Wished = Annotated[Wish, Depends(wish_of)]
User = Annotated[Visitor, Depends(user_of)]
Anonymous = Annotated[Visitor, Depends(visitor_of)]
Count = Annotated[int, Query(ge=1, le=200)]
