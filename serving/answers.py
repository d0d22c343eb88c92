"""What the API answers, as typed values; the OpenAPI page is generated from these."""

from typing import Annotated, Literal

import msgspec

__all__ = [
    "BasedOnAnswer",
    "Because",
    "CatalogueStatus",
    "CategoriesAnswer",
    "CategoryCount",
    "CollectorStatus",
    "ErrorAnswer",
    "ErrorBody",
    "EventResult",
    "EventsAnswer",
    "HealthAnswer",
    "ItemAnswer",
    "ItemFeaturesAnswer",
    "ItemsAnswer",
    "ListAnswer",
    "ModelStatus",
    "ProfileAction",
    "ProfileAnswer",
    "ReadyAnswer",
    "SampleUsersAnswer",
    "SessionAnswer",
    "SessionOpened",
    "SessionWish",
    "Shelf",
    "ShelfItem",
    "SpoolStatus",
    "StatusAnswer",
    "StoreName",
]

Millis = Annotated[int, msgspec.Meta(description="milliseconds since the epoch, UTC")]
StoreName = Literal["redis", "dynamodb", "postgresql", "deployment"]
Rung = Literal["live", "batch", "trending", "popular", "baked", "none"]
Windows = Annotated[
    dict[str, dict[str, float]], msgspec.Meta(description="window (`5m`, `1h`, `24h`) → feature → sum over the window")
]


class ErrorBody(msgspec.Struct):
    """`code` is stable and meant for programs, `message` for people."""

    code: str
    message: str


class ErrorAnswer(msgspec.Struct):
    """Every answer with a status of 400 or above."""

    error: ErrorBody


class EventResult(msgspec.Struct, omit_defaults=True):
    """One record's outcome.

    `accepted` is on the stream, or safe in a spool on its way there; `rejected` must be changed; `failed` may be sent
    again as it is. `reason` is a rejection reason of the event contract, the stream's error code, or `SpoolFull`.
    """

    event_id: str | None
    status: Literal["accepted", "rejected", "failed"]
    reason: str | None = None
    message: str | None = None


class EventsAnswer(msgspec.Struct):
    """The outcomes in the order of the request."""

    results: list[EventResult]
    accepted: int
    rejected: int
    failed: int
    received_at: Annotated[Millis, msgspec.Meta(description="what the accepted events were stamped with")]


class BasedOnAnswer(msgspec.Struct):
    """The newest event a list reflects; events are ordered by (occurred_at, event_id)."""

    occurred_at: Millis
    event_id: str


class Because(msgspec.Struct, omit_defaults=True):
    """One term of the score: an action of the visitor, or the list of the last training where `item_id` is `*`."""

    item_id: str
    weight: float
    title: str | None = None
    event_type: str | None = None


class ShelfItem(msgspec.Struct, omit_defaults=True, gc=False):
    """A recommended item; `reason` and `because` come with `explain=true`.

    `new` marks one that the model does not know yet and that is on the list to be seen.
    """

    item_id: str
    title: str
    category: str
    price: float | None
    score: float
    reason: str | None = None
    because: list[Because] | None = None
    new: bool = False


class Shelf(msgspec.Struct):
    """A visitor's recommendations and where they come from.

    `source` is the rung of the ladder: the stream's list, the list of the last training, what is bought now, what is
    popular, what was popular when this deployment was made (`baked`), or `none`. `filters` names the promises that
    could be kept: `stock`, `purchases`, `cart`. A short trending list is filled up with popular items, scored 0.
    """

    user: str
    known_as: Annotated[str | None, msgspec.Meta(description="the user an anonymous visitor turned out to be")]
    source: Rung
    store: Annotated[StoreName | None, msgspec.Meta(description="the store that held the list")]
    model_version: str | None
    based_on: BasedOnAnswer | None
    written_at: Millis | None
    filters: list[str]
    items: list[ShelfItem]
    request_id: Annotated[
        str | None, msgspec.Meta(description="send it back with impressions and clicks of this list; opaque")
    ] = None
    variant: Annotated[
        str | None, msgspec.Meta(description="the experiments this is part of: `experiment:variant`, by commas")
    ] = None


class ItemAnswer(msgspec.Struct):
    """What the shop says of a product."""

    item_id: str
    title: str
    category: str
    price: float | None
    in_stock: bool
    repeatable: bool
    image: str | None
    attributes: dict[str, str]


class ItemsAnswer(msgspec.Struct):
    """A page of the catalogue, popular items first; `more` says whether a further page exists."""

    items: list[ItemAnswer]
    more: bool


