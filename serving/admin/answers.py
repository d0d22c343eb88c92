"""What the admin routes answer beside the documents themselves."""

from typing import Annotated, Any

import msgspec

from contracts.audit import AuditEntry
from contracts.forgetting import Receipt
from serving.admin.catalogue_upload import LineFault

__all__ = [
    "AuditLog",
    "CatalogueTaken",
    "CatalogueTold",
    "Deletions",
    "DryRun",
    "MovedItem",
    "PersonToForget",
    "RulesTrial",
    "Taken",
]


class CatalogueTold(msgspec.Struct):
    """The catalogue that is stored."""

    items: int
    bytes: int
    tag: Annotated[str, msgspec.Meta(description="for `If-Match`; the `ETag` header says the same")]


class CatalogueTaken(msgspec.Struct):
    """What became of an upload: `taken` only if no line had a fault and it was no dry run."""

    taken: bool
    items: int
    faulty: Annotated[int, msgspec.Meta(description="lines with a fault")]
    faults: Annotated[list[LineFault], msgspec.Meta(description="the first hundred")]
    tag: str | None = None


class Taken(msgspec.Struct):
    """A document was replaced; `tag` is its new entity tag."""

    tag: str


class MovedItem(msgspec.Struct):
    """An item whose place on a list the rules would change; places count from 0, none is not on the list."""

    item_id: str
    title: str
    before: int | None
    after: int | None
    rules: list[str]


class DryRun(msgspec.Struct):
    """What rules would change on the popular list, were they stored."""

    placement: str
    moved: list[MovedItem]


class RulesTrial(msgspec.Struct):
    """Rules to try out, on which placement, and on how long a list."""

    rules: Annotated[Any, msgspec.Meta(extra_json_schema={"$ref": "#/components/schemas/Rules"})]
    placement: str = "home"
    n: Annotated[int, msgspec.Meta(ge=1, le=200)] = 20


class PersonToForget(msgspec.Struct, forbid_unknown_fields=True):
    """Whom to delete: a user with all visitors they were, or a visitor who never signed in."""

    user_id: str | None = None
    anonymous_id: str | None = None


class Deletions(msgspec.Struct):
    """All deletions, newest first; they name nobody."""

    deletions: list[Receipt]


class AuditLog(msgspec.Struct):
    """Changes, newest first. One whose outcome is `started` was cut off, or runs."""

    entries: list[AuditEntry]
