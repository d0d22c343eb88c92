"""Making another version live from the control room: by the very steps of ``python -m batch.models activate``."""

import tempfile
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from fastapi import APIRouter, Request, Response

from contracts.errors import PublishConflict, PublishRefused, SnapshotError, StoreError
from contracts.settings import Settings
from serving.control.answers import Activated
from serving.openapi import answers_with
from serving.parameters import Shop, The, checked
from serving.replies import ApiError, json_answer

__all__ = ["router"]

router = APIRouter(prefix="/v1/admin", tags=["control"])
_LIMIT_S: Final = 120.0


@router.post(
    "/models/{version}/activate",
    summary="Make a version live",
    responses=answers_with(Activated, 400, 404, 409, 503),
)
async def activate(request: Request, the: The, shop: Shop, version: str) -> Response:
    """Its snapshot and lists are verified first; stream and API follow within seconds. 409: it may not go live now."""
    checked(version, "version")
    async with the.desk.noted(request, shop, "model.activate", version):
        done = await _verified(the, shop, version)
    return json_answer(done, headers={"Cache-Control": "no-store"})


async def _verified(the: The, shop: str, version: str) -> Any:
    try:
        done = await the.room.within(lambda: _activate(the.settings, shop, version), _LIMIT_S)
    except ImportError as exc:
        message = f"this deployment is without the trainer's code ({exc.name}); run python -m batch.models activate"
        raise ApiError(503, "no_trainer", message) from exc
    except SnapshotError as exc:
        raise ApiError(404, "unknown_version", str(exc)) from exc
    except (PublishRefused, PublishConflict) as exc:
        raise ApiError(409, "not_activated", str(exc)) from exc
    except (StoreError, TimeoutError) as exc:
        raise ApiError(
            503, "store_away", str(exc) or f"no answer within {_LIMIT_S:.0f} s; look which one is live"
        ) from exc
    return done


def _activate(settings: Settings, shop: str, version: str) -> Any:
    # Only when somebody switches, and only where the trainer is installed beside: answering shelves needs no NumPy.
    trainer, publishing = import_module("batch.activate"), import_module("batch.publish")
    stores = publishing.Stores.open(settings)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            done = trainer.activate(
                stores, settings, shop, version, now=datetime.now(UTC), scratch=Path(scratch), say=lambda _: None
            )
    finally:
        stores.cluster.close()
    return Activated(done.before.version if done.before else None, done.after.version, done.restored)