class ListAnswer(msgspec.Struct):
    """A ranked list that is not about one visitor: similar, trending, bought together, or what goes with a cart.

    Where the list asked for holds nothing that may be shown, it is of the next kind that does; `source` says which.
    """

    source: Literal["similar", "together", "cart", "trending", "popular", "baked", "none"]
    store: Annotated[StoreName | None, msgspec.Meta(description="the store that held the list")]
    model_version: str | None
    written_at: Millis | None
    filters: list[str]
    items: list[ShelfItem]
    request_id: Annotated[
        str | None, msgspec.Meta(description="send it back with impressions and clicks of this list; opaque")
    ] = None
    variant: Annotated[
        str | None, msgspec.Meta(description="the experiments this is part of: `experiment:variant`, by commas")
    ] = None


class CategoryCount(msgspec.Struct):
    """A category and its number of items in stock."""

    category: str
    items: int


class CategoriesAnswer(msgspec.Struct):
    """All categories, the largest first."""

    categories: list[CategoryCount]


class ProfileAction(msgspec.Struct):
    """One recent action."""

    event_id: str
    event_type: str
    occurred_at: Millis
    item_id: str
    title: str


class SessionAnswer(msgspec.Struct):
    """The visit that is on: it ends with half an hour of silence."""

    started_at: Millis
    length_ms: Annotated[int, msgspec.Meta(description="from its first to its newest event")]
    depth: Annotated[float, msgspec.Meta(description="number of things done in it")]


class ProfileAnswer(msgspec.Struct):
    """All that is known live of one visitor, under all names they had; actions are newest first."""

    user: str
    known_as: str | None
    known: Annotated[bool, msgspec.Meta(description="whether the stream holds anything of this visitor")]
    actions: list[ProfileAction]
    features: Windows
    session: SessionAnswer | None
    last_seen_at: Annotated[Millis | None, msgspec.Meta(description="within the last 24 hours")]
    category_affinity: Annotated[
        dict[str, float], msgspec.Meta(description="category → share of the newest actions of 24 hours, largest first")
    ]
    price_affinity: Annotated[
        float, msgspec.Meta(description="where the prices of what they turn to stand in their categories, 0 to 1")
    ]
    list_based_on: BasedOnAnswer | None
    list_written_at: Millis | None


class ItemFeaturesAnswer(msgspec.Struct):
    """An item's live features."""

    item_id: str
    features: Windows
    conversion: Annotated[float, msgspec.Meta(description="purchases a view in 24 hours, 1 in 50 to begin with")]
    trend: Annotated[
        float, msgspec.Meta(description="log ratio of the last hour's actions to an hour of the day; 0 is as usual")
    ]
    last_purchase_at: Annotated[Millis | None, msgspec.Meta(description="within the last 24 hours")]


class SessionWish(msgspec.Struct):
    """The key to sign a browser in with."""

    key: str


class SessionOpened(msgspec.Struct):
    """What the browser may do from now on."""

    key: Annotated[str, msgspec.Meta(description="the key's id")]
    scopes: list[str]


class SampleUsersAnswer(msgspec.Struct):
    """A few known users to look at the shop as."""

    users: list[str]


class HealthAnswer(msgspec.Struct):
    """The process is alive; it says nothing of the stores."""

    status: Literal["ok"]


class ReadyAnswer(msgspec.Struct):
    """Whether this process should get traffic; each check is `ok` or says what is missing."""

    ready: bool
    checks: dict[str, str]


class ModelStatus(msgspec.Struct):
    """The live model version, as this process sees it."""

    version: str | None
    switched_at: Millis | None


class CatalogueStatus(msgspec.Struct):
    """The catalogue in memory."""

    items: int
    loaded_at: Millis | None


class SpoolStatus(msgspec.Struct):
    """Accepted events that wait on this service's disk for the stream; `drained` is since the process started."""

    waiting: int
    bytes: int
    max_bytes: int
    drained: int


class CollectorStatus(msgspec.Struct):
    """Events since this process started; of those accepted, `spooled` went to the spool first."""

    accepted: int = 0
    rejected: int = 0
    failed: int = 0
    spooled: int = 0
    away: Annotated[bool, msgspec.Meta(description="whether the stream did not answer lately")] = False
    spool: Annotated[SpoolStatus | None, msgspec.Meta(description="none where no spool is configured")] = None


class StatusAnswer(msgspec.Struct):
    """What an operator wants to see at a glance."""

    shop: str
    model: ModelStatus
    redis: Annotated[bool, msgspec.Meta(description="whether Redis answers")]
    catalogue: CatalogueStatus
    collector: CollectorStatus
    streams: Annotated[int, msgspec.Meta(description="pages that listen for shelf changes")]
    flink_url: str | None
