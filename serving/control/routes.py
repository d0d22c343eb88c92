"""Routes of the control room: reads alone. Where a source is away the answer says so; it is never a 5xx."""

from collections.abc import Callable
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from fastapi import APIRouter, Response

from contracts.errors import StoreError
from serving.control import answers
from serving.control.health import Asked, health
from serving.openapi import answers_with
from serving.parameters import Shop, The
from serving.replies import json_answer
from serving.services import Services

__all__ = ["router"]

T = TypeVar("T")

router = APIRouter(prefix="/v1/admin/control", tags=["control"])


def _told(value: Any) -> Response:
    return json_answer(value, headers={"Cache-Control": "no-store"})


async def _read(the: Services, call: Callable[[], T], away: Callable[[str], T]) -> T:
    try:
        return await the.room.within(call)
    except TimeoutError:
        return away("S3 does not answer in time; try again")
    except (StoreError, ClientError, BotoCoreError) as exc:
        return away(str(exc))


@router.get("/stream", summary="The stream's figures", responses=answers_with(answers.ControlStream, 404))
async def stream(the: The, shop: Shop) -> Response:
    """Events a second, lag, freshness, checkpoints, busy steps: now and over the last half hour."""
    return _told(await the.room.stream(the.collector.counts))


@router.get("/health", summary="Health of each part", responses=answers_with(answers.ControlHealth, 404))
async def parts(the: The, shop: Shop) -> Response:
    """Every part is asked now, within its time limit."""
    asked = Asked(shop, the.feed.catalogue(shop), the.collector.counts, len(the.watcher))
    return _told(await health(the.room, asked))


@router.get("/models", summary="Model versions", responses=answers_with(answers.ControlModels, 404))
async def models(the: The, shop: Shop) -> Response:
    """With metrics, gate and the ranker's coefficients; the live one is the authority's word."""
    try:
        live = await the.room.within(lambda: the.room.tables.current(shop))
    except (TimeoutError, StoreError, ClientError, BotoCoreError):
        live = the.reader.pointer(shop)
    empty = answers.ControlModels("", live.version if live else None, None, None, [])

    def away(problem: str) -> answers.ControlModels:
        empty.problem = problem
        return empty

    return _told(await _read(the, lambda: the.room.stored.models(shop, live), away))


@router.get("/rejected", summary="Rejected records", responses=answers_with(answers.ControlRejected, 404))
async def rejected(the: The, shop: Shop) -> Response:
    """The newest records of the dead-letter prefix, with their reasons."""
    found = await _read(
        the, lambda: the.room.stored.rejected(shop), lambda problem: answers.ControlRejected(problem, [], False)
    )
    return _told(found)


@router.get("/experiments", summary="Experiments", responses=answers_with(answers.ControlExperiments, 404))
async def experiments(the: The, shop: Shop) -> Response:
    """All of the shop, with what the batch has counted."""
    known = the.feed.experiments(shop)
    found = await _read(
        the, lambda: the.room.stored.experiments(shop, known), lambda problem: answers.ControlExperiments(problem, [])
    )
    return _told(found)
