"""Routes for operators and load balancers."""

import os
from typing import Final

from fastapi import APIRouter, Response
from msgspec import structs

from serving import answers
from serving.openapi import answers_with
from serving.parameters import Shop, The
from serving.replies import json_answer

__all__ = ["router"]

router = APIRouter(tags=["operation"])
FLINK_URL: Final = "LIVESHELF_FLINK_URL"


@router.get("/healthz", summary="Alive", responses=answers_with(answers.HealthAnswer))
async def healthz() -> Response:
    """Says only that the process answers."""
    return json_answer(answers.HealthAnswer("ok"))


@router.get("/readyz", summary="Ready", responses=answers_with(answers.ReadyAnswer, also={503: answers.ReadyAnswer}))
async def readyz(the: The) -> Response:
    """Ready with every shop's catalogue and Redis; without Redis it still answers from DynamoDB, but not live."""
    checks = {"redis": "ok" if the.reader.redis_ok else "does not answer"}
    for shop in the.settings.shops:
        loaded = the.feed.catalogue(shop).loaded_at is not None
        checks[f"catalogue {shop}"] = "ok" if loaded else "not loaded yet"
    ready = all(check == "ok" for check in checks.values())
    return json_answer(answers.ReadyAnswer(ready, checks), 200 if ready else 503)


@router.get("/v1/status", summary="At a glance", responses=answers_with(answers.StatusAnswer, 404))
async def status(the: The, shop: Shop) -> Response:
    """Model, stores, catalogue and counts of this process."""
    pointer = the.reader.pointer(shop)
    catalogue = the.feed.catalogue(shop)
    return json_answer(
        answers.StatusAnswer(
            shop=shop,
            model=answers.ModelStatus(
                pointer.version if pointer else None, int(pointer.switched_at.timestamp() * 1000) if pointer else None
            ),
            redis=the.reader.redis_ok,
            catalogue=answers.CatalogueStatus(len(catalogue.items), catalogue.loaded_at),
            collector=structs.replace(the.collector.counts, spool=the.drain.status() if the.drain else None),
            streams=len(the.watcher),
            flink_url=os.environ.get(FLINK_URL) or None,
        )
    )
