"""The collector's route."""

from fastapi import APIRouter, Request, Response

from contracts.events import MAX_BYTES
from serving.answers import EventsAnswer
from serving.bodies import bounded_body
from serving.collector import BadBody, split
from serving.intake import BUSY, Overloaded
from serving.openapi import answers_with, events_body
from serving.parameters import Shop, The
from serving.replies import ApiError, json_answer

__all__ = ["router"]

router = APIRouter(tags=["events"])


@router.post(
    "/v1/events",
    summary="Take in events",
    responses=answers_with(
        EventsAnswer, 400, 404, 408, 413, also={422: EventsAnswer, 429: EventsAnswer, 503: EventsAnswer}
    ),
    openapi_extra=events_body(),
)
async def post_events(request: Request, the: The, shop: Shop) -> Response:
    """One event, an array, or `{"events": […]}`: up to 500, each at most 32 KiB once stamped.

    Each record has its own outcome, in the order of the request. *accepted* is safe: on the stream, or in a spool on
    its way there. *rejected* must be changed; where all are, the status is 422. *failed* may be sent again as it is,
    after `Retry-After` seconds: events are counted once per `event_id`. The status is then 429 (too much for now) or
    503 (the stream is away).
    """
    limit = the.settings.serving.max_batch
    body = await bounded_body(request, limit * (MAX_BYTES + 1) + 64, "send fewer events a request")
    try:
        answer = await the.collector.take(split(body, limit), shop)
    except BadBody as exc:
        raise ApiError(400, exc.code, str(exc)) from exc
    except Overloaded as exc:
        raise ApiError(429, "overloaded", "too many requests wait for the stream; try again in a second") from exc
    return json_answer(answer, *_status(answer))


def _status(answer: EventsAnswer) -> tuple[int, dict[str, str]]:
    """Status and headers of an answer: the worst outcome of its records decides."""
    headers = {"Cache-Control": "no-store"}
    if not answer.failed:
        return 200 if answer.accepted else 422, headers
    busy = all(result.reason in BUSY for result in answer.results if result.status == "failed")
    return 429 if busy else 503, headers | {"Retry-After": "5" if busy else "1"}
