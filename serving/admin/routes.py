"""Routes of administration: catalogue, rules, experiments. Documents change as a whole, and only as they were read."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request, Response

from contracts.errors import ContractError
from contracts.experiments import (
    Experiment,
    Experiments,
    check_change,
    decode_experiment,
    decode_experiments,
    encode_experiments,
)
from contracts.items import decode_catalogue, encode_catalogue
from contracts.lake import catalogue_path, experiments_path, rules_path
from contracts.merchandise import dry_run
from contracts.rules import MAX_BYTES, NO_RULES, Rules, decode_rules, encode_rules
from serving.admin.answers import CatalogueTaken, CatalogueTold, DryRun, MovedItem, RulesTrial, Taken
from serving.admin.catalogue_upload import read_upload
from serving.admin.desk import Desk, expected_tag
from serving.bodies import bounded_body, json_of
from serving.openapi import answers_with, json_body
from serving.parameters import Shop, The
from serving.replies import ApiError, encode, json_answer
from stores.objects import NotFound

__all__ = ["router"]

router = APIRouter(prefix="/v1/admin", tags=["admin"])
_CHANGE = (400, 404, 412, 413, 428, 503)


def _document(body: bytes, tag: str | None) -> Response:
    """A stored document with its entity tag; one that is not there yet is shown empty and without a tag."""
    headers = {"Cache-Control": "no-store"} | ({"ETag": tag} if tag else {})
    return Response(body, 200, headers, "application/json")


def _taken(tag: str) -> Response:
    return json_answer(Taken(tag), headers={"ETag": tag, "Cache-Control": "no-store"})


def _stored(desk: Desk, path: str, empty: bytes) -> tuple[bytes, str | None]:
    try:
        return desk.objects.get_tagged(path)
    except NotFound:
        return empty, None


@router.get("/catalogue", summary="The stored catalogue", responses=answers_with(CatalogueTold, 404, 503))
async def catalogue(the: The, shop: Shop) -> Response:
    """How many items it holds, and the tag that a replacement has to name."""

    def read() -> CatalogueTold:
        data, tag = the.desk.objects.get_tagged(catalogue_path(shop))
        return CatalogueTold(len(decode_catalogue(data)), len(data), tag)

    told = await the.desk.read(read)
    return json_answer(told, headers={"ETag": told.tag, "Cache-Control": "no-store"})


@router.put(
    "/catalogue",
    summary="Replace the catalogue",
    responses=answers_with(CatalogueTaken, *_CHANGE, also={422: CatalogueTaken}),
    openapi_extra={"requestBody": {"required": True, "content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def put_catalogue(
    request: Request,
    the: The,
    shop: Shop,
    only_check: Annotated[bool, Query(alias="dry_run", description="check, and store nothing")] = False,
) -> Response:
    """JSON lines, one item each, plain or gzipped. A fault in any line, and nothing is stored (422, faults listed)."""
    expected = None if only_check else expected_tag(request)
    limit = the.settings.serving.max_catalogue_mib << 20
    body = await bounded_body(request, limit, "raise max.catalogue.mib where it has to be")
    upload = await the.desk.read(lambda: read_upload(body, 8 * limit))
    taken = CatalogueTaken(False, len(upload.items), upload.faulty, upload.faults)
    if upload.faulty or only_check:
        return json_answer(taken, 422 if upload.faulty else 200, {"Cache-Control": "no-store"})

    def store() -> str:
        return the.desk.objects.replace(catalogue_path(shop), encode_catalogue(upload.items), expected)

    taken.tag = await the.desk.change(request, shop, "catalogue.replace", f"{len(upload.items)} items", store)
    taken.taken = True
    return json_answer(taken, headers={"ETag": taken.tag, "Cache-Control": "no-store"})


@router.get("/rules", summary="Merchandising rules", responses=answers_with(Rules, 404, 503))
async def rules(the: The, shop: Shop) -> Response:
    """The document as it is stored; empty and without a tag before the first."""
    return _document(*await the.desk.read(lambda: _stored(the.desk, rules_path(shop), encode_rules(NO_RULES))))


@router.put(
    "/rules", summary="Replace the rules", responses=answers_with(Taken, *_CHANGE), openapi_extra=json_body(Rules)
)
async def put_rules(request: Request, the: The, shop: Shop) -> Response:
    """Checked strictly: a field that is not known is refused, because it would be a rule that does nothing."""
    expected = expected_tag(request)
    body = await bounded_body(request, MAX_BYTES)
    given = await the.desk.read(lambda: decode_rules(body))

    def store() -> str:
        return the.desk.objects.replace(rules_path(shop), encode_rules(given), expected)

    return _taken(await the.desk.change(request, shop, "rules.replace", f"{len(given.rules)} rules", store))


@router.post(
    "/rules/dry-run",
    summary="Try rules out",
    responses=answers_with(DryRun, 400, 404, 413, 503),
    openapi_extra=json_body(RulesTrial),
)
async def try_rules(request: Request, the: The, shop: Shop) -> Response:
    """What they would change on the popular list, beside the stored ones. Nothing is stored."""
    trial = await json_of(request, RulesTrial, MAX_BYTES)
    after = await the.desk.read(lambda: decode_rules(encode(trial.rules)))
    stored, _ = await the.desk.read(lambda: _stored(the.desk, rules_path(shop), encode_rules(NO_RULES)))
    before = await the.desk.read(lambda: decode_rules(stored))
    goods = the.feed.catalogue(shop)
    found = await the.reader.popular(shop)

    def category(item_id: str) -> str:
        item = goods.get(item_id)
        return item.category if item else ""

    moved = dry_run(
        before,
        after,
        found[0].items if found else [],
        placement=trial.placement,
        now_ms=the.now_ms(),
        n=trial.n,
        category=category,
        shown=goods.showable,
    )
    told = [MovedItem(m[0], goods.title(m[0]), m[1], m[2], m[3]) for m in moved]
    return json_answer(DryRun(trial.placement, told), headers={"Cache-Control": "no-store"})


@router.get("/experiments", summary="All experiments", responses=answers_with(Experiments, 404, 503))
async def experiments(the: The, shop: Shop) -> Response:
    """The document as it is stored; its tag is what every change of an experiment has to name."""
    empty = encode_experiments(Experiments())
    return _document(*await the.desk.read(lambda: _stored(the.desk, experiments_path(shop), empty)))


@router.put(
    "/experiments/{experiment_id}",
    summary="Make or change an experiment",
    responses=answers_with(Taken, *_CHANGE),
    openapi_extra=json_body(Experiment),
)
async def put_experiment(request: Request, the: The, shop: Shop, experiment_id: str) -> Response:
    """Once it has run only its status, end and description may change, or two experiments would be mixed in one."""
    expected = expected_tag(request)
    body = await bounded_body(request, 65_536)
    given = await the.desk.read(lambda: decode_experiment(body))
    if given.id != experiment_id:
        raise ApiError(400, "other_id", f"the address names {experiment_id[:40]!r}, the body {given.id!r}")

    def edit(known: Experiments) -> Experiments:
        if before := known.get(given.id):
            check_change(before, given)
        others = tuple(each for each in known.experiments if each.id != given.id)
        return msgspec.structs.replace(known, experiments=(*others, given))

    return await _edit(request, the, shop, f"experiment {given.id}: {given.status}", expected, edit)


@router.delete("/experiments/{experiment_id}", summary="Delete a draft", responses=answers_with(Taken, *_CHANGE, 409))
async def delete_experiment(request: Request, the: The, shop: Shop, experiment_id: str) -> Response:
    """Only a draft: what has run stays, stopped, for the record."""

    def edit(known: Experiments) -> Experiments:
        found = known.get(experiment_id)
        if found is None:
            raise ApiError(404, "unknown_experiment", f"there is no experiment {experiment_id[:40]!r}")
        if found.status != "draft":
            raise ApiError(409, "has_run", f"experiment {found.id!r} is {found.status}; stop it instead")
        return msgspec.structs.replace(known, experiments=tuple(e for e in known.experiments if e.id != found.id))

    return await _edit(request, the, shop, f"experiment {experiment_id[:40]}: deleted", expected_tag(request), edit)


async def _edit(request: Request, the: Any, shop: str, what: str, expected: str | None, edit: Any) -> Response:
    """Change one experiment of the document, if that is still the one that the client read."""

    def store() -> str:
        data, tag = _stored(the.desk, experiments_path(shop), encode_experiments(Experiments()))
        if tag != expected:
            raise ApiError(412, "changed_meanwhile", "the experiments were changed by somebody else; read them again")
        changed = encode_experiments(edit(decode_experiments(data)))
        decode_experiments(changed)  # together with the others
        return str(the.desk.objects.replace(experiments_path(shop), changed, tag))

    try:
        return _taken(await the.desk.change(request, shop, "experiments.change", what, store))
    except ContractError as exc:
        raise ApiError(400, "invalid", str(exc)) from exc
