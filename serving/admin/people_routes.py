"""Routes of administration about people: deletions and their receipts, and the log of who changed what."""

import re
from datetime import UTC, date, datetime
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from contracts.forgetting import Deletion, Receipt
from serving.admin.answers import AuditLog, Deletions, PersonToForget
from serving.bodies import json_of
from serving.openapi import answers_with, json_body
from serving.parameters import Shop, The, checked
from serving.replies import ApiError, json_answer
from stores.forgetting import ask, forget_online, load_receipt, load_tombstones, receipt_of, receipts, save, versions_of

__all__ = ["router"]

router = APIRouter(prefix="/v1/admin", tags=["admin"])
_ID: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
_UNSTORED: Final = {"Cache-Control": "no-store"}


@router.post(
    "/deletions",
    summary="Delete a person",
    status_code=202,
    responses=answers_with(Receipt, 400, 404, 409, 413, 503, good=202),
    openapi_extra=json_body(PersonToForget, minProperties=1, maxProperties=1),
)
async def delete_person(request: Request, the: The, shop: Shop) -> Response:
    """At once: a tombstone, live values, aliases and stored lists. Then, beside: the lake and what the trainer keeps.

    The answer is the receipt so far; `GET /v1/admin/deletions/{id}` tells how it goes on. The person is named here and
    nowhere after it is done. Asking twice is one deletion.
    """
    person = await json_of(request, PersonToForget, 4096)
    if (person.user_id is None) == (person.anonymous_id is None):
        raise ApiError(400, "bad_person", "name either a user_id or an anonymous_id")
    checked(person.user_id if person.user_id is not None else person.anonymous_id or "", "the id")
    key = request.scope.get("liveshelf.key")

    def begin() -> Receipt:
        desk = the.desk
        deletion = ask(
            desk.objects,
            desk.cluster,
            shop,
            user_id=person.user_id,
            anonymous_id=person.anonymous_id,
            now=datetime.now(UTC),
            asked_by=key.id if key else "open",
        )
        _remove_online(the, deletion)
        desk.go_on_forgetting()
        return receipt_of(deletion, load_tombstones(desk.objects, shop)[0])

    receipt = await the.desk.change(request, shop, "person.delete", "a person", begin)
    return json_answer(receipt, 202, _UNSTORED | {"Location": f"/v1/admin/deletions/{receipt.id}"})


def _remove_online(the: The, deletion: Deletion) -> None:
    """What the stores of serving hold, now; a deletion that is further on than that has done it already."""
    if deletion.state != "requested":
        return
    desk, now = the.desk, datetime.now(UTC)
    versions = versions_of(desk.objects, deletion.shop)
    for removal in forget_online(desk.cluster, desk.tables, deletion, versions, now):
        deletion.notes[f"{removal.store} {removal.where} when asked"] = removal
    save(desk.objects, deletion)


@router.get("/deletions", summary="All deletions", responses=answers_with(Deletions, 404, 503))
async def deletions(the: The, shop: Shop) -> Response:
    """Done ones and running ones, newest first."""
    found = await the.desk.read(lambda: receipts(the.desk.objects, shop))
    return json_answer(Deletions(found), headers=_UNSTORED)


@router.get("/deletions/{deletion}", summary="A receipt", responses=answers_with(Receipt, 404, 503))
async def deletion(the: The, shop: Shop, deletion: str) -> Response:
    """What was removed where and when, and what ends by itself. It names nobody."""
    found = None
    if _ID.fullmatch(deletion):
        found = await the.desk.read(lambda: load_receipt(the.desk.objects, shop, deletion))
    if found is None:
        raise ApiError(404, "unknown_deletion", f"there is no deletion {deletion[:60]!r}")
    return json_answer(found, headers=_UNSTORED)


@router.get("/audit", summary="Who changed what", responses=answers_with(AuditLog, 400, 404, 503))
async def audit(
    the: The,
    shop: Shop,
    day: Annotated[date | None, Query(description="newest UTC day; default: today")] = None,
    days: Annotated[int, Query(ge=1, le=92)] = 7,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Newest first."""
    newest = day or datetime.now(UTC).date()
    if not date(2000, 1, 1) <= newest <= date(9999, 12, 30):
        raise ApiError(400, "bad_parameter", f"day is {newest}; expected one after 2000")
    found = await the.desk.read(lambda: the.desk.audit(shop, newest, days, limit))
    return json_answer(AuditLog(found), headers=_UNSTORED)
